"""The comparison of exports: a table of all contenders, whose numbers agree."""

import numpy as np
import pytest

from albert_tf import testing
from albert_tf.errors import InputError
from benchmarks import inference
from benchmarks.inference import Cell
from tests.support.script_runs import run_script


class Fake:
    """A contender that gives one number."""

    def __init__(self, name: str, number: float):
        self.name = name
        self._outputs = {"pooled": np.array([number])}

    def first(self, batch):
        return self._outputs, 1.0

    def time(self, runs):
        return [1.0] * runs

    def memory_mb(self):
        return 10.0


def options(**more) -> inference.BenchmarkOptions:
    return inference.BenchmarkOptions(spm_model_file=testing.SPM_MODEL_FILE, rounds=4, **more)


def test_every_contender_has_a_row(capsys):
    flags = {
        "spm_model_file": testing.SPM_MODEL_FILE,
        "preset": "tiny",
        "contenders": "SavedModel,LiteRT float32",
        "batch_sizes": 2,
        "max_seq_lengths": 16,
        "num_threads": 1,
        "rounds": 2,
    }
    assert run_script(inference.main, flags) == 0
    rows = [
        line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| 2 x 16 |")
    ]
    assert {row[1] for row in rows[:-1]} == {"our SavedModel, in Python", "our LiteRT, float32"}
    assert rows[-1][1].startswith("limit")


def test_numbers_that_differ_are_not_timed():
    entrants = [Fake("SavedModel", 1.0), Fake("ONNX", 1.001)]
    with pytest.raises(InputError, match=r"ONNX differs from SavedModel by 0.001: nothing is timed"):
        inference.measure(entrants, {}, options())


def test_the_difference_of_rounded_weights_is_told():
    cells = inference.measure([Fake("SavedModel", 1.0), Fake("LiteRT int8", 1.5)], {}, options())
    assert cells["LiteRT int8"].difference == 0.5


def test_turns_end_when_the_time_is_over_but_not_before_the_third():
    [cell] = inference.measure([Fake("SavedModel", 1.0)], {}, options(cell_seconds=0.0)).values()
    assert len(cell.seconds) == 3
    [cell] = inference.measure([Fake("SavedModel", 1.0)], {}, options()).values()
    assert len(cell.seconds) == 4


def test_a_cell_tells_median_and_half_of_the_middle_half():
    cell = Cell([0.1, 0.2, 0.3, 0.4, 0.5], 1.0, 0.0)
    assert cell.milliseconds == pytest.approx(300)
    assert cell.spread == pytest.approx(1 / 3)
