"""The port of the original's alignment that the benchmark compares with."""

import numpy as np
import pytest

from benchmarks.squad_features import (
    align_by_lcs,
    interpolate,
    pieces_by_alignment,
    pieces_by_offsets,
    zero,
)
from tests.support.goldens import GOLDENS


@pytest.mark.parametrize("side", ["start", "end"])
def test_positions_that_are_not_aligned_lie_between_their_neighbours(side):
    golden = GOLDENS["squad_eval"]["convert_index"]
    found = [interpolate(golden["index"], i, golden["m"], side == "start") for i in range(6)]
    assert found == golden[side]


def test_accents_are_aligned_and_the_second_of_two_spaces_is_not():
    matrices = np.ones((2, 9, 9))
    zero(matrices)
    joined_of_text, text_of_joined = align_by_lcs("Été,  là", " ete, la", matrices)
    assert joined_of_text == [1, 2, 3, 4, 5, None, 6, 7]
    assert text_of_joined == [None, 0, 1, 2, 3, 4, 6, 7]


def test_a_text_of_other_characters_is_dropped():
    assert align_by_lcs("한국어", " 한국어", np.zeros((2, 4, 4))) is None


def test_both_ways_find_the_pieces_of_an_answer():
    pieces, begins, ends = ["▁the", "▁", "▁", "é", "t", "é"], [0, 5, 5, 5, 6, 7], [3, 5, 5, 6, 7, 8]
    assert pieces_by_offsets(np.array(begins), np.array(ends), (5, 8)) == (3, 5)
    aligned = ([1, 2, 3, 4, 5, 6, None, 8], [])
    assert pieces_by_alignment(pieces, aligned, (5, 8), 9) == (3, 5)
