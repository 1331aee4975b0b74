"""run_tagger.py as a user calls it, from training to an export."""

import dataclasses
import functools
import json
import pathlib

import numpy as np
import pytest

import run_tagger
from albert_tf import open_model, testing
from albert_tf.checkpoints.conversion import Conversion, convert
from albert_tf.errors import InputError, InputWarning
from albert_tf.export.trained_model import open_trained_model
from albert_tf.models.classification import AlbertForTokenClassification
from tests.support.script_runs import refused, run_script
from tests.support.trained_models import trained_model, write_run

run = functools.partial(run_script, run_tagger.main)
refusal = functools.partial(refused, run_tagger.main)

SENTENCES = ["The river Wye rises in Wales .", "boats carry salt to York", "Salt is sold in York and Wye ."]
TYPES = {"Wye": "B-river", "Wales": "B-place", "York": "B-place"}


def columns(sentences) -> str:
    """A file of columns."""
    return "\n\n".join("\n".join(f"{w} {TYPES.get(w, 'O')}" for w in s.split()) for s in sentences) + "\n"


@pytest.fixture
def flags(tmp_path) -> dict[str, object]:
    config = testing.tiny_config(num_hidden_layers=1, max_position_embeddings=32)
    config.to_json_file(str(tmp_path / "albert_config.json"))
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.conll").write_text(columns(SENTENCES * 2 if split == "train" else SENTENCES))
    return {
        "albert_config_file": tmp_path / "albert_config.json",
        "spm_model_file": testing.SPM_MODEL_FILE,
        "output_dir": tmp_path / "run",
        **{f"{split}_file": tmp_path / f"{split}.conll" for split in ("train", "dev", "test")},
        "max_seq_length": 16,  # so that a sentence needs several windows
        "train_batch_size": 4,
        "train_step": 4,
        "save_checkpoints_steps": 4,
    }


def test_one_run_trains_scores_and_predicts(flags, tmp_path, capsys):
    assert run(flags, "--do_train", "--do_eval", "--do_predict", "--loss=crf") == 0
    printed = capsys.readouterr()
    assert "text is lower-cased, but 100% of the words of 2 kinds of tags have capitals" in printed.err
    assert "train: 40 words of 6 sentences, scheme of the tags: IOB2" in printed.out
    folder = tmp_path / "run"
    results = json.loads((folder / "eval_results.json").read_text())
    assert {"precision", "recall", "f1", "accuracy", "place_f1", "river_recall", "baseline_f1"} <= set(
        results
    )
    assert results["baseline_accuracy"] == pytest.approx(15 / 20)
    predicted = json.loads((folder / "predict_results.json").read_text())
    assert predicted == {name: results[name] for name in predicted}
    lines = (folder / "predictions.conll").read_text().split("\n")
    assert [line.split("\t")[:2] for line in lines[:8]] == [
        *([word, TYPES.get(word, "O")] for word in SENTENCES[0].split()),
        [""],
    ]
    task = json.loads((folder / "task.json").read_text())
    assert task["label_names"] == ["O", "B-place", "I-place", "B-river", "I-river"]
    assert (task["tag_scheme"], task["loss"], task["casing_feature"]) == ("IOB2", "crf", False)
    assert '<mark class="reference">' in (folder / "report.html").read_text()

    # Another run needs the weights and the words alone, and the opened model gives the same tags.
    (tmp_path / "words.conll").write_text("\n\n".join(s.replace(" ", "\n") for s in SENTENCES))
    rest = {"output_dir": folder, "test_file": tmp_path / "words.conll"}
    assert run(rest, "--do_predict") == 0
    alone = [line.split("\t") for line in (folder / "predictions.conll").read_text().split("\n")]
    assert alone == [line.split("\t")[::2] for line in lines]
    served = [tag for answer in open_model(folder).predict(SENTENCES) for tag in answer["tags"]]
    assert served == [row[1] for row in alone if row != [""]]


def test_parts_of_speech_are_scored_by_accuracy_and_capitals_are_learned(flags, tmp_path):
    tags = {"train": "N V N V", "dev": "N V V N", "test": "N V V N"}
    words = {split: ["Boats", "boats", "Salt", "salt"] for split in tags}
    words["dev"] = words["test"] = ["Boats", "salt", "boats", "Salt"]
    for split, row in tags.items():
        record = {"tokens": words[split], "tags": row.split()}
        (tmp_path / f"{split}.jsonl").write_text(json.dumps(record))
        flags[f"{split}_file"] = tmp_path / f"{split}.jsonl"
    flags |= {"train_step": 30, "save_checkpoints_steps": 30, "learning_rate": 0.05, "warmup_step": 0}
    assert run(flags, "--do_train", "--do_eval", "--do_predict", "--casing_feature") == 0
    folder = tmp_path / "run"
    results = json.loads((folder / "eval_results.json").read_text())
    assert results.keys() == {"accuracy", "eval_loss", "baseline_accuracy", "global_step"}
    assert (results["accuracy"], results["baseline_accuracy"]) == (1.0, 0.5)
    rows = [line.split("\t") for line in (folder / "predictions.tsv").read_text().splitlines()]
    assert [row[:4] + row[5:] for row in rows] == [
        ["id", "begin", "end", "type", "text"],
        ["0", "0", "5", "N", "Boats"],
        ["0", "6", "10", "V", "salt"],
        ["0", "11", "16", "V", "boats"],
        ["0", "17", "21", "N", "Salt"],
    ]
    assert "Confusion matrix" in (folder / "report.html").read_text()


def test_an_ensemble_takes_the_tag_of_the_highest_mean_probability(flags, tmp_path, capsys):
    runs = []
    for loss, vocabulary in [
        ("crf", {}),
        ("softmax", {"spm_model_file": None, "vocab_file": testing.VOCAB_FILE}),
    ]:
        runs.append(tmp_path / loss)
        more = {"output_dir": runs[-1], "loss": loss, "train_step": 1, **vocabulary}
        assert run(flags | more, "--do_train") == 0
    both = {name: flags[name] for name in ("dev_file", "test_file", "max_seq_length")}
    both |= {"ensemble": ",".join(map(str, runs)), "output_dir": tmp_path / "both"}
    assert run(both, "--do_eval", "--do_predict") == 0
    assert "together" in capsys.readouterr().out
    results = json.loads((tmp_path / "both" / "predict_results.json").read_text())
    assert results == json.loads((tmp_path / "both" / "eval_results.json").read_text())
    assert results["eval_loss"] > 0
    rows = [line.split("\t") for line in (tmp_path / "both" / "predictions.conll").read_text().splitlines()]
    right = [row[1] == row[2] for row in rows if len(row) == 3]
    assert np.mean(right) == pytest.approx(results["accuracy"])


def test_documents_are_read_at_once_and_scored_by_sentence(flags, tmp_path):
    for split in ("train", "dev", "test"):
        path = pathlib.Path(flags[f"{split}_file"])
        path.write_text(f"-DOCSTART- O\n\n{path.read_text()}\n-DOCSTART- O\n\n{columns(SENTENCES[:1])}")
    assert run(flags, "--do_train", "--do_predict", "--context=document") == 0
    folder = tmp_path / "run"
    assert len((folder / "predictions.conll").read_text().split("\n\n")) == 5
    rows = [line.split("\t") for line in (folder / "predictions.tsv").read_text().splitlines()[1:]]
    words = dict(enumerate([*SENTENCES, SENTENCES[0]]))
    for number, begin, end, *_, text in rows:
        assert words[int(number)][int(begin) : int(end)] == text
    assert json.loads((folder / "task.json").read_text())["context"] == "document"


def test_weights_of_another_tag_set_are_told_apart(flags, tmp_path, capsys):
    assert run(flags, "--do_train") == 0
    (tmp_path / "other.conll").write_text("York O\n\nsalt B-food\n")
    status = run(flags | {"dev_file": tmp_path / "other.conll"}, "--do_eval")
    assert refusal(capsys, status).endswith(
        "other.conll:3: 'B-food' is none of the known tags O, B-place, I-place, B-river, I-river"
    )
    other = flags | {"train_file": tmp_path / "other.conll", "output_dir": tmp_path / "next"}
    assert run(other | {"init_checkpoint": flags["output_dir"], "train_step": 1}, "--do_train") == 0
    assert "has the head of another task" in capsys.readouterr().err
    status = run({name: flags[name] for name in ("train_file", "output_dir")}, "--do_train", "--do_eval")
    assert "--dev_file is needed" in refusal(capsys, status, 2)


def test_hugging_face_folders_go_both_ways(tmp_path):
    names = ["O", "B-place", "I-place"]
    trained = trained_model("token_classification", crf=False, label_names=names)
    there, back = str(tmp_path / "there"), str(tmp_path / "back")
    (tmp_path / "run").mkdir()
    run_folder = str(write_run(trained, tmp_path / "run"))
    convert(Conversion(input=run_folder, output=there, output_format="huggingface"))
    config = json.loads((tmp_path / "there" / "config.json").read_text())
    assert config["architectures"] == ["AlbertForTokenClassification"]
    assert list(config["id2label"].values()) == names
    (tmp_path / "there" / "task.json").unlink()  # as in a folder of others
    convert(Conversion(input=there, output=back, output_format="tf2"))
    with open_trained_model(back) as found:
        assert (found.head, found.task["task_name"], found.task["label_names"]) == (
            "token_classification",
            "tagging",
            names,
        )
        for ours, theirs in zip(trained.model.get_weights(), found.model.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(InputError, match="the head has 3 outputs, but the task's labels are O, B-x: give"):
        open_trained_model(there, label_names=("O", "B-x")).__enter__()


def test_what_hugging_face_cannot_express_is_said(tmp_path):
    model = trained_model("token_classification").model  # with both
    for name, parts in {"crf": {"crf": True}, "cased": {"casing_feature": True}}.items():
        (tmp_path / name).mkdir()
        fresh = AlbertForTokenClassification(model.config, 5, **parts)
        trained = dataclasses.replace(trained_model("token_classification"), model=fresh)
        write_run(trained, tmp_path / name)
    crf, cased = (str(tmp_path / name) for name in ("crf", "cased"))
    there = str(tmp_path / "there")
    with pytest.warns(InputWarning, match="has no CRF"):
        convert(Conversion(input=crf, output=there, output_format="huggingface"))
    back = Conversion(input=there, output=str(tmp_path / "back"), output_format="tf2")
    assert convert(back).model.crf
    with pytest.raises(InputError, match="cannot express the casing feature"):
        convert(Conversion(input=cased, output=str(tmp_path / "no"), output_format="huggingface"))
