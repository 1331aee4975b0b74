"""Every character of a file name: scripts work with it, or refuse it before they do anything."""

import os
import pathlib

import pytest

import convert_checkpoint
import export_to_tfhub
import run_pretraining
from albert_tf import load_weights
from albert_tf.checkpoints.run_folder import meant_checkpoint
from albert_tf.errors import InputError
from albert_tf.files import files_that_begin_with, has_scheme, problem_for_tensorflow
from albert_tf.models.classification import AlbertForSequenceClassification
from albert_tf.models.pretraining import AlbertForPreTraining
from albert_tf.training import loop
from tests.support import classifier_runs
from tests.support.checkpoint_files import weights_of, write_checkpoint
from tests.support.classifier_runs import mrpc_flags
from tests.support.glue_files import write_glue
from tests.support.pretraining_records import CONFIG
from tests.support.script_runs import refused, run_script
from tests.training.test_training import options, saved_steps, task

ODD = "].{b} ,'\"\n\té漢@%s#$~|^:;&()"


@pytest.mark.parametrize("name", [f"-{ODD}", f".{ODD}"], ids=["dash", "dot"])
def test_pretraining_works_in_a_folder_of_an_odd_name(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    job = task(folder)  # the records are in the folder too
    loop.run(job, options(folder, num_train_steps=2, save_checkpoints_steps=1, keep_checkpoint_max=1))
    assert saved_steps(folder) == [2]
    assert meant_checkpoint(str(folder / "model")).path.endswith("model.ckpt-best")
    changes = {"num_train_steps": 3, "save_checkpoints_steps": 1, "keep_checkpoint_max": 1}
    assert loop.run(job, options(folder, **changes))["global_step"] == 3
    assert saved_steps(folder) == [3]
    report = load_weights(AlbertForPreTraining(CONFIG), str(folder / "model"))
    assert not report.missing
    for output_format in ("original", "tf2", "huggingface"):
        output = folder / output_format / "m"
        flags = {"input": folder / "model", "output": output, "output_format": output_format}
        assert run_script(convert_checkpoint.main, flags) == 0
        assert not load_weights(AlbertForPreTraining(CONFIG), str(output)).missing
    start = options(
        folder, output_dir=str(folder / "second"), init_checkpoint=str(folder / "model"), num_train_steps=1
    )
    assert loop.run(job, start)["global_step"] == 1


def test_fine_tuning_and_export_work_in_a_folder_of_an_odd_name(tmp_path, capsys):
    folder = tmp_path / f"-{ODD}"
    folder.mkdir()
    flags = mrpc_flags(write_glue(folder / "glue"), folder) | {"train_step": 2, "save_checkpoints_steps": 1}
    flags |= {"export_dir": folder / "export"}
    assert classifier_runs.run(flags, "--do_train", "--do_eval", "--do_predict") == 0
    assert not load_weights(
        AlbertForSequenceClassification(classifier_runs.CONFIG, 2), str(folder / "run")
    ).missing
    [version] = (folder / "export").iterdir()
    assert (version / "saved_model.pb").exists()


@pytest.mark.parametrize("character", ["[", "\\", "*", "?", "\udcff"], ids=["[", "\\", "*", "?", "bytes"])
def test_scripts_refuse_before_they_do_anything(tmp_path, capsys, character):
    """TensorFlow cannot read these names, or would take them for the names of other files."""
    folder = os.path.join(tmp_path, f"a{character}1")
    shown = "not UTF-8" if character == "\udcff" else f"the character {character} for a pattern"
    mrpc = mrpc_flags(tmp_path / "nowhere", tmp_path) | {"output_dir": folder}
    pretraining = {"input_file": "none", "albert_config_file": "none", "output_dir": folder}
    fine_tuned = mrpc | {"output_dir": tmp_path / "run", "export_dir": folder}
    before = sorted(tmp_path.iterdir())
    for main, flags, status in [
        (classifier_runs.run_classifier.main, mrpc | {"do_train": True}, 2),
        (classifier_runs.run_classifier.main, fine_tuned | {"do_train": True}, 2),
        (run_pretraining.main, pretraining, 2),
        (convert_checkpoint.main, {"input": tmp_path, "output": folder, "output_format": "tf2"}, 1),
        (export_to_tfhub.main, {"albert_directory": tmp_path, "export_path": folder}, 1),
    ]:
        message = refused(main, capsys, run_script(main, flags), status)
        assert shown in message, main.__module__
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("character", ["[", "\\"])
def test_weights_that_tensorflow_cannot_find_are_refused_in_words(tmp_path, character):
    (tmp_path / "a").mkdir()
    write_checkpoint(tmp_path / "a" / "model.ckpt-best", weights_of(AlbertForPreTraining(CONFIG)))
    moved = tmp_path / f"a{character}1"
    (tmp_path / "a").rename(moved)
    for path in (moved, moved / "model.ckpt-best"):
        with pytest.raises(InputError) as raised:
            load_weights(AlbertForPreTraining(CONFIG), str(path))
        assert f"takes the character {character} for a pattern" in str(raised.value)
        assert str(moved) in str(raised.value)


@pytest.mark.parametrize("character", ["*", "?"])
def test_weights_beside_others_that_a_pattern_would_match_are_read(tmp_path, character):
    model = AlbertForPreTraining(CONFIG)
    expected = weights_of(model)
    for name in (f"a{character}", "ab"):
        write_checkpoint(tmp_path / name, expected)
        expected = {key: value + 1 for key, value in expected.items()} if name == "ab" else expected
    load_weights(model, str(tmp_path / f"a{character}"))


def test_names_are_taken_literally(tmp_path):
    for name in ("a[1]-1", "a1-1", "a[1]-2", "a*-1", "a[1]-x"):
        (tmp_path / name).touch()
    found = files_that_begin_with(str(tmp_path / "a[1]-"), "[0-9]")
    assert [pathlib.Path(path).name for path in found] == ["a[1]-1", "a[1]-2"]
    assert files_that_begin_with(str(tmp_path / "none" / "a")) == []
    assert files_that_begin_with(str(tmp_path / "a1-1" / "a")) == []


def test_a_scheme_is_at_the_beginning_of_a_path():
    assert has_scheme("gs://bucket/name")
    assert not has_scheme("runs/a://b")
    assert problem_for_tensorflow("gs://bucket/name") is None
