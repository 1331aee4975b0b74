"""Tasks for several processes, which import numpy and SentencePiece but not TensorFlow."""

import contextlib
import functools
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue
from typing import Any

from albert_tf.errors import InputError
from albert_tf.tokenization.parallel import ctrl_c_blocked, process_pool

# function(context, task, on_progress) -> result; `on_progress` takes a number of bytes and of pieces.
OnProgress = Callable[[int, int], None]
TaskFunction = Callable[[Any, Any, OnProgress], Any]

_PROGRESS_SECONDS = 0.2


class Workers:
    """At most `count` processes that work on tasks until the `with` block ends.

    If `count` is 1, or if there is a single task, this process does the work. The processes are spawned: a
    script of your own needs its `if __name__ == "__main__":`.
    """

    def __init__(self, count: int):
        self._count = count
        self._processes: set[BaseProcess] = set()
        self._progress: SimpleQueue = multiprocessing.get_context("spawn").SimpleQueue()
        self._pool = process_pool(count, _start_worker, self._progress)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *error) -> None:
        self._end()
        self._progress.close()

    def _end(self) -> None:
        # The pool waits for ever for a process that starts while the pool finds another one dead.
        for process in self._processes:
            process.terminate()
        self._pool.shutdown(cancel_futures=True)

    def start_for(self, tasks: int) -> None:
        """Starts the processes that so many tasks can use; they import what they need in the meantime."""
        wanted = min(self._count, tasks)
        if wanted > 1:
            with self._early_ends_as_errors():
                self._submit(os.getpid, [()] * (wanted - len(self._processes)))

    def run(
        self, function: TaskFunction, context: Any, tasks: Sequence[Any], on_progress: OnProgress
    ) -> Iterator[tuple[Any, Any]]:
        """Yields each task with its result, in the order in which the tasks are done.

        A process imports `function` by its name, and unpickles `context` once. The error of a task is raised;
        if a process ends early, InputError gives its exit status.
        """
        if min(self._count, len(tasks)) <= 1:
            for task in tasks:
                yield task, function(context, task, on_progress)
            return
        pickled = pickle.dumps(context)
        with self._early_ends_as_errors():
            submitted = self._submit(_do, [(function, pickled, task) for task in tasks])
            task_of = dict(zip(submitted, tasks, strict=True))
            while task_of:
                done, _ = wait(task_of, _PROGRESS_SECONDS, FIRST_COMPLETED)
                while not self._progress.empty():
                    on_progress(*self._progress.get())
                for future in done:
                    yield task_of.pop(future), future.result()

    def _submit(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Future]:
        """Hands calls to the pool, which may start processes for them."""
        others = set(multiprocessing.active_children()) - self._processes
        try:
            with ctrl_c_blocked():  # the processes that start here never see Ctrl-C; this process ends them
                return [self._pool.submit(function, *each) for each in arguments]
        finally:
            self._processes |= set(multiprocessing.active_children()) - others

    @contextlib.contextmanager
    def _early_ends_as_errors(self) -> Iterator[None]:
        try:
            yield
        except BrokenProcessPool:
            self._end()
            ended = [p for p in self._processes if p.exitcode not in (None, 0, -signal.SIGTERM)]
            who = f"worker process {ended[0].pid}" if ended else "a worker process"
            how = f" with {_status(ended[0])}" if ended else ""
            raise InputError(
                f"{who} ended early{how}; what is done is kept, the same command continues"
            ) from None


def _status(process: BaseProcess) -> str:
    code = process.exitcode or 0
    if code == -signal.SIGKILL:
        return f"exit status {code} (SIGKILL: killed, perhaps for want of memory)"
    return f"exit status {code}" + (f" ({signal.Signals(-code).name})" if code < 0 else "")


_progress_here: SimpleQueue  # of a worker


def _start_worker(progress: SimpleQueue) -> None:
    global _progress_here
    _progress_here = progress


def _do(function: TaskFunction, pickled: bytes, task: Any) -> Any:
    return function(_unpickled(pickled), task, lambda *done: _progress_here.put(done))


@functools.lru_cache(1)
def _unpickled(context: bytes) -> Any:
    return pickle.loads(context)
