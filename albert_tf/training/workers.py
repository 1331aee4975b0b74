"""`Workers`: the processes of a job, what they share and what each of them has for itself.

Worker 0 is the chief: its folder, results and messages are those of the run. The other workers write to
folders of their own inside it. These begin as copies, so that all workers decide alike.
"""

import contextlib
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
from tensorflow.python.eager import context  # TensorFlow has no public way to abort collective operations

from albert_tf.checkpoints.run_folder import (
    CHECKPOINT_NAME,
    LOCK_FILE,
    WORKER_FOLDER,
    best_checkpoint,
    newest_whole_checkpoint,
)
from albert_tf.cli.text import say
from albert_tf.errors import InputError
from albert_tf.files import files_that_begin_with
from albert_tf.training.cluster import NOTICED_WITHIN, Cluster
from albert_tf.training.folder import folder_of_others, no_link, own_folder

# Workers may differ in these flags: their number, their devices and messages, and paths on their machine.
_OWN_FLAGS = ("task_index", "num_gpus", "output_dir", "init_checkpoint", "verbosity", "worker_hosts")


class Workers:
    """The workers of a cluster, seen from one of them; without a cluster, one process that is its own chief.

    Attributes:
      is_chief: whether this process speaks for the run.
      is_alone: whether there are no other processes.
    """

    def __init__(self, cluster: Cluster | None = None, strategy: tf.distribute.Strategy | None = None):
        self._cluster = cluster
        self._strategy = strategy
        self._index = cluster.index if cluster else 0
        self._names = cluster.names if cluster else ["worker 0"]
        self.is_chief = self._index == 0
        self.is_alone = cluster is None
        if strategy:

            def on_device(row):
                return tf.distribute.get_replica_context().all_gather(tf.identity(row), axis=0)

            self._on_all = tf.function(lambda row: strategy.run(on_device, args=(row,)), autograph=False)

    def check_same_flags(self, flags: Mapping[str, Any]) -> None:
        """Raises `InputError` if a worker was started with other flags or data than the chief."""
        flags = {f"--{name}": value for name, value in flags.items() if name not in _OWN_FLAGS}
        self._check_same(flags, "was not started with the same {names} as worker 0")

    def check_same_weights(self, variables: Sequence[tf.Variable]) -> None:
        """Raises `InputError` if a worker holds other values than the chief."""
        code = 0
        for variable in variables if not self.is_alone else ():
            code = zlib.crc32(variable.numpy().tobytes(), code)
        self._check_same({"weights": code}, "has other weights than worker 0")

    @contextlib.contextmanager
    def words(self, output_dir: str, dry_run: bool) -> Iterator[None]:
        """In the block only the chief prints; the others write to `worker-<n>.log` unless `dry_run`."""
        if self.is_chief:
            yield
            return
        path = os.devnull
        if not dry_run:
            path = os.path.join(output_dir, f"{WORKER_FOLDER.format(self._index)}.log")
            os.makedirs(output_dir, exist_ok=True)
        opener = None if dry_run else no_link
        with open(path, "a", buffering=1, encoding="utf-8", opener=opener) as log:
            say(f"this is worker {self._index}; what it does is in {path}")
            with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                yield

    @contextlib.contextmanager
    def run_folder(self, output_dir: str, dry_run: bool) -> Iterator[str]:
        """Yields the folder to which this process writes; with `dry_run` the folder does not change.

        All workers begin and end the block together. It raises `InputError` if another run is at work in the
        folder, or if the workers do not share it.
        """
        if dry_run:
            with folder_of_others(output_dir) if self.is_chief else contextlib.nullcontext():
                yield output_dir
        elif self.is_chief:
            with own_folder(output_dir):
                if not self.is_alone:
                    newest_whole_checkpoint(output_dir, repair=True)
                    best_checkpoint(output_dir, repair=True)
                self._meet()
                self._check_shared(output_dir)
                yield output_dir
                self._meet()
        else:
            self._meet()
            folder = os.path.join(output_dir, WORKER_FOLDER.format(self._index))
            if os.path.islink(folder):  # whose files would be removed
                raise InputError(f"{folder} is a link, which is not followed: remove it")
            with own_folder(folder):
                _copy_state(output_dir, folder)
                self._check_shared(output_dir)
                yield folder
                self._meet()
            shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[Callable[[], None]]:
        """Yields a function to call after each step, so that no Ctrl-C or SIGTERM is lost.

        In one process a signal raises `KeyboardInterrupt` at once. TensorFlow may swallow it while it traces
        a function, or make another error of it; then the call after the step, or the end of the block, raises
        it again. In a cluster, all workers raise it after the same step if one of them got a signal; a second
        signal raises it at once.
        """
        if self.is_alone and threading.current_thread() is not threading.main_thread():
            yield lambda: None
            return
        signals: list[int] = []

        def note(number: int, _) -> None:
            signals.append(number)
            if self.is_alone or len(signals) > 1:
                raise KeyboardInterrupt

        def check() -> None:
            if self._gather([len(signals)]).any():
                raise KeyboardInterrupt

        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield check
        except Exception:
            if signals and self.is_alone:
                raise KeyboardInterrupt from None
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """In the block, operations that wait for a lost worker fail after some seconds."""

        def abort(names: str) -> None:
            context.context().abort_collective_ops(tf.errors.UNAVAILABLE, f"no answer from {names}")

        with self._cluster.watch(abort) if self._cluster else contextlib.nullcontext():
            yield

    def lost(self) -> str:
        """The names of the workers that do not answer; empty if all do.

        If it finds any, it returns late: this worker must still answer the others, which may notice later.
        """
        silent = self._cluster.silent() if self._cluster else []
        if silent:
            time.sleep(NOTICED_WITHIN)
        return ", ".join(self._names[index] for index in silent)

    def _check_same(self, values: Mapping[str, Any], problem: str) -> None:
        """Raises `InputError` about a worker if the text of its values, by name, differs from the chief's."""
        all_codes = self._gather([zlib.crc32(str(value).encode()) for value in values.values()])
        for worker, row in zip(self._names, all_codes, strict=True):
            differing = [name for name, differs in zip(values, row != all_codes[0], strict=True) if differs]
            if differing:
                raise InputError(f"{worker} {problem.replace('{names}', ', '.join(differing))}")

    def _check_shared(self, output_dir: str) -> None:
        try:
            with open(os.path.join(output_dir, LOCK_FILE), encoding="utf-8") as file:
                holder = file.read()
        except OSError:
            holder = ""
        problem = f"sees another folder at --output_dir={output_dir} than worker 0: all must share it"
        self._check_same({"lock": holder}, problem)

    def _meet(self) -> None:
        """Returns when all workers have called it."""
        self._gather([0])

    def _gather(self, values: Sequence[int]) -> np.ndarray:
        """int64 `[workers, values]`: the values of all workers, each of which must call it."""
        if not self._strategy:
            return np.array([values], np.int64)
        gathered = self._on_all(tf.constant([values], tf.int64))
        of_one_device = self._strategy.experimental_local_results(gathered)[0].numpy()
        return of_one_device.reshape(len(self._names), -1, len(values))[:, 0]


def workers_of(strategy: tf.distribute.Strategy) -> Workers:
    """The processes over which a strategy spreads training."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return Workers()
    resolver = strategy.cluster_resolver
    hosts = tuple(resolver.cluster_spec().as_dict()["worker"])
    return Workers(Cluster(hosts, resolver.task_id), strategy)


def _copy_state(output_dir: str, folder: str) -> None:
    """Fills a worker's folder with links to the checkpoints of the run and copies of its small files."""
    for entry in list(os.scandir(folder)):
        if entry.name != LOCK_FILE:
            shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.remove(entry.path)
    for path in files_that_begin_with(os.path.join(output_dir, f"{CHECKPOINT_NAME}-"), "*.*"):
        os.symlink(os.path.abspath(path), os.path.join(folder, os.path.basename(path)))
    for name in ("checkpoint", "*.json"):
        for path in files_that_begin_with(os.path.join(output_dir, ""), name):
            shutil.copy(path, folder)
