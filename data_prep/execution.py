"""The stages of a run, done by workers; what an earlier run has done of them is left out."""

import os
import shutil
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from data_prep import tasks
from data_prep.outcome import require_examples, require_text
from data_prep.plan import plan_rounds
from data_prep.progress import RunProgress
from data_prep.stages import buckets_per_shard, plan_units
from data_prep.statistics import ExampleStatistics, from_json
from data_prep.tokenized_groups import TokenizedText, joined_results
from data_prep.work_files import load_result, save_result
from data_prep.workers import OnProgress, TaskFunction, Workers

_Task = TypeVar("_Task")


class TokenizedFiles(NamedTuple):
    """Tokenized text in files: names, pieces and documents of each, and what is known of all."""

    paths: tuple[str, ...]
    pieces: tuple[int, ...]
    documents: tuple[int, ...]
    text: TokenizedText


class WrittenParts(NamedTuple):
    """What is known of the parts of all shards.

    Attributes:
      statistics: of the examples.
      records, sizes: int64 [shards, parts]. How many each part has, and its bytes.
      left_out: how many chunks made no example because they are one single word.
    """

    statistics: ExampleStatistics
    records: np.ndarray
    sizes: np.ndarray
    left_out: int


class Execution:
    """Does the stages of a job.

    Args:
      job: what is to be done.
      workers: who does it.
      progress: where it is shown.
    """

    def __init__(self, job: tasks.Job, workers: Workers, progress: RunProgress):
        self._job = job
        self._workers = workers
        self._progress = progress

    def tokenize(self) -> TokenizedFiles:
        """Tokenizes all groups of text."""
        files, groups = self._job.files, self._job.groups
        size = sum(text_range.end - text_range.begin for group in groups for text_range in group)
        self._progress.begin("tokenizing", size)
        results = self._results(
            tasks.tokenize_group, range(len(groups)), files.tokenized_result, self._progress.advance
        )
        text = joined_results(groups, results)
        require_text(text.statistics.pieces, self._job.options)
        corpora = [
            (files.tokenized(group, number), *figures)
            for group in range(len(groups))
            for number, figures in enumerate(results[group]["corpora"])
        ]
        return TokenizedFiles(*zip(*corpora, strict=True), text)

    def write_parts(self, tokenized: TokenizedFiles) -> WrittenParts:
        """Deals the pairs of all passes out over buckets and writes the examples of each, in rounds."""
        job, options = self._job, self._job.options
        pieces = sum(tokenized.pieces)
        parts = buckets_per_shard(pieces, options)
        buckets = len(options.shards) * parts
        tokenized_bytes = sum(map(os.path.getsize, tokenized.paths))
        rounds = plan_rounds(buckets, pieces, tokenized_bytes, job.tokenizer, options)
        results: dict[int, dict[str, Any]] = {}
        for wanted in rounds:
            bucket_tasks = [
                tasks.BucketTask(bucket, wanted, bucket // parts, bucket % parts) for bucket in wanted
            ]
            if not all(os.path.exists(self._part_result(task)) for task in bucket_tasks):
                self._deal(tokenized, buckets, wanted)
            passes = options.dupe_factor * len(wanted) / buckets
            self._progress.begin("writing", pieces * passes, len(wanted) / buckets)
            done = self._results(tasks.write_part, bucket_tasks, self._part_result, self._advance)
            results |= {task.bucket: result for task, result in done.items()}
            shutil.rmtree(job.files.dealt_folder(wanted), ignore_errors=True)
        statistics = [from_json(ExampleStatistics, r["statistics"]) for r in results.values() if r["records"]]
        records, sizes = (
            np.array([results[bucket][figure] for bucket in range(buckets)]).reshape(-1, parts)
            for figure in ("records", "bytes")
        )
        require_examples(records.sum(axis=1).tolist(), options)
        left_out = load_result(job.files.dealt_totals)["left_out"]
        return WrittenParts(sum(statistics[1:], statistics[0]), records, sizes, left_out)

    def complete(self, parts: WrittenParts) -> list[dict[str, Any]]:
        """Puts the parts of shards together; returns records, bytes and sha256 of each."""
        files = self._job.files
        shard_tasks = [tasks.ShardTask(n, tuple(sizes)) for n, sizes in enumerate(parts.sizes.tolist())]
        self._progress.begin("completing", parts.sizes.sum())
        results = self._results(
            tasks.complete_shard,
            shard_tasks,
            lambda t: files.completed_result(t.shard),
            self._progress.advance,
        )
        records = parts.records.sum(axis=1).tolist()
        return [{"records": n, **results[task]} for n, task in zip(records, shard_tasks, strict=True)]

    def _deal(self, tokenized: TokenizedFiles, buckets: int, wanted: range) -> None:
        """Deals all pairs out; those of the wanted buckets are then in files."""
        files, options = self._job.files, self._job.options
        deal_tasks = [
            tasks.DealTask(
                number, unit, tuple(tokenized.paths[corpus] for corpus in unit.corpora), buckets, wanted
            )
            for number, unit in enumerate(plan_units(tokenized.pieces, tokenized.documents, options))
        ]
        work = sum(tokenized.pieces) * options.dupe_factor
        self._progress.begin("shuffling", work, len(wanted) / buckets)
        results = self._results(tasks.deal_pairs, deal_tasks, self._dealt_result, self._advance)
        left_out = sum(result["left_out"] for result in results.values())
        save_result(files.dealt_totals, {"left_out": left_out})

    def _results(
        self,
        function: TaskFunction,
        all_tasks: Sequence[_Task],
        result_file: Callable[[_Task], str],
        on_progress: OnProgress,
    ) -> dict[_Task, dict[str, Any]]:
        """The results of all tasks, in their order; those are done of which there is no result yet."""
        results = {task: load_result(result_file(task)) for task in all_tasks}
        missing = [task for task, result in results.items() if result is None]
        results.update(self._workers.run(function, missing, on_progress))
        return results

    def _advance(self, _: int, pieces: int) -> None:
        self._progress.advance(pieces, pieces)

    def _part_result(self, task: tasks.BucketTask) -> str:
        return f"{self._job.files.part(task.shard, task.part)}.json"

    def _dealt_result(self, task: tasks.DealTask) -> str:
        return f"{self._job.files.dealt_pairs(task.number, task.wanted)}.json"
