"""The folder of a run: kills, interruptions, lost and damaged files, and checkpoints of other programs."""

import json
import pathlib
import shutil

import orbit
import pytest
import tensorflow as tf

from albert_tf import testing
from albert_tf.models.pretraining import AlbertForPreTraining
from tests.support.classifier_runs import CONFIG, mrpc_flags, only, refusal, results_in, run
from tests.support.glue_files import write_glue


@pytest.fixture(scope="module")
def once_trained(glue, tmp_path_factory) -> tuple[pathlib.Path, dict[str, object]]:
    folder = tmp_path_factory.mktemp("trained")
    flags = mrpc_flags(glue, folder)
    assert run(flags, "--do_train", "--do_eval") == 0
    return folder / "run", flags


@pytest.fixture
def trained(once_trained, tmp_path) -> dict[str, object]:
    """The flags of a run that has ended in a folder of the test's own."""
    folder, flags = once_trained
    shutil.copytree(folder, tmp_path / "run")
    return flags | {"output_dir": tmp_path / "run"}


@pytest.fixture
def flags(glue, tmp_path) -> dict[str, object]:
    return mrpc_flags(glue, tmp_path)


def test_checkpoints_of_another_task_are_not_continued(trained, tmp_path, capsys):
    kept = sorted(path.name for path in (tmp_path / "run").iterdir())
    message = refusal(capsys, run(trained | {"task_name": "qqp"}, "--do_train"))
    assert "are of another task: task_name mrpc, not qqp" in message
    message = refusal(capsys, run(trained | {"do_lower_case": "false"}, "--do_train"))
    assert "do_lower_case True, not False" in message
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert set(kept) <= left


def test_another_vocabulary_is_not_taken_for_that_of_the_folder(flags, tmp_path, capsys):
    flags |= {"spm_model_file": None, "vocab_file": testing.VOCAB_FILE}
    assert run(flags, "--do_train") == 0
    pieces = pathlib.Path(testing.VOCAB_FILE).read_text(encoding="utf-8").splitlines()
    (tmp_path / "other.txt").write_text("\n".join([*pieces[:-2], pieces[-1], pieces[-2]]), encoding="utf-8")
    message = refusal(capsys, run({**flags, "vocab_file": tmp_path / "other.txt"}, "--do_predict"))
    assert "are of another task: vocabulary" in message


def test_a_run_killed_while_it_evaluates_and_saves_continues(flags, tmp_path, monkeypatch):
    save = tf.train.CheckpointManager.save
    for moment in ("before", "after"):

        def die(manager, *arguments, moment=moment, **keywords):
            if moment == "after":
                save(manager, *arguments, **keywords)
            raise SystemExit(137)

        monkeypatch.setattr(tf.train.CheckpointManager, "save", die)
        with pytest.raises(SystemExit):
            run(flags, "--do_train", "--do_eval")
        assert (tmp_path / "run" / "model.ckpt-2.index").exists() == (moment == "after")
    monkeypatch.setattr(tf.train.CheckpointManager, "save", save)
    assert run(flags, "--do_train", "--do_eval") == 0
    history = json.loads((tmp_path / "run" / "history.json").read_text())["evaluations"]
    assert [past["global_step"] for past in history] == [2, 4]


def test_going_back_to_an_older_checkpoint_forgets_what_came_after(flags, tmp_path, capsys):
    flags |= {"learning_rate": 3e-3, "save_checkpoints_steps": 10, "train_step": 30}
    data = write_glue(tmp_path / "glue", count=100)
    flags |= {"task_name": "sst-2", "data_dir": data}
    assert run(flags, "--do_train", "--do_eval") == 0
    folder = tmp_path / "run"
    state = folder / "checkpoint"
    state.write_text('model_checkpoint_path: "model.ckpt-10"\nall_model_checkpoint_paths: "model.ckpt-10"\n')
    capsys.readouterr()
    flags |= {"train_step": 12, "learning_rate": 0.0, "allow_changed_flags": True}
    assert run(flags, "--do_train", "--do_eval", "--do_predict") == 0
    assert "at step 30" not in capsys.readouterr().err
    history = json.loads((folder / "history.json").read_text())["evaluations"]
    assert [past["global_step"] for past in history] == [10, 12]
    assert results_in(folder)["global_step"] in (10, 12)


def test_a_lost_history_does_not_lose_the_best_checkpoint(trained, tmp_path):
    (tmp_path / "run" / "history.json").unlink()
    best = {path.name: path.read_bytes() for path in (tmp_path / "run").glob("model.ckpt-best*")}
    results = results_in(tmp_path / "run")
    assert run(trained, "--do_eval") == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").glob("model.ckpt-best*")} == best
    assert results_in(tmp_path / "run") == results
    [beside] = (tmp_path / "run").glob("eval_results-mrpc-*.json")
    assert json.loads(beside.read_text())["global_step"] == results["global_step"]


def test_the_best_checkpoint_alone_is_enough_to_predict_with(trained, tmp_path, capsys):
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in (tmp_path / "run").iterdir():
        if path.name.startswith(("model.ckpt-best", "task", "albert_config", "tiny_")):
            shutil.copy(path, copy)
    rest = only(trained, "task_name", "data_dir", "max_seq_length") | {"output_dir": copy}
    assert run(rest, "--do_predict") == 0
    assert "would be overwritten" in refusal(capsys, run({**trained, "output_dir": copy}, "--do_train"))


def test_results_on_other_data_are_written_beside(flags, tmp_path):
    flags |= {"task_name": "mnli"}
    assert run(flags, "--do_train", "--do_eval") == 0
    history = (tmp_path / "run" / "history.json").read_bytes()
    assert run({**flags, "task_name": "mismnli"}, "--do_eval") == 0
    assert (tmp_path / "run" / "history.json").read_bytes() == history
    [beside] = (tmp_path / "run").glob("eval_results-mismnli-*.json")
    assert {"global_step", "eval_accuracy", "eval_loss"} <= set(json.loads(beside.read_text()))


def test_seeds_and_single_runs_are_not_mixed(flags, tmp_path, capsys):
    assert run(flags | {"num_seeds": 2}, "--do_train", "--do_eval") == 0
    for changes, more, message in [
        ({}, "--do_eval", "holds runs of several seeds, but --num_seeds is 1"),
        ({}, "--do_train", "holds runs of several seeds, but --num_seeds is 1"),
        ({"num_seeds": 3}, "--do_predict", "seed-12347: train it first"),
        ({"num_seeds": 2, "output_dir": tmp_path / "none"}, "--do_eval", "train first"),
    ]:
        assert message in refusal(capsys, run(flags | changes, more))
    assert run(flags | {"num_seeds": 2}, "--do_predict") == 0


def test_a_pretraining_folder_is_no_output_folder(flags, tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    tf.train.Checkpoint(model=AlbertForPreTraining(CONFIG)).save(str(folder / "model.ckpt"))
    CONFIG.to_json_file(str(folder / "albert_config.json"))
    message = refusal(capsys, run(flags, "--do_train"))
    assert "are of pretraining, not of a benchmark's task: choose another --output_dir" in message


@pytest.mark.parametrize(("name", "content", "message"), [
    ("history.json", "[{}]", "expected `object`"),
    ("history.json", '{"data": "", "evaluations": [{"eval_accuracy": 1}]}', "[0] lacks global_step"),
    ("rollbacks.json", "{}", "expected `array`, got `object`"),
    ("rollbacks.json", "null", "expected `array`, got `null`"),
    ("rollbacks.json", '[{"to_step": "2", "batches": 1, "why": ""}]', "to_step: expected `int`, got `str`"),
    ("rollbacks.json", '[{"to_step": 2, "why": ""}]', "missing required field `batches`"),
    ("task.json", '{"task_name": "mrpc", "label_names": [1, 2]}', "[0]: expected `str`, got `int`"),
    ("task.json", "{", "is not JSON"),
    ("training.json", "{", "is not JSON"),
    ("training.json", '{"flags": {"num_train_steps": "2"}}', "num_train_steps: expected `int`, got `str`"),
])  # fmt: skip
def test_damaged_files_of_a_run_are_named(trained, tmp_path, capsys, name, content, message):
    (tmp_path / "run" / name).write_text(content)
    refused = refusal(capsys, run(trained, "--do_train", "--do_eval"))
    assert str(tmp_path / "run" / name) in refused
    assert message in refused


def test_an_interrupted_run_saves_and_continues(flags, tmp_path, monkeypatch, capsys):
    train = orbit.Controller.train
    interrupt_at = {2: True, 0: True}

    def interrupted(controller, steps, *arguments, **keywords):
        begin = int(controller.global_step)
        if interrupt_at.pop(begin, False):
            if begin:
                train(controller, begin + 1, *arguments, **keywords)
            raise KeyboardInterrupt
        return train(controller, steps, *arguments, **keywords)

    monkeypatch.setattr(orbit.Controller, "train", interrupted)
    assert run(flags, "--do_train", "--do_eval") == 130
    assert not list((tmp_path / "run").glob("model.ckpt*"))  # nothing was learned yet
    assert run(flags, "--do_train", "--do_eval") == 130
    assert "model.ckpt-3; the same command continues from there" in capsys.readouterr().err
    assert run(flags, "--do_train", "--do_eval") == 0
    history = json.loads((tmp_path / "run" / "history.json").read_text())["evaluations"]
    assert [past["global_step"] for past in history] == [2, 4]
