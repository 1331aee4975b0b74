"""Tasks for several processes, which import numpy and SentencePiece but not TensorFlow."""

import contextlib
import multiprocessing
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from albert_tf.errors import InputError
from albert_tf.tokenization.parallel import ctrl_c_blocked

# function(context, task, on_progress) -> result; `on_progress` takes a number of bytes and of pieces.
OnProgress = Callable[[int, int], None]
TaskFunction = Callable[[Any, Any, OnProgress], Any]


class Workers:
    """Processes that work on tasks until the `with` block ends.

    The processes are spawned: a script of your own needs its `if __name__ == "__main__":`.

    Example:
      with Workers(8) as workers:
          workers.start_for(1000)
          ...  # they import what they need meanwhile
          for task, result in workers.run(function, context, tasks, on_progress):
              ...

    Args:
      count: the most processes. With 1, and for a single task, the work is done in this process.
    """

    def __init__(self, count: int):
        self._count = count
        self._workers: list[_Worker] = []

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *error) -> None:
        for worker in self._workers:
            worker.stop()

    def start_for(self, tasks: int) -> None:
        """Starts the processes that so many tasks can use, as far as there are not enough yet."""
        wanted = min(self._count, tasks)
        if wanted > 1:
            self._workers += map(_Worker, range(len(self._workers) + 1, wanted + 1))

    def run(
        self, function: TaskFunction, context: Any, tasks: Sequence[Any], on_progress: OnProgress
    ) -> Iterator[tuple[Any, Any]]:
        """Yields each task with its result, in the order in which they are done.

        Args:
          function: importable by name.
          context: what every task needs; goes to each process once, so it is the same for all functions.
          tasks: what it is called with.
          on_progress: called with what tasks report meanwhile.

        Raises:
          InputError: a worker ended before its task did; the message has its exit status.
          Exception: what a task raised.
        """
        if min(self._count, len(tasks)) <= 1:
            for task in tasks:
                yield task, function(context, task, on_progress)
            return
        self.start_for(len(tasks))
        waiting = list(reversed(tasks))
        for worker in self._workers:
            if waiting:
                worker.give(function, context, waiting.pop())
        while busy := {worker.connection: worker for worker in self._workers if worker.is_busy}:
            for connection in wait(list(busy)):
                worker = busy[connection]
                kind, value = worker.receive()
                if kind == "progress":
                    on_progress(*value)
                    continue
                done, worker.task = worker.task, None
                if kind == "failed":
                    raise value
                if waiting:
                    worker.give(function, context, waiting.pop())
                yield done, value


class _Worker:
    """A process, and the task that it has."""

    def __init__(self, number: int):
        spawn = multiprocessing.get_context("spawn")
        self.connection, theirs = spawn.Pipe()
        self.task: Any = None
        self._knows_context = False
        self._number = number
        self._process: BaseProcess = spawn.Process(target=_work, args=(theirs,), daemon=True)
        with ctrl_c_blocked():  # for good in the process that starts here: this one ends it
            self._process.start()
        theirs.close()

    @property
    def is_busy(self) -> bool:
        return self.task is not None

    def give(self, function: TaskFunction, context: Any, task: Any) -> None:
        if not self._knows_context:
            self._send(context)
            self._knows_context = True
        self.task = task
        self._send((function, task))

    def _send(self, message: Any) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # `receive` says that it ended
            self.connection.send(message)

    def receive(self) -> tuple[str, Any]:
        try:
            return self.connection.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            raise InputError(
                f"worker {self._number} (process {self._process.pid}) ended early with "
                f"{_status(self._process)}; what is done is kept, the same command continues"
            ) from None

    def stop(self) -> None:
        self._process.terminate()
        self._process.join()
        self.connection.close()


def _status(process: BaseProcess) -> str:
    code = process.exitcode or 0
    if code == -signal.SIGKILL:
        return f"exit status {code} (SIGKILL: killed, perhaps for want of memory)"
    return f"exit status {code}" + (f" ({signal.Signals(-code).name})" if code < 0 else "")


def _work(connection: Connection) -> None:
    """Does tasks until the parent ends this process, or itself."""
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        context = connection.recv()
        while True:
            function, task = connection.recv()
            try:
                result = "done", function(context, task, lambda *done: connection.send(("progress", done)))
            except Exception as error:
                error.add_note(f"In a worker:\n{traceback.format_exc()}")
                result = "failed", error
            connection.send(result)
