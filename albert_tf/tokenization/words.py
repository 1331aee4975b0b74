"""The words of raw text, and their shapes; `tokenization/in_graph/words_in_graph.py` finds the same."""

import enum
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from albert_tf.tokenization.wordpiece import CJK_RANGES, is_punctuation

_JOINERS = frozenset("'’.-_&@")


class Kind(enum.IntEnum):
    """What a character is to words."""

    SPACE = 0
    ALONE = 1  # a word of its own
    JOINER = 2  # part of a word if it stands between two characters of words, else a word of its own
    DIGIT = 3
    LOWER = 4
    UPPER = 5
    OTHER = 6  # part of a word


class Shape(enum.IntEnum):
    """The letters of a word; 0 stands for no word."""

    OTHER = 1  # no capital letter, no digit
    TITLE = 2  # the first letter alone is a capital
    UPPER = 3  # two letters or more, all of them capitals
    MIXED = 4  # capitals at other places
    DIGITS = 5  # a digit at any place


class Words(NamedTuple):
    """The words of texts: int32 [words] each; text i has the words with `text_of` i."""

    text_of: np.ndarray
    begins: np.ndarray  # characters of the text
    ends: np.ndarray


def kind_of(character: str) -> Kind:
    """What a character is to words."""
    if character.isspace():
        return Kind.SPACE
    if character in _JOINERS:
        return Kind.JOINER
    if is_punctuation(character) or any(low <= ord(character) <= high for low, high in CJK_RANGES):
        return Kind.ALONE
    if character.isdecimal():
        return Kind.DIGIT
    if character.isupper() or unicodedata.category(character) == "Lt":
        return Kind.UPPER
    return Kind.LOWER if character.islower() else Kind.OTHER


def kinds_of(text: str) -> np.ndarray:
    """uint8 [characters]: the kind of each."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    distinct, places = np.unique(codes, return_inverse=True)
    return np.array([kind_of(chr(code)) for code in distinct.tolist()], np.uint8)[places]


def find_words(texts: Iterable[str]) -> Words:
    """The words of raw texts.

    White space ends a word. Punctuation and Chinese characters are words of their own, but an apostrophe, a
    dot, a hyphen, "_", "&" or "@" between two letters or digits is a part of their word.
    """
    columns: list[tuple[np.ndarray, ...]] = [(np.zeros(0, np.int32),) * 3]
    for number, text in enumerate(texts):
        kinds = kinds_of(f" {text} ")
        inside = kinds > Kind.JOINER
        inside[1:-1] |= (kinds[1:-1] == Kind.JOINER) & inside[:-2] & inside[2:]
        visible = kinds != Kind.SPACE
        begins = np.flatnonzero(visible[1:] & ~(inside[1:] & inside[:-1]))
        ends = np.flatnonzero(visible[:-1] & ~(inside[1:] & inside[:-1]))
        columns.append(
            (np.full(len(begins), number, np.int32), begins.astype(np.int32), ends.astype(np.int32))
        )
    return Words(*map(np.concatenate, zip(*columns, strict=True)))


def shapes_of(texts: Iterable[str], words: Words) -> np.ndarray:
    """uint8 [words]: the `Shape` of each."""
    texts = list(texts)
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    first = (np.cumsum(sizes) - sizes)[words.text_of]
    kinds = kinds_of("".join(texts))

    def count(is_one: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many there are in each word, and the number of the first, counted through all texts."""
        before = np.append(0, np.cumsum(is_one))
        places = np.append(np.flatnonzero(is_one), len(kinds))
        return before[first + words.ends] - before[first + words.begins], places[before[first + words.begins]]

    capitals, first_capital = count(kinds == Kind.UPPER)
    letters, first_letter = count((kinds == Kind.UPPER) | (kinds == Kind.LOWER))
    digits, _ = count(kinds == Kind.DIGIT)
    return np.select(
        [digits > 0, capitals == 0, (capitals == 1) & (first_capital == first_letter), capitals == letters],
        [Shape.DIGITS, Shape.OTHER, Shape.TITLE, Shape.UPPER],
        Shape.MIXED,
    ).astype(np.uint8)
