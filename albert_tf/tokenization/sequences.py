"""From the pieces of texts to sequences of [CLS], a text, [SEP] and perhaps a second text and [SEP]."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_SPANS_AT_ONCE = 1 << 16  # bounds the memory for indices


class Spans(NamedTuple):
    """Encoded texts as ranges of an array: text i is ids[starts[i] : starts[i] + lengths[i]].

    Starts and lengths are int64. Equal texts may share a range.
    """

    ids: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    @classmethod
    def end_to_end(cls, ids: np.ndarray, lengths: np.ndarray) -> "Spans":
        """The texts that follow each other in an array."""
        return cls(ids, np.cumsum(lengths) - lengths, lengths)

    def take(self, texts: np.ndarray) -> "Spans":
        """The texts with these numbers, in this order."""
        return self._replace(starts=self.starts[texts], lengths=self.lengths[texts])

    def first(self, lengths: np.ndarray) -> "Spans":
        """The first pieces of every text."""
        return self._replace(lengths=lengths)

    def last(self, lengths: np.ndarray) -> "Spans":
        """The last pieces of every text."""
        return self._replace(starts=self.starts + self.lengths - lengths, lengths=lengths)


class Sequences(NamedTuple):
    """Sequences end to end.

    Attributes:
      ids: of all sequences.
      lengths: int32 [sequences].
      first_lengths: int32 [sequences]. Tokens of [CLS] A [SEP], segment 0; the other tokens are segment 1.
    """

    ids: np.ndarray
    lengths: np.ndarray
    first_lengths: np.ndarray

    def padded(self, width: int, filler: int = 0) -> np.ndarray:
        """The ids as int32 [sequences, width]."""
        rows = np.full((len(self.lengths), width), filler, np.int32)
        rows[np.arange(width) < self.lengths[:, None]] = self.ids
        return rows


def kept_lengths(lengths: Sequence[np.ndarray], max_seq_length: int) -> list[np.ndarray]:
    """How many pieces of each column of texts, one or two, stay in sequences of at most `max_seq_length`.

    A single text that is too long loses its end; a pair is cut as `truncated_pair` says.
    """
    first, *others = lengths
    room = max_seq_length - 1 - len(lengths)
    return list(truncated_pair(first, others[0], room)) if others else [np.minimum(first, room)]


def truncated_pair(a: np.ndarray, b: np.ndarray, room: int) -> tuple[np.ndarray, np.ndarray]:
    """Lengths after popping from the longer of each pair, from b on ties, until a + b <= room."""
    kept = np.minimum(a, np.maximum(room - b, (room + 1) // 2))
    return kept, np.minimum(b, room - kept)


def sequences_of(segments: Sequence[Spans], cls_id: int, sep_id: int) -> Sequences:
    """Sequences of [CLS], the first segment, [SEP] and, if there is a second segment, that and [SEP]."""
    special = np.array([cls_id, sep_id], segments[0].ids.dtype)
    source = np.concatenate([special, *(segment.ids for segment in segments)])
    one = np.ones(len(segments[0].lengths), np.int64)
    starts, parts = [0 * one], [one]
    offset = len(special)
    for segment in segments:
        starts += [segment.starts + offset, one]
        parts += [segment.lengths, one]
        offset += len(segment.ids)
    lengths = np.stack(parts, axis=1)
    return Sequences(
        ids=concatenated(source, np.stack(starts, axis=1).ravel(), lengths.ravel()),
        lengths=lengths.sum(axis=1, dtype=np.int32),
        first_lengths=lengths[:, :3].sum(axis=1, dtype=np.int32),
    )


def concatenated(source: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """source[starts[i] : starts[i] + lengths[i]] of every i, end to end."""
    ends = np.cumsum(lengths)
    result = np.empty(ends[-1] if len(ends) else 0, source.dtype)
    done = 0
    for begin in range(0, len(starts), _SPANS_AT_ONCE):
        some = slice(begin, begin + _SPANS_AT_ONCE)
        shifts = starts[some] - (ends[some] - lengths[some])  # of a span, from the result to the source
        end = int(ends[some][-1])
        result[done:end] = source[np.repeat(shifts, lengths[some]) + np.arange(done, end)]
        done = end
    return result
