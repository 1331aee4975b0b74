"""Devices: the strategies of `official.common.distribute_utils` behind one function."""

import os

import tensorflow as tf
from official.common import distribute_utils

from albert_tf.errors import InputError
from albert_tf.options import RunOptions


def make_strategy(options: RunOptions) -> tf.distribute.Strategy:
    """The strategy that the options ask for; makes TensorFlow deterministic if they ask for it.

    Raises:
      InputError: flags that contradict each other, or devices that are not there.
    """
    if options.deterministic:
        tf.config.experimental.enable_op_determinism()
    name = options.distribution_strategy
    found = len(tf.config.list_physical_devices("GPU"))
    num_gpus = found if options.num_gpus is None else options.num_gpus
    if num_gpus > found:
        raise InputError(f"--num_gpus={num_gpus}, but this machine has {found}")
    if options.num_gpus is None and name in ("off", "one_device"):
        num_gpus = min(num_gpus, 1)
    if name == "tpu" and options.tpu_name is None:
        raise InputError("--distribution_strategy=tpu needs --tpu_name")
    try:
        if name == "multi_worker_mirrored":
            if not (options.worker_hosts or os.environ.get("TF_CONFIG")):
                raise InputError(f"--distribution_strategy={name} needs --worker_hosts or TF_CONFIG")
            distribute_utils.configure_cluster(options.worker_hosts, options.task_index)
        return distribute_utils.get_distribution_strategy(
            name, num_gpus=num_gpus, tpu_address=options.tpu_name
        )
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        raise InputError(f"--distribution_strategy={name}: {error}") from error


def worker_folder(output_dir: str, strategy: tf.distribute.Strategy) -> str:
    """Where this process writes: `output_dir`, or a folder of its own in it if it is not the first worker.

    All workers of a cluster save alike, and none overwrites what another one writes.
    """
    resolver = strategy.cluster_resolver
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) or resolver.task_id == 0:
        return output_dir
    return os.path.join(output_dir, f"worker-{resolver.task_id}")


def check_batch_size(
    flag: str, batch_size: int, strategy: tf.distribute.Strategy, micro_batches: int = 1
) -> None:
    """Refuses a global batch that cannot be divided evenly over devices and, of each, micro-batches."""
    devices = strategy.num_replicas_in_sync
    if batch_size % (devices * micro_batches):
        times = f" times --gradient_accumulation_steps={micro_batches}" if micro_batches > 1 else ""
        raise InputError(f"--{flag}={batch_size} is not divisible by the {devices} devices{times}")


def on_all_devices(value, dtype: tf.DType) -> tf.Variable:
    """A variable that has the same value on all devices; made in the scope of the strategy."""
    return tf.Variable(
        value, dtype=dtype, trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA
    )
