"""The stages of a run, done by workers, with one progress line; no work of an earlier run is repeated."""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from albert_tf.cli.progress import progress_bar
from data_prep import jobs
from data_prep.completion import Completion
from data_prep.stages import Unit, buckets_per_shard, plan_units
from data_prep.statistics import ExampleStatistics, from_json
from data_prep.text_groups import TokenizedText, joined_results, require_examples, require_text
from data_prep.work_files import load_result, save_result
from data_prep.workers import OnProgress, TaskFunction, Workers

_Task = TypeVar("_Task")


class RunProgress:
    """A bar in seconds of expected work, so that stages of different speed share it.

    Example:
      with RunProgress({"tokenizing": 120.0, "writing": 30.0}) as progress:
          progress.begin("tokenizing", total=size)
          progress.advance(1 << 20, pieces=250_000)

    Args:
      seconds: stage -> how long it is expected to take.
    """

    def __init__(self, seconds: dict[str, float]):
        self._seconds = {stage: max(time, 1e-3) for stage, time in seconds.items()}
        self._bar = progress_bar(
            total=sum(self._seconds.values()),
            bar_format="{desc} {percentage:3.0f}%|{bar:30}| {elapsed}, {remaining} left{postfix}",
        )
        self._end = 0.0  # of the stage, where the bar is then

    def __enter__(self) -> "RunProgress":
        return self

    def __exit__(self, *error) -> None:
        if error[0] is None:
            self._bar.update(self._bar.total - self._bar.n)
        self._bar.close()

    def begin(self, stage: str, total: float) -> None:
        """Goes on to a stage whose work comes to `total` of some unit."""
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


class TokenizedFiles(NamedTuple):
    """Files of tokenized text: the name, pieces and documents of each file, and the statistics of all."""

    paths: tuple[str, ...]
    pieces: tuple[int, ...]
    documents: tuple[int, ...]
    text: TokenizedText


class CompleteShards(NamedTuple):
    """What is known of all shards.

    Attributes:
      statistics: of the examples.
      shards: records, bytes and sha256 of each.
      left_out: how many chunks made no example because they are one single word.
    """

    statistics: ExampleStatistics
    shards: list[dict[str, Any]]
    left_out: int


class Execution:
    """Does the stages of a job.

    Args:
      job: what is to be done.
      workers: who does it.
      progress: where it is shown.
    """

    def __init__(self, job: jobs.Job, workers: Workers, progress: RunProgress):
        self._job = job
        self._workers = workers
        self._progress = progress

    def tokenize(self) -> TokenizedFiles:
        """Tokenizes all groups of text."""
        files, groups = self._job.files, self._job.groups
        sizes = [sum(text_range.end - text_range.begin for text_range in group) for group in groups]
        self._progress.begin("tokenizing", sum(sizes))
        largest_first = sorted(range(len(groups)), key=sizes.__getitem__, reverse=True)
        results = dict(
            self._results(jobs.tokenize_group, largest_first, files.tokenized_result, self._progress.advance)
        )
        text = joined_results(groups, results)
        require_text(text.statistics.pieces, self._job.options)
        corpora = [
            (files.tokenized(group, number), *figures)
            for group in range(len(groups))
            for number, figures in enumerate(results[group]["corpora"])
        ]
        paths, pieces, documents = zip(*corpora, strict=True)
        return TokenizedFiles(paths, pieces, documents, text)

    def write_shards(self, tokenized: TokenizedFiles) -> CompleteShards:
        """Deals the pairs of all passes out over buckets, and writes the examples of each bucket."""
        job, options = self._job, self._job.options
        pieces = sum(tokenized.pieces)
        parts = buckets_per_shard(pieces, options, job.sizes)
        buckets = len(options.shards) * parts
        units = plan_units(tokenized.pieces, tokenized.documents, options, job.sizes)
        bucket_tasks = [
            jobs.BucketTask(bucket, buckets, len(units), bucket // parts, bucket % parts)
            for bucket in range(buckets)
        ]
        results: dict[int, dict[str, Any]] = {}
        with Completion(job, parts) as completion:
            if not all(os.path.exists(self._part_result(task)) for task in bucket_tasks):
                self._deal(tokenized, units, buckets)
            self._progress.begin("writing", pieces * options.passes)
            written = self._results(jobs.write_part, bucket_tasks, self._part_result, self._advance)
            for task, result in written:
                results[task.bucket] = result
                completion.add(task.bucket, result["bytes"])
            shutil.rmtree(job.files.all_dealt_pairs, ignore_errors=True)
            records = np.array([results[bucket]["records"] for bucket in range(buckets)]).reshape(-1, parts)
            shard_records = records.sum(axis=1).tolist()
            require_examples(shard_records, options)
            self._progress.begin("completing", sum(result["bytes"] for result in results.values()))
            completed = completion.results(lambda size: self._progress.advance(size, 0))
        shards = [{"records": n, **shard} for n, shard in zip(shard_records, completed, strict=True)]
        statistics = [from_json(ExampleStatistics, r["statistics"]) for r in results.values() if r["records"]]
        totals = load_result(job.files.dealt_totals)
        assert totals  # written by `_deal`
        return CompleteShards(sum(statistics[1:], statistics[0]), shards, totals["left_out"])

    def _deal(self, tokenized: TokenizedFiles, units: Sequence[Unit], buckets: int) -> None:
        """Deals all pairs out and writes them into files."""
        files, options = self._job.files, self._job.options
        deal_tasks = [
            jobs.DealTask(number, unit, tuple(tokenized.paths[corpus] for corpus in unit.corpora), buckets)
            for number, unit in enumerate(units)
        ]
        self._progress.begin("shuffling", sum(tokenized.pieces) * options.passes)
        results = self._results(jobs.deal_pairs, deal_tasks, self._dealt_result, self._advance)
        left_out = sum(result["left_out"] for _, result in results)
        save_result(files.dealt_totals, {"left_out": left_out})

    def _results(
        self,
        function: TaskFunction,
        all_tasks: Sequence[_Task],
        result_file: Callable[[_Task], str],
        on_progress: OnProgress,
    ) -> Iterator[tuple[_Task, dict[str, Any]]]:
        """Yields each task with its result; does the tasks that have no result yet."""
        missing = []
        for task in all_tasks:
            result = load_result(result_file(task))
            if result is None:
                missing.append(task)
            else:
                yield task, result
        yield from self._workers.run(function, self._job, missing, on_progress)

    def _advance(self, _: int, pieces: int) -> None:
        self._progress.advance(pieces, pieces)

    def _part_result(self, task: jobs.BucketTask) -> str:
        return f"{self._job.files.part(task.shard, task.part)}.json"

    def _dealt_result(self, task: jobs.DealTask) -> str:
        return f"{self._job.files.dealt_pairs(task.number)}.json"
