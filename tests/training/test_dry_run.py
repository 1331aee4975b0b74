"""--dry_run: checks what training would check, runs a step of each kind, and changes no file."""

import fcntl
import functools
import pathlib

import pytest

import run_pretraining
from tests.support import classifier_runs
from tests.support.classifier_runs import mrpc_flags
from tests.support.glue_files import write_glue
from tests.support.pretraining_records import CONFIG, PREDICTIONS, SEQ_LENGTH, write_records
from tests.support.script_runs import facts_in, refused, run_script

pretrain = functools.partial(run_script, run_pretraining.main)
refusal = functools.partial(refused, run_pretraining.main)


@pytest.fixture
def flags(tmp_path) -> dict[str, object]:
    CONFIG.to_json_file(str(tmp_path / "albert_config.json"))
    return {
        "albert_config_file": tmp_path / "albert_config.json",
        "input_file": write_records(str(tmp_path / "train.tfrecord")),
        "output_dir": tmp_path / "model",
        "max_seq_length": SEQ_LENGTH,
        "max_predictions_per_seq": PREDICTIONS,
        "train_batch_size": 8,
        "num_train_steps": 4,
        "num_warmup_steps": 1,
        "save_checkpoints_steps": 2,
    }


def contents(folder: pathlib.Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of every file, also of hidden files."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_a_run_that_has_not_begun_is_tried_without_a_trace(flags, tmp_path, capsys):
    before = contents(tmp_path)
    assert pretrain(flags, "--do_eval", "--dry_run") == 0
    printed = capsys.readouterr()
    facts = facts_in(printed.err)
    assert facts["batch"] == "8, 88 tokens a step"  # records of 11 pieces in rows of 12
    assert facts["rows"] == "12 positions, several examples"
    assert facts["data"] == "64 records in 1 file"
    assert facts["training"].endswith("for 4 steps, without evaluations")
    assert facts["starts from"] == "fresh weights"
    assert facts["dry run"] == f"nothing is written to {tmp_path / 'model'}"
    assert {"training step", "evaluation step"} <= facts.keys()
    assert facts["peak memory"].endswith("GB of this process")
    assert contents(tmp_path) == before
    assert not (tmp_path / "model").exists()


def test_a_run_that_stopped_says_where_it_would_continue_and_stays_as_it_is(flags, tmp_path, capsys):
    assert pretrain({**flags, "num_train_steps": 2}, "--do_eval") == 0
    before = contents(tmp_path)
    capsys.readouterr()
    assert pretrain(flags, "--do_eval", "--dry_run") == 0
    facts = facts_in(capsys.readouterr().err)
    assert facts["continues from"] == f"{tmp_path / 'model' / 'model.ckpt-2'}, step 2 of 4"
    assert "for 2 steps" in facts["training"]
    assert contents(tmp_path) == before

    message = refusal(capsys, pretrain({**flags, "train_batch_size": 16}, "--dry_run"))
    assert "--train_batch_size 8, not 16" in message
    with open(tmp_path / "model" / ".lock", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert f"is at work in {tmp_path / 'model'}" in refusal(capsys, pretrain(flags, "--dry_run"))
    assert contents(tmp_path) == before


@pytest.mark.parametrize(("changes", "message"), [
    ({"max_seq_length": 10}, "record 1: input_ids has 12 values, but --max_seq_length is 10"),
    ({"init_checkpoint": "/none"}, "/none does not exist"),
    ({"output_dir": "{folder}/train.tfrecord/model"}, "train.tfrecord/model cannot be written"),
    ({"output_dir": "/proc/model"}, "--output_dir=/proc/model cannot be written"),
])  # fmt: skip
def test_what_training_would_refuse_is_refused(flags, tmp_path, capsys, changes, message):
    changes = {name: str(value).format(folder=tmp_path) for name, value in changes.items()}
    before = contents(tmp_path)
    assert message in refusal(capsys, pretrain(flags | changes, "--dry_run"))
    assert contents(tmp_path) == before


def test_a_list_of_checkpoints_that_is_no_text_does_not_end_it(flags, tmp_path, capsys):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "checkpoint").write_bytes(b"\xff\xfe")
    before = contents(tmp_path)
    assert pretrain(flags, "--dry_run", "--do_train") == 0
    assert "training step" in facts_in(capsys.readouterr().err)
    assert contents(tmp_path) == before


def test_features_are_kept_only_where_a_folder_is_named_for_them(tmp_path, capsys):
    flags = mrpc_flags(write_glue(tmp_path / "glue"), tmp_path)
    before = contents(tmp_path)
    todo = ("--do_train", "--do_eval", "--do_predict", "--dry_run")
    assert classifier_runs.run(flags | {"num_seeds": 3}, *todo) == 0
    facts = facts_in(capsys.readouterr().err)
    assert {"training step", "evaluation step", "prediction step", "peak memory"} <= facts.keys()
    assert contents(tmp_path) == before
    assert classifier_runs.run(flags | {"cached_dir": tmp_path / "cache"}, *todo) == 0
    assert not (tmp_path / "run").exists()
    assert len(list((tmp_path / "cache").glob("*.tf_record"))) == 3
    message = classifier_runs.refusal(capsys, classifier_runs.run(flags, "--dry_run"), expected_status=2)
    assert "nothing to do" in message
    message = classifier_runs.refusal(
        capsys, classifier_runs.run(flags, "--dry_run", f"--export_dir={tmp_path / 'out'}"), expected_status=2
    )
    assert "--dry_run needs --do_train, --do_eval or --do_predict" in message
