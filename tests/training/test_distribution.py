"""Strategies: the one that flags name, and clusters of real processes that train what one process trains."""

import dataclasses
import json
import pathlib
import signal

import numpy as np
import pytest
import tensorflow as tf

import run_pretraining
from albert_tf import testing
from albert_tf.cli.options import TrainingOptions
from albert_tf.errors import InputError
from albert_tf.training.distribution import check_batch_size, make_strategy
from tests.support.classifier_runs import CONFIG as CLASSIFIER
from tests.support.glue_files import write_glue
from tests.support.killed_runs import Job, Runner, job
from tests.support.ports import free_ports
from tests.support.pretraining_records import CONFIG, PREDICTIONS, SEQ_LENGTH, write_records
from tests.support.script_runs import run_script


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


@pytest.mark.parametrize(("changes", "message"), [
    ({"distribution_strategy": "tpu"}, "needs --tpu_name"),
    ({"distribution_strategy": "tpu", "tpu_name": "local"}, "^--tpu_name=local: this machine has no TPU$"),
    ({"distribution_strategy": "tpu", "tpu_name": "grpc://localhost:1"}, "nothing answers at localhost:1$"),
    ({"distribution_strategy": "mirrored", "num_gpus": 2}, "--num_gpus=2, but this machine has 0"),
    ({"worker_hosts": "a:1,b:1", "task_index": 0}, "--worker_hosts belongs to .*=multi_worker_mirrored, not"),
    ({"distribution_strategy": "mirrored", "task_index": 0}, "--task_index belongs to .* not to mirrored$"),
])  # fmt: skip
def test_flags_that_cannot_be_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        make_strategy(options(**changes))


def test_zone_and_project_go_to_where_the_tpu_is_looked_up(monkeypatch):
    asked = {}

    def resolver(name, zone, project):
        asked.update(name=name, zone=zone, project=project)
        raise RuntimeError("no such TPU\nand a trace")

    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", resolver)
    flags = {"tpu_name": "mine", "tpu_zone": "here", "gcp_project": "ours"}
    with pytest.raises(InputError, match=r"^--tpu_name=mine: no such TPU$"):
        make_strategy(options(distribution_strategy="tpu", **flags))
    assert asked == {"name": "mine", "zone": "here", "project": "ours"}


def test_batch_must_divide(two_devices):
    with pytest.raises(InputError, match="--eval_batch_size=3 is not divisible by the 2 devices"):
        check_batch_size("eval_batch_size", 3, two_devices)


@pytest.fixture(scope="module")
def runner():
    runner = Runner()
    yield runner
    runner.close()


@pytest.fixture(scope="module")
def pretraining(tmp_path_factory) -> dict[str, object]:
    """Flags of 20 steps under LAMB, without dropout; the evaluation's last batch is not full."""
    folder = tmp_path_factory.mktemp("pretraining")
    config = dataclasses.replace(CONFIG, initializer_range=0.25)
    config.to_json_file(str(folder / "albert_config.json"))
    return {
        "albert_config_file": folder / "albert_config.json",
        "input_file": write_records(str(folder / "train.tfrecord"), count=50),
        "eval_input_file": write_records(str(folder / "eval.tfrecord"), count=21, seed=1),
        "max_seq_length": SEQ_LENGTH,
        "max_predictions_per_seq": PREDICTIONS,
        "train_batch_size": 8,
        "eval_batch_size": 8,
        "do_eval": True,
        "learning_rate": 0.01,
        "num_train_steps": 20,
        "num_warmup_steps": 2,
        "save_checkpoints_steps": 10,
    }


def workers(
    script: str, flags: dict[str, object], count: int, when: dict[int, dict] | None = None
) -> list[Job]:
    """The jobs of a cluster; `when` tells which of them get a signal."""
    hosts = ",".join(f"localhost:{port}" for port in free_ports(count))
    flags = flags | {"distribution_strategy": "multi_worker_mirrored", "worker_hosts": hosts}
    logs = [f"{flags['output_dir']}-{i}.log" for i in range(count)]
    return [job(script, flags | {"task_index": i}, logs[i], **(when or {}).get(i, {})) for i in range(count)]


def printed(folder: pathlib.Path, worker: int) -> list[str]:
    return pathlib.Path(f"{folder}-{worker}.log").read_text().splitlines()


def assert_same_training(folder: pathlib.Path, expected: pathlib.Path) -> None:
    ours, theirs = (tf.train.load_checkpoint(str(path / "model.ckpt-20")) for path in (folder, expected))
    kinds = theirs.get_variable_to_dtype_map()
    names = [name for name, kind in kinds.items() if kind == tf.float32]
    assert len(names) == 3 * 32 + 1  # weights, both moments, the learning rate
    for name in names:
        # The loss does not depend on the bias of keys: its gradient is 0, up to rounding.
        limit = 1e-4 if "key/bias" in name else 1e-5
        np.testing.assert_allclose(ours.get_tensor(name), theirs.get_tensor(name), atol=limit, err_msg=name)
    ours, theirs = (
        {past["global_step"]: past for past in json.loads((path / "history.json").read_text())["evaluations"]}
        for path in (folder, expected)
    )
    assert list(theirs) == [10, 20]
    for step in theirs:
        assert ours[step] == pytest.approx(theirs[step], rel=1e-5)


@pytest.fixture(scope="module")
def alone(pretraining, tmp_path_factory) -> pathlib.Path:
    """The run of one process and one device."""
    folder = tmp_path_factory.mktemp("alone") / "model"
    assert run_script(run_pretraining.main, pretraining | {"output_dir": folder}) == 0
    return folder


def test_two_devices_follow_one(pretraining, alone, tmp_path, monkeypatch, two_devices):
    monkeypatch.setattr("albert_tf.training.loop.make_strategy", lambda options: two_devices)
    assert run_script(run_pretraining.main, pretraining | {"output_dir": tmp_path / "model"}) == 0
    assert_same_training(tmp_path / "model", alone)


def test_workers_follow_one_process_and_the_first_one_speaks(pretraining, alone, tmp_path, runner):
    folder, count = tmp_path / "model", 4  # two workers follow it in the next test
    jobs = workers("run_pretraining", pretraining | {"output_dir": folder}, count)
    assert runner.run(*jobs) == [0] * count, printed(folder, 0)
    assert_same_training(folder, alone)
    assert printed(folder, 0)[1].endswith(f"in each of {count} workers")
    assert any("evaluation at step 20" in line for line in printed(folder, 0))
    for i in range(1, count):
        log = folder / f"worker-{i}.log"
        assert printed(folder, i) == [f"this is worker {i}; what it does is in {log}"]
        assert "evaluation at step 20" in log.read_text()
    assert not [path for path in folder.iterdir() if path.is_dir() and path.name not in ("train", "eval")]


def test_a_cluster_that_is_interrupted_and_loses_a_worker_continues(pretraining, alone, tmp_path, runner):
    folder = tmp_path / "model"
    flags = pretraining | {"output_dir": folder, "save_checkpoints_steps": 5}
    first = {"wait_for": [str(folder / "record_index.npz")], "seconds": 0.0, "signal": signal.SIGTERM}
    assert runner.run(*workers("run_pretraining", flags, 2, {1: first})) == [130, 130]
    assert printed(folder, 0)[-2:] == [
        f"saved {folder / 'model.ckpt-1'}; the same command continues from there",
        "run_pretraining.py: error: interrupted",
    ]

    killed = {"wait_for": [str(folder / "model.ckpt-5.index")], "seconds": 0.0}
    jobs = workers("run_pretraining", flags, 2, {1: killed})
    assert runner.run(*jobs) == [1, -9]
    host = jobs[0].argv[-2].split(",")[1]
    assert printed(folder, 0)[-1] == (
        f"run_pretraining.py: error: no answer any more from worker 1 ({host}); the same command for all "
        "workers continues from the last checkpoint"
    )

    assert runner.run(*workers("run_pretraining", flags, 2)) == [0, 0], printed(folder, 0)
    assert_same_training(folder, alone)


def test_workers_that_were_started_differently_stop(pretraining, tmp_path, runner):
    shared = pretraining | {"output_dir": tmp_path / "shared"}
    first, second = workers("run_pretraining", shared, 2)
    second.argv.append("--seed=1")
    other, apart = workers("run_pretraining", pretraining | {"output_dir": tmp_path / "apart"}, 2)
    apart.argv.append(f"--output_dir={tmp_path / 'own'}")
    assert runner.run(first, second, other, apart) == [1, 1, 1, 1]
    for worker in (0, 1):
        last = printed(tmp_path / "shared", worker)[-1]
        assert "worker 1 (localhost:" in last
        assert last.endswith("was not started with the same --seed as worker 0")
    assert "sees another folder at --output_dir=" in printed(tmp_path / "apart", 1)[-1]


def test_two_workers_fine_tune_and_predict_like_one_process(tmp_path, runner):
    CLASSIFIER.to_json_file(str(tmp_path / "albert_config.json"))
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
    cluster, alone = tmp_path / "cluster", tmp_path / "alone"
    jobs = workers("run_classifier", flags | {"output_dir": cluster}, 2)
    jobs.append(job("run_classifier", flags | {"output_dir": alone}, f"{alone}.log"))
    assert runner.run(*jobs) == [0, 0, 0], printed(cluster, 0)
    ours, theirs = (np.loadtxt(folder / "test_results.tsv") for folder in (cluster, alone))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    ours, theirs = (json.loads((folder / "eval_results.json").read_text()) for folder in (cluster, alone))
    assert ours == pytest.approx(theirs, rel=1e-4)
    assert len(printed(cluster, 1)) == 1
