"""Pairs of texts into the arrays of pretraining records: [CLS] A [SEP] B [SEP], masked."""

import numpy as np

from albert_tf.tokenization import Tokenizer
from data_prep.masking import MaskingOptions, mask
from data_prep.segments import SPECIAL_PIECES, Pairs, span_indices


def make_examples(
    ids: np.ndarray,
    pairs: Pairs,
    tokenizer: Tokenizer,
    max_seq_length: int,
    options: MaskingOptions,
    rng: np.random.Generator,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The features of a batch of examples (see `albert_tf.records`), one row for each pair of texts in `ids`.

    A and B each begin a masking unit, also where truncation left the rest of a word at their front. So no
    unit reaches across [SEP], while an n-gram may.

    Returns:
      The features, and int64 [ngram + 1], how many n-grams of each n are masked.
    """
    examples = len(pairs)
    lengths = pairs.lengths.astype(np.int64)
    example_lengths = lengths.sum(axis=1)
    real = example_lengths + SPECIAL_PIECES
    row_starts = np.arange(examples) * max_seq_length
    first_sep = row_starts + 1 + lengths[:, 0]
    last_sep = row_starts + real - 1

    # The pieces of A, B, A, B, ... end to end: where each comes from and the cell it goes to.
    spans = lengths.ravel()
    ids = ids[span_indices(pairs.starts.ravel(), spans)]
    cell = span_indices(np.stack([row_starts + 1, first_sep + 1], axis=1).ravel(), spans)
    is_word_start = tokenizer.is_word_start[ids]
    is_unit_start = is_word_start.copy() if options.do_whole_word_mask else np.ones_like(is_word_start)
    is_unit_start[np.cumsum(spans) - spans] = True
    masked = mask(ids, is_unit_start, example_lengths, tokenizer.mask_id, tokenizer.vocab_size, options, rng)

    shape = (examples, max_seq_length)
    input_ids = np.zeros(shape, tokenizer.id_dtype)
    boundary = np.zeros(shape, np.uint8)
    input_ids.ravel()[cell] = masked.ids
    boundary.ravel()[cell] = is_word_start
    for cells, id in (
        (row_starts, tokenizer.cls_id),
        (first_sep, tokenizer.sep_id),
        (last_sep, tokenizer.sep_id),
    ):
        input_ids.ravel()[cells] = id
        boundary.ravel()[cells] = 1
    position = np.arange(max_seq_length)
    inside = position < real[:, None]

    cells = cell[masked.predicted]
    rows = cells // max_seq_length
    nth = np.arange(rows.size) - np.searchsorted(rows, rows)  # which prediction of its example
    predictions = (examples, options.predictions_length)
    positions = np.zeros(predictions, np.uint16 if max_seq_length <= 1 << 16 else np.uint32)
    labels = np.zeros(predictions, tokenizer.id_dtype)
    weights = np.zeros(predictions, np.float32)
    positions[rows, nth] = cells % max_seq_length
    labels[rows, nth] = ids[masked.predicted]
    weights[rows, nth] = 1
    features = {
        "input_ids": input_ids,
        "input_mask": inside.astype(np.uint8),
        "segment_ids": (inside & (position > lengths[:, :1] + 1)).astype(np.uint8),
        "token_boundary": boundary,
        "masked_lm_positions": positions,
        "masked_lm_ids": labels,
        "masked_lm_weights": weights,
        "next_sentence_labels": pairs.labels[:, None],
    }
    return features, masked.ngrams
