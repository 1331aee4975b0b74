"""run_classifier.py says in one line what it cannot do, and leaves nothing behind."""

import pytest

from tests.support.classifier_runs import refusal, run


@pytest.mark.parametrize(("changes", "more", "message"), [
    ({"task_name": "mrcp"}, "--do_train", "mrcp"),
    ({}, "", "nothing to do"),
    ({"data_dir": None}, "--do_train", "one of --data_dir and --tfds_name is needed"),
    ({"num_train_epochs": 1}, "--do_train", "--train_step and --num_train_epochs exclude each other"),
    ({"train_file": "x.tsv"}, "--do_train", "--train_file belongs to --task_name=custom"),
    ({"early_stopping_patience": 2}, "--do_train", "--early_stopping_patience needs --do_eval"),
    ({"dropout_prob": 1}, "--do_train", "--dropout_prob must be below 1"),
    ({"labels": "a,b"}, "--do_train", "--labels belongs to --task_name=custom, not to mrpc"),
    ({"task_name": "custom", "data_dir": None}, "--do_train", "--train_file is needed"),
    ({"use_tpu": "true"}, "--do_train", "--use_tpu is gone"),
    ({"exit": "patience:3"}, "--do_train", "--exit needs --early_exit"),
    ({"exit": "layer:3"}, "--do_predict", "--exit must be patience:N"),
    ({"exit_distillation": 0.5}, "--do_train", "--exit_distillation needs --early_exit"),
    ({}, "--do_predict --early_exit", "--early_exit needs --do_train"),
])  # fmt: skip
def test_flags_that_cannot_be_meant_are_refused(flags, capsys, changes, more, message):
    status = run({**flags, **changes}, *more.split())
    assert message in refusal(capsys, status, status)
    assert status in (1, 2)


@pytest.mark.parametrize(("changes", "more", "message"), [
    ({"max_seq_length": 17}, "--do_train", "--max_seq_length 17 is longer than the 16 positions"),
    ({"data_dir": "{tmp}"}, "--do_train", "{tmp}/MRPC/train.tsv"),
    ({"task_name": "ax"}, "--do_train", "ax has no train split"),
    ({"albert_config_file": None}, "--do_train", "--albert_config_file is needed"),
    ({"spm_model_file": None}, "--do_train", "a vocabulary is needed"),
    ({"spm_model_file": "{tmp}/albert_config.json"}, "--do_train", "is not a SentencePiece model"),
    ({}, "--do_predict", "no checkpoint in {tmp}/run: train first"),
    ({"init_checkpoint": "{tmp}/none"}, "--do_train", "{tmp}/none does not exist"),
    ({"albert_hub_module_handle": "{tmp}/none"}, "--do_train", "none"),
])  # fmt: skip
def test_what_does_not_fit_is_one_line_and_leaves_nothing_behind(
    flags, tmp_path, capsys, changes, more, message
):
    changes = {k: v.format(tmp=tmp_path) if isinstance(v, str) else v for k, v in changes.items()}
    assert message.format(tmp=tmp_path) in refusal(capsys, run({**flags, **changes}, *more.split()))
    assert not list((tmp_path / "run").glob("model.ckpt*"))


@pytest.mark.parametrize(("file", "line", "message"), [
    ("RTE/train.tsv", "3\tonly two", "expected 4 columns, found 2"),
    ("RTE/train.tsv", "3\ta\tb\tperhaps", "entailment, not_entailment"),
    ("RTE/train.tsv", "3\ta\t\tentailment", "empty"),
    ("STS-B/train.tsv", "\t".join(["3", *["x"] * 6, "a", "b", "high"]), "high"),
])  # fmt: skip
def test_bad_rows_are_named_with_their_line(flags, glue, tmp_path, capsys, file, line, message):
    path = tmp_path / "glue" / file
    path.parent.mkdir(parents=True)
    path.write_text((glue / file).read_text(encoding="utf-8") + line + "\n", encoding="utf-8")
    changes = {"data_dir": tmp_path / "glue", "task_name": path.parent.name.lower()}
    printed = refusal(capsys, run(flags | changes, "--do_train"))
    assert f"{path}:26:" in printed
    assert message in printed


def test_a_missing_test_split_is_named_before_anything_is_trained(flags, glue, tmp_path, capsys):
    own = tmp_path / "glue" / "MRPC"
    own.mkdir(parents=True)
    for name in ("train.tsv", "dev.tsv"):
        (own / name).write_bytes((glue / "MRPC" / name).read_bytes())
    flags["data_dir"] = tmp_path / "glue"
    message = refusal(capsys, run(flags, "--do_train", "--do_eval", "--do_predict"))
    assert str(own / "test.tsv") in message
    assert not (tmp_path / "run").exists()


def test_tfds_without_network_is_one_line(flags, tmp_path, capsys, monkeypatch):
    pytest.importorskip("tensorflow_datasets")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    flags |= {"data_dir": None, "tfds_name": "glue/mrpc"}
    message = refusal(capsys, run(flags, "--do_train"))
    assert "could not be downloaded" in message
    assert "--data_dir" in message


@pytest.mark.parametrize("more", [{"loss": "focal"}, {"class_weights": "balanced"}, {"max_train_samples": 9}])
def test_a_loss_and_a_sample_are_for_training(more, flags, capsys):
    message = refusal(capsys, run(flags | more, "--do_eval"), 2)
    assert f"--{next(iter(more))} needs --do_train" in message
