"""Rows of pretraining that hold several whole examples, so that few of their positions are padding.

The examples of a batch share its rows. So a step has the same examples, packed or not; packed, it has fewer
rows. Neither an order nor a buffer is needed: the rows are a function of the batch.
"""

import bisect
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from albert_tf.data.masking import MaskingOptions, predictions_for

NO_EXAMPLE = -1  # the sentence-order label of a place that no example takes

_POSITIONS_OF_AN_EXAMPLE = 16  # a row has room for one example for so many positions
_SEQUENCES = ("input_ids", "input_mask", "segment_ids")
_PREDICTIONS = ("masked_lm_positions", "masked_lm_ids", "masked_lm_weights")


class Room(NamedTuple):
    """What a row has room for; if `rows` is given, a batch has so many rows, and its shapes are static."""

    positions: int
    examples: int
    predictions: int
    rows: int | None = None

    @classmethod
    def of(cls, max_seq_length: int, max_predictions: int, rows: int | None = None) -> "Room":
        """The room of rows of that length for examples that have at most `max_predictions` each.

        The predictions of a row are at most twice those of an example, and at most 15 % of the positions. The
        quota of each example is rounded, so each may need half a prediction more.
        """
        examples = max(2, max_seq_length // _POSITIONS_OF_AN_EXAMPLE)
        quotas = predictions_for(max_seq_length, MaskingOptions.masked_lm_prob) + examples // 2
        return cls(max_seq_length, examples, max(max_predictions, min(2 * max_predictions, quotas)), rows)


def packed(batches: tf.data.Dataset, room: Room, parts: int = 1) -> tf.data.Dataset:
    """Has `pack` put the examples of each batch into rows.

    Takes what `albert_tf.data.records.parse_pretraining_batch` gives. The tensors have the types there.
    """
    places, predictions = (room.examples, room.predictions) if room.rows else (None, None)
    widths = dict.fromkeys(_SEQUENCES, room.positions) | dict.fromkeys(_PREDICTIONS, predictions)

    def pack_batch(batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        names = sorted(batch)

        def work(*values: np.ndarray) -> list[np.ndarray]:
            return list(pack(dict(zip(names, values, strict=True)), room, parts).values())

        kinds = {name: batch[name].dtype for name in names} | {"example_starts": tf.int32}
        values = tf.numpy_function(work, [batch[name] for name in names], list(kinds.values()))
        pairs = zip(kinds, values, strict=True)
        return {name: tf.ensure_shape(value, [room.rows, widths.get(name, places)]) for name, value in pairs}

    return batches.map(pack_batch, num_parallel_calls=tf.data.AUTOTUNE)


def pack(batch: Mapping[str, np.ndarray], room: Room, parts: int = 1) -> dict[str, np.ndarray]:
    """The rows of a batch, in which `NO_EXAMPLE` marks examples to leave out.

    The rows are in `parts` consecutive parts of one size, none of which has more rows than it would have with
    one example in each. Rows without an example come last. A row has as many places for examples and for
    predictions as the fullest row needs. If `room` says the number of rows, there are so many, each with all
    its places; it must be at least the number of examples.

    Returns:
      input_ids, input_mask, segment_ids: [rows, positions]; masked_lm_positions, masked_lm_ids,
      masked_lm_weights: [rows, predictions]; next_sentence_labels, [rows, examples], `NO_EXAMPLE` where there
      is none; and example_starts, int32, the same shape: the position at which each example begins, ascending
      and padded with 0. The other types are those of the batch.
    """
    is_example = batch["next_sentence_labels"] != NO_EXAMPLE
    ends = np.arange(1, room.positions + 1)
    is_prediction = (batch["masked_lm_weights"] > 0) & is_example[:, None]
    predictions = is_prediction.sum(axis=1)
    pieces = np.max(ends * (batch["input_mask"] > 0), axis=1)
    read = np.max((batch["masked_lm_positions"] + 1) * is_prediction, axis=1, initial=1)
    lengths = np.where(is_example, np.maximum(pieces, read), 0)
    row, number, start, first = _best_fit(lengths, predictions, room).T

    rows, examples = room.rows, room.examples
    widest = room.predictions
    if rows is None:
        # In as few parts as hold the rows, of about the same number of rows; the other parts are empty.
        filled, size = max(1, row.max(initial=-1) + 1), max(1, -(-len(row) // parts))
        rows = parts * -(-filled // -(-filled // size))
        examples, widest = number.max(initial=0) + 1, max(1, np.max(first + predictions, initial=0))
    widths = dict.fromkeys(_SEQUENCES, room.positions) | dict.fromkeys(_PREDICTIONS, widest)
    packed = {name: np.zeros([rows, width], batch[name].dtype) for name, width in widths.items()}
    labels = batch["next_sentence_labels"]
    packed["next_sentence_labels"] = np.full([rows, examples], NO_EXAMPLE, labels.dtype)
    packed["example_starts"] = np.zeros([rows, examples], np.int32)

    place = row[is_example], number[is_example]
    packed["next_sentence_labels"][place] = labels[is_example]
    packed["example_starts"][place] = start[is_example]
    example, position = np.nonzero(ends <= lengths[:, None])
    for name in _SEQUENCES:
        packed[name][row[example], start[example] + position] = batch[name][example, position]
    example, column = np.nonzero(is_prediction)
    place = row[example], first[example] + (np.cumsum(is_prediction, axis=1) - 1)[example, column]
    for name in _PREDICTIONS:
        packed[name][place] = batch[name][example, column]
    packed["masked_lm_positions"][place] += start[example].astype(packed["masked_lm_positions"].dtype)
    return {name: packed[name] for name in (*sorted(batch), "example_starts")}


def _best_fit(lengths: np.ndarray, predictions: np.ndarray, room: Room) -> np.ndarray:
    """Finds places, the longest examples first, each in the fullest row that has room.

    Returns:
      int64 [examples, 4]: the row of each example, its number there, and the positions and predictions before
      it in that row. An example of length 0 gets no place: its row is -1.
    """
    places = np.zeros([len(lengths), 4], np.int64)
    places[lengths == 0, 0] = -1
    taken: list[tuple[int, int]] = []  # of each row: examples and predictions
    open_rows: list[tuple[int, int]] = []  # (free positions, row), ascending
    for example in np.argsort(-lengths, kind="stable")[: np.count_nonzero(lengths)].tolist():
        positions, more = int(lengths[example]), int(predictions[example])
        fitting = bisect.bisect_left(open_rows, (positions, -1))
        while fitting < len(open_rows) and taken[open_rows[fitting][1]][1] + more > room.predictions:
            fitting += 1
        if fitting < len(open_rows):
            free, row = open_rows.pop(fitting)
        else:
            free, row = room.positions, len(taken)
            taken.append((0, 0))
        number, before = taken[row]
        places[example] = row, number, room.positions - free, before
        taken[row] = number + 1, before + more
        if number + 1 < room.examples and before + more < room.predictions:
            bisect.insort(open_rows, (free - positions, row))
    return places
