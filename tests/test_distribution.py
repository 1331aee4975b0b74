"""Strategies: what flags give, and several worker processes that train one model."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from albert_tf import testing
from albert_tf.errors import InputError
from albert_tf.options import TrainingOptions
from albert_tf.training.distribution import check_batch_size, make_strategy, worker_folder
from tests.glue_files import write_glue
from tests.pretraining_records import CONFIG, PREDICTIONS, SEQ_LENGTH, write_records

ROOT = pathlib.Path(__file__).resolve().parents[1]


def options(**changes) -> TrainingOptions:
    return TrainingOptions(output_dir="model", **changes)


@pytest.mark.parametrize(("name", "expected"), [
    ("off", tf.distribute.get_strategy()),
    ("one_device", tf.distribute.OneDeviceStrategy("CPU:0")),
    ("mirrored", tf.distribute.MirroredStrategy(["CPU:0"])),
])  # fmt: skip
def test_flags_give_the_strategy_they_name(name, expected):
    strategy = make_strategy(options(distribution_strategy=name))
    assert type(strategy) is type(expected)
    assert worker_folder("model", strategy) == "model"


@pytest.mark.parametrize(("changes", "message"), [
    ({"distribution_strategy": "tpu"}, "needs --tpu_name"),
    ({"distribution_strategy": "mirrored", "num_gpus": 2}, "--num_gpus=2, but this machine has 0"),
    ({"distribution_strategy": "multi_worker_mirrored", "worker_hosts": "a:1,b:1"}, "task_index"),
    ({"distribution_strategy": "multi_worker_mirrored"}, "needs --worker_hosts or TF_CONFIG"),
])  # fmt: skip
def test_flags_that_cannot_be_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        make_strategy(options(**changes))


def test_batch_must_divide(two_devices):
    with pytest.raises(InputError, match="--eval_batch_size=3 is not divisible by the 2 devices"):
        check_batch_size("eval_batch_size", 3, two_devices)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("localhost", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def start(script: str, flags: dict[str, object]) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / script), *(f"--{name}={value}" for name, value in flags.items())]
    environment = {k: v for k, v in os.environ.items() if k != "TF_CONFIG"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def run_cluster_and_alone(script: str, flags: dict[str, object], folder: pathlib.Path) -> None:
    """Runs a script in two workers into `cluster`, then in one process into `alone`."""
    hosts = ",".join(f"localhost:{port}" for port in free_ports(2))
    cluster = flags | {"distribution_strategy": "multi_worker_mirrored", "worker_hosts": hosts}
    cluster |= {"output_dir": folder / "cluster"}
    workers = [start(script, cluster | {"task_index": i}) for i in range(2)]
    printed = [worker.communicate(timeout=200) for worker in workers]
    for worker, (_, errors) in zip(workers, printed, strict=True):
        assert worker.returncode == 0, errors
    alone = start(script, flags | {"output_dir": folder / "alone"})
    _, errors = alone.communicate(timeout=200)
    assert alone.returncode == 0, errors


def test_two_workers_train_the_weights_of_one_process(tmp_path):
    CONFIG.to_json_file(str(tmp_path / "albert_config.json"))
    flags = {
        "albert_config_file": tmp_path / "albert_config.json",
        "input_file": write_records(str(tmp_path / "train.tfrecord"), count=16),
        "max_seq_length": SEQ_LENGTH,
        "max_predictions_per_seq": PREDICTIONS,
        "train_batch_size": 16,  # all records: every process sees its half of each of them
        "eval_batch_size": 16,
        "do_eval": True,
        "learning_rate": 0.01,
        "num_train_steps": 5,
        "num_warmup_steps": 2,
    }
    run_cluster_and_alone("run_pretraining.py", flags, tmp_path)
    one, first, second = (
        tf.train.load_checkpoint(str(tmp_path / name / "model.ckpt-5"))
        for name in ("alone", "cluster", "cluster/worker-1")
    )
    names = [name for name in one.get_variable_to_shape_map() if name.startswith("model/")]
    assert len(names) == 32
    for name in names:
        np.testing.assert_array_equal(first.get_tensor(name), second.get_tensor(name), err_msg=name)
        np.testing.assert_allclose(first.get_tensor(name), one.get_tensor(name), atol=1e-5, err_msg=name)


def test_two_workers_fine_tune_and_predict_like_one_process(tmp_path):
    testing.tiny_config(max_position_embeddings=16).to_json_file(str(tmp_path / "albert_config.json"))
    flags = {
        "task_name": "mrpc",
        "data_dir": write_glue(tmp_path / "glue"),
        "albert_config_file": tmp_path / "albert_config.json",
        "spm_model_file": testing.SPM_MODEL_FILE,
        "max_seq_length": 16,
        "train_batch_size": 8,
        "learning_rate": 1e-3,
        "dropout_prob": 0,
        "train_step": 5,
        "do_train": True,
        "do_eval": True,
        "do_predict": True,
    }
    run_cluster_and_alone("run_classifier.py", flags, tmp_path)
    cluster, alone = (np.loadtxt(tmp_path / name / "test_results.tsv") for name in ("cluster", "alone"))
    np.testing.assert_allclose(cluster, alone, atol=1e-5)
    ours, theirs = (
        json.loads((tmp_path / name / "eval_results.json").read_text()) for name in ("cluster", "alone")
    )
    assert ours == pytest.approx(theirs, rel=1e-4)
