"""The stages of a run as an Apache Beam pipeline, which writes the same bytes as `data_prep.execution`.

Groups of text become corpora, the corpora of a unit pairs, the pairs of a bucket a part of a shard, and the
parts of a shard the shard. Where a local run has files in between, Beam groups what belongs together.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import re
import shlex
import uuid
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from albert_tf.cli.flags import UsageError
from albert_tf.data.tfrecord import framed
from albert_tf.errors import InputError, InputWarning
from albert_tf.files import has_scheme, open_file, remove_folder, write_bytes, write_text
from albert_tf.tokenization import Tokenizer
from data_prep.corpus import Corpus
from data_prep.jobs import Job
from data_prep.options import Options, Sizes
from data_prep.stages import (
    PAIR,
    Unit,
    bucket_examples,
    buckets_per_shard,
    deal_unit,
    joined_pairs,
    pair_ids,
    pair_rows,
    plan_units,
)
from data_prep.statistics import ExampleStatistics, from_json, to_json
from data_prep.text_files import TextRange
from data_prep.text_groups import Outcome, TokenizedGroup, joined_results, require_examples, require_text

_COPIED_BYTES = 1 << 20
_RESULTS = "results"  # what a step tells besides its elements


@contextlib.contextmanager
def done_by_runner(job: Job) -> Iterator[Outcome]:
    """Has a Beam runner do the stages; its files are removed when the outcome has been used.

    Raises:
      InputError: what a stage has found; or the runner failed.
    """
    options = job.options
    output = options.shards[0]
    home, name = os.path.split(output if has_scheme(output) else os.path.abspath(output))
    folder = os.path.join(home, f".{name}.{uuid.uuid4().hex[:8]}.beam")
    step = _Step(options, job.tokenizer, folder, job.sizes)
    beam_options = _pipeline_options(options)
    try:
        write_text(os.path.join(folder, "runner"), options.runner)  # says at once whether it can be written
        with _errors_as_lines(options.runner):
            pipeline = beam.Pipeline(runner=_runner(options), options=beam_options)
            _build(pipeline, job.groups, step)
            _run(pipeline)
        with open_file(step.outcome) as file:
            outcome = json.loads(file.read())
        text = joined_results(job.groups, dict(outcome["groups"]))
        require_text(text.statistics.pieces, options)
        shards = dict(outcome["shards"])
        counts = [shards[n]["records"] if n in shards else 0 for n in range(len(options.shards))]
        require_examples(counts, options)
        yield Outcome(
            text,
            from_json(ExampleStatistics, outcome["examples"]),
            outcome["left_out"],
            [shards[n] for n in range(len(counts))],
            [step.shard(n) for n in range(len(counts))],
        )
    finally:
        remove_folder(folder)


def _runner(options: Options) -> Any:
    # Beam's own DirectRunner downloads another one when it starts.
    return FnApiRunner() if options.runner == "DirectRunner" else options.runner


def _pipeline_options(options: Options) -> PipelineOptions:
    refusal = io.StringIO()
    try:
        with contextlib.redirect_stderr(refusal):
            parsed = PipelineOptions(shlex.split(options.beam_options or ""))
            known = parsed.get_all_options(retain_unknown_options=False)
            unknown = parsed.get_all_options(retain_unknown_options=True).keys() - known.keys()
    except ValueError as error:
        raise UsageError(f"--beam_options={options.beam_options}: {error}") from None
    except SystemExit:  # how argparse refuses
        reason = refusal.getvalue().strip().rpartition("error: ")[2]
        raise UsageError(f"--beam_options: {reason}") from None
    for name in sorted(unknown):
        warnings.warn(
            f"--beam_options: Apache Beam does not know --{name}; only the runner may",
            InputWarning,
            stacklevel=2,
        )
    return parsed


def _run(pipeline: beam.Pipeline) -> None:
    result = pipeline.run()
    try:
        result.wait_until_finish()
    except KeyboardInterrupt:
        result.cancel()
        raise


@contextlib.contextmanager
def _errors_as_lines(runner: str) -> Iterator[None]:
    """Raises the InputError of a step again, wherever it ran; another error of a runner becomes one line."""
    try:
        yield
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        found = re.search(r"InputError: (.+?)(?: \[while running .*)?$", text, re.MULTILINE)
        if found:
            raise InputError(found[1]) from None
        if runner == "DirectRunner":
            raise
        raise InputError(f"--runner={runner}: {text}") from error


# ------------------------------------------------------------------------------------------------- pipeline


def _build(pipeline: beam.Pipeline, groups: Sequence[Sequence[TextRange]], step: "_Step") -> None:
    numbered = [(number, [tuple(text_range) for text_range in group]) for number, group in enumerate(groups)]
    tokenized = (
        pipeline
        | "groups of text" >> beam.Create(numbered)
        | "spread out" >> beam.Reshuffle()
        | "tokenize" >> beam.ParDo(_Tokenize(step)).with_outputs(_RESULTS, main="corpora")
    )
    plan = beam.pvalue.AsSingleton(
        tokenized[_RESULTS]
        | "figures" >> beam.Map(lambda result: (result[0], result[1]["corpora"]))
        | "all figures" >> beam.combiners.ToList()
        | "plan units" >> beam.Map(_make_plan, step.options, step.sizes)
    )
    dealt = (
        tokenized.corpora
        | "unit of corpus" >> beam.Map(lambda corpus, plan: (plan.group_of[corpus[0]], corpus), plan)
        | "corpora of a unit" >> beam.GroupByKey()
        | "deal pairs" >> beam.ParDo(_DealPairs(step), plan).with_outputs(_RESULTS, main="pairs")
    )
    parts = (
        dealt.pairs
        | "pairs of a bucket" >> beam.GroupByKey()
        | "write part" >> beam.ParDo(_WritePart(step), plan).with_outputs(_RESULTS, main="parts")
    )
    shards = (
        parts.parts
        | "parts of a shard" >> beam.GroupByKey()
        | "complete shard" >> beam.ParDo(_CompleteShard(step))
    )
    examples = parts[_RESULTS] | "all examples" >> beam.CombineGlobally(_added)
    left_out = dealt[_RESULTS] | "all left out" >> beam.CombineGlobally(sum)
    _ = (
        pipeline
        | "outcome" >> beam.Create([step.outcome])
        | "write outcome"
        >> beam.Map(
            _write_outcome,
            beam.pvalue.AsList(tokenized[_RESULTS]),
            beam.pvalue.AsSingleton(examples),
            beam.pvalue.AsSingleton(left_out),
            beam.pvalue.AsList(shards),
        )
    )


@dataclasses.dataclass(frozen=True)
class _Plan:
    """Units of planning.

    Attributes:
      group_of: (group of text, number in it) of a corpus -> the number of its units' corpora.
      units: number of corpora -> their units, with the number of each among all.
      corpora: all (group of text, number in it), in their order.
      parts: of a shard.
    """

    group_of: dict[tuple[int, int], int]
    units: dict[int, list[tuple[int, Unit]]]
    corpora: list[tuple[int, int]]
    parts: int


def _make_plan(figures: Iterable[tuple[int, list[tuple[int, int]]]], options: Options, sizes: Sizes) -> _Plan:
    corpora, pieces, documents = [], [], []
    for group, of_group in sorted(figures):
        for number, (of_corpus, in_corpus) in enumerate(of_group):
            corpora.append((group, number))
            pieces.append(of_corpus)
            documents.append(in_corpus)
    group_of: dict[tuple[int, int], int] = {}
    units: dict[int, list[tuple[int, Unit]]] = {}
    for number, unit in enumerate(plan_units(pieces, documents, options, sizes)):
        units.setdefault(unit.group, []).append((number, unit))
        group_of |= {corpora[corpus]: unit.group for corpus in unit.corpora}
    return _Plan(group_of, units, corpora, buckets_per_shard(sum(pieces), options, sizes))


def _added(statistics: Iterable[ExampleStatistics | None]) -> ExampleStatistics | None:
    total = None
    for one in statistics:
        if one is not None:
            total = one if total is None else total + one
    return total


def _write_outcome(
    path: str,
    groups: list[tuple[int, dict[str, Any]]],
    examples: ExampleStatistics | None,
    left_out: int,
    shards: list[tuple[int, dict[str, Any]]],
) -> None:
    outcome = {"groups": groups, "left_out": left_out, "shards": shards}
    write_text(path, json.dumps(outcome | {"examples": to_json(examples) if examples else None}))


# --------------------------------------------------------------------------------------------------- steps


@dataclasses.dataclass(frozen=True)
class _Step:
    """What every step needs to know; all workers can reach `folder`."""

    options: Options
    tokenizer: Tokenizer
    folder: str
    sizes: Sizes

    @property
    def outcome(self) -> str:
        return os.path.join(self.folder, "outcome.json")

    def part(self, bucket: int) -> str:
        return os.path.join(self.folder, f"part-{bucket:06}")

    def shard(self, shard: int) -> str:
        return os.path.join(self.folder, f"shard-{shard:05}")


class _Tokenize(beam.DoFn):
    """(number, ranges) of a group -> ((group, number), corpus) of each of its corpora."""

    def __init__(self, step: _Step):
        self._step = step
        self._pieces = beam.metrics.Metrics.counter("pretraining_data", "pieces_tokenized")

    def process(self, element):
        group, ranges = element
        corpora = TokenizedGroup(
            [TextRange(*text_range) for text_range in ranges],
            self._step.tokenizer,
            self._step.options,
            lambda size, pieces: self._pieces.inc(pieces),
        )
        for number, corpus in enumerate(corpora):
            yield (group, number), corpus
        yield beam.pvalue.TaggedOutput(_RESULTS, (group, corpora.result))


class _DealPairs(beam.DoFn):
    """The corpora of a unit -> (bucket, (unit, rows, ids)) of the pairs of each of its buckets and passes."""

    def __init__(self, step: _Step):
        self._step = step

    def process(self, element, plan: _Plan):
        options = self._step.options
        number, corpora = element
        units = plan.units[number]
        by_place = dict(corpora)
        corpus = Corpus.joined([by_place[plan.corpora[place]] for place in units[0][1].corpora])
        buckets = len(options.shards) * plan.parts
        for unit_number, unit in units:
            dealt = deal_unit(corpus, unit, buckets, self._step.tokenizer, options)
            ends = np.cumsum(dealt.sizes)
            for bucket in np.flatnonzero(dealt.sizes).tolist():
                pairs = dealt.pairs.take(slice(ends[bucket] - dealt.sizes[bucket], ends[bucket]))
                ids = pair_ids(corpus.ids, pairs)
                yield bucket, (unit_number, pair_rows(pairs).tobytes(), ids.tobytes())
            yield beam.pvalue.TaggedOutput(_RESULTS, dealt.left_out)


class _WritePart(beam.DoFn):
    """The pairs of a bucket -> (shard, (bucket, records)) of the part of a shard that they become."""

    def __init__(self, step: _Step):
        self._step = step
        self._examples = beam.metrics.Metrics.counter("pretraining_data", "examples_written")

    def process(self, element, plan: _Plan):
        bucket, dealt = element
        tokenizer = self._step.tokenizer
        _, rows, ids = zip(*sorted(dealt), strict=True)
        bucket_ids, pairs = joined_pairs(
            [np.frombuffer(data, PAIR) for data in rows],
            [np.frombuffer(data, tokenizer.id_dtype) for data in ids],
        )
        with write_bytes(self._step.part(bucket)) as file:
            for serialized, counted in bucket_examples(
                bucket_ids, pairs, bucket, tokenizer, self._step.options
            ):
                file.write(b"".join(part for record in serialized for part in framed(record)))
                yield beam.pvalue.TaggedOutput(_RESULTS, counted)
        self._examples.inc(len(pairs))
        yield bucket // plan.parts, (bucket, len(pairs))


class _CompleteShard(beam.DoFn):
    """The parts of a shard -> (shard, its records, bytes and sha256)."""

    def __init__(self, step: _Step):
        self._step = step

    def process(self, element):
        shard, parts = element
        digest, size, count = hashlib.sha256(), 0, 0
        with write_bytes(self._step.shard(shard)) as file:
            for bucket, in_part in sorted(parts):
                count += in_part
                with open_file(self._step.part(bucket)) as part:
                    while data := part.read(_COPIED_BYTES):
                        file.write(data)
                        digest.update(data)
                        size += len(data)
        yield shard, {"records": count, "bytes": size, "sha256": digest.hexdigest()}
