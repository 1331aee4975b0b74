"""Devices: one function gives every strategy of `tf.distribute`."""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
from official.common import distribute_utils
from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2
from tensorflow.python.eager import context  # TensorFlow has no public way to set the heartbeat's time limit

from albert_tf.cli.options import RunOptions
from albert_tf.errors import InputError
from albert_tf.training.cluster import Cluster, connects, find_cluster

_HEARTBEAT_TIMEOUT = 180_000  # milliseconds; `Cluster.watch` notices a lost worker sooner
_LOCAL = "local"  # TensorFlow's name for a TPU of this machine


def make_strategy(options: RunOptions) -> tf.distribute.Strategy:
    """The strategy that the options ask for; also makes TensorFlow deterministic if they ask for it.

    With a cluster it returns when all workers are there. It raises `InputError` if flags contradict each
    other, or if devices or workers are missing.
    """
    if options.deterministic:
        tf.config.experimental.enable_op_determinism()
    name = options.distribution_strategy
    if name != "multi_worker_mirrored" and (options.worker_hosts or options.task_index >= 0):
        flag = "worker_hosts" if options.worker_hosts else "task_index"
        raise InputError(f"--{flag} belongs to --distribution_strategy=multi_worker_mirrored, not to {name}")
    if name == "tpu":
        return _tpu_strategy(options)
    found = len(tf.config.list_physical_devices("GPU"))
    num_gpus = found if options.num_gpus is None else options.num_gpus
    if num_gpus > found:
        raise InputError(f"--num_gpus={num_gpus}, but this machine has {found}")
    if name == "multi_worker_mirrored":
        cluster = find_cluster(options)
        cluster.meet()
        return _cluster_strategy(cluster, num_gpus, options.verbosity)
    if options.num_gpus is None and name in ("off", "one_device"):
        num_gpus = min(num_gpus, 1)
    try:
        return distribute_utils.get_distribution_strategy(name, num_gpus=num_gpus)
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        raise InputError(f"--distribution_strategy={name}: {error}") from error


def check_batch_size(
    flag: str, batch_size: int, strategy: tf.distribute.Strategy, micro_batches: int = 1
) -> None:
    """Raises `InputError` if a global batch cannot be divided evenly over devices and their micro-batches."""
    devices = strategy.num_replicas_in_sync
    if batch_size % (devices * micro_batches):
        times = f" times --gradient_accumulation_steps={micro_batches}" if micro_batches > 1 else ""
        shown = f"{devices} devices" if devices > 1 else "one device"
        raise InputError(f"--{flag}={batch_size} is not divisible by the {shown}{times}")


def device_step(step: Callable[..., Any], jit_compile: bool) -> Callable[..., Any]:
    """The step as each device runs it, compiled by XLA if asked: then it must not talk to other devices."""
    if not jit_compile:
        return step
    compiled = tf.function(step, autograph=False, jit_compile=True)
    # `strategy.run` would take the Python function out of a tf.function, and run it without XLA.
    return lambda *arguments: compiled(*arguments)


def batches_of(
    strategy: tf.distribute.Strategy, make: Callable[[tf.distribute.InputContext], tf.data.Dataset]
) -> tf.distribute.DistributedDataset:
    """The batches of all devices, from a function that makes the dataset of one input pipeline.

    The datasets' own functions hold TensorFlow operations only. AutoGraph does not convert them, which
    would take a second or two at each start.
    """
    return strategy.distribute_datasets_from_function(tf.autograph.experimental.do_not_convert(make))


def on_all_devices(value, dtype: tf.DType) -> tf.Variable:
    """A variable with the same value on all devices; call it in the scope of the strategy."""
    first = tf.VariableAggregation.ONLY_FIRST_REPLICA
    return tf.Variable(value, dtype=dtype, trainable=False, aggregation=first)


def _cluster_strategy(cluster: Cluster, num_gpus: int, verbosity: str) -> tf.distribute.Strategy:
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.hosts)}),
        task_type="worker",
        task_id=cluster.index,
        num_accelerators={"GPU": num_gpus},
        rpc_layer="grpc",
    )
    # TensorFlow's default takes a busy worker for lost after 10 seconds.
    job = coordination_config_pb2.CoordinatedJob(name="worker", num_tasks=len(cluster.hosts))
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader="/job:worker/replica:0/task:0",
        heartbeat_timeout_in_ms=_HEARTBEAT_TIMEOUT,
        coordinated_jobs=[job],
    )
    try:
        with contextlib.nullcontext() if verbosity == "info" else _without_lines_of_grpc():
            return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        raise InputError(f"--distribution_strategy=multi_worker_mirrored: {error}") from error


@contextlib.contextmanager
def _without_lines_of_grpc() -> Iterator[None]:
    """Hides what gRPC's server prints when it starts: it ignores the log level and `sys.stderr`."""
    stderr = os.dup(2)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _tpu_strategy(options: RunOptions) -> tf.distribute.Strategy:
    name = options.tpu_name
    if name is None:
        raise InputError("--distribution_strategy=tpu needs --tpu_name")
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
            name, zone=options.tpu_zone, project=options.gcp_project
        )
        if name != _LOCAL:
            address = resolver.master().removeprefix("grpc://")
            if not connects(address):  # TensorFlow would wait forever
                raise InputError(f"--tpu_name={name}: nothing answers at {address}")
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except InputError:
        raise
    except Exception as error:  # Google Cloud's client raises exceptions of many classes
        problem = str(error).splitlines()[0]
        if "No OpKernel was registered" in str(error):
            problem = "this machine has no TPU"
        raise InputError(f"--tpu_name={name}: {problem}") from error
    return tf.distribute.TPUStrategy(resolver)
