"""What the workers of a cluster share and what each has for itself.

The first worker's folder, results and words are those of the run. The others work in folders of their own in
it, which begin as copies, so that all decide alike; what they say goes to a log. A run of one process is its
own first worker.
"""

import contextlib
import functools
import glob
import os
import shutil
import signal
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context  # what TensorFlow itself watches by has no public name

from albert_tf.checkpoints.run_folder import CHECKPOINT_NAME, best_checkpoint, newest_whole_checkpoint
from albert_tf.cli.text import say
from albert_tf.errors import InputError
from albert_tf.training.cluster import NOTICED_WITHIN
from albert_tf.training.distribution import cluster_of
from albert_tf.training.folder import LOCK_FILE, folder_of_others, own_folder

# Flags in which the workers of a cluster may differ: which one it is, what it has, and paths on its machine.
_OWN_FLAGS = ("task_index", "num_gpus", "output_dir", "init_checkpoint", "verbosity", "worker_hosts")


def is_first(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process speaks for the run."""
    cluster = cluster_of(strategy)
    return cluster is None or cluster.index == 0


@contextlib.contextmanager
def run_folder(output_dir: str, strategy: tf.distribute.Strategy, dry_run: bool) -> Iterator[str]:
    """Yields where this process writes, were it not for `dry_run`, by which the folder stays as it is.

    The workers of a cluster begin and end the block together.

    Raises:
      InputError: another run is at work in the folder, or the workers do not share it.
    """
    if dry_run:
        with folder_of_others(output_dir) if is_first(strategy) else contextlib.nullcontext():
            yield output_dir
        return
    cluster = cluster_of(strategy)
    if cluster is None:
        with own_folder(output_dir):
            yield output_dir
        return
    if cluster.index == 0:
        with own_folder(output_dir):
            newest_whole_checkpoint(output_dir, repair=True)
            best_checkpoint(output_dir, repair=True)
            _meet(strategy)
            _check_shared(output_dir, strategy)
            yield output_dir
            _meet(strategy)
        return
    _meet(strategy)
    folder = os.path.join(output_dir, f"worker-{cluster.index}")
    with own_folder(folder):
        _copy_state(output_dir, folder)
        _check_shared(output_dir, strategy)
        yield folder
        _meet(strategy)
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def words(output_dir: str, strategy: tf.distribute.Strategy, dry_run: bool) -> Iterator[None]:
    """Within it only the first worker prints; the others write to `worker-<n>.log`, and say so.

    With `dry_run` they are silent.
    """
    if is_first(strategy):
        yield
        return
    index = cluster_of(strategy).index
    path = os.devnull
    if not dry_run:
        path = os.path.join(output_dir, f"worker-{index}.log")
        os.makedirs(output_dir, exist_ok=True)
    with open(path, "a", buffering=1, encoding="utf-8") as log:
        say(f"this is worker {index}; what it does is in {path}")
        with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            yield


def check_alike(strategy: tf.distribute.Strategy, values: Mapping[str, Any], problem: str) -> None:
    """Compares values over the workers of a cluster.

    Args:
      strategy: the devices.
      values: by name; told apart by their text.
      problem: what to say of those that differ: {worker} and {names} stand in it.

    Raises:
      InputError: a worker has other values than the first one.
    """
    cluster = cluster_of(strategy)
    if cluster is None:
        return
    codes = [zlib.crc32(str(value).encode()) for value in values.values()]
    all_codes = _gather(strategy, codes)
    for index, row in enumerate(all_codes):
        differing = [name for name, differs in zip(values, row != all_codes[0], strict=True) if differs]
        if differing:
            raise InputError(problem.format(worker=cluster.name(index), names=", ".join(differing)))


def check_same_flags(strategy: tf.distribute.Strategy, flags: Mapping[str, Any]) -> None:
    """InputError if a worker of a cluster was started with other flags or data than the first one."""
    flags = {f"--{name}": value for name, value in flags.items() if name not in _OWN_FLAGS}
    check_alike(strategy, flags, "{worker} was not started with the same {names} as worker 0")


def check_same_weights(strategy: tf.distribute.Strategy, variables: Sequence[tf.Variable]) -> None:
    """InputError if the workers of a cluster hold other values than the first one."""
    if cluster_of(strategy) is None:
        return
    code = 0
    for variable in variables:
        code = zlib.crc32(variable.numpy().tobytes(), code)
    check_alike(strategy, {"weights": code}, "{worker} has other weights than worker 0")


@contextlib.contextmanager
def interruptible(strategy: tf.distribute.Strategy) -> Iterator[Callable[[], None]]:
    """Yields what is called after each step, so that no Ctrl-C or SIGTERM is lost.

    In a cluster all raise KeyboardInterrupt after the same step, whichever got the signal, and a second one
    does so at once. In one process the first one does, and where TensorFlow swallows it, as it may while it
    traces a function, the call after the step raises it again.
    """
    is_alone = cluster_of(strategy) is None
    if is_alone and threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    signals: list[int] = []

    def note(number: int, _) -> None:
        signals.append(number)
        if is_alone or len(signals) > 1:
            raise KeyboardInterrupt

    def check() -> None:
        if signals if is_alone else _gather(strategy, [len(signals)]).any():
            raise KeyboardInterrupt

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def watched(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Within it, operations that wait for a worker of a cluster that is gone fail in some seconds."""
    cluster = cluster_of(strategy)
    if cluster is None:
        yield
        return

    def abort(names: str) -> None:
        context.context().abort_collective_ops(tf.errors.UNAVAILABLE, f"no answer from {names}")

    with cluster.watch(abort):
        yield


def lost_workers(strategy: tf.distribute.Strategy) -> str:
    """The names of other workers that do not answer any more; empty if all do.

    Where some are gone it comes late: to the others, which may notice later, this worker must still answer.
    """
    cluster = cluster_of(strategy)
    silent = cluster.silent() if cluster else []
    if silent:
        time.sleep(NOTICED_WITHIN)
    return ", ".join(map(cluster.name, silent))


def _copy_state(output_dir: str, folder: str) -> None:
    """Gives a worker's folder the state of the run's: links to checkpoints, and copies of what is small."""
    for entry in list(os.scandir(folder)):
        if entry.name != LOCK_FILE:
            shutil.rmtree(entry.path) if entry.is_dir() else os.remove(entry.path)
    for path in glob.glob(os.path.join(glob.escape(output_dir), f"{CHECKPOINT_NAME}-*.*")):
        os.symlink(os.path.abspath(path), os.path.join(folder, os.path.basename(path)))
    for name in ("checkpoint", "*.json"):
        for path in glob.glob(os.path.join(glob.escape(output_dir), name)):
            shutil.copy(path, folder)


def _check_shared(output_dir: str, strategy: tf.distribute.Strategy) -> None:
    try:
        with open(os.path.join(output_dir, LOCK_FILE), encoding="utf-8") as file:
            holder = file.read()
    except OSError:
        holder = ""
    problem = f"{{worker}} sees another folder at --output_dir={output_dir} than worker 0: all must share it"
    check_alike(strategy, {"lock": holder}, problem)


def _meet(strategy: tf.distribute.Strategy) -> None:
    """Returns when all workers have called it."""
    _gather(strategy, [0])


def _gather(strategy: tf.distribute.Strategy, values: Sequence[int]) -> np.ndarray:
    """int64 [workers, values]. The values of all workers, which must all call it."""
    gathered = _gatherer(strategy)(tf.constant([values], tf.int64))
    of_one_device = strategy.experimental_local_results(gathered)[0].numpy()
    return of_one_device.reshape(len(cluster_of(strategy).hosts), -1, len(values))[:, 0]


@functools.cache
def _gatherer(strategy: tf.distribute.Strategy) -> Callable[[tf.Tensor], tf.Tensor]:
    def on_device(row):
        return tf.distribute.get_replica_context().all_gather(tf.identity(row), axis=0)

    return tf.function(lambda row: strategy.run(on_device, args=(row,)), autograph=False)
