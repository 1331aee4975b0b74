"""`Features`: the token ids of a split, end to end, and how texts become them."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from albert_tf.tokenization import Tokenizer
from albert_tf.tokenization.parallel import encode_in_parallel
from albert_tf.tokenization.sequences import Spans, kept_lengths, sequences_of


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


def text_features(
    tokenizer: Tokenizer, texts: tuple[Sequence[str], ...], labels: np.ndarray | None, max_seq_length: int
) -> Features:
    """[CLS] A [SEP] of one column of texts, [CLS] A [SEP] B [SEP] of two, no longer than `max_seq_length`.

    Texts that are too long are cut as `kept_lengths` says.
    """
    columns = [encode_column(tokenizer, column, "tokenizing") for column in texts]
    lengths = [column.lengths for column in columns]
    kept = kept_lengths(lengths, max_seq_length)
    return join(
        tokenizer,
        [column.first(length) for column, length in zip(columns, kept, strict=True)],
        full_lengths=np.sum(lengths, axis=0) + 1 + len(columns),
        labels=labels,
    )


def encode_column(tokenizer: Tokenizer, texts: Sequence[str], description: str) -> Spans:
    """The pieces of texts, of which equal ones are encoded once."""
    number = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    ids, lengths = encode_in_parallel(tokenizer, list(number), description)
    unique = Spans.end_to_end(ids, lengths)
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
    made = sequences_of(segments, tokenizer.cls_id, tokenizer.sep_id)
    return Features(
        input_ids=made.ids,
        lengths=made.lengths,
        first_lengths=made.first_lengths,
        full_lengths=full_lengths.astype(np.int32),
        labels=labels,
        num_choices=num_choices,
    )


def required(values: np.ndarray | None) -> np.ndarray:
    """The values; ValueError if there are none."""
    if values is None:
        raise ValueError("required values are missing")
    return values
