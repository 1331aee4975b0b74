"""What needs no TensorFlow comes before it is imported: help, and errors about flags and missing files."""

import json
import subprocess
import sys

import pytest

from albert_tf import testing
from tests.support.glue_files import write_glue

# Runs commands in one process, and tells of each: status, errors, whether TensorFlow is imported by then.
TELL = """
import contextlib, importlib, io, json, sys
told = []
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stderr(io.StringIO()) as errors, contextlib.redirect_stdout(io.StringIO()):
        status = importlib.import_module(words[0]).main(words)
    told.append([status, errors.getvalue(), "tensorflow" in sys.modules])
print(json.dumps(told))
"""
RTE = "--task_name=rte --data_dir={here}/glue --output_dir=o --do_eval"
CASES = {
    "a typo in a task's name": (
        "run_classifier --task_name=mprc --data_dir={here} --output_dir=o --do_train",
        "no task 'mprc'; there are cola,",
    ),
    "a benchmark that is not there": (
        "run_classifier --task_name=rte --data_dir={here}/none --output_dir=o --do_eval",
        "none/RTE/dev.tsv: no such file",
    ),
    "a file of one's own": (
        "run_classifier --task_name=custom --train_file=no.tsv --output_dir=o --do_train",
        "--train_file=no.tsv does not exist",
    ),
    "a config": (
        "run_classifier {rte} --albert_config_file=no.json",
        "--albert_config_file=no.json does not exist",
    ),
    "weights": (
        "run_classifier {rte} --init_checkpoint=no/model.ckpt",
        "--init_checkpoint=no/model.ckpt does not exist",
    ),
    "a hub module": (
        "run_race --data_dir={here} --albert_hub_module_handle=no --output_dir=o",
        "--albert_hub_module_handle=no does not exist",
    ),
    "questions": (
        "run_squad --predict_file=dev.json --output_dir=o --do_predict",
        "--predict_file=dev.json does not exist",
    ),
    "words": (
        "run_tagger --test_file=no.conll --output_dir=o --do_predict",
        "--test_file=no.conll does not exist",
    ),
    "exams": ("run_race --data_dir=no --output_dir=o", "--data_dir=no does not exist"),
    "records": (
        "run_pretraining --albert_config_file={config} --input_file=no* --output_dir=o",
        "no*: no such file, and no file name matches it",
    ),
    "a config that is none": (
        "run_pretraining --albert_config_file={here}/glue/RTE/dev.tsv --input_file={config} --output_dir=o",
        "dev.tsv is not JSON",
    ),
    "weights to convert": (
        "convert_checkpoint --input=no --output=o --output_format=tf2",
        "--input=no does not exist",
    ),
    "a model to export": (
        "export_saved_model --input=no --export_dir=o",
        "--input=no does not exist",
    ),
    "a model for a phone": (
        "export_to_device --input=no --output_dir=o",
        "--input=no does not exist",
    ),
    "a vocabulary": (
        "export_to_tfhub --albert_directory={here} --export_path=o --spm_model_file=no",
        "--spm_model_file=no does not exist",
    ),
    "a flag": ("export_to_tfhub --albert_dir=a", "Unknown command line flag 'albert_dir'"),
    "help": ("run_squad --help", ""),
}


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("early")
    write_glue(folder / "glue")
    testing.tiny_config().to_json_file(str(folder / "albert_config.json"))
    return folder


@pytest.fixture(scope="module")
def told(here):
    config = here / "albert_config.json"
    commands = [
        command.format(here=here, config=config, rte=RTE.format(here=here)).split()
        for command, _ in CASES.values()
    ]
    done = subprocess.run(
        [sys.executable, "-c", TELL, json.dumps(commands)], stdout=subprocess.PIPE, text=True, check=True
    )
    return dict(zip(CASES, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_what_needs_no_tensorflow_comes_before_it(case, told):
    status, errors, is_imported = told[case]
    assert not is_imported
    assert status == {"help": 0, "a flag": 2}.get(case, 1)
    assert CASES[case][1] in errors
    assert len(errors.splitlines()) == (status > 0)


def test_a_run_that_continues_does_not_need_the_weights_it_started_from(here, tmp_path):
    from run_classifier import ClassifierOptions

    flags = {"task_name": "rte", "data_dir": str(here), "init_checkpoint": "gone", "do_train": True}
    options = ClassifierOptions(**flags, output_dir=str(tmp_path))
    assert "init_checkpoint" in options.needed_paths
    (tmp_path / "checkpoint").touch()
    assert "init_checkpoint" not in options.needed_paths
