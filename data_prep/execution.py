"""The stages of a run, done by workers, with one progress line; finished work of an earlier run is kept."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, CancelledError, ThreadPoolExecutor, wait
from typing import Any, TypeVar

import numpy as np

from albert_tf.cli.text import progress_bar
from data_prep import jobs
from data_prep.segments import Lost
from data_prep.stages import buckets_per_shard, plan_units
from data_prep.statistics import ExampleStatistics, from_json
from data_prep.text_groups import Outcome, TokenizedText, joined_results, require_examples, require_text
from data_prep.work_files import load_result, save_result
from data_prep.workers import OnProgress, TaskFunction, Workers

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


_Task = TypeVar("_Task")


class RunProgress:
    """A bar that stages of different speed share; `seconds` is the time that each is expected to take."""

    def __init__(self, seconds: dict[str, float]):
        self._seconds = {stage: max(time, 1e-3) for stage, time in seconds.items()}
        self._bar = progress_bar(
            total=sum(self._seconds.values()),
            bar_format="{desc} {percentage:3.0f}%|{bar:30}| {elapsed}, {remaining} left{postfix}",
        )
        self._end = 0.0  # where the bar is at the end of the stage

    def __enter__(self) -> "RunProgress":
        return self

    def __exit__(self, *error) -> None:
        if error[0] is None:
            self._bar.update(self._bar.total - self._bar.n)
        self._bar.close()

    def begin(self, stage: str, total: float) -> None:
        """Begins a stage whose work comes to `total` of some unit."""
        begin = self._end
        self._stage, self._total = self._seconds[stage], max(total, 1)
        self._end = begin + self._stage
        self._started, self._pieces = time.monotonic(), 0
        self._bar.set_description_str(stage, refresh=False)
        self._bar.set_postfix_str("", refresh=False)
        self._bar.update(begin - self._bar.n)

    def advance(self, work: float, pieces: int) -> None:
        """Counts some work of the stage, in which `pieces` were done."""
        self._pieces += pieces
        rate = self._pieces / max(time.monotonic() - self._started, 1e-9)
        self._bar.set_postfix_str(f"{rate:,.0f} pieces/s", refresh=False)
        self._bar.update(min(self._stage * work / self._total, self._end - self._bar.n))


class Execution:
    """Does the stages of a job by workers."""

    def __init__(self, job: jobs.Job, workers: Workers, progress: RunProgress):
        self._job = job
        self._workers = workers
        self._progress = progress

    def run(self) -> Outcome:
        """Tokenizes the text, deals the pairs of all passes out over buckets, and writes the buckets."""
        job, options, files = self._job, self._job.options, self._job.files
        corpora, text = self._tokenize()
        paths, corpus_pieces, documents = zip(*corpora, strict=True)
        pieces = sum(corpus_pieces)
        parts = buckets_per_shard(pieces, options)
        buckets = len(options.shards) * parts
        units = plan_units(corpus_pieces, documents, options)
        bucket_tasks = [
            jobs.BucketTask(bucket, buckets, len(units), *divmod(bucket, parts)) for bucket in range(buckets)
        ]
        deal_tasks = [
            jobs.DealTask(number, unit, tuple(paths[corpus] for corpus in unit.corpora), buckets)
            for number, unit in enumerate(units)
        ]
        results: dict[int, dict[str, Any]] = {}
        with Completion(job, parts) as completion:
            totals = load_result(files.dealt_totals)
            if not (totals and all(load_result(self._part_of(task)) for task in bucket_tasks)):
                self._progress.begin("shuffling", pieces * options.passes)
                dealt = self._results(
                    jobs.deal_pairs, deal_tasks, lambda task: files.dealt_pairs(task.number), self._advance
                )
                lost = Lost.in_all(Lost(**result) for _, result in dealt)
                totals = save_result(files.dealt_totals, lost._asdict())
            self._progress.begin("writing", pieces * options.passes)
            for task, result in self._results(jobs.write_part, bucket_tasks, self._part_of, self._advance):
                results[task.bucket] = result
                completion.add(task.bucket, result["bytes"])
            shutil.rmtree(files.all_dealt_pairs, ignore_errors=True)
            records = np.array([results[bucket]["records"] for bucket in range(buckets)]).reshape(-1, parts)
            shard_records = records.sum(axis=1).tolist()
            require_examples(shard_records, options)
            self._progress.begin("completing", sum(result["bytes"] for result in results.values()))
            completed = completion.results(lambda size: self._progress.advance(size, 0))
        statistics = [from_json(ExampleStatistics, r["statistics"]) for r in results.values() if r["records"]]
        return Outcome(
            text,
            sum(statistics[1:], statistics[0]),
            Lost(**totals),
            [{"records": n, **shard} for n, shard in zip(shard_records, completed, strict=True)],
            [files.part(shard, 0) for shard in range(len(completed))],
        )

    def _tokenize(self) -> tuple[list[tuple[str, int, int]], TokenizedText]:
        """Returns the file, pieces and documents of each corpus, and what is known of the whole text."""
        files, groups = self._job.files, self._job.groups
        sizes = [sum(text_range.end - text_range.begin for text_range in group) for group in groups]
        self._progress.begin("tokenizing", sum(sizes))
        largest_first = sorted(range(len(groups)), key=sizes.__getitem__, reverse=True)
        results = dict(
            self._results(jobs.tokenize_group, largest_first, files.tokenized_group, self._progress.advance)
        )
        text = joined_results(groups, results)
        require_text(text, self._job.options)
        corpora: list[tuple[str, int, int]] = []
        for group in range(len(groups)):
            corpora += [(files.tokenized(group, n), *row) for n, row in enumerate(results[group]["corpora"])]
        return corpora, text

    def _results(
        self,
        function: TaskFunction,
        all_tasks: Sequence[_Task],
        path_of: Callable[[_Task], str],
        on_progress: OnProgress,
    ) -> Iterator[tuple[_Task, dict[str, Any]]]:
        """Yields each task with its result; does the tasks that have no result yet."""
        missing = []
        for task in all_tasks:
            result = load_result(path_of(task))
            if result is None:
                missing.append(task)
            else:
                yield task, result
        yield from self._workers.run(function, self._job, missing, on_progress)

    def _advance(self, _: int, pieces: int) -> None:
        self._progress.advance(pieces, pieces)

    def _part_of(self, task: jobs.BucketTask) -> str:
        return self._job.files.part(task.shard, task.part)
