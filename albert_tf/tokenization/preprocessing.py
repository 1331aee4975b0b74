"""Text normalization ahead of SentencePiece, and which characters of the raw text its results stand for."""

import functools
import unicodedata

import numpy as np


def preprocess_text(text: str, lower: bool = True, remove_space: bool = True) -> str:
    """Collapses white space, decomposes (NFKD), drops combining marks, lower-cases; in this order.

    Accents go for cased models too, and Hangul stays decomposed: both are the original's behaviour, on
    which its released models were trained.
    """
    if remove_space:
        text = " ".join(text.split())
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text)
        for mark in filter(unicodedata.combining, set(text)):
            text = text.replace(mark, "")
    return text.lower() if lower else text


def character_ranges(text: str) -> tuple[np.ndarray, np.ndarray]:
    """The range of the text that each character of `preprocess_text(text)` stands for.

    A character that becomes several is the range of each; a mark that goes counts to the character before it.

    Returns:
      begins, ends: int32 [characters of the preprocessed text].
    """
    text = text.rstrip()
    if text.isascii() and len(" ".join(text.split())) == len(text):
        begins = np.arange(len(text), dtype=np.int32)
        return begins, begins + 1
    widths = np.fromiter(map(_width, text), np.int8, len(text))
    white = widths < 0
    widths[white & ~np.append(True, white[:-1])] = 1
    return ranges_of_widths(widths)


def ranges_of_widths(widths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ranges that resulting characters stand for, from how many of them each raw character becomes.

    Args:
      widths: int8 [raw characters]. 0 extends the range of the character before, -1 ends it without result.

    Returns:
      begins, ends: int32 [resulting characters].
    """
    borders = np.append(np.flatnonzero(widths), len(widths)).astype(np.int32)
    counts = np.maximum(widths[borders[:-1]], 0)
    return np.repeat(borders[:-1], counts), np.repeat(borders[1:], counts)


@functools.cache
def _width(character: str) -> int:
    """How many characters preprocessing makes of one, in upper and in lower case; -1 for white space."""
    return -1 if character.isspace() else len(preprocess_text(character))
