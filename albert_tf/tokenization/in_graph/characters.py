"""Characters of texts as tensors, what becomes of them, and which raw characters the results stand for."""

import functools
import unicodedata
from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

CODES = 0x110000
SPACE = ord(" ")

_PAGE = 256
_SAME = -1
_CASED, _IGNORABLE = 1, 2
_SIGMA, _SMALL_SIGMA, _FINAL_SIGMA = map(ord, "Σσς")


class Characters(NamedTuple):
    """The characters of all texts, end to end, with a space added at the front of each text.

    Each stands for the raw characters from its begin to its end, counted through all texts and added spaces.
    """

    codes: tf.Tensor  # int32 [characters]: code points
    begins: tf.Tensor  # int32 [characters]
    ends: tf.Tensor  # int32 [characters]
    rows: tf.Tensor  # int32 [characters]: the number of the text

    def at(self, index: tf.Tensor) -> "Characters":
        """The characters at the given places. A character that is left out belongs to no range."""
        return Characters(*(tf.gather(field, index) for field in self))

    def absorbing(self, index: tf.Tensor) -> "Characters":
        """The characters at the given places. One that is left out joins the range of the one before it."""
        last = tf.concat([index, [tf.size(self.codes, index.dtype)]], axis=0)[1:] - 1
        return self.at(index)._replace(ends=tf.gather(self.ends, last))


def decode(texts: tf.Tensor) -> tuple[Characters, tf.Tensor]:
    """The characters of UTF-8 texts, and the places of the spaces at their fronts, int32 [texts].

    Bytes that are no UTF-8 count as U+FFFD.
    """
    ragged = tf.strings.unicode_decode(" " + texts, "UTF-8")
    splits = tf.cast(ragged.row_splits, tf.int32)
    begins = tf.range(tf.size(ragged.values))
    return Characters(ragged.values, begins, begins + 1, repeated(splits[1:] - splits[:-1])), splits[:-1]


def repeated(counts: tf.Tensor) -> tf.Tensor:
    """0, 1, 2 and so on, each as often as `counts` says: `tf.repeat` in linear memory; int32."""
    starts = tf.cumsum(counts, exclusive=True)
    steps = tf.scatter_nd(starts[:, tf.newaxis], tf.ones_like(starts), [tf.reduce_sum(counts) + 1])
    return tf.cumsum(steps)[:-1] - 1


def enumerated(counts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """`repeated(counts)`, and for each of its numbers how often it has come before; both int32."""
    sources = repeated(counts)
    return sources, tf.range(tf.size(sources)) - tf.gather(tf.cumsum(counts, exclusive=True), sources)


class Lookup:
    """A number for each code point: an array in pages, of which equal ones are stored once."""

    def __init__(self, numbers: np.ndarray):
        filled = np.append(numbers, np.zeros(-len(numbers) % _PAGE, numbers.dtype))
        starts: dict[bytes, int] = {}
        pages = map(bytes, filled.reshape(-1, _PAGE))
        self._page_starts = tf.constant([starts.setdefault(page, len(starts) * _PAGE) for page in pages])
        self._pages = tf.constant(np.frombuffer(b"".join(starts), numbers.dtype))

    @classmethod
    def of_set(cls, codes: Collection[int]) -> "Lookup":
        """True for the given codes."""
        numbers = np.zeros(CODES, bool)
        numbers[list(codes)] = True
        return cls(numbers)

    def __call__(self, codes: tf.Tensor) -> tf.Tensor:
        """The numbers of the codes."""
        return tf.gather(self._pages, tf.gather(self._page_starts, codes // _PAGE) + codes % _PAGE)


class Replacement:
    """What becomes of each character on its own.

    A character that becomes several is the range of each; one that goes counts to the one before it.

    Args:
      results: by code. An empty result lets the character go; None also ends the range of the one before it.
      default: the result of all other codes; None leaves them as they are.
      codes: the number of codes: code points, and what the caller has put behind them.
    """

    def __init__(self, results: Mapping[int, str | None], default: str | None = None, codes: int = CODES):
        distinct = list(dict.fromkeys(results.values()))
        numbers = {result: number for number, result in enumerate(distinct, start=1)}
        entries = np.zeros(codes, np.int32)
        entries[list(results)] = [numbers[result] for result in results.values()]
        spelled = [
            [_SAME] if default is None else [ord(default)],
            *(list(map(ord, r or "")) for r in distinct),
        ]
        sizes = np.array([len(row) for row in spelled], np.int32)
        self._entries = Lookup(entries)
        self._starts = tf.constant(np.cumsum(sizes, dtype=np.int32) - sizes)
        self._counts = tf.constant(np.where([False, *(r is None for r in distinct)], np.int32(-1), sizes))
        self._results = tf.constant(np.concatenate(spelled).astype(np.int32))

    def __call__(self, characters: Characters) -> Characters:
        """The results, end to end."""
        counts = tf.gather(self._counts, self._entries(characters.codes))
        index = tf.where(counts != 0)[:, 0]
        counts = tf.maximum(tf.gather(counts, index), 0)
        sources, places = enumerated(counts)
        found = characters.absorbing(index).at(sources)
        results = tf.gather(self._results, tf.gather(self._starts, self._entries(found.codes)) + places)
        return found._replace(codes=tf.where(results == _SAME, found.codes, results))


class SigmaLowering:
    """Lower case of Σ as in Python: ς where a letter comes before and none after.

    It passes over apostrophes, marks and the like ("case-ignorable"), as Python's own lower-casing says.
    """

    def __init__(self):
        self._kinds = Lookup(_kinds())

    def __call__(self, characters: Characters) -> Characters:
        """The characters with each Σ lowered."""
        kinds = self._kinds(characters.codes)
        index = tf.where(kinds != _IGNORABLE)
        codes = tf.gather_nd(characters.codes, index)
        cased = tf.gather_nd(kinds, index) == _CASED
        before = tf.concat([[False], cased[:-1]], axis=0)
        after = tf.concat([cased[1:], [False]], axis=0)
        lowered = tf.where(before & ~after, _FINAL_SIGMA, _SMALL_SIGMA)
        lowered = tf.where(codes == _SIGMA, lowered, codes)
        return characters._replace(codes=tf.tensor_scatter_nd_update(characters.codes, index, lowered))


@functools.cache
def assigned_characters() -> list[str]:
    """The characters that Python knows; no others are ever changed."""
    characters = map(chr, range(CODES))
    return [c for c in characters if unicodedata.category(c) not in ("Cn", "Co", "Cs")]


@functools.cache
def _kinds() -> np.ndarray:
    kinds = np.zeros(CODES, np.int8)
    kinds[list(map(ord, assigned_characters()))] = list(map(_kind, assigned_characters()))
    return kinds


def _kind(character: str) -> int:
    if (character + "Σ").lower().endswith("ς"):
        return _CASED
    return _IGNORABLE if ("A" + character + "Σ").lower().endswith("ς") else 0
