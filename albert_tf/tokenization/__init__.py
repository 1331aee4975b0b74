"""Text to pieces to ids: SentencePiece for English models, WordPiece for Chinese ones."""

from albert_tf.errors import InputError
from albert_tf.tokenization.preprocessing import preprocess_text
from albert_tf.tokenization.sentencepiece import SentencePieceTokenizer
from albert_tf.tokenization.tokenizer import Tokenizer
from albert_tf.tokenization.wordpiece import WordPieceTokenizer

__all__ = ["SentencePieceTokenizer", "Tokenizer", "WordPieceTokenizer", "load_tokenizer", "preprocess_text"]


def load_tokenizer(
    spm_model_file: str | None = None,
    vocab_file: str | None = None,
    do_lower_case: bool = True,
    keep_accents: bool = False,
) -> Tokenizer:
    """The tokenizer of a SentencePiece model or of a WordPiece vocabulary; if both are given, of the model.

    Args:
      spm_model_file: a SentencePiece model.
      vocab_file: a WordPiece vocabulary, one piece a line.
      do_lower_case: whether to lower-case the text.
      keep_accents: whether the text keeps its accents and is not decomposed (Hugging Face's `keep_accents`;
        for WordPiece `strip_accents=False`). The normalization inside a SentencePiece model still applies.

    Raises:
      InputError: no file is given, or the file is broken, of the other kind or lacks a special piece.
    """
    if spm_model_file:
        return SentencePieceTokenizer(spm_model_file, do_lower_case, keep_accents)
    if vocab_file:
        return WordPieceTokenizer(vocab_file, do_lower_case, keep_accents)
    raise InputError("a vocabulary is needed: --spm_model_file (SentencePiece) or --vocab_file (WordPiece)")
