"""Pairs of texts into the arrays of pretraining records: [CLS] A [SEP] B [SEP], masked or not."""

from typing import NamedTuple

import numpy as np

from albert_tf.data.masking import MaskingOptions
from albert_tf.tokenization import Tokenizer
from data_prep.segments import Pairs, span_indices
from data_prep.static_masking import mask


def make_examples(
    ids: np.ndarray,
    pairs: Pairs,
    tokenizer: Tokenizer,
    max_seq_length: int,
    options: MaskingOptions,
    rng: np.random.Generator,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The features of a batch of examples (see `albert_tf.data.records`), and `Masked.ngrams`.

    A and B each begin a masking unit, even if truncation left the rest of a word at their front. So no unit
    crosses [SEP]; an n-gram may.
    """
    layout = _lay_out(ids, pairs, tokenizer, max_seq_length)
    ids, is_word_start = layout.ids, layout.is_word_start
    is_unit_start = is_word_start.copy() if options.do_whole_word_mask else np.ones_like(is_word_start)
    is_unit_start[layout.text_starts] = True
    example_lengths = pairs.lengths.sum(axis=1, dtype=np.int64)
    masked = mask(ids, is_unit_start, example_lengths, tokenizer.mask_id, tokenizer.vocab_size, options, rng)

    cells = layout.cells[masked.predicted]
    rows = cells // max_seq_length
    nth = np.arange(rows.size) - np.searchsorted(rows, rows)  # which prediction of its example
    predictions = (len(pairs), options.predictions_length)
    positions = np.zeros(predictions, np.uint16 if max_seq_length <= 1 << 16 else np.uint32)
    labels = np.zeros(predictions, tokenizer.id_dtype)
    weights = np.zeros(predictions, np.float32)
    positions[rows, nth] = cells % max_seq_length
    labels[rows, nth] = ids[masked.predicted]
    weights[rows, nth] = 1
    features = _features(layout._replace(ids=masked.ids), pairs, tokenizer, max_seq_length) | {
        "masked_lm_positions": positions,
        "masked_lm_ids": labels,
        "masked_lm_weights": weights,
    }
    return features, masked.ngrams


def make_unmasked_examples(
    ids: np.ndarray, pairs: Pairs, tokenizer: Tokenizer, max_seq_length: int
) -> dict[str, np.ndarray]:
    """The features of a batch of unmasked examples, see `albert_tf.data.records`."""
    features = _features(_lay_out(ids, pairs, tokenizer, max_seq_length), pairs, tokenizer, max_seq_length)
    del features["input_mask"]  # `segment_ids` tells where the padding begins
    return features | {
        "may_swap": pairs.may_swap[:, None],
        "mask_id": np.full((len(pairs), 1), tokenizer.mask_id, tokenizer.id_dtype),
    }


class _Layout(NamedTuple):
    """The pieces of A, B, A, B, ... of a batch end to end, without special pieces.

    Attributes:
      ids: unsigned [pieces].
      is_word_start: bool [pieces].
      cells: int64 [pieces]. The place of each piece in the flat array of [examples * max_seq_length].
      text_starts: int64 [examples * 2]. The first piece of each A and B.
    """

    ids: np.ndarray
    is_word_start: np.ndarray
    cells: np.ndarray
    text_starts: np.ndarray


def _lay_out(ids: np.ndarray, pairs: Pairs, tokenizer: Tokenizer, max_seq_length: int) -> _Layout:
    first_cells = np.arange(len(pairs)) * max_seq_length + 1
    first_cells = np.stack([first_cells, first_cells + pairs.lengths[:, 0] + 1], axis=1)
    spans = pairs.lengths.ravel().astype(np.int64)
    ids = ids[span_indices(pairs.starts.ravel(), spans)]
    cells = span_indices(first_cells.ravel(), spans)
    return _Layout(ids, tokenizer.is_word_start[ids], cells, np.cumsum(spans) - spans)


def _features(
    layout: _Layout, pairs: Pairs, tokenizer: Tokenizer, max_seq_length: int
) -> dict[str, np.ndarray]:
    """What masked and unmasked examples have in common."""
    shape = (len(pairs), max_seq_length)
    first_sep = pairs.lengths[:, 0].astype(np.int64) + 1
    last_sep = first_sep + pairs.lengths[:, 1] + 1
    input_ids = np.zeros(shape, tokenizer.id_dtype)
    boundary = np.zeros(shape, np.uint8)
    input_ids.ravel()[layout.cells] = layout.ids
    boundary.ravel()[layout.cells] = layout.is_word_start
    rows = np.arange(len(pairs))
    for positions, id in ((0, tokenizer.cls_id), (first_sep, tokenizer.sep_id), (last_sep, tokenizer.sep_id)):
        input_ids[rows, positions] = id
        boundary[rows, positions] = 1
    position = np.arange(max_seq_length)
    inside = position <= last_sep[:, None]
    return {
        "input_ids": input_ids,
        "input_mask": inside.astype(np.uint8),
        "segment_ids": (inside & (position > first_sep[:, None])).astype(np.uint8),
        "token_boundary": boundary,
        "next_sentence_labels": pairs.labels[:, None],
    }
