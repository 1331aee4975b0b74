"""A run that is killed at any moment ends with the same bits as one that is not."""

import dataclasses
import pathlib
import signal

import numpy as np
import pytest
import tensorflow as tf

from tests.support.killed_runs import Runner, job
from tests.support.pretraining_records import CONFIG, PREDICTIONS, SEQ_LENGTH, write_records

KILLS = 9


class PretrainingRunner(Runner):
    """run_pretraining.py in processes that may be killed."""

    def run(self, flags: dict[str, object], **when) -> int:
        log = f"{flags['output_dir']}.log"
        [status] = super().run(job("run_pretraining", flags, log, **when))
        return status


@pytest.fixture(scope="module")
def runner():
    runner = PretrainingRunner()
    yield runner
    runner.close()


@pytest.fixture
def flags(tmp_path) -> dict[str, object]:
    config = dataclasses.replace(CONFIG, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
    config.to_json_file(str(tmp_path / "albert_config.json"))
    return {
        "albert_config_file": tmp_path / "albert_config.json",
        "input_file": write_records(str(tmp_path / "train.tfrecord"), count=128),
        "max_seq_length": SEQ_LENGTH,
        "max_predictions_per_seq": PREDICTIONS,
        "train_batch_size": 8,
        "eval_batch_size": 128,
        "optimizer": "adamw",
        "learning_rate": 0.003,
        "num_train_steps": 45,
        "num_warmup_steps": 10,
        "save_checkpoints_steps": 3,
        "iterations_per_loop": 2,
        "do_eval": True,
        "deterministic": True,
    }


def log_of(folder: pathlib.Path) -> str:
    return pathlib.Path(f"{folder}.log").read_text()


def newest_step(folder: pathlib.Path) -> int:
    return max(
        (int(path.stem.rpartition("-")[2]) for path in folder.glob("model.ckpt-[0-9]*.index")), default=0
    )


def tensors(prefix: pathlib.Path) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(prefix))
    names = reader.get_variable_to_shape_map()
    return {name: reader.get_tensor(name) for name in names if not name.startswith("save_counter")}


def assert_same_checkpoint(first: pathlib.Path, second: pathlib.Path) -> None:
    ours, theirs = tensors(first), tensors(second)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)


def scalars(folder: pathlib.Path) -> dict[tuple[str, int], set[float]]:
    """TensorBoard's scalars by tag and step, without speed; several values if a step ran again."""
    found = {}
    for path in sorted(folder.glob("events*")):
        try:
            for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
                event = tf.compat.v1.Event.FromString(record)
                for value in event.summary.value:
                    if value.tag not in ("steps_per_second", "command", "flags"):
                        number = float(tf.make_ndarray(value.tensor))
                        found.setdefault((value.tag, event.step), set()).add(number)
        except tf.errors.DataLossError:
            pass  # the process was killed while it wrote its last event
    return found


def test_a_run_killed_nine_times_ends_as_one_that_was_not(flags, tmp_path, runner):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert runner.run({**flags, "output_dir": whole}) == 0
    rng = np.random.default_rng(8)
    for number in range(KILLS):
        step = newest_step(killed) + 3 * rng.integers(1, 3)
        written, saved = (str(killed / f"model.ckpt-{step}{end}") for end in ("_temp", ".index"))
        moment = [
            {"seconds": rng.uniform(0, 1.5)},  # as it starts
            {"wait_for": [written, saved], "seconds": rng.uniform(0, 0.01)},  # as it saves
            {"wait_for": [saved], "seconds": rng.uniform(0, 0.1)},  # afterwards
        ][number % 3]
        assert runner.run({**flags, "output_dir": killed}, **moment) == -9, log_of(killed)
    assert runner.run({**flags, "output_dir": killed}) == 0, log_of(killed)

    assert_same_checkpoint(killed / "model.ckpt-45", whole / "model.ckpt-45")
    assert_same_checkpoint(killed / "model.ckpt-best", whole / "model.ckpt-best")
    for name in ("history.json", "eval_results.txt", "eval_results.json"):
        assert (killed / name).read_text() == (whole / name).read_text()
    names = [
        {path.name for path in f.iterdir() if not path.name.startswith("events")} for f in (killed, whole)
    ]
    assert not {name for name in names[0] - names[1] if not name.startswith("model.ckpt-")}
    assert not [name for name in names[0] if name.endswith(("_temp", ".torn", ".incomplete"))]
    for part in ("train", "eval"):
        ours, theirs = scalars(killed / part), scalars(whole / part)
        assert theirs.items() >= ours.items()
        assert len(theirs) > 50


@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_a_signal_interrupts_saves_and_continues(flags, tmp_path, runner, kill):
    folder = tmp_path / "model"
    flags |= {
        "output_dir": folder,
        "do_eval": False,
        "num_train_steps": 100_000,
        "save_checkpoints_steps": 30,
    }
    moment = {"wait_for": [str(folder / "model.ckpt-30.index")], "seconds": 0.05}
    assert runner.run(flags, **moment, signal=kill) == 130, log_of(folder)
    step = newest_step(folder)
    assert step >= 30
    assert f"model.ckpt-{step}; the same command continues from there" in log_of(folder)
    assert runner.run({**flags, "num_train_steps": step + 1, "allow_changed_flags": True}) == 0
    assert f"continues from  {folder / f'model.ckpt-{step}'}, step {step}" in log_of(folder)
