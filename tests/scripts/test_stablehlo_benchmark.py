"""The exported training step: another runtime finds TensorFlow's numbers."""

import numpy as np
import pytest

from benchmarks import run_stablehlo, stablehlo
from tests.support.script_runs import run_script

SIZES = {"preset": "tiny", "batch_size": 4, "max_seq_length": 16, "max_predictions_per_seq": 3}


@pytest.mark.parametrize(
    ("flags", "rounding"),
    [
        ({"task": "pretraining"}, 1e-5),
        ({"task": "classification", "mixed_precision": "float16", "recompute": True}, 5e-3),
    ],
)
def test_jax_finds_the_losses_gradients_weights_and_moments_of_tensorflow(flags, rounding, tmp_path):
    pytest.importorskip("jax", reason="jax is missing: pip install -e '.[stablehlo]'")
    folder = tmp_path / "step"
    assert run_script(stablehlo.main, SIZES | flags | {"output_dir": folder}) == 0
    step = run_stablehlo.Step(str(folder), "cpu")
    expected, found = step.expected(), step.numbers()
    assert expected.keys() == found.keys() >= {"losses", "gradient norms", "weights", "adam_m", "adam_v"}
    assert expected["losses"][-1] < expected["losses"][0]
    assert max(run_stablehlo.differences(expected, found).values()) < rounding


def test_a_difference_is_measured_by_the_largest_number_of_its_kind():
    expected = {"weights": np.array([4.0, -8.0, 0.0]), "losses": np.array([2.0])}
    found = {"weights": np.array([4.0, -8.0, 0.5]), "losses": np.array([2.5])}
    assert run_stablehlo.differences(expected, found) == {"weights": 0.0625, "losses": 0.25}


def test_arguments_are_constants_stored_numbers_or_normal_numbers_of_the_seed():
    arguments = [
        {"shape": [2], "dtype": "int64", "fill": 3},
        {"shape": [1], "dtype": "float32"},
        {"shape": [40, 50], "dtype": "float32", "normal": 0.02},
    ]
    step = {"seed": 1, "arguments": arguments}
    constant, stored, normal = run_stablehlo.make_arguments(step, {"argument 1": np.float32([7])})
    assert constant.dtype == np.int64
    assert constant.tolist() == [3, 3]
    assert stored == [7]
    assert normal.std() == pytest.approx(0.02, rel=0.1)
    assert (normal == run_stablehlo.make_arguments(step, {"argument 1": stored})[2]).all()
