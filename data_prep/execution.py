"""The stages of a run, done by workers; what an earlier run has done of them is left out."""

import os
import shutil
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from albert_tf.errors import InputError
from data_prep import tasks
from data_prep.plan import plan_rounds
from data_prep.progress import RunProgress
from data_prep.stages import buckets_per_shard, plan_units
from data_prep.statistics import ExampleStatistics, TextStatistics, from_json
from data_prep.work_files import load_result, save_result
from data_prep.workers import OnProgress, TaskFunction, Workers

_Task = TypeVar("_Task")

_NAMED_LINES = 10  # of those that were skipped


class TokenizedText(NamedTuple):
    """What is known of the tokenized text.

    Attributes:
      statistics: of all of it; the sources of documents are paths, and lines are counted from their begin.
      paths, pieces, documents: of each file of tokenized text.
      skipped_lines: how many lines were left out.
      skipped: some of them.
    """

    statistics: TextStatistics
    paths: tuple[str, ...]
    pieces: tuple[int, ...]
    documents: tuple[int, ...]
    skipped_lines: int
    skipped: list[str]


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

    def tokenize(self) -> TokenizedText:
        """Tokenizes all groups of text."""
        files, groups = self._job.files, self._job.groups
        size = sum(text_range.end - text_range.begin for group in groups for text_range in group)
        self._progress.begin("tokenizing", size)
        results = self._results(
            tasks.tokenize_group, range(len(groups)), files.tokenized_result, self._progress.advance
        )
        total, corpora, skipped = TextStatistics.empty(), [], []
        lines: dict[str, int] = {}  # of each file so far
        for group, ranges in enumerate(groups):
            result = results[group]
            begins = []
            for text_range, count in zip(ranges, result["lines"], strict=True):
                before = lines.get(text_range.path, 0)
                begins.append((text_range.path, before))
                lines[text_range.path] = before + count
            total += from_json(TextStatistics, result["statistics"]).placed(begins)
            for source, line, reason in result["skipped"]:
                path, before = begins[source]
                skipped.append(f"{path}, line {before + line + 1}: {reason}")
            for number, figures in enumerate(result["corpora"]):
                corpora.append((files.tokenized(group, number), *figures))
        if not corpora:
            names = ", ".join(self._job.options.input_file)
            raise self._pointless(f"no text in {names}: nothing to make examples of")
        skipped_lines = sum(result["skipped_lines"] for result in results.values())
        return TokenizedText(total, *zip(*corpora, strict=True), skipped_lines, skipped[:_NAMED_LINES])

    def write_parts(self, text: TokenizedText) -> WrittenParts:
        """Deals the pairs of all passes out over buckets and writes the examples of each, in rounds."""
        job, options = self._job, self._job.options
        parts = buckets_per_shard(text.statistics.pieces, options)
        buckets = len(options.shards) * parts
        tokenized_bytes = sum(map(os.path.getsize, text.paths))
        rounds = plan_rounds(buckets, text.statistics.pieces, tokenized_bytes, job.tokenizer, options)
        results: dict[int, dict[str, Any]] = {}
        for wanted in rounds:
            bucket_tasks = [
                tasks.BucketTask(bucket, wanted, bucket // parts, bucket % parts) for bucket in wanted
            ]
            if not all(os.path.exists(self._part_result(task)) for task in bucket_tasks):
                self._deal(text, buckets, wanted)
            passes = options.dupe_factor * len(wanted) / buckets
            self._progress.begin("writing", text.statistics.pieces * passes, len(wanted) / buckets)
            done = self._results(tasks.write_part, bucket_tasks, self._part_result, self._advance)
            results |= {task.bucket: result for task, result in done.items()}
            shutil.rmtree(job.files.dealt_folder(wanted), ignore_errors=True)
        statistics = [from_json(ExampleStatistics, r["statistics"]) for r in results.values() if r["records"]]
        records, sizes = (
            np.array([results[bucket][figure] for bucket in range(buckets)]).reshape(-1, parts)
            for figure in ("records", "bytes")
        )
        if not statistics:
            raise self._pointless(f"no examples: {', '.join(options.input_file)} has no line of two words")
        if not records.any(axis=1).all():
            raise self._pointless(f"{records.sum()} examples are too few for {len(records)} output files")
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

    def _deal(self, text: TokenizedText, buckets: int, wanted: range) -> None:
        """Deals all pairs out; those of the wanted buckets are then in files."""
        files, options = self._job.files, self._job.options
        deal_tasks = [
            tasks.DealTask(
                number, unit, tuple(text.paths[corpus] for corpus in unit.corpora), buckets, wanted
            )
            for number, unit in enumerate(plan_units(text.pieces, text.documents, options))
        ]
        work = text.statistics.pieces * options.dupe_factor
        self._progress.begin("shuffling", work, len(wanted) / buckets)
        results = self._results(tasks.deal_pairs, deal_tasks, self._dealt_result, self._advance)
        left_out = sum(result["left_out"] for result in results.values())
        save_result(files.dealt_totals, {"left_out": left_out})

    def _pointless(self, why: str) -> InputError:
        """The error of a run whose unfinished work is of no use."""
        self._job.files.remove()
        return InputError(why)

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
