"""Vocabularies with capital letters, and with fewer pieces than a config has room for."""

import pathlib

from albert_tf import testing
from albert_tf.testing.make_tokenizers import TEXT
from albert_tf.tokenization.sentencepiece_training import train_sentencepiece


def cased_sentencepiece(path: pathlib.Path, pieces: int = 140) -> str:
    """A SentencePiece model of text that was not lower-cased."""
    lines = TEXT.strip().splitlines()
    path.write_bytes(train_sentencepiece(lines, pieces, character_coverage=1.0, normalization="identity"))
    return str(path)


def cased_wordpiece(path: pathlib.Path) -> str:
    """The tiny WordPiece vocabulary and some words with capitals and accents."""
    words = "The\nBoats\nA\n##B\ncafé\nCafé\n"
    path.write_text(pathlib.Path(testing.VOCAB_FILE).read_text(encoding="utf-8") + words, encoding="utf-8")
    return str(path)


CASED = {
    "spm_model_file": lambda folder: cased_sentencepiece(folder / "own.model"),
    "vocab_file": lambda folder: cased_wordpiece(folder / "own.txt"),
}
