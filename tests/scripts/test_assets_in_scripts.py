"""What weights remember of their training is the default later, and is compared where it meets flags."""

import dataclasses
import json
import pathlib
import shutil

import pytest
import tensorflow as tf

import convert_checkpoint
import export_saved_model
import export_to_tfhub
import run_pretraining
from albert_tf import testing
from albert_tf.checkpoints.assets import Assets
from albert_tf.checkpoints.huggingface import write_folder
from albert_tf.models import heads
from tests.support.checkpoint_files import randomize, weights_of, write_checkpoint
from tests.support.classifier_runs import CONFIG, only, refusal, run
from tests.support.pretraining_records import PREDICTIONS, SEQ_LENGTH, write_records
from tests.support.script_runs import refused, run_script
from tests.support.vocabularies import CASED

PAIRS = [("a boat", "rain", "yes"), ("the mill", "bread", "no")] * 4


def table(path: pathlib.Path, *columns: str) -> pathlib.Path:
    rows = ["\t".join(columns), *("\t".join(row[-len(columns) :]) for row in PAIRS)]
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> dict[str, object]:
    """The flags of a run on pairs of texts, with columns of its own, that was trained."""
    folder = tmp_path_factory.mktemp("pairs")
    CONFIG.to_json_file(str(folder / "albert_config.json"))
    flags = {
        "task_name": "custom",
        "albert_config_file": folder / "albert_config.json",
        "spm_model_file": testing.SPM_MODEL_FILE,
        "output_dir": folder / "run",
        "train_file": table(folder / "pairs.tsv", "title", "body", "verdict"),
        "text_columns": "title,body",
        "label_column": "verdict",
        "max_seq_length": 16,
        "train_batch_size": 4,
        "train_step": 1,
    }
    assert run(flags, "--do_train") == 0
    return flags


def test_columns_and_labels_are_those_of_the_training(pairs, tmp_path):
    shutil.copytree(pairs["output_dir"], tmp_path / "run")
    flags = {"task_name": "custom", "output_dir": tmp_path / "run", "dev_file": pairs["train_file"]}
    assert run(flags | {"test_file": pairs["train_file"]}, "--do_eval", "--do_predict") == 0
    answers = (tmp_path / "run" / "submit_results.tsv").read_text().splitlines()[1:]
    assert {line.split("\t")[1] for line in answers} <= {"yes", "no"}
    renamed = table(tmp_path / "renamed.tsv", "first", "second", "verdict")
    assert run(flags | {"test_file": renamed, "text_columns": "first,second"}, "--do_predict") == 0


@pytest.mark.parametrize(("changes", "more", "message"), [
    ({"text_columns": "body"}, "", "--text_columns=body: the weights were trained on 2 texts: title, body"),
    ({"text_columns": "body,title"}, "", "--text_columns=body,title: the weights were trained on 2 texts"),
    ({}, "--is_score", "--is_score: the weights tell the classes no, yes"),
    ({"labels": "yes,no"}, "", "are of another task: label_names no, yes, not yes, no (--labels)"),
])  # fmt: skip
def test_flags_that_contradict_the_training_are_named(pairs, capsys, changes, more, message):
    flags = only(pairs, "task_name", "output_dir") | {"test_file": pairs["train_file"]} | changes
    assert message in refusal(capsys, run(flags, "--do_predict", *more.split()))


def test_training_is_not_continued_on_another_number_of_texts(pairs, capsys):
    message = refusal(capsys, run(pairs | {"text_columns": "body", "train_step": 2}, "--do_train"))
    assert "num_texts 2, not 1 (--text_columns)" in message


def hf_folder(folder: pathlib.Path, head: str, labels: int, names: list[str] | None = None) -> pathlib.Path:
    folder.mkdir()
    model = randomize(heads.build_model(head, CONFIG, {"output_weights": (labels, CONFIG.hidden_size)}))
    task = {"label_names": names} if names else {}
    assets = Assets(config=CONFIG, spm_model_file=testing.SPM_MODEL_FILE, do_lower_case=True, task=task)
    write_folder(str(folder), assets, weights_of(model), head)
    (folder / "task.json").unlink()  # as Hugging Face's own
    return folder


@pytest.fixture
def texts(tmp_path) -> dict[str, object]:
    file = table(tmp_path / "texts.tsv", "text", "label")
    return {"task_name": "custom", "output_dir": tmp_path / "run", "test_file": file, "dev_file": file}


def test_labels_of_a_hugging_face_folder_are_known(texts, tmp_path):
    folder = hf_folder(tmp_path / "hf", "classification", 2, ["no", "yes"])
    assert run(texts | {"init_checkpoint": folder, "max_seq_length": 16}, "--do_predict", "--do_eval") == 0
    answers = (tmp_path / "run" / "submit_results.tsv").read_text().splitlines()[1:]
    assert {line.split("\t")[1] for line in answers} <= {"no", "yes"}


@pytest.mark.parametrize(("head", "labels", "names", "more", "message"), [
    ("token_classification", 2, None, "--labels=yes,no", "is a model for token classification, not a model"),
    ("multiple_choice", 1, None, "--is_score", "is a model for multiple choice, not a model for"),
    ("classification", 2, ["no", "yes"], "--labels=yes,no", "label_names no, yes, not yes, no (--labels)"),
    ("classification", 2, ["no", "yes"], "--is_score", "--is_score: the weights tell the classes no, yes"),
    ("classification", 1, None, "--labels=yes,no", "--labels: the weights predict a score, not classes"),
    ("classification", 2, None, "", "--labels is needed: no weights say which classes they know"),
])  # fmt: skip
def test_weights_of_another_kind_are_refused(texts, tmp_path, capsys, head, labels, names, more, message):
    flags = texts | {"init_checkpoint": hf_folder(tmp_path / "hf", head, labels, names), "max_seq_length": 16}
    flags["test_file"] = table(tmp_path / "unlabelled.tsv", "text")
    assert message in refusal(capsys, run(flags, "--do_predict", *more.split()))


def test_what_a_checkpoint_does_not_say_of_its_head_is_assumed_in_the_summary(texts, tmp_path, capsys):
    model = randomize(heads.build_model("multiple_choice", CONFIG, {"output_weights": (1, 16)}))
    CONFIG.to_json_file(str(tmp_path / "albert_config.json"))
    texts |= {"init_checkpoint": write_checkpoint(tmp_path / "model.ckpt", weights_of(model))}
    texts |= {"spm_model_file": testing.SPM_MODEL_FILE, "max_seq_length": 16}
    texts["test_file"] = table(tmp_path / "unlabelled.tsv", "text")
    assert run(texts, "--do_predict", "--is_score") == 0
    assert "taken for a model for classification; the checkpoint does not say" in capsys.readouterr().err


@pytest.mark.parametrize(("names", "flags", "message"), [
    (["no", "yes"], {"num_texts": 1}, None),
    (None, {"num_texts": 2, "labels": "a,b"}, None),
    (["no", "yes"], {}, "is an example of the task one text or two? give --num_texts"),
    (None, {"num_texts": 1}, "the head has 2 outputs, but the task's labels are no classes: give --labels"),
    (None, {}, "give --labels in the order of the classes; is an example of the task one text or two? give"),
])  # fmt: skip
def test_a_hugging_face_classifier_is_exported_without_a_task_name(tmp_path, capsys, names, flags, message):
    folder = hf_folder(tmp_path / "hf", "classification", 2, names)
    status = run_script(export_saved_model.main, flags | {"input": folder, "export_dir": tmp_path / "export"})
    if message:
        assert message in refused(export_saved_model.main, capsys, status)
        return
    assert status == 0
    task = json.loads((tmp_path / "export" / "1" / "assets" / "task.json").read_text())
    assert (task["task_name"], task["label_names"]) == ("custom", names or ["a", "b"])


def test_the_export_of_a_token_classifier_needs_the_names_of_its_tags(tmp_path, capsys):
    folder = hf_folder(tmp_path / "hf", "token_classification", 3)
    flags = {"input": folder, "export_dir": tmp_path / "x"}
    status = run_script(export_saved_model.main, flags)
    assert "the head has 3 outputs, but the task's labels are no classes: give --labels" in refused(
        export_saved_model.main, capsys, status
    )
    status = run_script(
        export_saved_model.main, flags | {"task_name": "custom", "labels": "a,b,c", "num_texts": 1}
    )
    assert "holds the weights of" in refused(export_saved_model.main, capsys, status)


@pytest.mark.parametrize("kind", CASED)
def test_ones_own_pretraining_lends_vocabulary_and_casing_to_all_that_follows(kind, tmp_path, capsys):
    vocabulary = pathlib.Path(CASED[kind](tmp_path))
    pieces = len(Assets(**{kind: str(vocabulary)}, do_lower_case=False).tokenizer().pieces)
    config = dataclasses.replace(CONFIG, vocab_size=168)  # more rows than pieces
    config.to_json_file(str(tmp_path / "albert_config.json"))
    text = {"do_lower_case": False} | ({"keep_accents": True} if kind == "vocab_file" else {})
    settings = {kind: str(vocabulary), **text}
    records = write_records(str(tmp_path / "records"), 16, settings=settings, vocab_size=pieces)
    flags = {
        "albert_config_file": tmp_path / "albert_config.json",
        "input_file": records,
        "output_dir": tmp_path / "pretrained",
        "max_seq_length": SEQ_LENGTH,
        "max_predictions_per_seq": PREDICTIONS,
        "train_batch_size": 8,
        "num_train_steps": 1,
        "num_warmup_steps": 0,
    }
    assert run_script(run_pretraining.main, flags) == 0
    assert (tmp_path / "pretrained" / vocabulary.name).exists()
    assert text.items() <= json.loads((tmp_path / "pretrained" / "task.json").read_text()).items()
    vocabulary.unlink()

    tuning = {"task_name": "custom", "output_dir": tmp_path / "tuned"}
    tuning |= {"init_checkpoint": tmp_path / "pretrained"}
    tuning |= {"train_file": table(tmp_path / "texts.tsv", "text", "label"), "max_seq_length": 16}
    tuning |= {"train_batch_size": 4, "train_step": 1, "export_dir": tmp_path / "served"}
    assert run(tuning, "--do_train") == 0
    for task in (tmp_path / "tuned" / "task.json", tmp_path / "served" / "1" / "assets" / "task.json"):
        assert text.items() <= json.loads(task.read_text()).items()
    start = {"input": tmp_path / "pretrained", "output": tmp_path / "hf", "output_format": "huggingface"}
    assert run_script(convert_checkpoint.main, start, "--verify") == 0
    hub = {"albert_directory": tmp_path / "pretrained", "export_path": tmp_path / "hub"}
    assert run_script(export_to_tfhub.main, hub) == 0
    assert not tf.saved_model.load(str(tmp_path / "hub")).do_lower_case
    assert "warning" not in capsys.readouterr().err

    flags["num_train_steps"] = 2  # the vocabulary is in the folder alone now
    assert run_script(run_pretraining.main, flags) == 0
    assert "warning" not in capsys.readouterr().err
    other = {**flags, "num_train_steps": 3, "do_lower_case": "true"}
    message = refused(run_pretraining.main, capsys, run_script(run_pretraining.main, other))
    assert "do_lower_case False, not True (--do_lower_case)" in message


def test_a_vocabulary_that_cannot_be_that_of_the_records_is_refused(tmp_path, capsys):
    testing.tiny_config(max_position_embeddings=16).to_json_file(str(tmp_path / "config.json"))
    flags = {"albert_config_file": tmp_path / "config.json", "output_dir": tmp_path / "run"}
    flags |= {"input_file": write_records(str(tmp_path / "records"), 8)}
    flags |= {"max_seq_length": SEQ_LENGTH, "max_predictions_per_seq": PREDICTIONS}
    flags["spm_model_file"] = testing.SPM_MODEL_FILE
    message = refused(run_pretraining.main, capsys, run_script(run_pretraining.main, flags))
    assert f"has 160 pieces, but {flags['input_file']} was made with a vocabulary of 20" in message
