"""A run copes with torn checkpoints, a full disk, two runs in one folder, and other flags."""

import contextlib
import dataclasses
import json
import os
import pathlib
import resource
import shutil
import signal

import numpy as np
import pytest
import tensorflow as tf

from albert_tf.errors import InputError, InputWarning
from albert_tf.training import loop
from albert_tf.training.folder import own_folder
from albert_tf.training.history import rank
from albert_tf.training.workers import Workers
from tests.support.pretraining_records import CONFIG, write_records
from tests.training.test_training import options, saved_steps, task, weights_at


@pytest.fixture(scope="module")
def once_trained(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("trained")
    loop.run(task(folder), options(folder, num_train_steps=9))
    return folder / "model"


@pytest.fixture
def trained(once_trained, tmp_path) -> pathlib.Path:
    """The folder of a run of 9 steps, with checkpoints at 3, 6 and 9."""
    return pathlib.Path(shutil.copytree(once_trained, tmp_path / "model"))


def tear(prefix: pathlib.Path) -> None:
    data = pathlib.Path(f"{prefix}.data-00000-of-00001")
    data.write_bytes(data.read_bytes()[:-100])


def go_on(folder: pathlib.Path, **changes) -> dict[str, float]:
    return loop.run(task(folder), options(folder, **{"num_train_steps": 9} | changes))


def assert_same_weights(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    for name, value in theirs.items():
        np.testing.assert_array_equal(ours[name], value, err_msg=name)


def test_a_torn_checkpoint_is_set_aside_and_the_one_before_is_used(trained, tmp_path, capsys):
    expected = weights_at(trained / "model.ckpt-9")
    tear(trained / "model.ckpt-9")
    message = r"model\.ckpt-9 is torn and was set aside .*: the run continues from .*model\.ckpt-6"
    with pytest.warns(InputWarning, match=message):
        go_on(tmp_path)
    assert f"continues from  {trained / 'model.ckpt-6'}, step 6" in capsys.readouterr().err
    assert_same_weights(weights_at(trained / "model.ckpt-9"), expected)
    assert len(list(trained.glob("model.ckpt-9.*.torn"))) == 2
    state = tf.train.get_checkpoint_state(str(trained))
    assert [os.path.basename(path)[-1] for path in state.all_model_checkpoint_paths] == ["3", "6", "9"]
    assert (trained / "model.ckpt-3.index").exists()


def test_torn_checkpoints_are_left_alone_where_there_is_no_other(trained, tmp_path):
    for step in (3, 6, 9):
        tear(trained / f"model.ckpt-{step}")
    with pytest.raises(InputError, match=r"model\.ckpt-9 cannot be read, and there is no other checkpoint"):
        go_on(tmp_path)
    assert saved_steps(tmp_path) == [3, 6, 9]


@pytest.mark.parametrize("kept", [["9", "best"], ["9"], ["best"], ["3", "6", "9", "best"]])
@pytest.mark.parametrize("is_listed", [True, False])
def test_nothing_is_touched_where_all_that_is_there_is_damaged(trained, tmp_path, kept, is_listed):
    for path in trained.glob("model.ckpt-*"):
        if path.name.partition(".")[2].partition("-")[2].partition(".")[0] not in kept:
            path.unlink()
    if not is_listed:
        (trained / "checkpoint").unlink()
    for name in kept:
        tear(trained / f"model.ckpt-{name}")
    before = {path.name: path.read_bytes() for path in trained.iterdir() if path.is_file()}
    for do_train in (True, False):
        with pytest.raises(InputError, match=r"model\.ckpt-\w+ cannot be read"):
            go_on(tmp_path, do_train=do_train)
    del before[".lock"]
    for name, content in before.items():
        assert (trained / name).read_bytes() == content


@pytest.mark.parametrize("content", [None, b"", b"garbage", b"\xff\xfe"])
def test_a_lost_list_of_checkpoints_is_made_anew(trained, tmp_path, capsys, content):
    if content is None:
        (trained / "checkpoint").unlink()
    else:
        (trained / "checkpoint").write_bytes(content)
    with pytest.warns(InputWarning, match=r"lacks its list of checkpoints: the run continues from .*-9$"):
        go_on(tmp_path)
    assert "nothing left to train" in capsys.readouterr().err
    state = tf.train.get_checkpoint_state(str(trained))
    assert [os.path.basename(path)[-1] for path in state.all_model_checkpoint_paths] == ["3", "6", "9"]


def test_a_first_checkpoint_that_was_never_finished_is_no_obstacle(trained, tmp_path):
    expected = weights_at(trained / "model.ckpt-9")
    for path in [trained / "checkpoint", trained / "history.json", *trained.glob("model.ckpt-[69b]*")]:
        path.unlink()
    (trained / "model.ckpt-3.index").write_bytes(b"")
    with pytest.warns(InputWarning, match=r"model\.ckpt-3 is torn .*: the run begins anew"):
        go_on(tmp_path)
    assert_same_weights(weights_at(trained / "model.ckpt-9"), expected)


def test_the_best_weights_are_kept_again_if_the_run_died_before_it_could(trained, tmp_path):
    history = json.loads((trained / "history.json").read_text())
    other, *_ = sorted(history["evaluations"], key=lambda results: rank(results, "masked_lm_accuracy"))
    other["masked_lm_accuracy"] = 1.0  # as if the worst one had been the best
    (trained / "history.json").write_text(json.dumps(history))
    go_on(tmp_path)
    expected = weights_at(trained / f"model.ckpt-{other['global_step']:.0f}")
    assert_same_weights(weights_at(trained / "model.ckpt-best"), expected)
    assert json.loads((trained / "history.json").read_text())["evaluations"] == history["evaluations"]

    evaluations = json.loads((trained / "history.json").read_text())["evaluations"]
    best = max(evaluations, key=lambda results: rank(results, "masked_lm_accuracy"))
    tear(trained / "model.ckpt-best")
    with pytest.warns(InputWarning, match=r"model\.ckpt-best is torn"):
        go_on(tmp_path)
    expected = weights_at(trained / f"model.ckpt-{best['global_step']:.0f}")
    assert_same_weights(weights_at(trained / "model.ckpt-best"), expected)


def test_what_killed_processes_left_is_removed(trained, tmp_path):
    for name in ("model.ckpt-12_temp", "model.ckpt-best_temp"):
        (trained / name).mkdir()
        (trained / name / "part-00000-of-00001.index").write_bytes(b"half")
    (trained / "checkpoint.tmp1ecb83").write_text("model_checkpoint_path")
    for name in ("eval_results.json", "history.json", "report-dev-12345678.html"):
        (trained / f".{name}.host.1.incomplete").write_text("half")
    (trained / ".features.tf_record.host.2.incomplete").touch()  # of a run that does not hold the lock yet
    go_on(tmp_path)
    assert not list(trained.glob("*_temp"))
    assert not list(trained.glob("checkpoint.tmp*"))
    assert [path.name for path in trained.glob(".*.incomplete")] == [".features.tf_record.host.2.incomplete"]


def test_a_full_disk_leaves_the_checkpoints_before_as_they_are(trained, tmp_path):
    before = {path.name: path.read_bytes() for path in trained.glob("model.ckpt*")}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # as a full disk does, for large files
    try:
        message = r"model\.ckpt-12 could not be saved \(.*\); the newest checkpoint is .*model\.ckpt-9"
        with pytest.raises(InputError, match=message):
            go_on(tmp_path, num_train_steps=12, do_eval=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_bytes() for path in trained.glob("model.ckpt*")} == before


def test_two_runs_do_not_share_a_folder(trained, tmp_path):
    message = rf"process {os.getpid()} on .* is at work in .*model$"
    with own_folder(str(tmp_path / "model")), pytest.raises(InputError, match=message):
        go_on(tmp_path)
    (trained / ".lock").write_text("1 on this machine")  # of a process that was killed
    assert go_on(tmp_path)["global_step"] == 9


def test_a_file_system_without_locks_is_no_obstacle(tmp_path, monkeypatch):
    monkeypatch.setattr("fcntl.flock", lambda *_: (_ for _ in ()).throw(OSError(37, "No locks available")))
    message = "is not locked against other runs: .*No locks available"
    with pytest.warns(InputWarning, match=message), own_folder(str(tmp_path / "model")):
        pass


@pytest.mark.parametrize(("changes", "message"), [
    ({"learning_rate": 0.02}, "--learning_rate 0.01, not 0.02"),
    ({"train_batch_size": 4}, "--train_batch_size 8, not 4"),
    ({"seed": 1}, "--seed 12345, not 1"),
    ({"optimizer": "adamw"}, "--optimizer lamb, not adamw"),
    ({"num_warmup_steps": 1}, "--num_warmup_steps 2, not 1"),
    ({"num_train_steps": 8}, "--num_train_steps 9, not 8"),
    ({"mixed_precision": "bfloat16"}, "--mixed_precision float32, not bfloat16"),
    ({"poly_power": 2.0, "seed": 1}, "--seed 12345, not 1, --poly_power 1.0, not 2.0"),
])  # fmt: skip
def test_flags_that_would_change_the_outcome_are_refused(trained, tmp_path, changes, message):
    with pytest.raises(
        InputError, match=f"the run in .*model has {message}: give those, --allow_changed_flags"
    ):
        go_on(tmp_path, **changes)


def test_other_data_and_another_config_are_refused(trained, tmp_path):
    with pytest.raises(
        InputError, match=r"has --input_file 64 records in 1 files \(.*\), not 65 records in 1"
    ):
        loop.run(task(tmp_path, count=65), options(tmp_path, num_train_steps=9))
    config = dataclasses.replace(CONFIG, hidden_dropout_prob=0.3)
    with pytest.raises(InputError, match=r"has hidden_dropout_prob 0\.0, not 0\.3"):
        loop.run(task(tmp_path, config), options(tmp_path, num_train_steps=9))
    assert loop.run(task(tmp_path, config), options(tmp_path, num_train_steps=9, do_train=False))


def test_the_same_data_elsewhere_are_the_same(trained, tmp_path, capsys):
    job = task(tmp_path)
    (tmp_path / "moved").mkdir()
    job.input_files = (write_records(str(tmp_path / "moved" / "train.tfrecord")),)
    loop.run(job, options(tmp_path, num_train_steps=9))
    assert "nothing left to train" in capsys.readouterr().err


def test_flags_that_do_not_change_the_outcome_may_change(trained, tmp_path):
    changes = {"save_checkpoints_steps": 2, "keep_checkpoint_max": 2, "eval_batch_size": 3}
    go_on(tmp_path, iterations_per_loop=1, verbosity="warning", do_eval=False, **changes)


def test_changed_flags_are_taken_and_written_on_request(trained, tmp_path, capsys):
    tear(trained / "model.ckpt-9")
    with pytest.warns(InputWarning, match="torn"):
        go_on(tmp_path, learning_rate=0.02, allow_changed_flags=True)
    told = "going on from step 6 with other flags: the run had --learning_rate 0.01, not 0.02"
    assert told in capsys.readouterr().err
    kept = json.loads((trained / "training.json").read_text())
    assert kept["flags"]["learning_rate"] == 0.02
    assert kept["since_step"] == 6
    assert kept["before"]["flags"]["learning_rate"] == 0.01
    go_on(tmp_path, learning_rate=0.02)


def test_a_longer_run_is_no_other_run(trained, tmp_path, capsys):
    go_on(tmp_path, num_train_steps=12, num_warmup_steps=3)
    told = "the run is now longer: it had --num_train_steps 9, not 12, --num_warmup_steps 2, not 3"
    assert told in capsys.readouterr().err
    go_on(tmp_path, num_train_steps=12, num_warmup_steps=3)
    assert "now longer" not in capsys.readouterr().err


def test_a_folder_that_does_not_say_how_it_was_made_continues(trained, tmp_path):
    (trained / "training.json").unlink()
    assert go_on(tmp_path, learning_rate=0.02, num_train_steps=10)["global_step"] == 10


def test_a_signal_that_tensorflow_swallows_ends_the_run_after_the_step():
    before = signal.getsignal(signal.SIGINT)
    with Workers().interruptible() as check_interrupted:
        check_interrupted()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            check_interrupted()
    assert signal.getsignal(signal.SIGINT) is before


def run_as_tensorflow_does(message: str, sends_signal: bool) -> None:
    with Workers().interruptible():
        if sends_signal:
            with contextlib.suppress(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
        raise ValueError(message)


def test_an_error_that_tensorflow_makes_of_a_signal_is_an_interruption():
    with pytest.raises(KeyboardInterrupt):
        run_as_tensorflow_does("The two structures don't have the same nested structure.", True)
    with pytest.raises(ValueError, match="of its own"):
        run_as_tensorflow_does("of its own", False)
