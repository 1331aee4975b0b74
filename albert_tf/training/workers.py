"""`Workers`: the processes of a job, what they share and what each has for itself.

The folder, the results and the words of the chief, worker 0, are those of the run. The others work in folders
of their own in it, which begin as copies, so that all decide alike; what they say goes to a log.
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
from tensorflow.python.eager import context  # what TensorFlow itself watches by has no public name

from albert_tf.checkpoints.run_folder import (
    CHECKPOINT_NAME,
    LOCK_FILE,
    best_checkpoint,
    newest_whole_checkpoint,
    worker_folder,
    worker_log,
)
from albert_tf.cli.text import say
from albert_tf.errors import InputError
from albert_tf.files import files_that_begin_with
from albert_tf.training.cluster import NOTICED_WITHIN, Cluster
from albert_tf.training.folder import folder_of_others, own_folder

# Flags in which the workers of a cluster may differ: which one it is, what it has, and paths on its machine.
_OWN_FLAGS = ("task_index", "num_gpus", "output_dir", "init_checkpoint", "verbosity", "worker_hosts")


class Workers:
    """The one process of a job that has no others: it is its own chief.

    Attributes:
      is_chief: whether this process speaks for the run.
      is_alone: whether there are no other processes.
    """

    is_chief = True
    is_alone = True

    def check_alike(self, values: Mapping[str, Any], problem: str) -> None:
        """Compares values over all workers.

        Args:
          values: by name; told apart by their text.
          problem: what to say of those that differ: {worker} and {names} stand in it.

        Raises:
          InputError: a worker has other values than the chief.
        """

    def check_same_flags(self, flags: Mapping[str, Any]) -> None:
        """InputError if a worker was started with other flags or data than the chief."""
        flags = {f"--{name}": value for name, value in flags.items() if name not in _OWN_FLAGS}
        self.check_alike(flags, "{worker} was not started with the same {names} as worker 0")

    def check_same_weights(self, variables: Sequence[tf.Variable]) -> None:
        """InputError if a worker holds other values than the chief."""

    @contextlib.contextmanager
    def words(self, output_dir: str, dry_run: bool) -> Iterator[None]:
        """Within it only the chief prints; the others write to `worker-<n>.log`, and say so.

        With `dry_run` they are silent.
        """
        yield

    @contextlib.contextmanager
    def run_folder(self, output_dir: str, dry_run: bool) -> Iterator[str]:
        """Yields where this process writes; with `dry_run` the folder stays as it is.

        The workers begin and end the block together.

        Raises:
          InputError: another run is at work in the folder, or the workers do not share it.
        """
        with folder_of_others(output_dir) if dry_run else own_folder(output_dir):
            yield output_dir

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[Callable[[], None]]:
        """Yields what is called after each step, so that no Ctrl-C or SIGTERM is lost.

        In a cluster all workers raise KeyboardInterrupt after the same step, whichever got the signal, and a
        second signal raises it at once. In one process the first signal does, and where TensorFlow swallows
        it, as it may while it traces a function, the call after the step raises it again.
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
            if self._of_any(bool(signals)):
                raise KeyboardInterrupt

        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield check
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Within it, operations that wait for a worker that is gone fail in some seconds."""
        yield

    def lost(self) -> str:
        """The names of other workers that do not answer any more; empty if all do.

        Where some are gone it comes late: to the others, which may notice later, this worker must still
        answer.
        """
        return ""

    def _of_any(self, value: bool) -> bool:
        """Whether the value is true in any worker; all must ask."""
        return value


class ClusterWorkers(Workers):
    """The workers of a cluster, seen from one of them."""

    is_alone = False

    def __init__(self, cluster: Cluster, strategy: tf.distribute.Strategy):
        self._cluster = cluster
        self._strategy = strategy
        self.is_chief = cluster.index == 0

        def on_device(row):
            return tf.distribute.get_replica_context().all_gather(tf.identity(row), axis=0)

        self._on_all = tf.function(lambda row: strategy.run(on_device, args=(row,)), autograph=False)

    def check_alike(self, values: Mapping[str, Any], problem: str) -> None:
        """See `Workers`."""
        all_codes = self._gather([zlib.crc32(str(value).encode()) for value in values.values()])
        for index, row in enumerate(all_codes):
            differing = [name for name, differs in zip(values, row != all_codes[0], strict=True) if differs]
            if differing:
                worker = self._cluster.name(index)
                raise InputError(problem.format(worker=worker, names=", ".join(differing)))

    def check_same_weights(self, variables: Sequence[tf.Variable]) -> None:
        """See `Workers`."""
        code = 0
        for variable in variables:
            code = zlib.crc32(variable.numpy().tobytes(), code)
        self.check_alike({"weights": code}, "{worker} has other weights than worker 0")

    @contextlib.contextmanager
    def words(self, output_dir: str, dry_run: bool) -> Iterator[None]:
        """See `Workers`."""
        if self.is_chief:
            yield
            return
        index = self._cluster.index
        path = os.devnull
        if not dry_run:
            path = worker_log(output_dir, index)
            os.makedirs(output_dir, exist_ok=True)
        with open(path, "a", buffering=1, encoding="utf-8") as log:
            say(f"this is worker {index}; what it does is in {path}")
            with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                yield

    @contextlib.contextmanager
    def run_folder(self, output_dir: str, dry_run: bool) -> Iterator[str]:
        """See `Workers`."""
        if dry_run:
            with folder_of_others(output_dir) if self.is_chief else contextlib.nullcontext():
                yield output_dir
            return
        if self.is_chief:
            with own_folder(output_dir):
                newest_whole_checkpoint(output_dir, repair=True)
                best_checkpoint(output_dir, repair=True)
                self._meet()
                self._check_shared(output_dir)
                yield output_dir
                self._meet()
            return
        self._meet()
        folder = worker_folder(output_dir, self._cluster.index)
        with own_folder(folder):
            _copy_state(output_dir, folder)
            self._check_shared(output_dir)
            yield folder
            self._meet()
        shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """See `Workers`."""

        def abort(names: str) -> None:
            context.context().abort_collective_ops(tf.errors.UNAVAILABLE, f"no answer from {names}")

        with self._cluster.watch(abort):
            yield

    def lost(self) -> str:
        """See `Workers`."""
        silent = self._cluster.silent()
        if silent:
            time.sleep(NOTICED_WITHIN)
        return ", ".join(map(self._cluster.name, silent))

    def _of_any(self, value: bool) -> bool:
        return bool(self._gather([int(value)]).any())

    def _check_shared(self, output_dir: str) -> None:
        try:
            with open(os.path.join(output_dir, LOCK_FILE), encoding="utf-8") as file:
                holder = file.read()
        except OSError:
            holder = ""
        problem = f"sees another folder at --output_dir={output_dir} than worker 0: all must share it"
        problem = problem.replace("{", "{{").replace("}", "}}")
        self.check_alike({"lock": holder}, f"{{worker}} {problem}")

    def _meet(self) -> None:
        """Returns when all workers have called it."""
        self._gather([0])

    def _gather(self, values: Sequence[int]) -> np.ndarray:
        """int64 [workers, values]. The values of all workers, which must all call it."""
        gathered = self._on_all(tf.constant([values], tf.int64))
        of_one_device = self._strategy.experimental_local_results(gathered)[0].numpy()
        return of_one_device.reshape(len(self._cluster.hosts), -1, len(values))[:, 0]


def workers_of(strategy: tf.distribute.Strategy) -> Workers:
    """The processes over which a strategy spreads training."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return Workers()
    resolver = strategy.cluster_resolver
    hosts = tuple(resolver.cluster_spec().as_dict()["worker"])
    return ClusterWorkers(Cluster(hosts, resolver.task_id), strategy)


def _copy_state(output_dir: str, folder: str) -> None:
    """Gives a worker's folder the state of the run's: links to checkpoints, and copies of what is small."""
    for entry in list(os.scandir(folder)):
        if entry.name != LOCK_FILE:
            shutil.rmtree(entry.path) if entry.is_dir() else os.remove(entry.path)
    for path in files_that_begin_with(os.path.join(output_dir, f"{CHECKPOINT_NAME}-"), "*.*"):
        os.symlink(os.path.abspath(path), os.path.join(folder, os.path.basename(path)))
    for name in ("checkpoint", "*.json"):
        for path in files_that_begin_with(os.path.join(output_dir, ""), name):
            shutil.copy(path, folder)
