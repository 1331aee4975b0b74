"""Masks drawn while training: n-gram whole-word masking of unmasked records, and the order of their texts.

The choices and their distributions are those of `data_prep.static_masking`, here in TensorFlow, for a whole
batch. The masks of a record depend on the seed, the epoch and the record's number; neither its batch nor the
number of devices changes them.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from albert_tf.data.masking import (
    MASKED_SHARE,
    SPECIAL_PIECES,
    UNCHANGED_SHARE,
    MaskingOptions,
    ngram_probabilities,
)


def draw_chance(seed: int, epoch: tf.Tensor, number: tf.Tensor, max_seq_length: int) -> tf.Tensor:
    """The numbers in [0, 1) that `draw_masks` needs for one record: float32 [1 + 4 * max_seq_length].

    Epoch (how often all records were seen before) and number (it tells the record from all others) are int64.
    """
    key = tf.random.fold_in(tf.stack([tf.constant(seed, tf.int64), epoch]), number, alg="philox")
    return tf.random.stateless_uniform([1 + 4 * max_seq_length], key, alg="philox")


def draw_masks(
    records: Mapping[str, tf.Tensor], chance: tf.Tensor, vocab_size: int, options: MaskingOptions
) -> dict[str, tf.Tensor]:
    """Draws the order of the texts of a batch of unmasked records, and their masks.

    Args:
      records: what `albert_tf.data.records.parse_unmasked_batch` gives.
      chance: float32 [batch, 1 + 4 * max_seq_length], what `draw_chance` gives for each record.
      vocab_size: random pieces come from the whole vocabulary.
      options: what is to be predicted. Here nothing is permuted.

    Returns:
      What `albert_tf.data.records.parse_pretraining_batch` gives for masked records, with
      `options.max_predictions_per_seq` predictions.
    """
    length = records["input_ids"].shape[1]
    first_unit, ngram, fate, piece = tf.unstack(tf.reshape(chance[:, 1:], [-1, 4, length]), axis=1)
    swapped = (records["may_swap"] == 1) & (chance[:, 0] < 0.5)
    texts = _texts(records, swapped)
    chosen = _choose(texts, first_unit, ngram, options)

    random = tf.cast(piece * vocab_size, tf.int32)
    seen = tf.where(fate < MASKED_SHARE + UNCHANGED_SHARE, texts.ids, random)
    seen = tf.where(fate < MASKED_SHARE, records["mask_id"][:, None], seen)
    positions, is_prediction = _positions(chosen, options.max_predictions_per_seq)
    labels = records["next_sentence_labels"]
    return {
        "input_ids": tf.where(chosen, seen, texts.ids),
        "input_mask": tf.cast(texts.inside, tf.int32),
        "segment_ids": tf.cast(texts.inside & (tf.range(length) >= texts.second), tf.int32),
        "masked_lm_positions": positions,
        "masked_lm_ids": tf.where(is_prediction, tf.gather(texts.ids, positions, batch_dims=1), 0),
        "masked_lm_weights": tf.cast(is_prediction, tf.float32),
        "next_sentence_labels": tf.where(swapped, 1 - labels, labels),
    }


class _Texts(NamedTuple):
    """[CLS] A [SEP] B [SEP] of a batch, in the order drawn; [batch, length] each, but for `second`."""

    ids: tf.Tensor
    is_word_start: tf.Tensor
    inside: tf.Tensor  # false for padding
    is_special: tf.Tensor
    second: tf.Tensor  # [batch, 1], the position at which B begins; A begins at 1


def _texts(records: Mapping[str, tf.Tensor], swapped: tf.Tensor) -> _Texts:
    segments = records["segment_ids"]
    position = tf.range(segments.shape[1])
    end = tf.reduce_max(segments * (position + 1), axis=1, keepdims=True)
    b_and_sep = tf.reduce_sum(segments, axis=1, keepdims=True)
    a_and_sep = end - 1 - b_and_sep
    # Swapping A [SEP] and B [SEP] rotates what follows [CLS].
    turn = tf.where(swapped[:, None], a_and_sep, 0)
    inside = position < end
    source = tf.where(inside & (position > 0), 1 + (position - 1 + turn) % (end - 1), position)
    second = 1 + tf.where(swapped[:, None], b_and_sep, a_and_sep)
    return _Texts(
        ids=tf.gather(records["input_ids"], source, batch_dims=1),
        is_word_start=tf.gather(records["token_boundary"], source, batch_dims=1) == 1,
        inside=inside,
        is_special=(position == 0) | (position == second - 1) | (position == end - 1),
        second=second,
    )


def _choose(texts: _Texts, first_unit: tf.Tensor, ngram: tf.Tensor, options: MaskingOptions) -> tf.Tensor:
    """Chooses the pieces to predict; returns bool [batch, length]."""
    position = tf.range(texts.ids.shape[1])
    is_piece = texts.inside & ~texts.is_special
    is_unit_start = is_piece
    if options.do_whole_word_mask:
        is_unit_start &= texts.is_word_start | (position == 1) | (position == texts.second)
    # Units and pieces are counted through the batch, without special pieces.
    pieces_before = tf.cumsum(tf.cast(tf.reshape(is_piece, [-1]), tf.int32), exclusive=True)
    unit_of = tf.cumsum(tf.cast(tf.reshape(is_unit_start, [-1]), tf.int32)) - 1
    pieces = tf.reduce_sum(tf.cast(is_piece, tf.int32), axis=1)
    # A static shape, as XLA needs it: units that do not exist begin at the end.
    most = tf.size(unit_of)
    number = tf.where(tf.reshape(is_unit_start, [-1]), unit_of, most + 1)
    unit_starts = tf.fill([most + 2], tf.reduce_sum(pieces))
    unit_starts = tf.tensor_scatter_nd_update(unit_starts, number[:, None], pieces_before)[:-1]
    chosen = choose_units(
        unit_starts,
        tf.reduce_sum(tf.cast(is_unit_start, tf.int32), axis=1),
        _numbers_to_predict(pieces, options),
        first_unit,
        ngram,
        options,
    )
    return is_piece & tf.reshape(tf.gather(chosen, tf.maximum(unit_of, 0)), tf.shape(is_piece))


def choose_units(
    unit_starts: tf.Tensor,
    units: tf.Tensor,
    quota: tf.Tensor,
    first_unit: tf.Tensor,
    ngram: tf.Tensor,
    options: MaskingOptions,
) -> tf.Tensor:
    """Chooses n-grams of units for each record until its quota of pieces is filled.

    It does what `data_prep.static_masking.choose_units` does: each step of the loop tries the next unit of
    every record, in random order, as the first of an n-gram.

    Args:
      unit_starts: int32 [all units + 1, or more]. The first piece of each unit of the batch, and the end.
      units: int32 [batch]. The number of units of each record.
      quota: int32 [batch]. The most pieces to choose.
      first_unit: float32 [batch, the most units, or more]. Uniform numbers; their order is that of the units.
      ngram: float32, the same shape. Uniform numbers, which say how many units each step chooses together.
      options: `ngram` and `favor_shorter_ngram` count here.

    Returns:
      bool, the shape of `unit_starts`. The last element is no unit.
    """
    end = tf.cumsum(units)
    nothing = tf.size(unit_starts) - 1  # stands for "no unit"
    sizes = tf.concat([unit_starts[1:] - unit_starts[:-1], [0]], axis=0)
    is_unit = tf.range(tf.shape(first_unit)[1]) < units[:, None]
    order = tf.transpose((end - units)[:, None] + tf.argsort(tf.where(is_unit, first_unit, 1.0)))
    ngram = tf.transpose(ngram)
    cumulative = np.cumsum(ngram_probabilities(options))[:-1].astype(np.float32)

    def has_more(step, left, taken):
        return (left > 0) & (step < units)

    def try_next(step, left, taken):
        unit = tf.where(has_more(step, left, taken), order[step], nothing)
        wanted = 1 + tf.reduce_sum(tf.cast(ngram[step][:, None] >= cumulative, tf.int32), axis=1)
        stop = tf.minimum(unit + wanted, end)
        for _ in range(options.ngram):
            stop -= tf.cast(tf.gather(unit_starts, stop) - tf.gather(unit_starts, unit) > left, tf.int32)
        members = unit[:, None] + tf.range(options.ngram)
        members = tf.where(members < stop[:, None], members, nothing)
        is_free = ~tf.reduce_any(tf.gather(taken, members), axis=1, keepdims=True)
        members = tf.where(is_free, members, nothing)
        taken = tf.tensor_scatter_nd_update(
            taken, tf.reshape(members, [-1, 1]), tf.reshape(members < nothing, [-1])
        )
        return step + 1, left - tf.reduce_sum(tf.gather(sizes, members), axis=1), taken

    _, _, taken = tf.while_loop(
        lambda *state: tf.reduce_any(has_more(*state)),
        try_next,
        (0, quota, tf.zeros([nothing + 1], bool)),
        parallel_iterations=1,
    )
    return taken


def _numbers_to_predict(pieces: tf.Tensor, options: MaskingOptions) -> tf.Tensor:
    """What `data_prep.static_masking.numbers_to_predict` gives."""
    if not options.masked_lm_prob:
        return tf.zeros_like(pieces)
    wanted = tf.round(tf.cast(pieces + SPECIAL_PIECES, tf.float64) * options.masked_lm_prob)
    return tf.clip_by_value(tf.cast(wanted, tf.int32), 1, options.max_predictions_per_seq)


def _positions(chosen: tf.Tensor, count: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The chosen positions, ascending, int32 [batch, count], padded with 0; and bool, false for padding."""
    length = chosen.shape[1]
    from_end = tf.where(chosen, length - tf.range(length), 0)
    largest = tf.math.top_k(from_end, min(count, length)).values
    largest = tf.pad(largest, [[0, 0], [0, count - largest.shape[1]]])
    is_prediction = largest > 0
    return tf.where(is_prediction, length - largest, 0), is_prediction
