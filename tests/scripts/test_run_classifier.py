"""run_classifier.py as a user calls it: every kind of task end to end."""

import csv
import dataclasses
import json
import pathlib
import tarfile

import numpy as np
import pytest
import tensorflow as tf

from albert_tf import testing
from albert_tf.cli.hyperparameters import PAPER_HYPERPARAMETERS
from albert_tf.models.classification import AlbertForSequenceClassification
from albert_tf.models.pretraining import AlbertForPreTraining
from tests.support.checkpoint_files import randomize, weights_of, write_checkpoint
from tests.support.classifier_runs import CONFIG, only, refusal, results_in, run
from tests.support.glue_files import write_glue

SERVER_FILES = {
    "cola": ["CoLA.tsv"],
    "sst-2": ["SST-2.tsv"],
    "mrpc": ["MRPC.tsv"],
    "sts-b": ["STS-B.tsv"],
    "qqp": ["QQP.tsv"],
    "mnli": ["MNLI-m.tsv", "MNLI-mm.tsv"],
    "mismnli": ["MNLI-mm.tsv"],
    "qnli": ["QNLI.tsv"],
    "rte": ["RTE.tsv"],
    "wnli": ["WNLI.tsv"],
}


KEYS = {
    "cola": {"matthew_corr", "eval_accuracy", "eval_loss"},
    "mrpc": {"eval_accuracy", "eval_f1", "eval_loss"},
    "qqp": {"eval_accuracy", "eval_f1", "eval_loss"},
    "sts-b": {"pearson", "spearman", "MSE", "eval_loss"},
    "mnli": {"eval_accuracy", "eval_loss", "mismatched_eval_accuracy", "mismatched_eval_loss"},
}


@pytest.mark.parametrize("task", ["cola", "mrpc", "sts-b", "mnli", "wnli"])  # others differ in names alone
def test_every_kind_of_task_trains_evaluates_and_predicts(task, flags, tmp_path, capsys):
    assert run({**flags, "task_name": task.upper()}, "--do_train", "--do_eval", "--do_predict") == 0
    printed, folder = capsys.readouterr(), tmp_path / "run"
    results = results_in(folder)
    keys = KEYS.get(task, {"eval_accuracy", "eval_loss"})
    assert set(results) == keys | {f"baseline_{key}" for key in keys} | {"global_step"}
    lines = (folder / "eval_results.txt").read_text().splitlines()
    assert lines == [f"{name} = {results[name]}" for name in sorted(results)]
    assert "train: 24 examples" in printed.out
    assert f"{task}, dev split, step {results['global_step']}" in printed.out
    assert "learning rate 5e-05" in printed.err
    assert [
        past["global_step"] for past in json.loads((folder / "history.json").read_text())["evaluations"]
    ] == [2, 4]
    rows = 5 * (2 if task == "mnli" else 1)
    assert len((folder / "test_results.tsv").read_text().splitlines()) == rows
    assert len((folder / "submit_results.tsv").read_text().splitlines()) == rows + 1
    for name in SERVER_FILES[task]:
        header, *answers = (folder / name).read_text().splitlines()
        assert header == "index\tprediction"
        assert [answer.split("\t")[0] for answer in answers] == ["0", "1", "2", "3", "4"]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert ("largest" in page.lower()) if task == "sts-b" else ("Confusion matrix" in page)
    judged = f"{task}: {26 if task == 'mnli' else 13} examples"
    for fact in ("training loss", "run_classifier.py", judged, "24 examples", "hidden size"):
        assert fact in page
    assert ("recall" in page) == (task != "sts-b")
    assert "http://" not in page.replace("http://www.w3.org/", "")


def test_a_model_with_early_exit_is_trained_shown_and_known_again(flags, tmp_path, capsys):
    todo = ("--do_train", "--do_eval", "--do_predict", "--early_exit", "--exit=budget:0.5")
    assert run(flags | {"num_hidden_layers": 3}, *todo) == 0
    shown, results = capsys.readouterr().out, results_in(tmp_path / "run")
    assert "early exit on the dev split: the mean of 3 layers used" in shown
    assert results["exit_layers"] <= 1.5
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Layers used with --exit=budget:0.5" in page
    rest = only(flags, "task_name", "data_dir", "output_dir")
    assert run(rest, "--do_predict", "--exit=patience:1") == 0  # the folder knows that it can exit early
    assert "layers_used" in (tmp_path / "run" / "predictions.tsv").read_text().splitlines()[0]


def test_training_learns_what_the_words_tell(flags, tmp_path):
    config = dataclasses.replace(CONFIG, num_hidden_layers=2, initializer_range=0.25)
    config.to_json_file(str(flags["albert_config_file"]))
    flags |= {"data_dir": write_glue(tmp_path / "glue", count=200), "task_name": "sst-2"}
    flags |= {"learning_rate": 3e-3, "train_step": 200, "save_checkpoints_steps": 50, "warmup_step": 20}
    assert run(flags, "--do_train", "--do_eval") == 0
    assert results_in(tmp_path / "run")["eval_accuracy"] > 0.9


def test_a_finished_folder_is_evaluated_predicted_from_and_trained_further(flags, tmp_path, capsys):
    assert run(flags, "--do_train") == 0
    assert not (tmp_path / "run" / "model.ckpt-best.index").exists()
    # Config and vocabulary lie in the folder; predicting needs no evaluation before it.
    rest = only(flags, "task_name", "data_dir", "output_dir", "max_seq_length")
    assert run(rest, "--do_predict") == 0
    before = (tmp_path / "run" / "test_results.tsv").read_text()
    assert run(rest, "--do_eval") == 0
    err = capsys.readouterr().err
    assert "evaluation at step 2:" in err
    assert "evaluation at step 4:" in err
    evaluated = results_in(tmp_path / "run")
    assert run(rest, "--do_eval", "--do_predict") == 0
    assert results_in(tmp_path / "run") == pytest.approx(evaluated)
    if evaluated["global_step"] == 4:
        assert (tmp_path / "run" / "test_results.tsv").read_text() == before
    assert run({**flags, "train_step": 6}, "--do_train", "--do_eval") == 0
    assert "continues from" in capsys.readouterr().err
    history = json.loads((tmp_path / "run" / "history.json").read_text())["evaluations"]
    assert [past["global_step"] for past in history] == [2, 4, 6]


def test_predictions_are_the_same_whatever_batch_and_padding(flags, tmp_path):
    source = randomize(AlbertForSequenceClassification(CONFIG, 3))
    flags |= {
        "task_name": "mnli",
        "init_checkpoint": write_checkpoint(tmp_path / "model.ckpt-best", weights_of(source)),
    }
    found = []
    paddings = ["", "--pad_to_max_length", "--length_buckets=16"]
    ways = [*paddings, "--predict_batch_size=1", "--predict_batch_size=99"]
    for i, way in enumerate(ways):
        flags["output_dir"] = tmp_path / f"run{i}"
        assert run(flags, "--do_predict", *way.split()) == 0
        found.append(np.loadtxt(tmp_path / f"run{i}" / "test_results.tsv"))
    assert found[0].shape == (10, 3)
    np.testing.assert_allclose(found[0].sum(axis=1), 1, atol=1e-6)
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=1e-6)


def test_padding_changes_neither_the_order_nor_the_weights(flags, tmp_path):
    histories = []
    for name, more in [("bucketed", []), ("padded", ["--pad_to_max_length"])]:
        flags["output_dir"] = tmp_path / name
        assert run({**flags, "dropout_prob": 0, "learning_rate": 1e-3}, "--do_train", "--do_eval", *more) == 0
        histories.append(json.loads((tmp_path / name / "history.json").read_text())["evaluations"])
    for one, other in zip(*histories, strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def test_a_task_of_ones_own_from_csv_and_jsonl(flags, tmp_path, capsys):
    rows = [("good boat", "yes"), ("bad rain", "no"), ("fine", "maybe")] * 4
    train, dev, test = (tmp_path / name for name in ("train.csv", "dev.jsonl", "test.jsonl"))
    train.write_text("body,verdict\n" + "".join(f'"{a},\n{a}","{b}"\n' for a, b in rows))
    dev.write_text("".join(json.dumps({"verdict": b, "body": a}) + "\n" for a, b in rows[:5]))
    test.write_text('{"body": "a boat", "key": "x1"}\n{"body": "", "key": "the \\"2nd\\""}\n')
    flags |= {
        "task_name": "custom",
        "data_dir": None,
        "train_file": train,
        "dev_file": dev,
        "test_file": test,
    }
    flags |= {"text_columns": "body", "label_column": "verdict"}
    assert run(flags, "--do_train", "--do_eval") == 0
    assert {"eval_accuracy", "macro_f1", "matthew_corr"} < set(results_in(tmp_path / "run"))
    assert "maybe" in capsys.readouterr().out
    # The classes come from the folder now.
    flags |= {"train_file": None, "dev_file": None}
    assert run(flags, "--do_predict", "--id_column=key") == 0
    assert "1 of 2 texts are blank and are read as they are" in capsys.readouterr().err
    with open(tmp_path / "run" / "predictions.tsv", newline="") as file:
        header, *found = csv.reader(file, "excel-tab")
    assert header == ["id", "label", "maybe", "no", "yes"]
    assert [row[0] for row in found] == ["x1", 'the "2nd"']
    for _, label, *chances in found:
        assert label == max(zip(map(float, chances), header[2:], strict=True))[1]
    _, row, _ = (tmp_path / "run" / "submit_results.tsv").read_text().splitlines()
    assert row == "\t".join(found[0][:2])


def test_a_score_of_ones_own_for_pairs(flags, tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("a\tb\tlikeness\n" + "".join(f"boat {i}\train\t{i / 10 - 0.5}\n" for i in range(12)))
    flags |= {"task_name": "custom", "data_dir": None, "train_file": path, "dev_file": path}
    flags |= {"text_columns": "a,b", "label_column": "likeness"}
    assert run(flags, "--is_score", "--do_train", "--do_eval") == 0
    metrics = {"pearson", "spearman", "MSE", "eval_loss"}
    baselines = {f"baseline_{name}" for name in metrics}
    assert set(results_in(tmp_path / "run")) == {*metrics, *baselines, "global_step"}


def test_mnli_weights_answer_the_diagnostic_set_and_start_rte(flags, tmp_path, capsys):
    mnli = flags | {"task_name": "mnli", "output_dir": tmp_path / "mnli"}
    assert run(mnli, "--do_train", "--do_eval") == 0
    weights = tmp_path / "mnli" / "model.ckpt-best"
    start = only(flags, "data_dir", "max_seq_length", "train_step") | {"init_checkpoint": weights}
    assert run({**start, "task_name": "ax", "output_dir": tmp_path / "ax"}, "--do_predict") == 0
    assert len((tmp_path / "ax" / "AX.tsv").read_text().splitlines()) == 6
    rte = {**start, "task_name": "rte", "output_dir": tmp_path / "rte"}
    message = refusal(capsys, run(rte, "--do_eval"))
    assert "has the head of the task mnli (contradiction, entailment, neutral)" in message
    assert run(rte, "--do_train") == 0
    assert "25 variables loaded" in capsys.readouterr().err


def test_training_stops_early_when_nothing_gets_better(flags, tmp_path, capsys):
    flags |= {"learning_rate": 0.0, "train_step": 20, "save_checkpoints_steps": 1}
    patience = ["--early_stopping_patience=2", "--do_train", "--do_eval"]
    for _ in range(2):  # run again, it does not go on either
        assert run(flags, *patience) == 0
        assert "stopped early at step 3: nothing better in the last 2 evaluations" in capsys.readouterr().err
        assert results_in(tmp_path / "run")["global_step"] == 3  # of equal ones the latest
    assert not (tmp_path / "run" / "model.ckpt-4.index").exists()


def test_epochs_and_warmup_proportion_become_steps(flags, capsys):
    flags |= {"train_step": None, "num_train_epochs": 2, "warmup_proportion": 0.5}
    assert run(flags, "--do_train") == 0
    printed = capsys.readouterr().err
    assert "training     6 steps, " in printed
    assert ", the data 2 times" in printed
    assert "warm-up until step 3" in printed


def test_the_papers_hyperparameters_are_shown_and_flags_go_before_them(flags, capsys):
    flags = only(flags, "data_dir", "albert_config_file", "spm_model_file", "output_dir", "max_seq_length")
    flags |= {"task_name": "rte", "hparams": "paper", "train_step": 1, "warmup_step": 0}
    assert run(flags, "--do_train") == 0
    printed = capsys.readouterr().err
    assert "hyperparameters: those of the paper's Table 14" in printed
    assert "learning rate 3e-05\n" in printed


def test_features_are_reused_only_where_nothing_changed(flags, glue, tmp_path, capsys):
    def caches() -> set[str]:
        return {path.name for path in (tmp_path / "cache").glob("mrpc_train.*.tf_record")}

    flags["cached_dir"] = tmp_path / "cache"
    assert run(flags, "--do_train") == 0
    first = caches()
    assert len(first) == 1
    assert run(flags, "--do_train") == 0
    assert caches() == first
    assert run({**flags, "max_seq_length": 12, "output_dir": tmp_path / "b"}, "--do_train") == 0
    assert len(caches()) == 2
    own = tmp_path / "own"
    (own / "MRPC").mkdir(parents=True)
    content = (glue / "MRPC" / "train.tsv").read_text(encoding="utf-8")
    (own / "MRPC" / "train.tsv").write_text(content.replace("boats", "ships"), encoding="utf-8")
    assert run({**flags, "data_dir": own, "output_dir": tmp_path / "c"}, "--do_train") == 0
    assert len(caches()) == 3


def test_pretrained_weights_lend_their_config_and_vocabulary(flags, tmp_path, capsys):
    folder = tmp_path / "pretrained"
    folder.mkdir()
    write_checkpoint(folder / "model.ckpt-best", weights_of(AlbertForPreTraining(CONFIG)))
    CONFIG.to_json_file(str(folder / "albert_config.json"))
    (folder / "30k-clean.model").write_bytes(pathlib.Path(testing.SPM_MODEL_FILE).read_bytes())
    flags |= {"albert_config_file": None, "spm_model_file": None, "init_checkpoint": folder}
    assert run(flags, "--do_train") == 0
    assert "25 variables loaded, 0 missing" in capsys.readouterr().err
    flags |= {"output_dir": tmp_path / "other"}
    message = refusal(capsys, run(flags, "--do_predict"))
    assert "has no head of a task: --do_train makes a head for mrpc" in message


def test_an_archive_lends_its_config_and_vocabulary_too(flags, tmp_path):
    folder = tmp_path / "albert_base"
    folder.mkdir()
    write_checkpoint(folder / "model.ckpt-best", weights_of(AlbertForPreTraining(CONFIG)))
    CONFIG.to_json_file(str(folder / "albert_config.json"))
    (folder / "spm.model").write_bytes(pathlib.Path(testing.SPM_MODEL_FILE).read_bytes())
    with tarfile.open(tmp_path / "albert_base_v2.tar.gz", "w:gz") as archive:
        archive.add(folder, "albert_base")
    flags |= {"albert_config_file": None, "spm_model_file": None}
    flags |= {"init_checkpoint": tmp_path / "albert_base_v2.tar.gz"}
    assert run(flags, "--do_train") == 0
    assert (tmp_path / "run" / "spm.model").exists()
    assert run({**flags, "init_checkpoint": None}, "--do_predict") == 0


def test_devices_evaluate_alike(flags, tmp_path, monkeypatch, two_devices):
    rows = []
    for name, strategy in [("one", None), ("two", two_devices)]:
        if strategy:
            monkeypatch.setattr("albert_tf.fine_tuning.fine_tune.make_strategy", lambda options: two_devices)
        changes = {
            "output_dir": tmp_path / name,
            "dropout_prob": 0,
            "learning_rate": 1e-3,
            "eval_batch_size": 4,
        }
        assert run(flags | changes, "--do_train", "--do_eval", "--do_predict") == 0
        rows.append((results_in(tmp_path / name), np.loadtxt(tmp_path / name / "test_results.tsv")))
    assert rows[0][0] == pytest.approx(rows[1][0], rel=1e-4)
    np.testing.assert_allclose(rows[0][1], rows[1][1], atol=1e-4)


@pytest.mark.parametrize("task", ["cola", "rte"])  # one without dropout, and one with
def test_the_papers_dropout_reaches_the_encoder(flags, task, tmp_path):
    flags |= {"task_name": task, "hparams": "paper", "train_step": 1, "warmup_step": 0}
    assert run(flags, "--do_train") == 0
    config = json.loads((tmp_path / "run" / "albert_config.json").read_text())
    expected = PAPER_HYPERPARAMETERS[task].encoder_dropout_prob
    assert config["hidden_dropout_prob"] == config["attention_probs_dropout_prob"] == expected
    if expected:  # the same command continues, and needs no word about dropout
        assert run({**flags, "train_step": 2}, "--do_train") == 0


def test_encoder_dropout_is_a_flag(flags, tmp_path):
    assert run(flags | {"encoder_dropout_prob": 0.25}, "--do_train") == 0
    config = json.loads((tmp_path / "run" / "albert_config.json").read_text())
    assert config["hidden_dropout_prob"] == config["attention_probs_dropout_prob"] == 0.25
    rest = only(flags, "task_name", "data_dir", "output_dir")
    assert run(rest, "--do_predict") == 0  # the folder knows the length, too


def test_data_of_tfds_are_read_where_they_lie(flags, tmp_path, monkeypatch, capsys):
    tfds = pytest.importorskip("tensorflow_datasets")
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path))
    features = {"sentence": tfds.features.Text(), "idx": np.int32}
    features["label"] = tfds.features.ClassLabel(names=["negative", "positive"])
    columns = {"sentence": ["a boat", "the river", "some cheese"], "label": [1, 0, 1]}
    columns["idx"] = np.arange(3, dtype=np.int32)
    tfds.dataset_builders.store_as_tfds_dataset(
        name="glue",
        config="sst2",
        version="2.0.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets={
            name: tf.data.Dataset.from_tensor_slices(columns) for name in ("train", "validation")
        },
        data_dir=str(tmp_path),
        disable_shuffling=True,
    )
    flags |= {"task_name": "sst-2", "data_dir": None, "tfds_name": "glue/sst2"}
    assert run(flags, "--do_train", "--do_eval") == 0
    assert "train: 3 examples" in capsys.readouterr().out


def test_several_labels_at_once_from_training_to_prediction(flags, tmp_path, capsys):
    rows = [("the river", "water"), ("boats", "water,trade"), ("wool", "trade"), ("hills", "")]
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.tsv").write_text("\n".join("\t".join(row) for row in [("text", "label"), *rows]))
    flags |= {"task_name": "custom", "data_dir": None, "train_file": tmp_path / "train.tsv"}
    flags |= {"dev_file": tmp_path / "dev.tsv", "test_file": tmp_path / "test.tsv"}
    more = ("--class_weights=balanced", "--label_smoothing=0.1", f"--export_dir={tmp_path / 'export'}")
    assert run(flags, "--multi_label", "--do_train", "--do_eval", "--do_predict", *more) == 0
    printed, folder = capsys.readouterr(), tmp_path / "run"
    results = results_in(folder)
    assert {"micro_f1", "macro_f1_at_0.5", "water_f1", "trade_threshold", "baseline_micro_f1"} <= set(results)
    assert "always trade and water" in printed.out
    task = json.loads((folder / "task.json").read_text())
    assert (task["problem_type"], task["label_separator"]) == ("multi_label_classification", ",")
    predictions = (folder / "predictions.tsv").read_text()
    # The weights know that a text has several labels, and the evaluation which thresholds decide.
    rest = only(flags, "task_name", "test_file", "output_dir")
    (folder / "predictions.tsv").unlink()
    assert run(rest, "--do_predict") == 0
    assert (folder / "predictions.tsv").read_text() == predictions
    scored = json.loads((folder / "predict_results.json").read_text())
    for name in ("micro_f1", "macro_f1", "water_threshold"):
        assert scored[name] == pytest.approx(results[name])
    changed = refusal(capsys, run({**flags, "train_step": 6, "loss": "focal"}, "--multi_label", "--do_train"))
    assert "--loss cross_entropy, not focal" in changed
    other = refusal(capsys, run({**flags, "labels": "trade,water"}, "--do_train", "--multi_label=false"))
    assert "is not one of the labels" in other


def test_training_chooses_by_any_result_and_the_folder_keeps_the_choice(flags, tmp_path, capsys):
    assert run(flags | {"best_metric": "eval_loss"}, "--do_train", "--do_eval") == 0
    history = json.loads((tmp_path / "run" / "history.json").read_text())["evaluations"]
    best = min(history, key=lambda row: row["eval_loss"])["global_step"]
    assert f"best by eval_loss: step {best}" in capsys.readouterr().err
    rest = only(flags, "task_name", "data_dir", "output_dir")
    assert run(rest, "--do_eval") == 0
    assert f"best by eval_loss: step {best}" in capsys.readouterr().err
    message = refusal(capsys, run(flags | {"train_step": 6}, "--do_train", "--do_eval"))
    assert "--best_metric eval_loss, not eval_accuracy" in message
    flags |= {"output_dir": tmp_path / "other", "best_metric": "f1"}
    message = refusal(capsys, run(flags, "--do_train", "--do_eval"))
    assert "--best_metric=f1 is none of the results eval_accuracy, eval_f1, eval_loss" in message
    assert "--best_metric needs --do_train" in refusal(capsys, run(flags, "--do_eval"), 2)


def test_a_sample_to_train_on_does_not_depend_on_the_seed(flags, tmp_path, capsys):
    flags |= {"max_train_samples": 10, "train_step": 1}
    for seed in (1, 2):
        assert run(flags | {"seed": seed, "output_dir": tmp_path / f"run{seed}"}, "--do_train") == 0
    first, second = (
        json.loads((tmp_path / f"run{seed}" / "training.json").read_text())["settings"]["train_file"]
        for seed in (1, 2)
    )
    assert first == second
    assert first.startswith("10 examples")
