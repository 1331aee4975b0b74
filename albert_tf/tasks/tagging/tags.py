"""`TagSet`: which tags there are, which of them may follow each other, and which spans they mark."""

import dataclasses
import functools
import re
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from albert_tf.data.tables import as_seen
from albert_tf.errors import InputError, escaped

Lines: TypeAlias = Sequence[int] | np.ndarray  # of the words, for messages

OUTSIDE = "O"
PLAIN = "plain"  # tags that mark no spans, such as parts of speech
PREFIXES = {"IO": "I", "IOB1": "BI", "IOB2": "BI", "BIOES": "BIES"}  # by scheme
SCHEMES = (PLAIN, *PREFIXES)

_TAG = re.compile(r"([BIES])(?:-(.+))?")
_UNNAMED = "span"  # the type of tags without one: B, I, O
_MOST_TAGS = 1000


class Spans(NamedTuple):
    """Spans of words: int32 [spans] each. The words begins[i] to ends[i] - 1 have the type types[i]."""

    begins: tf.Tensor
    ends: tf.Tensor
    types: tf.Tensor


class Legal(NamedTuple):
    """Which tags a scheme allows: bool [tags] first and last in a sentence, [tags, tags] as neighbours."""

    first: np.ndarray
    pairs: np.ndarray
    last: np.ndarray


@dataclasses.dataclass(frozen=True)
class TagSet:
    """The tags of a task, by number.

    Attributes:
      scheme: one of `SCHEMES`.
      types: of spans, sorted; for `PLAIN` the tags themselves.
    """

    names: tuple[str, ...]
    scheme: str

    @functools.cached_property
    def types(self) -> tuple[str, ...]:
        """See the class."""
        if self.scheme == PLAIN:
            return self.names
        return tuple(sorted({kind for prefix, kind in map(_parsed, self.names) if prefix}))

    @functools.cached_property
    def prefixes(self) -> np.ndarray:
        """str [tags]: "B", "I", "E" or "S"; "" for a tag outside of spans."""
        prefixes = ["S" if self.scheme == PLAIN else _parsed(name)[0] for name in self.names]
        return np.array(prefixes, "<U1")

    @functools.cached_property
    def type_of(self) -> np.ndarray:
        """int32 [tags]: the number of the type; -1 outside of spans."""
        if self.scheme == PLAIN:
            return np.arange(len(self.names), dtype=np.int32)
        return np.array(
            [self.types.index(kind) if p else -1 for p, kind in map(_parsed, self.names)], np.int32
        )

    @property
    def fallback(self) -> int:
        """The number of the tag for words that the model cannot see."""
        return self.names.index(OUTSIDE) if OUTSIDE in self.names else 0

    @functools.cached_property
    def legal(self) -> Legal:
        """Which tags may follow each other, as the scheme says."""
        size = len(self.names)
        starts, goes_on = np.ones(size, bool), np.ones((size, size), bool)
        ends = np.ones(size, bool)
        same = self.type_of[:, None] == self.type_of
        p = self.prefixes
        if self.scheme == "IOB2":  # a span begins with B
            starts = p != "I"
            goes_on = (p != "I") | same
        elif self.scheme == "IOB1":  # B only where a span of the same type ends
            starts = p != "B"
            goes_on = (p != "B") | same
        elif self.scheme == "BIOES":
            is_open, begins = np.isin(p, ["B", "I"]), np.isin(p, ["", "B", "S"])
            starts, ends = begins, ~is_open
            goes_on = np.where(is_open[:, None], ~begins & same, begins)
        return Legal(starts, goes_on, ends)

    def spans(self, tags: tf.Tensor, is_first: tf.Tensor) -> Spans:
        """The spans that tags mark, by the rules of `conlleval`; E and S end a span.

        A tag that the scheme does not allow begins a span of its own: so does I after O.

        Args:
          tags: int32 [words], of all sentences.
          is_first: bool [words]. Whether a word begins a sentence.
        """
        types = tf.gather(tf.constant(self.type_of), tags)
        begins, ends = (
            tf.gather(tf.constant(np.isin(self.prefixes, list(which))), tags) for which in ("BS", "ES")
        )
        before = tf.pad(types[:-1], [[1, 0]], constant_values=-1)
        ended = tf.pad(ends[:-1], [[1, 0]])
        inside = types >= 0
        starts = inside & (is_first | begins | ended | (before != types))
        span_of = tf.cumsum(tf.cast(starts, tf.int32)) - 1
        first = tf.cast(tf.where(starts)[:, 0], tf.int32)
        words = tf.cast(tf.where(inside)[:, 0], tf.int32)
        lengths = tf.math.bincount(
            tf.gather(span_of, words), minlength=tf.size(first), maxlength=tf.size(first)
        )
        return Spans(first, first + lengths, tf.gather(types, first))

    def numbers(self, tags: Sequence[str], path: str, lines: Lines) -> np.ndarray:
        """int32 [words]; `InputError` names the file and the line of a tag that is not in the set."""
        known = {name: number for number, name in enumerate(self.names)}
        numbers = np.fromiter((known.get(tag, -1) for tag in tags), np.int32, len(tags))
        if (numbers < 0).any():
            word = int(np.argmax(numbers < 0))
            shown = ", ".join(map(escaped, self.names[:20])) + ", ..." * (len(self.names) > 20)
            raise InputError(f"{path}:{lines[word]}: {tags[word]!a} is none of the known tags {shown}")
        return numbers

    def check(self, numbers: np.ndarray, is_first: np.ndarray, path: str, lines: Lines) -> None:
        """`InputError` names the file and the line of the first tag that the scheme does not allow."""
        legal, last = self.legal, np.append(is_first[1:], True)
        follows = legal.pairs[np.append(0, numbers[:-1]), numbers]
        bad = np.where(is_first, ~legal.first[numbers], ~follows)
        wrong = bad | (last & ~legal.last[numbers])
        if not wrong.any():
            return
        word = int(np.argmax(wrong))
        name = escaped(self.names[numbers[word]])
        if not bad[word]:
            what = f"{name} cannot be the last tag of a sentence"
        elif is_first[word]:
            what = f"{name} cannot be the first tag of a sentence"
        else:
            what = f"{name} cannot follow {escaped(self.names[numbers[word - 1]])}"
        raise InputError(f"{path}:{lines[word]}: {what} (scheme {self.scheme})")


def _parsed(tag: str) -> tuple[str, str]:
    """The prefix and the type of a tag; two empty strings if it is outside of spans, or is no such tag."""
    found = _TAG.fullmatch(tag)
    return (found[1], found[2] or _UNNAMED) if found else ("", "")


def recognise(
    tags: Sequence[str],
    is_first: np.ndarray,
    path: str,
    lines: Lines,
    names: Sequence[str] = (),
) -> TagSet:
    """The tags of a file, and their scheme; all tags of the scheme for each type that occurs.

    Without any tag such as B-x or I-x the tags mark no spans. IOB1 and IOB2 have the same tags: it is the one
    that the file breaks less often. `names` are the tags in the user's order.

    Raises:
      InputError: some tags have prefixes and others are no tags of that kind, or there is only one tag.
    """
    found = sorted({*tags, *names})
    typed = [name for name in found if _parsed(name)[0]]
    _check_names(found, path)
    if not typed:
        return TagSet(tuple(names or found), PLAIN)
    for tag, line in zip(tags, lines, strict=True):
        if tag != OUTSIDE and not _parsed(tag)[0]:
            raise InputError(f"{path}:{line}: {tag!a} is neither O nor a tag such as {typed[0]}")
    types, prefixes = sorted({_parsed(name)[1] for name in typed}), {name[0] for name in typed}
    possible = ["BIOES"] if prefixes & set("ES") else ["IOB2", "IOB1"] if "B" in prefixes else ["IO"]
    sets = []
    for scheme in possible:
        whole = [f"{p}-{kind}" if "-" in typed[0] else p for kind in types for p in PREFIXES[scheme]]
        sets.append(TagSet(tuple(names) or (OUTSIDE, *whole), scheme))
    return min(sets, key=lambda tag_set: _breaks(tag_set, tags, is_first, path, lines))


def _breaks(tag_set: TagSet, tags: Sequence[str], is_first: np.ndarray, path: str, lines: Lines) -> int:
    """How often tags break a scheme."""
    numbers = tag_set.numbers(tags, path, lines)
    follows = tag_set.legal.pairs[np.append(0, numbers[:-1]), numbers]
    return int(np.count_nonzero(~np.where(is_first, tag_set.legal.first[numbers], follows)))


def _check_names(names: Sequence[str], path: str) -> None:
    """`InputError` if there are too few or too many tags, or two that look alike."""
    if not 2 <= len(names) <= _MOST_TAGS:
        raise InputError(f"{path}: 2 to {_MOST_TAGS:,} different tags are needed, not {len(names):,}")
    alike: dict[str, str] = {}
    for name in names:
        if not name.strip() or not name.isprintable():
            raise InputError(f"{path}: {name!a} is no name of a tag")
        other = alike.setdefault(as_seen(name), name)
        if other is not name:
            raise InputError(f"{path}: the tag {name!a} looks like {other!a}, but is another one")


def tag_set_of(names: Sequence[str], scheme: str | None) -> TagSet:
    """The tags that weights name; if they do not name a scheme, the one that the prefixes tell."""
    prefixes = {_parsed(name)[0] for name in names} - {""}
    told = "BIOES" if prefixes & set("ES") else "IOB2" if "B" in prefixes else "IO" if prefixes else PLAIN
    return TagSet(tuple(names), scheme or told)


def span_scores(gold: Spans, predicted: Spans, types: Sequence[str]) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 of spans, from 0 to 1: of "all", and of each type; 0 for what is undefined.

    A predicted span is right if begin, end and type are those of a span of `gold`, as for `conlleval`.
    """
    kinds = [np.asarray(spans.types) for spans in (gold, predicted)]
    reach = 1 + max((int(np.max(spans.ends, initial=0)) for spans in (gold, predicted)), default=0)
    codes = [
        (np.asarray(spans.begins, np.int64) * reach + spans.ends) * len(types) + kind
        for spans, kind in zip((gold, predicted), kinds, strict=True)
    ]
    right = np.intersect1d(codes[0], codes[1], assume_unique=True) % len(types)
    wanted, given, both = (np.bincount(kind, minlength=len(types)) for kind in (*kinds, right))
    rows = {"all": _scores(wanted.sum(), given.sum(), both.sum())}
    for i, name in enumerate(types):
        rows[name if name != "all" else "all (type)"] = _scores(wanted[i], given[i], both[i])
    return rows


def _scores(wanted: int, given: int, right: int) -> dict[str, float]:
    precision, recall = (float(right / count) if count else 0.0 for count in (given, wanted))
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return {"precision": precision, "recall": recall, "f1": f1}


def most_probable(votes: Sequence[np.ndarray], gold: np.ndarray | None) -> dict[str, np.ndarray]:
    """What several models say together: the tag with the highest mean probability.

    Args:
      votes: of each model, the probabilities of the tags, float64 `[words, tags]`; NaN for words that it
        cannot see.
      gold: the right tags, int32 `[words]`, if they are known.

    Returns:
      `decided`, the words that a model sees; of each the `tag`, its `score`, and if it is known the `loss`.
    """
    decided = np.flatnonzero(~np.isnan(votes).any(axis=2).all(axis=0))
    chances = np.nanmean([each[decided] for each in votes], axis=0)
    outputs = {"tag": chances.argmax(axis=1), "score": chances.max(axis=1), "decided": decided}
    if gold is not None:
        of_gold = np.take_along_axis(chances, gold[decided, None], axis=1)[:, 0]
        outputs["loss"] = -np.log(np.maximum(of_gold, np.finfo(np.float64).tiny))
    return outputs
