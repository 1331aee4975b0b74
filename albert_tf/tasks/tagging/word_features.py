"""Sentences and documents as windows of ids, with the word whose first piece a token is."""

import dataclasses
from typing import ClassVar

import numpy as np

from albert_tf.data.features import Features, join
from albert_tf.data.windows import cut, is_max_context
from albert_tf.tasks.tagging.reading import TaggedWords
from albert_tf.tokenization import Tokenizer
from albert_tf.tokenization.parallel import encode_with_offsets_in_parallel
from albert_tf.tokenization.sequences import Spans
from albert_tf.tokenization.tokenizer import TokenizedTexts
from albert_tf.tokenization.words import Words, shapes_of

NUM_SPECIAL = 2  # [CLS] window [SEP]
_WINDOWS_AT_ONCE = 1 << 12  # bounds the memory for indices


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class WordFeatures(Features):
    """Windows of texts; each word is decided in one of them, at its first piece.

    Attributes:
      words: int32 [tokens]. The number, through the split and from 1, of the word that is decided at a token;
        0 for none.
      tags: int32 [tokens]. The tag of that word, 0 for none; None if the split has no tags.
      word_shapes: uint8 [tokens]. Its `tokenization.words.Shape`; 0 for none.
    """

    words: np.ndarray
    tags: np.ndarray | None
    word_shapes: np.ndarray

    TOKEN_COLUMNS: ClassVar[tuple[str, ...]] = (*Features.TOKEN_COLUMNS, "words", "tags", "word_shapes")
    BATCHED: ClassVar[tuple[str, ...]] = ("words", "tags", "word_shapes")

    @property
    def decided(self) -> np.ndarray:
        """int32 [words]: the words that have a piece of their own, in order, from 0."""
        return np.sort(self.words[self.words > 0]) - 1


def stride_of(max_seq_length: int) -> int:
    """How far windows are apart: half of what one shows, so that every word has context in one of them."""
    return max(1, (max_seq_length - NUM_SPECIAL) // 2)


def word_features(tokenizer: Tokenizer, examples: TaggedWords, max_seq_length: int) -> WordFeatures:
    """[CLS] window [SEP] for as many windows as each text needs."""
    encoded = encode_with_offsets_in_parallel(tokenizer, examples.texts, "tokenizing")
    texts = Spans(encoded.ids, np.cumsum(encoded.lengths) - encoded.lengths, encoded.lengths)
    room = np.full(len(texts.lengths), max_seq_length - NUM_SPECIAL)
    windows = cut(texts.lengths, room, stride_of(max_seq_length))
    shown = texts.take(windows.text_of)
    shown = shown._replace(starts=shown.starts + windows.starts, lengths=windows.lengths)
    features = join(
        tokenizer, [shown], full_lengths=texts.lengths[windows.text_of] + NUM_SPECIAL, labels=None
    )

    word_of = np.zeros(len(encoded.ids), np.int32)  # of the pieces of all texts, from 1
    first = first_pieces(encoded, examples.words)
    numbers = np.flatnonzero(first >= 0)[::-1]  # of words that share a piece the first one stays
    word_of[first[numbers]] = numbers + 1
    words = np.zeros(len(features.input_ids), np.int32)
    for begin in range(0, len(windows.starts), _WINDOWS_AT_ONCE):
        lengths = windows.lengths[begin : begin + _WINDOWS_AT_ONCE]
        window_of = begin + np.repeat(np.arange(len(lengths)), lengths)
        place = np.arange(len(window_of)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        pieces = place + windows.starts[window_of]
        found = word_of[pieces + texts.starts[windows.text_of[window_of]]]
        found = np.where(is_max_context(windows, window_of, pieces), found, 0)
        words[place + features.starts[window_of] + 1] = found
    shapes = shapes_of(examples.texts, examples.words)
    return WordFeatures(
        **{field.name: getattr(features, field.name) for field in dataclasses.fields(Features)},
        words=words,
        tags=None if examples.tags is None else np.append(np.int32(0), examples.tags)[words],
        word_shapes=np.append(np.uint8(0), shapes)[words],
    )


def first_pieces(encoded: TokenizedTexts, words: Words) -> np.ndarray:
    """int64 [words]: the first piece of each word, counted through all texts; -1 if it has none."""
    # All texts in one row: each begins beyond the last character of the one before it.
    reach = 1 + max(int(values.max(initial=0)) for values in (encoded.ends, words.ends))
    shifts = np.repeat(np.arange(len(encoded.lengths)), encoded.lengths) * reach
    own = words.text_of.astype(np.int64) * reach
    first = np.searchsorted(encoded.ends + shifts, words.begins + own, side="right")
    begins = np.append(encoded.begins + shifts, np.iinfo(np.int64).max)
    return np.where(begins[first] < words.ends + own, first, -1)
