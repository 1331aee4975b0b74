"""Text normalization before SentencePiece, and which characters of the raw text the results stand for."""

import functools
import unicodedata

import numpy as np


def preprocess_text(
    text: str, lower: bool = True, remove_space: bool = True, keep_accents: bool = False
) -> str:
    """Collapses white space, decomposes (NFKD), drops combining marks, lower-cases; in this order.

    The original drops accents for cased models too, and leaves Hangul decomposed; its released models were
    trained on such text. `keep_accents` (as in Hugging Face) means no NFKD, and marks stay.
    """
    if remove_space:
        text = " ".join(text.split())
    if not keep_accents and not text.isascii():
        text = unicodedata.normalize("NFKD", text)
        for mark in filter(unicodedata.combining, set(text)):
            text = text.replace(mark, "")
    return text.lower() if lower else text


def character_ranges(
    text: str, lower: bool = True, keep_accents: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The range of the raw text, begins and ends, that each character of `preprocess_text` stands for; int32.

    If a character becomes several, it is the range of each of them. A dropped mark belongs to the range of
    the character before it.
    """
    text = text.rstrip()
    if text.isascii() and len(" ".join(text.split())) == len(text):
        begins = np.arange(len(text), dtype=np.int32)
        return begins, begins + 1
    widths = np.fromiter((_width(c, lower, keep_accents) for c in text), np.int8, len(text))
    white = widths < 0
    widths[white & ~np.append(True, white[:-1])] = 1
    return ranges_of_widths(widths)


def ranges_of_widths(widths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The begins and ends, int32, of what resulting characters stand for.

    `widths` says how many of them each raw character becomes. 0 extends the range of the character before; -1
    ends that range and gives no character.
    """
    borders = np.append(np.flatnonzero(widths), len(widths)).astype(np.int32)
    counts = np.maximum(widths[borders[:-1]], 0)
    return np.repeat(borders[:-1], counts), np.repeat(borders[1:], counts)


@functools.cache
def _width(character: str, lower: bool, keep_accents: bool) -> int:
    """How many characters preprocessing makes of one; -1 for white space."""
    if character.isspace():
        return -1
    return len(preprocess_text(character, lower, keep_accents=keep_accents))
