"""The best weights that training chose stay the best in evaluations, exports, conversions, warm starts."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

import convert_checkpoint
import export_saved_model
from albert_tf import load_weights
from albert_tf.checkpoints.run_folder import meant_checkpoint
from albert_tf.models.classification import AlbertForSequenceClassification
from tests.support.checkpoint_files import weights_of
from tests.support.classifier_runs import CONFIG, mrpc_flags, only, refusal, results_in, run
from tests.support.glue_files import write_glue
from tests.support.script_runs import facts_in, run_script


def custom_file(path: pathlib.Path, count: int, with_label: bool = True) -> pathlib.Path:
    rows = [("text", "label"), *((f"the {('river', 'boats')[i % 2]} {i}", str(i % 2)) for i in range(count))]
    path.write_text("".join("\t".join(row if with_label else row[:1]) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def once_finished(tmp_path_factory) -> tuple[pathlib.Path, dict[str, object]]:
    """A run of 4 steps; the second is the best, and on most files all are equal."""
    folder = tmp_path_factory.mktemp("finished")
    flags = mrpc_flags(write_glue(folder / "glue"), folder)
    flags |= {"task_name": "custom", "data_dir": None}
    flags |= {"save_checkpoints_steps": 1, "learning_rate": 1e-6}
    flags["train_file"] = flags["dev_file"] = custom_file(folder / "train.tsv", 24)
    assert run(flags, "--do_train", "--do_eval") == 0
    model = folder / "run"
    history = json.loads((model / "history.json").read_text())
    history["evaluations"][1]["eval_accuracy"] = 1.0
    (model / "history.json").write_text(json.dumps(history))
    (model / "eval_results.json").write_text(json.dumps(history["evaluations"][1]))
    for name in ("index", "data-00000-of-00001"):
        shutil.copy(model / f"model.ckpt-2.{name}", model / f"model.ckpt-best.{name}")
    return model, only(flags, "task_name", "max_seq_length")


@pytest.fixture
def finished(once_finished, tmp_path) -> tuple[pathlib.Path, dict[str, object]]:
    model, flags = once_finished
    return pathlib.Path(shutil.copytree(model, tmp_path / "run")), flags | {"output_dir": tmp_path / "run"}


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def finished_on(folder: pathlib.Path) -> pathlib.Path:
    """The training file of the run, written again."""
    return custom_file(folder.parent / "train.tsv", 24)


def exported_results(version: pathlib.Path) -> dict[str, float]:
    [path] = version.rglob("eval_results.json")
    return json.loads(path.read_text())


def weights_of_step(folder: pathlib.Path, step: object) -> dict[str, np.ndarray]:
    model = AlbertForSequenceClassification(CONFIG, 2)
    tf.train.Checkpoint(model=model).restore(str(folder / f"model.ckpt-{step}")).expect_partial()
    return weights_of(model)


def assert_is_step_2(folder: pathlib.Path, weights: dict[str, np.ndarray]) -> None:
    assert any(np.any(weights_of_step(folder, 4)[name] != weights[name]) for name in weights)
    for name, value in weights_of_step(folder, 2).items():
        np.testing.assert_array_equal(weights[name], value, err_msg=name)


def test_another_file_is_scored_with_the_chosen_weights_and_written_beside(finished, tmp_path, capsys):
    folder, flags = finished
    flags = flags | {
        "dev_file": custom_file(tmp_path / "other [1].tsv", 9),
        "export_dir": tmp_path / "export",
    }
    before = contents(folder)
    assert run(flags, "--do_eval") == 0
    printed = capsys.readouterr().err
    after = contents(folder)
    assert {name: after[name] for name in before} == before
    new = sorted(name for name in set(after) - set(before) if ".tf_record" not in name)
    [stem] = {name.removesuffix(".txt") for name in new if name.endswith(".txt")}
    assert stem.startswith("eval_results-other [1]-")
    suffix = stem.removeprefix("eval_results")
    assert new == [f"{stem}.json", f"{stem}.txt", f"report{suffix}.html"]
    assert json.loads(after[f"{stem}.json"])["global_step"] == 2
    facts = facts_in(printed)
    assert facts["weights"] == f"{folder / 'model.ckpt-best'}, step 2"
    assert f"{stem}.json" in facts["results"]
    [version] = (tmp_path / "export").iterdir()
    assert exported_results(version)["global_step"] == 2
    assert exported_results(version)["eval_accuracy"] == 1.0

    # Again, also with the command that trained: that chooses nothing either.
    for more in ([], ["--do_train", f"--train_file={finished_on(folder)}", "--allow_changed_flags"]):
        assert run(flags | {"train_step": 4}, "--do_eval", *more) == 0
        chosen = ("history.json", "eval_results.json", "report.html", "model.ckpt-best.index")
        assert all(contents(folder)[name] == before[name] for name in chosen)
        assert json.loads((folder / f"{stem}.json").read_text())["global_step"] == 2


def test_the_same_file_gives_the_same_files(finished, tmp_path):
    folder, flags = finished
    before = contents(folder)
    assert run(flags | {"dev_file": custom_file(tmp_path / "dev.tsv", 24)}, "--do_eval") == 0
    after = contents(folder)
    assert after.keys() == before.keys()
    assert after["history.json"] == before["history.json"]
    assert after["model.ckpt-best.index"] == before["model.ckpt-best.index"]
    assert results_in(folder)["global_step"] == 2


def test_the_first_evaluation_of_a_folder_may_choose(finished, tmp_path, capsys):
    folder, flags = finished
    for path in [folder / "history.json", folder / "eval_results.json", *folder.glob("model.ckpt-best*")]:
        path.unlink()
    assert run(flags | {"dev_file": custom_file(tmp_path / "dev.tsv", 24)}, "--do_eval") == 0
    assert "the best by eval_accuracy of 4 checkpoints" in facts_in(capsys.readouterr().err)["weights"]
    chosen = results_in(folder)["global_step"]
    assert meant_checkpoint(str(folder)).step == chosen
    assert len(json.loads((folder / "history.json").read_text())["evaluations"]) == 4


def test_a_labelled_test_file_is_scored_and_one_without_labels_is_not(finished, tmp_path, capsys):
    folder, flags = finished
    assert (
        run(flags | {"test_file": custom_file(tmp_path / "a.tsv", 6, with_label=False)}, "--do_predict") == 0
    )
    assert facts_in(capsys.readouterr().err)["weights"] == f"{folder / 'model.ckpt-best'}, step 2"
    assert not (folder / "predict_results.json").exists()
    assert len((folder / "test_results.tsv").read_text().splitlines()) == 6
    (tmp_path / "b.jsonl").write_text('{"text": "river", "label": 0}\n{"label": 1, "text": "boats"}\n')
    for path in (custom_file(tmp_path / "b.tsv", 7), tmp_path / "b.jsonl"):
        assert run(flags | {"test_file": path}, "--do_predict") == 0
        scored = json.loads((folder / "predict_results.json").read_text())
        assert {"eval_accuracy", "eval_loss"} <= scored.keys()
        (folder / "predict_results.json").unlink()
    (tmp_path / "c.jsonl").write_text('{"text": "river"}\n{"label": 1, "text": "boats"}\n')
    message = refusal(capsys, run(flags | {"test_file": tmp_path / "c.jsonl"}, "--do_predict"))
    assert "c.jsonl:1: no key 'label'" in message


def test_the_folder_means_its_best_checkpoint_everywhere(finished, tmp_path, capsys):
    folder, _ = finished
    model = AlbertForSequenceClassification(CONFIG, 2)
    report = load_weights(model, str(folder))
    assert str(report).startswith(f"{folder / 'model.ckpt-best'} (albert_tf checkpoint, step 2): ")
    assert_is_step_2(folder, weights_of(model))
    for more in ([], ["--best"]):
        flags = {"input": folder, "output": tmp_path / f"tf2{len(more)}", "output_format": "tf2"}
        assert run_script(convert_checkpoint.main, flags, *more) == 0
        load_weights(model, str(flags["output"]))
        assert_is_step_2(folder, weights_of(model))
    assert f"{folder / 'model.ckpt-best'} (albert_tf checkpoint, step 2)" in capsys.readouterr().out
    assert run_script(export_saved_model.main, {"input": folder, "export_dir": tmp_path / "export"}) == 0
    [version] = (tmp_path / "export").iterdir()
    assert exported_results(version)["global_step"] == 2
    (folder / "eval_results.json").write_text('{"global_step": 4, "eval_accuracy": 0.0}')  # as in pretraining
    flags = {"input": folder, "export_dir": tmp_path / "export"}
    assert run_script(export_saved_model.main, flags) == 0
    assert exported_results(tmp_path / "export" / "2")["global_step"] == 2


def test_without_a_best_one_a_folder_means_its_newest_whole_checkpoint(finished):
    folder, _ = finished
    for path in folder.glob("model.ckpt-best*"):
        path.unlink()
    assert meant_checkpoint(str(folder)).step == 4
    data = folder / "model.ckpt-4.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-100])
    assert meant_checkpoint(str(folder)).step == 3
    (folder / "checkpoint").unlink()
    assert meant_checkpoint(str(folder)).step == 3
    # The name of a checkpoint means that one.
    report = load_weights(AlbertForSequenceClassification(CONFIG, 2), str(folder / "model.ckpt-1"))
    assert "model.ckpt-1 (albert_tf checkpoint, step 1)" in str(report)


def test_the_best_of_a_run_that_went_back_does_not_count(finished):
    folder, _ = finished
    text = 'model_checkpoint_path: "model.ckpt-1"\nall_model_checkpoint_paths: "model.ckpt-1"\n'
    (folder / "checkpoint").write_text(text)
    assert meant_checkpoint(str(folder)).step == 1


@pytest.mark.parametrize(("content", "message"), [
    ('{"eval_accuracy": 1.0}', "eval_results.json is of one run, but --num_seeds is 2"),
    ("[]", "eval_results.json: expected `object`, got `array`"),
    ("null", "eval_results.json: expected `object`, got `null`"),
    ('{"best_seed": 1, "num_seeds": 2}', "eval_results.json: best_seed: expected `str`, got `int`"),
    ('{"best_seed": "seed-1"}', "eval_results.json: object missing required field `num_seeds`"),
    (None, "--export_dir needs --do_eval, which finds the best of the seeds"),
])  # fmt: skip
def test_seeds_of_which_the_best_is_not_known_are_not_exported(finished, tmp_path, capsys, content, message):
    folder, flags = finished
    if content is None:
        (folder / "eval_results.json").unlink()
    else:
        (folder / "eval_results.json").write_text(content)
    status = run({**flags, "num_seeds": 2, "export_dir": tmp_path / "export"})
    assert message in refusal(capsys, status)
    assert not (tmp_path / "export").exists()
