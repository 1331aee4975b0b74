"""A pretraining that is exported, run by JAX and imported again."""

import dataclasses
import re

import numpy as np
import pytest
import tensorflow as tf

import albert_tf
from albert_tf import testing
from albert_tf.tasks.pretraining import PretrainingTask
from examples import export_pretraining, import_pretraining, pretrain_with_jax
from tests.support.pretraining_records import (
    CONFIG,
    MASKING,
    SEQ_LENGTH,
    make_unmasked_features,
    write_records,
)
from tests.support.script_runs import refused, run_script

SPM_CONFIG = dataclasses.replace(CONFIG, vocab_size=160)


@pytest.fixture
def flags(tmp_path):
    SPM_CONFIG.to_json_file(str(tmp_path / "config.json"))
    described = {
        "max_seq_length": SEQ_LENGTH,
        "settings": {"max_predictions_per_seq": MASKING.max_predictions_per_seq},
    }
    train = write_records(str(tmp_path / "train.tfrecord"), 40, make=make_unmasked_features, **described)
    # The last batch is not full.
    held_out = write_records(str(tmp_path / "held.tfrecord"), 20, 1, make_unmasked_features, **described)
    return {
        "input_file": train,
        "eval_input_file": held_out,
        "albert_config_file": tmp_path / "config.json",
        "output_dir": tmp_path / "exported",
        "batch_size": 16,
        "batches": 4,
        "mixed_precision": "float32",
    }


def test_imported_weights_are_those_that_jax_trained_and_measured(flags, tmp_path, capsys):
    pytest.importorskip("jax", reason="jax is missing: pip install -e '.[stablehlo]'")
    assert run_script(export_pretraining.main, flags) == 0
    weights = str(tmp_path / "weights.npz")
    folders = [str(flags["output_dir"])] * 2
    run = [*folders, f"--output={weights}", "--rates", "1e-9", "0.01", "--platform=cpu"]
    assert pretrain_with_jax.main([*run, "--steps", "40", "20", "--trial_blocks=6", "--warmup_steps=4"]) == 0
    *_, steps, first, last = capsys.readouterr().out.splitlines()
    assert steps == "60 steps at the peak rate 0.01"
    assert first == last
    assert last.startswith(f"held out, length {SEQ_LENGTH}: ")

    imported = {"weights": weights, "output_dir": tmp_path / "imported"}
    imported |= {"spm_model_file": testing.SPM_MODEL_FILE, "albert_config_file": flags["albert_config_file"]}
    assert run_script(import_pretraining.main, imported) == 0
    task = PretrainingTask(SPM_CONFIG, [], [flags["eval_input_file"]], SEQ_LENGTH, MASKING)
    model = task.build_model()
    albert_tf.load_weights(model, str(tmp_path / "imported"))
    with np.load(weights) as stored:
        assert len(stored.files) == len(model.trainable_variables)
        for variable in model.trainable_variables:
            np.testing.assert_array_equal(variable.numpy(), stored[variable.name.removesuffix(":0")])
    (batch,) = task.eval_dataset(32, tf.distribute.InputContext())
    for name, (total, weight, _) in task.measure(model, batch, training=False).items():
        shown = re.search(rf"{name} (\S+?)(,|$)", last)
        assert float(shown[1]) == pytest.approx(float(total / weight), abs=2e-4)
    assert float(re.search(r"masked_lm_loss (\S+?),", last)[1]) < 2.6  # 5.1 at first


def test_a_config_with_dropout_is_refused(flags, tmp_path, capsys):
    dataclasses.replace(SPM_CONFIG, hidden_dropout_prob=0.1).to_json_file(str(tmp_path / "config.json"))
    status = run_script(export_pretraining.main, flags)
    assert "config.json: a config without dropout is needed" in refused(
        export_pretraining.main, capsys, status
    )


def test_a_damaged_file_of_weights_is_refused(flags, tmp_path, capsys):
    (tmp_path / "weights.npz").write_bytes(b"PK no archive")
    given = {"weights": tmp_path / "weights.npz", "albert_config_file": flags["albert_config_file"]}
    given |= {"spm_model_file": testing.SPM_MODEL_FILE, "output_dir": tmp_path / "imported"}
    status = run_script(import_pretraining.main, given)
    assert "weights.npz is damaged" in refused(import_pretraining.main, capsys, status)
    assert not (tmp_path / "imported").exists()


def test_the_runner_neither_starts_without_an_export_nor_overwrites_weights(tmp_path, capsys):
    (tmp_path / "weights.npz").touch()
    for name, problem in {
        "weights.npz": "exists",
        "new.npz": "is not what examples.export_pretraining",
    }.items():
        with pytest.raises(SystemExit):
            pretrain_with_jax.main([str(tmp_path), f"--output={tmp_path / name}", "--steps=1"])
        assert problem in capsys.readouterr().err
    with pytest.raises(SystemExit):
        pretrain_with_jax.main([str(tmp_path), f"--output={tmp_path / 'new.npz'}", "--steps", "1", "2"])
    assert "--steps needs 1 numbers, one for each folder" in capsys.readouterr().err
