"""run_pretraining.py as a user calls it: what works, and one clear line for what cannot."""

import dataclasses
import functools
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import convert_checkpoint
import run_pretraining
from albert_tf import AlbertConfig, load_weights, testing
from albert_tf.checkpoints import huggingface
from albert_tf.checkpoints.assets import Assets
from albert_tf.data.records import RecordWriter, serialize_examples
from albert_tf.errors import InputWarning
from albert_tf.models.pretraining import AlbertForPreTraining
from albert_tf.tasks.pretraining import PretrainingTask, masking_of
from data_prep import create_pretraining_data
from tests.support.checkpoint_files import assert_same_weights, weights_of
from tests.support.pretraining_records import CONFIG, PREDICTIONS, SEQ_LENGTH, make_features, write_records
from tests.support.script_runs import refused, run_script

run = functools.partial(run_script, run_pretraining.main)
refusal = functools.partial(refused, run_pretraining.main)

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def flags(tmp_path) -> dict[str, str]:
    CONFIG.to_json_file(str(tmp_path / "albert_config.json"))
    return {
        "albert_config_file": str(tmp_path / "albert_config.json"),
        "input_file": write_records(str(tmp_path / "train.tfrecord")),
        "output_dir": str(tmp_path / "model"),
        "max_seq_length": str(SEQ_LENGTH),
        "max_predictions_per_seq": str(PREDICTIONS),
        "train_batch_size": "8",
        "eval_batch_size": "8",
        "num_train_steps": "4",
        "num_warmup_steps": "1",
        "save_checkpoints_steps": "2",
    }


def test_trains_evaluates_and_continues_by_globs(flags, tmp_path, capsys):
    write_records(str(tmp_path / "train2.tfrecord"), seed=2)
    write_records(str(tmp_path / "held_out.tfrecord"), seed=3)
    flags["input_file"] = str(tmp_path / "train*")  # also matches the descriptions beside the records
    flags["eval_input_file"] = str(tmp_path / "held_out.tfrecord")
    assert run(flags, "--do_eval") == 0
    printed = capsys.readouterr()
    assert printed.out == (tmp_path / "model" / "eval_results.txt").read_text()
    assert "evaluation at step 2" in printed.err
    assert run({**flags, "num_train_steps": "6"}, "--do_eval") == 0
    assert "global_step = 6" in capsys.readouterr().out


def test_unmasked_records_train_and_continue_as_if_the_run_had_not_stopped(flags, tmp_path, capsys):
    (tmp_path / "text.txt").write_text(("farmers\nbread\nthe bridge\nabout a heron\nfish\n" * 9 + "\n") * 4)
    prepared = {
        "input_file": tmp_path / "text.txt",
        "output_file": tmp_path / "text.tfrecord",
        "vocab_file": testing.VOCAB_FILE,
        "max_seq_length": SEQ_LENGTH,
        "max_predictions_per_seq": PREDICTIONS,
        "masking": "dynamic",
    }
    assert run_script(create_pretraining_data.main, prepared) == 0
    dataclasses.replace(CONFIG, vocab_size=143).to_json_file(flags["albert_config_file"])
    flags |= {"input_file": str(tmp_path / "text.tfrecord"), "num_train_steps": "9"}
    flags |= {"save_checkpoints_steps": "3", "learning_rate": "0.01"}
    del flags["max_predictions_per_seq"]  # the description says it
    capsys.readouterr()
    assert run(flags, "--do_eval") == 0
    results = capsys.readouterr().out
    folder = tmp_path / "model"
    for path in folder.glob("model.ckpt-[69].*"):
        path.unlink()
    (folder / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-3"\n')
    assert run(flags, "--do_eval") == 0
    continued = capsys.readouterr()
    assert "continues from" in continued.err
    assert continued.out == results


def test_a_run_starts_from_a_hugging_face_folder(flags, tmp_path, capsys):
    model = AlbertForPreTraining(CONFIG)
    (tmp_path / "hf").mkdir()
    huggingface.write_folder(str(tmp_path / "hf"), Assets(config=CONFIG), weights_of(model), "pretraining")
    assert run({**flags, "init_checkpoint": str(tmp_path / "hf"), "num_train_steps": "1"}) == 0
    expected = f"{tmp_path / 'hf'} (Hugging Face folder): 32 variables loaded, 0 missing, 0 unexpected"
    assert expected in capsys.readouterr().err
    # With warm-up, the first update has rate 0.
    trained = AlbertForPreTraining(CONFIG)
    load_weights(trained, str(tmp_path / "model"))
    assert_same_weights(trained, weights_of(model))
    # What a run leaves converts as it is.
    argv = [f"--input={tmp_path / 'model'}", f"--output={tmp_path / 'out' / 'm'}", "--output_format=original"]
    assert convert_checkpoint.main(["convert_checkpoint.py", *argv]) == 0
    assert "(albert_tf checkpoint, step 1): 32 variables loaded, 0 missing" in capsys.readouterr().out


def test_log_of_a_run_shows_progress_with_rate_and_time_left(flags, capsys, monkeypatch):
    monkeypatch.setattr("albert_tf.cli.text.LOG_INTERVAL", 0.0)
    monkeypatch.setattr("albert_tf.training.report.REFRESH_SECONDS", 0.0)
    assert run(flags) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step ")]
    for part in ("step 3/4", "loss ", "MLM ", "SOP ", "lr ", "tokens/s", "left"):
        assert any(part in line for line in lines), part


def test_fresh_process_is_quiet_and_switches_onednn_on(flags):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TF_")}
    command = [sys.executable, str(ROOT / "run_pretraining.py"), *(f"--{n}={v}" for n, v in flags.items())]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == ""
    assert [line.split()[0] for line in done.stderr.splitlines() if line and line.split()[0] != "step"] == [
        *(
            "devices",
            "strategy",
            "precision",
            "model",
            "optimizer",
            "batch",
            "data",
            "rows",
            "sentences",
            "masks",
        ),
        *("training", "seed", "starts", "folder"),
        *("folder", "newest", "results", "TensorBoard", "the"),
    ]


def test_a_process_ends_though_records_are_still_being_read(flags, tmp_path):
    code = f"""
import functools, pathlib, sys, time
import run_pretraining
from albert_tf.data import record_index
from albert_tf.tasks import pretraining

read, calls = record_index.RecordIndex.read, []

def read_beyond_the_end_of_training(index, blocks):
    calls.append(blocks)
    while len(calls) > 1 and not pathlib.Path({str(tmp_path / "model" / "checkpoint")!r}).exists():
        time.sleep(0.01)
    time.sleep(len(calls) - 1)
    return read(index, blocks)

pretraining.shuffled_records = functools.partial(record_index.shuffled_records, blocks_of_a_pool=1)
record_index.RecordIndex.read = read_beyond_the_end_of_training
status = run_pretraining.main(["run_pretraining.py", *sys.argv[1:]])
sys.exit(status or "keras" in sys.modules)  # Keras 3, whose import nobody needs
"""
    flags["num_train_steps"] = "2"
    command = [sys.executable, "-c", code, *(f"--{n}={v}" for n, v in flags.items())]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=300)


def test_help_needs_no_tensorflow():
    code = (
        "import sys, run_pretraining; status = run_pretraining.main(['run_pretraining.py', '--help']); "
        "sys.exit(status or 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    for flag in ("--input_file", "--eval_input_file", "--distribution_strategy", "--num_warmup_steps"):
        assert flag in done.stdout


def test_defaults_are_the_originals():
    options = run_pretraining.PretrainingOptions(input_file=("a",), albert_config_file="b", output_dir="c")
    assert options.train_batch_size == 4096
    assert options.eval_batch_size == 64
    assert options.optimizer == "lamb"
    assert options.learning_rate == 0.00176
    assert (options.num_train_steps, options.settled().num_warmup_steps) == (125_000, 3125)
    assert (options.save_checkpoints_steps, options.keep_checkpoint_max) == (5000, 5)
    assert options.max_seq_length is None  # as the records say, else 512
    assert masking_of([], {}).max_predictions_per_seq == 20
    assert (options.do_train, options.do_eval, options.max_eval_steps) == (True, False, 100)


def options_with(**changes) -> run_pretraining.PretrainingOptions:
    given = {"input_file": ("a",), "albert_config_file": "b", "output_dir": "c"} | changes
    return run_pretraining.PretrainingOptions(**given)


@pytest.mark.parametrize(("steps", "warmup"), [(125_000, 3125), (200_000, 3125), (12_000, 300), (12, 0)])
def test_a_short_run_shrinks_the_default_warmup_and_says_so(capsys, steps, warmup):
    assert options_with(num_train_steps=steps).settled().num_warmup_steps == warmup
    said = capsys.readouterr().err
    assert said.startswith(f"--num_warmup_steps is {warmup} in a run of ") == (warmup != 3125)
    assert bool(said) == (warmup != 3125)


def test_a_warmup_longer_than_the_run_is_kept_with_a_warning():
    with pytest.warns(InputWarning, match="--num_warmup_steps=6: the run has only 5 steps"):
        assert options_with(num_train_steps=5, num_warmup_steps=6).settled().num_warmup_steps == 6


def test_lengths_that_are_left_out_are_those_of_the_records(flags, tmp_path, capsys):
    left_out = ("max_seq_length", "max_predictions_per_seq", "num_warmup_steps")
    lengths = {"max_seq_length": SEQ_LENGTH, "max_predictions_per_seq": PREDICTIONS}
    flags["input_file"] = write_records(str(tmp_path / "described"), **lengths)
    assert run({name: value for name, value in flags.items() if name not in left_out}, "--dry_run") == 0
    assert "--num_warmup_steps is 0 in a run of 4 steps" in capsys.readouterr().err


@pytest.mark.parametrize(("more", "message"), [
    ("--learning_rat=1", "Unknown command line flag 'learning_rat'. Did you mean: learning_rate"),
    ("--use_tpu", "--use_tpu is gone: use --distribution_strategy=tpu"),
    ("--train_batch_size=0", "--train_batch_size must be at least 1, not 0"),
    ("--train_batch_size=many", "--train_batch_size=many"),
    ("--optimizer=lamp", "--optimizer"),
    ("--init_checkpoint=", "--init_checkpoint is empty"),
    ("--output_dir=", "--output_dir is empty"),
    ("--input_file=a,", "--input_file is empty"),
    ("--init_from_group0", "--init_from_group0 needs --init_checkpoint"),
    ("--learning_rate=nan", "--learning_rate must be"),
    ("--learning_rate=inf", "--learning_rate must be a finite number"),
    ("--learning_rate=-1", "--learning_rate must be at least 0, not -1"),
    ("--learning_rate=automatic", "--learning_rate=automatic"),
    ("--seed=99999999999", "--seed must be at most 2147483647"),
    ("--flagfile=/nonexistent", "error: Unable to open flagfile"),
    ("stray", "'stray' is not a flag"),
    ("--preset=base_v2", "one of --albert_config_file and --preset is needed"),
    ("--vocab_size=8000", "--vocab_size belongs to --preset"),
    ("--preset=base", "--preset=base: value should be one of <base_v1|"),
])  # fmt: skip
def test_bad_flags_end_with_status_2(flags, capsys, more, message):
    assert message in refusal(capsys, run(flags, more), expected_status=2)


def test_missing_required_flags_are_named(capsys):
    message = refusal(capsys, run_pretraining.main(["run_pretraining.py"]), expected_status=2)
    for flag in ("--input_file", "--output_dir"):
        assert flag in message


def test_a_preset_is_a_config_with_another_vocabulary():
    config = options_with(albert_config_file=None, preset="large_v1", vocab_size=8000).config
    assert config == AlbertConfig.from_preset("large_v1", vocab_size=8000)
    assert (config.vocab_size, config.hidden_size, config.hidden_dropout_prob) == (8000, 1024, 0.1)
    assert options_with(albert_config_file=None, preset="base_v2").config.vocab_size == 30000


@pytest.mark.parametrize(("changes", "message"), [
    ({"input_file": "{folder}/none*.tfrecord"}, "none*.tfrecord"),
    ({"eval_input_file": "{folder}/none.tfrecord"}, "none.tfrecord"),
    ({"input_file": "{folder}"}, "is a folder"),
    ({"albert_config_file": "{folder}/none.json"}, "none.json does not exist"),
    ({"albert_config_file": "{folder}"}, "is a folder"),
    ({"max_seq_length": "13"}, "--max_seq_length 13 is longer than the 12 positions of the config"),
    ({"max_seq_length": "10"}, "record 1: input_ids has 12 values, but --max_seq_length is 10"),
    ({"max_predictions_per_seq": "4"}, "has 3 values, but --max_predictions_per_seq is 4"),
    ({"max_predictions_per_seq": "auto"}, "has 3 values, but --max_predictions_per_seq is 2"),
    ({"init_checkpoint": "{folder}/none"}, "none does not exist"),
    ({"output_dir": "{folder}/train.tfrecord/model"}, "--output_dir={folder}/train.tfrecord/model"),
    ({"output_dir": "/proc/model"}, "--output_dir=/proc/model"),
    ({"do_train": "false"}, "nothing to do"),
    ({"do_train": "false", "do_eval": "true"}, "no checkpoint in"),
    ({"distribution_strategy": "tpu"}, "needs --tpu_name"),
    ({"distribution_strategy": "mirrored", "num_gpus": "9"}, "--num_gpus=9, but this machine has 0"),
])  # fmt: skip
def test_what_does_not_fit_is_named_in_one_line(flags, tmp_path, capsys, changes, message):
    changes = {name: value.format(folder=tmp_path) for name, value in changes.items()}
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert message.format(folder=tmp_path) in refusal(capsys, run({**flags, **changes}))
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


@pytest.mark.parametrize(("change", "message"), [
    ({"num_attention_heads": 3}, "hidden_size 16 is not divisible by num_attention_heads 3"),
    ({"vocab_size": 19}, "was made with a vocabulary of 20 pieces, but the config's vocab_size is 19"),
    ({"vocab_size": 7}, "but there are 7 pieces in the vocabulary"),
    ({"embedding_size": None}, "missing embedding_size"),
])  # fmt: skip
def test_configs_that_cannot_be_are_named(flags, capsys, change, message):
    config = {k: v for k, v in {**CONFIG.to_dict(), **change}.items() if v is not None}
    pathlib.Path(flags["albert_config_file"]).write_text(json.dumps(config))
    assert message in refusal(capsys, run(flags))


def test_doubtful_config_keys_are_one_line_and_do_not_stop(flags, capsys):
    config = {**CONFIG.to_dict(), "hiden_dropout_prob": 0.1}
    pathlib.Path(flags["albert_config_file"]).write_text(json.dumps(config))
    assert run(flags) == 0
    warning = "run_pretraining.py: warning: config keys without meaning are ignored: hiden_dropout_prob"
    assert warning in capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(("feature", "value", "message"), [
    ("segment_ids", 2, "segment_ids holds 2, but there are 2 segments (type_vocab_size)"),
    ("input_mask", 7, "input_mask holds 7, but it is 0 or 1"),
    ("next_sentence_labels", 2, "next_sentence_labels holds 2, but it is 0 or 1"),
    ("masked_lm_weights", np.nan, "masked_lm_weights holds nan, but weights are finite and not negative"),
])  # fmt: skip
def test_values_that_cannot_be_are_named(flags, capsys, feature, value, message):
    features = make_features(4)
    features[feature][0, 0] = value
    with RecordWriter([flags["input_file"]]) as writer:
        writer.write(features)
    assert f"record 1: {message}" in refusal(capsys, run(flags))


def test_repeated_input_flags_add_up(flags, tmp_path, capsys):
    message = refusal(capsys, run(flags, f"--input_file={tmp_path / 'none'}"))
    assert f"{tmp_path / 'none'}: no such file" in message
    other = write_records(str(tmp_path / "other.tfrecord"), seed=5)
    assert run(flags, f"--input_file={other}") == 0


def test_input_deleted_during_the_run_is_named(flags, tmp_path, capsys, monkeypatch):
    write_records(str(tmp_path / "gone.tfrecord"))
    check = PretrainingTask.check_inputs

    def check_then_delete(task):
        check(task)
        (tmp_path / "gone.tfrecord").unlink()

    monkeypatch.setattr(PretrainingTask, "check_inputs", check_then_delete)
    message = refusal(capsys, run({**flags, "input_file": str(tmp_path / "gone.tfrecord")}))
    assert f"{tmp_path / 'gone.tfrecord'}: No such file or directory" in message


def test_empty_and_foreign_records_are_named(flags, tmp_path, capsys):
    path = pathlib.Path(flags["input_file"])
    path.write_bytes(b"")
    assert f"{path} holds no records" in refusal(capsys, run(flags))
    path.write_bytes(b"just text, long enough to look like something")
    assert f"{path}, record 1 is damaged, or the file is no TFRecord" in refusal(capsys, run(flags))
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(tf.train.Example().SerializeToString())
    assert f"{path}, record 1: no feature input_ids" in refusal(capsys, run(flags))


@pytest.mark.parametrize("left_of_the_record", [5, 50])
def test_truncated_file_is_found_in_training_and_checkpoints_stay(
    flags, tmp_path, capsys, left_of_the_record
):
    assert run(flags) == 0
    kept = sorted(path.name for path in (tmp_path / "model").glob("model.ckpt*"))
    path = pathlib.Path(flags["input_file"])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 48 // 64 + left_of_the_record])
    message = refusal(capsys, run({**flags, "num_train_steps": "100"}))
    assert f"{path}, record 49: the file ends inside the record" in message
    assert set(kept) <= {file.name for file in (tmp_path / "model").glob("model.ckpt*")}


@pytest.mark.parametrize(("bad", "message"), [
    (5 + 2**32, ": input_ids holds 4294967301, but there are 20 pieces in the vocabulary"),
    (b"\xff" * 20, " is not a tf.train.Example"),
])  # fmt: skip
def test_bad_record_in_the_middle_is_found(flags, capsys, bad, message):
    records = serialize_examples(make_features(64))
    if isinstance(bad, bytes):
        records[40] = bad
    else:
        example = tf.train.Example.FromString(records[40])
        example.features.feature["input_ids"].int64_list.value[3] = bad
        records[40] = example.SerializeToString()
    with RecordWriter([flags["input_file"]]) as writer:
        writer.write_serialized(records)
    more = (
        "--verbosity=info" if isinstance(bad, bytes) else "--verbosity=error"
    )  # it adds TensorFlow's own words
    assert run({**flags, "num_train_steps": "20"}, more) == 1
    *own, shown = capsys.readouterr().err.splitlines()
    assert f"error: {flags['input_file']}, record 41{message}" in shown
    assert ("Traceback (most recent call last):" in own) == (more == "--verbosity=info")


def test_damage_inside_a_record_is_found_in_training(flags, capsys):
    path = pathlib.Path(flags["input_file"])
    data = bytearray(path.read_bytes())
    data[len(data) * 40 // 64 + 100] ^= 1
    path.write_bytes(data)
    message = refusal(capsys, run({**flags, "num_train_steps": "20"}))
    assert f"{path}, record 41 is damaged (wrong checksum of its bytes)" in message


def test_learning_rate_may_follow_from_the_batch(flags, tmp_path, capsys):
    assert run({**flags, "learning_rate": "auto", "num_train_steps": "1"}) == 0
    told = "learning rate 7.778e-05: the paper's 0.00176 times the root of 8/4096"
    assert told in capsys.readouterr().err.splitlines()
    kept = json.loads((tmp_path / "model" / "training.json").read_text())
    assert kept["flags"]["learning_rate"] == pytest.approx(0.00176 * np.sqrt(8 / 4096))
    message = refusal(capsys, run(flags, "--learning_rate=auto", "--optimizer=adamw"), expected_status=2)
    assert "--learning_rate=auto is a rate for --optimizer=lamb" in message


def test_batch_must_divide_over_the_devices(flags, capsys, monkeypatch, two_devices):
    monkeypatch.setattr("albert_tf.training.loop.make_strategy", lambda options: two_devices)
    message = refusal(capsys, run({**flags, "train_batch_size": "7"}))
    assert "--train_batch_size=7 is not divisible by the 2 devices" in message
