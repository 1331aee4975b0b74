"""`Features`: the token ids of a split, end to end, and how texts become them."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from albert_tf.tokenization import Tokenizer
from albert_tf.tokenization.parallel import encode_in_parallel

_SPANS_AT_ONCE = 1 << 16  # bounds the memory for indices


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Features:
    """The sequences of a split, end to end and without padding, in the order of its examples.

    Attributes:
      input_ids: uint16 or uint32 [tokens]. [CLS] A [SEP] or [CLS] A [SEP] B [SEP] of each sequence.
      lengths: int32 [sequences].
      first_lengths: int32 [sequences]. Tokens of [CLS] A [SEP], segment 0; the other tokens are segment 1.
      full_lengths: int32 [sequences]. What `lengths` would be if nothing had been cut.
      labels: int32 class numbers or float32 scores [examples], or None.
      num_choices: the number of sequences of an example; 1 if it is no multiple choice.

    `BATCHED` names those of `TOKEN_COLUMNS` that batches hold too, with 0 for padding.
    """

    TOKEN_COLUMNS: ClassVar[tuple[str, ...]] = ("input_ids",)
    SEQUENCE_COLUMNS: ClassVar[tuple[str, ...]] = ("lengths", "first_lengths", "full_lengths")
    EXAMPLE_COLUMNS: ClassVar[tuple[str, ...]] = ("labels",)
    BATCHED: ClassVar[tuple[str, ...]] = ()

    input_ids: np.ndarray
    lengths: np.ndarray
    first_lengths: np.ndarray
    full_lengths: np.ndarray
    labels: np.ndarray | None
    num_choices: int = 1

    def __len__(self) -> int:
        """The number of examples."""
        return len(self.lengths) // self.num_choices

    @functools.cached_property
    def starts(self) -> np.ndarray:
        """int64 [sequences]. The first token of each sequence."""
        return np.cumsum(self.lengths, dtype=np.int64) - self.lengths


class Spans(NamedTuple):
    """Encoded texts as ranges of an array: text i is ids[starts[i] : starts[i] + lengths[i]].

    Starts and lengths are int64. Equal texts share a range.
    """

    ids: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    def take(self, texts: np.ndarray) -> "Spans":
        """The texts with these numbers, in this order."""
        return self._replace(starts=self.starts[texts], lengths=self.lengths[texts])

    def first(self, lengths: np.ndarray) -> "Spans":
        """The first pieces of every text."""
        return self._replace(lengths=lengths)

    def last(self, lengths: np.ndarray) -> "Spans":
        """The last pieces of every text."""
        return self._replace(starts=self.starts + self.lengths - lengths, lengths=lengths)


def text_features(
    tokenizer: Tokenizer, texts: tuple[Sequence[str], ...], labels: np.ndarray | None, max_seq_length: int
) -> Features:
    """[CLS] A [SEP] of one column of texts, [CLS] A [SEP] B [SEP] of two, no longer than `max_seq_length`.

    A text that is too long loses its end; a pair is cut as `truncated_pair` says.
    """
    columns = [encode_column(tokenizer, column, "tokenizing") for column in texts]
    room = max_seq_length - 1 - len(columns)
    lengths = [column.lengths for column in columns]
    kept: Sequence[np.ndarray] = [np.minimum(lengths[0], room)]
    if len(columns) == 2:
        kept = truncated_pair(lengths[0], lengths[1], room)
    return join(
        tokenizer,
        [column.first(length) for column, length in zip(columns, kept, strict=True)],
        full_lengths=np.sum(lengths, axis=0) + 1 + len(columns),
        labels=labels,
    )


def truncated_pair(a: np.ndarray, b: np.ndarray, room: int) -> tuple[np.ndarray, np.ndarray]:
    """Lengths after popping from the longer of each pair, from b on ties, until a + b <= room."""
    kept = np.minimum(a, np.maximum(room - b, (room + 1) // 2))
    return kept, np.minimum(b, room - kept)


def encode_column(tokenizer: Tokenizer, texts: Sequence[str], description: str) -> Spans:
    """The pieces of texts, of which equal ones are encoded once."""
    number = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    ids, lengths = encode_in_parallel(tokenizer, list(number), description)
    unique = Spans(ids, np.cumsum(lengths) - lengths, lengths)
    return unique.take(np.fromiter(map(number.__getitem__, texts), np.int64, len(texts)))


def join(
    tokenizer: Tokenizer,
    segments: Sequence[Spans],
    *,
    full_lengths: np.ndarray,
    labels: np.ndarray | None,
    num_choices: int = 1,
) -> Features:
    """Sequences of [CLS], the first segment, [SEP] and, if there is a second segment, that and [SEP]."""
    special = np.array([tokenizer.cls_id, tokenizer.sep_id], tokenizer.id_dtype)
    source = np.concatenate([special, *(segment.ids for segment in segments)])
    one = np.ones(len(full_lengths), np.int64)
    starts, parts = [0 * one], [one]
    offset = len(special)
    for segment in segments:
        starts += [segment.starts + offset, one]
        parts += [segment.lengths, one]
        offset += len(segment.ids)
    lengths = np.stack(parts, axis=1)
    return Features(
        input_ids=concatenated(source, np.stack(starts, axis=1).ravel(), lengths.ravel()),
        lengths=lengths.sum(axis=1, dtype=np.int32),
        first_lengths=lengths[:, :3].sum(axis=1, dtype=np.int32),
        full_lengths=full_lengths.astype(np.int32),
        labels=labels,
        num_choices=num_choices,
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


def required(values: np.ndarray | None) -> np.ndarray:
    """The values; ValueError if there are none."""
    if values is None:
        raise ValueError("required values are missing")
    return values
