"""Shards that threads put together from their parts, while other parts are still being written."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, CancelledError, ThreadPoolExecutor, wait
from typing import Any

from data_prep import jobs
from data_prep.work_files import load_result

_PROGRESS_SECONDS = 0.5


class Completion:
    """Completes all shards of a job, of `parts` parts each; the end of the `with` block interrupts it.

    The shards are done in their order, several at a time. Copying and checksums let other threads run.
    """

    def __init__(self, job: jobs.Job, parts: int):
        self._job = job
        self._parts = parts
        self._changed = threading.Condition()  # guards what follows
        self._sizes: dict[int, int] = {}  # bucket -> bytes
        self._completed_bytes = 0
        self._ended = False

    def __enter__(self) -> "Completion":
        options = self._job.options
        self._threads = ThreadPoolExecutor(options.workers)
        self._shards = [self._threads.submit(self._complete, shard) for shard in range(len(options.shards))]
        return self

    def __exit__(self, *error) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._threads.shutdown(cancel_futures=True)

    def add(self, bucket: int, size: int) -> None:
        """Takes the bytes of the part that a bucket became; raises the error of its shard, if any."""
        with self._changed:
            self._sizes[bucket] = size
            self._changed.notify_all()
        shard = self._shards[bucket // self._parts]
        if shard.done():
            shard.result()

    def results(self, on_progress: Callable[[int], None]) -> list[dict[str, Any]]:
        """Waits for all shards; returns bytes and sha256 of each. `on_progress` takes numbers of bytes."""
        shown = 0
        others = set(self._shards)
        while others:
            done, others = wait(others, _PROGRESS_SECONDS, FIRST_EXCEPTION)
            for shard in done:
                shard.result()  # raises what went wrong
            on_progress(self._completed_bytes - shown)
            shown = self._completed_bytes
        return [shard.result() for shard in self._shards]

    def _complete(self, shard: int) -> dict[str, Any]:
        return load_result(self._job.files.completed(shard)) or jobs.complete_shard(
            self._job, shard, self._sizes_of(shard), self._count
        )

    def _sizes_of(self, shard: int) -> Iterator[int]:
        """The bytes of each part of the shard, as soon as the part is written."""
        for bucket in range(shard * self._parts, (shard + 1) * self._parts):
            with self._changed:
                while not (self._ended or bucket in self._sizes):
                    self._changed.wait()
                if self._ended:
                    raise CancelledError
                size = self._sizes[bucket]
            yield size

    def _count(self, size: int) -> None:
        with self._changed:
            self._completed_bytes += size
