"""Training a SentencePiece model whose ids and symbols are those of the original's English model."""

import functools
import io
import re
from collections.abc import Iterable, Iterator

import sentencepiece

from albert_tf.errors import InputError
from albert_tf.tokenization.sentencepiece import SPECIAL_PIECES

CONTROL_SYMBOLS = ["[CLS]", "[SEP]", "[MASK]"]
# A list, not a comma-separated string: in that, the quote opens a field and the rest becomes one symbol.
USER_SYMBOLS = ["(", ")", '"', "-", ".", "–", "£", "€"]
NORMALIZATION = "nmt_nfkc"
_FIXED_PIECES = ["<pad>", "<unk>", *CONTROL_SYMBOLS, *USER_SYMBOLS]

# What SentencePiece accepts: it says so only when it has read all text.
LEAST_COVERAGE = 0.98
MOST_THREADS = 1024
MOST_PIECES = 1_000_000  # as many candidates it begins with

_LONGEST_SENTENCE = 4000  # bytes; SentencePiece leaves out sentences of more than 4192
_RESERVED = "\u2585"  # SentencePiece marks unknown characters by it
_CERTAINLY_TEXT = re.compile(r"[!-~]|[^\W_]")  # a character that no normalization removes
_SILENT = 2  # SentencePiece's level for errors, which also arrive as exceptions


def train_sentencepiece(
    sentences: Iterable[str],
    vocab_size: int,
    *,
    character_coverage: float = 0.99995,
    num_threads: int = 16,
    normalization: str = NORMALIZATION,
    log: bool = False,
) -> bytes:
    """A unigram model of exactly `vocab_size` pieces; the same sentences give the same model.

    Args:
      sentences: preprocessed text, read once; long ones are divided. SentencePiece leaves out, in silence,
        those for which `reason_to_leave_out` has a reason.
      vocab_size: special pieces included.
      character_coverage: share of the characters of the text that get a piece of their own.
      num_threads: another number gives another model, as sums of floats depend on their order.
      normalization: SentencePiece's name of the rule that the model itself applies to text.
      log: whether SentencePiece may write to standard error.

    Raises:
      InputError: there is no text or too little of it, or the vocabulary is too small for it.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(part for sentence in sentences for part in _divided(sentence)),
            model_writer=model,
            model_type="unigram",
            vocab_size=vocab_size,
            character_coverage=character_coverage,
            num_threads=num_threads,
            normalization_rule_name=normalization,
            pad_id=0,
            unk_id=1,
            bos_id=-1,
            eos_id=-1,
            pad_piece=SPECIAL_PIECES.pad,
            unk_piece=SPECIAL_PIECES.unk,
            control_symbols=CONTROL_SYMBOLS,
            user_defined_symbols=USER_SYMBOLS,
            minloglevel=0 if log else _SILENT,
        )
    except RuntimeError as error:
        raise InputError(_explain(str(error), vocab_size)) from None
    check_model(model.getvalue(), vocab_size)
    return model.getvalue()


def reason_to_leave_out(sentence: str) -> str:
    """Why SentencePiece does not train on a sentence; empty if it does."""
    if _RESERVED in sentence:
        return "with U+2585, which SentencePiece reserves"
    if not _CERTAINLY_TEXT.search(sentence) and not _normalizer().normalize(sentence):
        return f"of which the normalization {NORMALIZATION} leaves nothing"
    return ""


@functools.cache
def _normalizer() -> sentencepiece.SentencePieceNormalizer:
    return sentencepiece.SentencePieceNormalizer(rule_name=NORMALIZATION)


def check_model(model: bytes, vocab_size: int) -> None:
    """Raises RuntimeError unless the model has this many pieces, the fixed ones first and in order."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = [processor.id_to_piece(i) for i in range(processor.get_piece_size())]
    controls = [piece for i, piece in enumerate(pieces) if processor.is_control(i)]
    found = (len(pieces), pieces[: len(_FIXED_PIECES)], controls)
    if found != (vocab_size, _FIXED_PIECES, ["<pad>", *CONTROL_SYMBOLS]):
        raise RuntimeError(f"SentencePiece made {len(pieces)} pieces that begin with {pieces[:14]}")


def vocabulary_listing(model: bytes) -> str:
    """The text of the .vocab file: a piece and its score (log probability) a line."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    size = processor.get_piece_size()
    return "".join(f"{processor.id_to_piece(i)}\t{processor.get_score(i):g}\n" for i in range(size))


def _divided(sentence: str) -> Iterator[str]:
    """The sentence in parts that SentencePiece accepts, cut at a space if there is one."""
    while len(sentence.encode()) > _LONGEST_SENTENCE:
        window = sentence.encode()[:_LONGEST_SENTENCE].decode(errors="ignore")
        cut = window.rfind(" ") if " " in window[1:] else len(window)
        yield window[:cut]
        sentence = sentence[cut:].lstrip(" ")
    if sentence:
        yield sentence


def _explain(message: str, vocab_size: int) -> str:
    if "!sentences_.empty()" in message:
        return "the input holds no text"
    if largest := re.search(r"set it to a value <= (\d+)", message):
        return (
            f"the text is too small for --vocab_size {vocab_size}: "
            f"the largest vocabulary it can give is {largest[1]}"
        )
    if smallest := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return (
            f"--vocab_size {vocab_size} is too small: the characters of the text alone take {smallest[1]} "
            "pieces (a lower --character_coverage takes fewer)"
        )
    return f"SentencePiece could not make a vocabulary: {message}"
