"""The comparison of exports: a table of all contenders, whose numbers agree."""

import functools

import pytest

from albert_tf import testing
from benchmarks import inference
from benchmarks.inference import Cell
from tests.script_runs import run_script

run = functools.partial(run_script, inference.main)
FLAGS = {
    "spm_model_file": testing.SPM_MODEL_FILE,
    "preset": "tiny",
    "contenders": "SavedModel,LiteRT float32",
    "batch_sizes": 2,
    "max_seq_lengths": 16,
    "num_threads": 1,
    "rounds": 2,
}


@pytest.mark.parametrize("head", ["classification", "encoder"])
def test_every_contender_has_a_row(capsys, head):
    assert run({**FLAGS, "head": head}) == 0
    rows = [
        line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| 2 x 16 |")
    ]
    assert {row[1] for row in rows[:-1]} == {"our SavedModel", "our LiteRT, float32"}
    assert rows[-1][1].startswith("limit")


def test_numbers_that_differ_are_not_timed(capsys, monkeypatch):
    monkeypatch.setattr(inference, "_ROUNDING", -1.0)
    assert run({**FLAGS, "contenders": "SavedModel"}) == 1
    assert "nothing is timed" in capsys.readouterr().err.splitlines()[-1]


def test_a_cell_tells_median_and_half_of_the_middle_half():
    cell = Cell([0.1, 0.2, 0.3, 0.4, 0.5], 1.0, 0.0)
    assert cell.milliseconds == pytest.approx(300)
    assert cell.spread == pytest.approx(1 / 3)
