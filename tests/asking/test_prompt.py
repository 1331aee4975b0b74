"""At the prompt of `--interactive` a user types texts and reads answers, whatever the task."""

import dataclasses
import io
import types

import pytest

import run_classifier
import run_pretraining
import run_race
from albert_tf.asking.open_model import open_model
from albert_tf.asking.prompt import answer_typed
from tests.support.script_runs import refused, run_script
from tests.support.trained_models import trained_model, write_run


@pytest.fixture
def typed(monkeypatch):
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


@pytest.fixture(scope="module")
def mrpc(tmp_path_factory):
    return write_run(trained_model("classification"), tmp_path_factory.mktemp("mrpc"))


def test_a_pair_is_two_lines_and_its_classes_are_ranked(opened, typed, capsys):
    typed("The boats.\n\nRain fell.\nonly a half\n")
    answer_typed(opened("classification"))
    first, second, blank = capsys.readouterr().out.splitlines()
    [answer] = opened("classification").predict("The boats.", "Rain fell.")
    ranked = sorted(answer["probabilities"], key=answer["probabilities"].get, reverse=True)
    assert [first.split("  ")[-1], second.split("  ")[-1]] == ranked == [answer["label"], ranked[1]]
    assert first.startswith(f"{answer['probabilities'][answer['label']]:6.1%}")
    assert blank == ""


def test_options_are_ranked_by_what_they_say(opened, typed, capsys):
    typed("\nThe river rises\nin the hills.\n\nWhat rises?\nthe river\na \x1bfish\n\n")
    answer_typed(opened("multiple_choice"))
    lines = capsys.readouterr().out.splitlines()
    options = ["the river", "a \x1bfish"]
    [answer] = opened("multiple_choice").predict("The river rises\nin the hills.", "What rises?", options)
    best = max(answer["probabilities"])
    shown = ["the river", "a \\x1bfish"][answer["choice"]]
    assert lines[0] == f"{best:6.1%}  {shown}"
    assert len(lines) == 3


def test_each_mask_has_a_line_of_guesses(opened, typed, capsys):
    typed("The [MASK] carry [MASK].\n")
    answer_typed(opened("pretraining"))
    assert [line.count("%") for line in capsys.readouterr().out.splitlines()] == [5, 5, 0]


def test_a_text_shows_its_spans(opened, typed, capsys):
    answer = {"begin": [0, 6], "end": [4, 10], "type": ["river", "place"], "score": [0.5, 0.875], "tags": []}
    model = types.SimpleNamespace(task_name="tagging", inputs=("text",), predict=lambda text: [answer])
    typed("Taff, Wye\x1bs\n")
    answer_typed(model)
    assert capsys.readouterr().out == "[Taff](river 50.0%), [Wye\\x1b](place 87.5%)s\n\n"


def test_a_run_is_asked_by_its_script(mrpc, typed, capsys):
    typed("The boats.\nRain fell.\n")
    flags = {"task_name": "MRPC", "output_dir": mrpc}
    assert run_script(run_classifier.main, flags, "--interactive") == 0
    assert sorted(line.split("  ")[-1] for line in capsys.readouterr().out.splitlines()) == ["", "no", "yes"]
    typed("")
    elsewhere = {"output_dir": mrpc / "none", "init_checkpoint": mrpc}
    assert run_script(run_classifier.main, flags | elsewhere, "--interactive") == 0


def test_a_pretraining_run_fills_masks_by_its_own_command(run_folder, typed, capsys):
    typed("The [MASK] rises.\n")
    flags = {"albert_config_file": run_folder / "albert_config.json", "input_file": "train.tfrecord"}
    assert run_script(run_pretraining.main, flags | {"output_dir": run_folder}, "--interactive") == 0
    assert [line.count("%") for line in capsys.readouterr().out.splitlines()] == [5, 0]


@pytest.mark.parametrize(("flags", "more", "status", "message"), [
    ({"task_name": "RTE"}, [], 1, "is of another task: task_name mrpc, not rte"),
    ({"output_dir": "/nonexistent"}, [], 1, "no checkpoint in /nonexistent: train first, or give --init_"),
    ({}, ["--do_eval"], 2, "--interactive excludes --do_eval"),
    ({"num_seeds": 2}, [], 2, "--interactive excludes --num_seeds"),
    ({"export_dir": "x"}, [], 2, "--interactive excludes --export_dir"),
])  # fmt: skip
def test_what_cannot_be_asked_is_refused(mrpc, capsys, flags, more, status, message):
    flags = {"task_name": "MRPC", "output_dir": mrpc} | flags
    found = run_script(run_classifier.main, flags, "--interactive", *more)
    assert message in refused(run_classifier.main, capsys, found, status)


def test_race_needs_its_questions_unless_it_is_asked(tmp_path, capsys):
    status = run_script(run_race.main, {"output_dir": tmp_path})
    assert "--data_dir is needed" in refused(run_race.main, capsys, status, 2)
    status = run_script(run_race.main, {"output_dir": tmp_path}, "--interactive")
    assert "no checkpoint in" in refused(run_race.main, capsys, status)


def test_of_several_labels_those_above_their_thresholds_are_marked(typed, tmp_path, capsys):
    task = {"task_name": "custom", "num_texts": 1, "problem_type": "multi_label_classification"}
    trained = trained_model("classification", label_names=["a", "b"], **task)
    thresholds = {"a_threshold": 0.0, "b_threshold": 1.0}
    run = write_run(dataclasses.replace(trained, metrics=thresholds), tmp_path)
    typed("boats\n")
    answer_typed(open_model(run))
    lines = capsys.readouterr().out.splitlines()
    assert {line[6:] for line in lines} == {"", " *a", "  b"}
