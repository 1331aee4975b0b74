"""Rows of several examples: each example whole and once, in as few rows as fit."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_tf.data.packing import NO_EXAMPLE, Room, pack
from tests.support.packable import make_batch


def unpacked(rows):
    """The examples of packed rows as tuples: ids, segments, predictions and the label."""
    found = []
    for row in range(len(rows["input_ids"])):
        starts = rows["example_starts"][row][rows["next_sentence_labels"][row] != NO_EXAMPLE].tolist()
        for number, (start, end) in enumerate(itertools.pairwise([*starts, rows["input_mask"].shape[1]])):
            positions = rows["masked_lm_positions"][row]
            is_own = (start <= positions) & (positions < end) & (rows["masked_lm_weights"][row] > 0)
            pieces = rows["input_mask"][row, start:end] > 0
            found.append(
                (
                    tuple(rows["input_ids"][row, start:end][pieces]),
                    tuple(rows["segment_ids"][row, start:end][pieces]),
                    tuple(positions[is_own] - start),
                    tuple(rows["masked_lm_ids"][row][is_own]),
                    int(rows["next_sentence_labels"][row, number]),
                )
            )
    return sorted(found)


def alone(batch):
    """The same batch with one example in each row."""
    count = len(batch["input_ids"])
    return batch | {
        "next_sentence_labels": batch["next_sentence_labels"][:, None],
        "example_starts": np.zeros([count, 1], np.int32),
    }


@settings(deadline=None, max_examples=50)
@given(
    lengths=st.lists(st.integers(5, 32), max_size=20),
    left_out=st.integers(0, 3),
    parts=st.integers(1, 4),
    seed=st.integers(0, 9),
)
def test_each_example_is_whole_and_once_in_rows_that_have_room(lengths, left_out, parts, seed):
    batch, room = make_batch(lengths, left_out=left_out, seed=seed), Room(32, 3, 7)
    rows = pack(batch, room, parts)
    assert unpacked(rows) == unpacked(alone(batch))
    assert len(rows["input_ids"]) % parts == 0
    assert rows["input_ids"].shape[1] == 32
    assert rows["next_sentence_labels"].shape[1] <= room.examples
    assert rows["masked_lm_ids"].shape[1] <= room.predictions
    assert rows["input_mask"].sum() == sum(lengths)


@pytest.mark.parametrize(
    ("lengths", "room", "rows"),
    [
        ([32, 20, 12, 16, 10, 6], Room(32, 8, 40), 3),  # 32, 20 + 12, 16 + 10 + 6
        ([20, 14, 12, 9, 9], Room(32, 8, 40), 2),  # 20 + 12, 14 + 9 + 9
        ([5] * 6, Room(32, 8, 40), 1),
        ([5] * 6, Room(32, 2, 40), 3),  # no more than two examples
        ([5] * 6, Room(32, 8, 4), 2),  # no more than four predictions
        ([], Room(32, 8, 40), 1),
    ],
)
def test_the_longest_examples_come_first_into_the_fullest_row_with_room(lengths, room, rows):
    assert len(pack(make_batch(lengths), room)["input_ids"]) == rows


@pytest.mark.parametrize(("parts", "rows"), [(1, 7), (2, 8), (3, 12), (4, 12), (5, 15), (6, 12), (12, 12)])
def test_rows_fill_as_few_parts_as_hold_them(parts, rows):
    batch = make_batch([32] * 6 + [5] * 6)  # the short ones share a row: 7 rows
    packed = pack(batch, Room(32, 8, 40), parts)
    assert len(packed["input_ids"]) == rows
    assert packed["input_mask"][:7].any(axis=1).all()


@pytest.mark.parametrize(
    ("length", "most", "room"),
    [(512, 20, (512, 32, 40)), (512, 77, (512, 32, 93)), (128, 20, (128, 8, 24)), (16, 20, (16, 2, 20))],
)
def test_a_row_has_room_for_twice_the_predictions_but_not_for_more_than_a_share(length, most, room):
    assert Room.of(length, most)[:3] == room
