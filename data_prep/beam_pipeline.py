"""The stages of a run as an Apache Beam pipeline, which writes the same bytes as `data_prep.execution`.

Groups of text become corpora, the corpora of a unit become pairs, the pairs of a bucket become a part of a
shard, and the parts become the shard. Beam groups what belongs together; a local run has files for that.
"""

import contextlib
import hashlib
import io
import os
import re
import shlex
import uuid
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from albert_tf.cli.flags import UsageError
from albert_tf.data.tfrecord import framed
from albert_tf.errors import InputError, InputWarning
from albert_tf.files import has_scheme, open_file, read_json, remove_folder, write_bytes, write_json
from albert_tf.tokenization import Tokenizer
from data_prep import stages
from data_prep.corpus import Corpus
from data_prep.jobs import Job
from data_prep.options import Options
from data_prep.segments import Lost
from data_prep.statistics import ExampleStatistics, from_json, to_json
from data_prep.text_files import TextRange
from data_prep.text_groups import Outcome, TextGroup, joined_results, require_examples, require_text

_COPIED_BYTES = 1 << 20
_RESULTS = "results"  # the output of a step besides its elements
_PIECES = beam.metrics.Metrics.counter("pretraining_data", "pieces_tokenized")
_EXAMPLES = beam.metrics.Metrics.counter("pretraining_data", "examples_written")


@contextlib.contextmanager
def done_by_runner(job: Job) -> Iterator[Outcome]:
    """Lets a Beam runner do the stages; removes its files when the outcome has been used."""
    options = job.options
    output = options.shards[0]
    home, name = os.path.split(output if has_scheme(output) else os.path.abspath(output))
    folder = os.path.join(home, f".{name}.{uuid.uuid4().hex[:8]}.beam")
    step = _Step(options, job.tokenizer, folder)
    beam_options = _pipeline_options(options)
    try:
        write_json(os.path.join(folder, "runner"), options.runner)  # fails at once if it cannot be written
        with _errors_as_lines(options.runner):
            # By its name, the DirectRunner would download another runner when it starts.
            runner = FnApiRunner() if options.runner == "DirectRunner" else options.runner
            pipeline = beam.Pipeline(runner=runner, options=beam_options)
            _build(pipeline, job.groups, step)
            result = pipeline.run()
            try:
                result.wait_until_finish()
            except KeyboardInterrupt:
                result.cancel()
                raise
        outcome = read_json(step.outcome, dict[str, Any])
        text = joined_results(job.groups, dict(outcome["groups"]))
        require_text(text, options)
        shards = dict(outcome["shards"])
        counts = [shards[n]["records"] if n in shards else 0 for n in range(len(options.shards))]
        require_examples(counts, options)
        yield Outcome(
            text,
            from_json(ExampleStatistics, outcome["examples"]),
            Lost(*outcome["lost"]),
            [shards[n] for n in range(len(counts))],
            [step.shard(n) for n in range(len(counts))],
        )
    finally:
        remove_folder(folder)


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
        text = f"--beam_options: Apache Beam does not know --{name}; only the runner may"
        warnings.warn(text, InputWarning, stacklevel=2)
    return parsed


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


def _build(pipeline: beam.Pipeline, groups: Sequence[Sequence[TextRange]], step: "_Step") -> None:
    numbered = [(number, [tuple(text_range) for text_range in group]) for number, group in enumerate(groups)]
    tokenized = (
        pipeline
        | "groups of text" >> beam.Create(numbered)
        | "spread out" >> beam.Reshuffle()
        | "tokenize" >> beam.FlatMap(_tokenize, step).with_outputs(_RESULTS, main="corpora")
    )
    plan = beam.pvalue.AsSingleton(
        tokenized[_RESULTS]
        | "figures" >> beam.Map(lambda result: (result[0], result[1]["corpora"]))
        | "all figures" >> beam.combiners.ToList()
        | "plan units" >> beam.Map(_make_plan, step.options)
    )
    dealt = (
        tokenized.corpora
        | "unit of corpus" >> beam.Map(lambda corpus, plan: (plan.group_of[corpus[0]], corpus), plan)
        | "corpora of a unit" >> beam.GroupByKey()
        | "deal pairs" >> beam.FlatMap(_deal_pairs, step, plan).with_outputs(_RESULTS, main="pairs")
    )
    parts = (
        dealt.pairs
        | "pairs of a bucket" >> beam.GroupByKey()
        | "write part" >> beam.FlatMap(_write_part, step, plan).with_outputs(_RESULTS, main="parts")
    )
    shards = (
        parts.parts
        | "parts of a shard" >> beam.GroupByKey()
        | "complete shard" >> beam.Map(_complete_shard, step)
    )
    examples = parts[_RESULTS] | "all examples" >> beam.CombineGlobally(_added)
    lost = dealt[_RESULTS] | "all that is lost" >> beam.CombineGlobally(Lost.in_all)
    _ = (
        pipeline
        | "outcome" >> beam.Create([step.outcome])
        | "write outcome"
        >> beam.Map(
            _write_outcome,
            beam.pvalue.AsList(tokenized[_RESULTS]),
            beam.pvalue.AsSingleton(examples),
            beam.pvalue.AsSingleton(lost),
            beam.pvalue.AsList(shards),
        )
    )


class _Plan(NamedTuple):
    """How corpora become units, and units parts.

    Attributes:
      group_of: (group of text, number in it) of a corpus -> `Unit.group`.
      units: `Unit.group` -> its units, with the number of each among all units.
      corpora: (group of text, number in it) of all corpora, in their order.
      parts: the number of parts of a shard.
    """

    group_of: dict[tuple[int, int], int]
    units: dict[int, list[tuple[int, stages.Unit]]]
    corpora: list[tuple[int, int]]
    parts: int


def _make_plan(figures: Iterable[tuple[int, list[tuple[int, int]]]], options: Options) -> _Plan:
    groups = sorted(figures)
    corpora = [(group, number) for group, of_group in groups for number in range(len(of_group))]
    pieces, documents = ([figures[i] for _, of_group in groups for figures in of_group] for i in (0, 1))
    group_of: dict[tuple[int, int], int] = {}
    units: dict[int, list[tuple[int, stages.Unit]]] = {}
    for number, unit in enumerate(stages.plan_units(pieces, documents, options)):
        units.setdefault(unit.group, []).append((number, unit))
        group_of |= {corpora[corpus]: unit.group for corpus in unit.corpora}
    return _Plan(group_of, units, corpora, stages.buckets_per_shard(sum(pieces), options))


def _added(statistics: Iterable[ExampleStatistics | None]) -> ExampleStatistics | None:
    found = [one for one in statistics if one is not None]
    return sum(found[1:], found[0]) if found else None


def _write_outcome(
    path: str, groups: list[Any], examples: ExampleStatistics | None, lost: Lost, shards: list[Any]
) -> None:
    counted = to_json(examples) if examples else None
    write_json(path, {"groups": groups, "lost": lost, "shards": shards, "examples": counted})


class _Step(NamedTuple):
    """What every step needs to know; all workers can reach `folder`."""

    options: Options
    tokenizer: Tokenizer
    folder: str

    @property
    def outcome(self) -> str:
        return os.path.join(self.folder, "outcome.json")

    def part(self, bucket: int) -> str:
        return os.path.join(self.folder, f"part-{bucket:06}")

    def shard(self, shard: int) -> str:
        return os.path.join(self.folder, f"shard-{shard:05}")


def _tokenize(element: tuple[int, list[tuple[str, int, int]]], step: _Step) -> Iterator[Any]:
    """(number, ranges) of a group -> ((group, number), corpus) of each of its corpora."""
    group, ranges = element
    text = TextGroup([TextRange(*text_range) for text_range in ranges], step.options)
    corpora = text.tokenize(step.tokenizer, lambda size, pieces: _PIECES.inc(pieces))
    for number, corpus in enumerate(corpora):
        yield (group, number), corpus
    yield beam.pvalue.TaggedOutput(_RESULTS, (group, text.result))


def _deal_pairs(element: tuple[int, Iterable[Any]], step: _Step, plan: _Plan) -> Iterator[Any]:
    """The corpora of a unit -> (bucket, (unit, rows, ids)) of the pairs of each of its buckets and passes."""
    number, corpora = element
    units = plan.units[number]
    by_place = dict(corpora)
    corpus = Corpus.joined([by_place[plan.corpora[place]] for place in units[0][1].corpora])
    buckets = len(step.options.shards) * plan.parts
    for unit_number, unit in units:
        all_pairs, sizes, lost = stages.deal_unit(corpus, unit, buckets, step.tokenizer, step.options)
        ends = np.cumsum(sizes)
        for bucket in np.flatnonzero(sizes).tolist():
            pairs = all_pairs.take(slice(ends[bucket] - sizes[bucket], ends[bucket]))
            rows, ids = stages.pair_rows(pairs), stages.pair_ids(corpus.ids, pairs)
            yield bucket, (unit_number, rows.tobytes(), ids.tobytes())
        yield beam.pvalue.TaggedOutput(_RESULTS, lost)


def _write_part(element: tuple[int, Iterable[Any]], step: _Step, plan: _Plan) -> Iterator[Any]:
    """The pairs of a bucket -> (shard, (bucket, records)) of the part of a shard that they become."""
    bucket, dealt = element
    _, rows, ids = zip(*sorted(dealt), strict=True)
    bucket_ids, pairs = stages.joined_pairs(
        [np.frombuffer(data, stages.PAIR) for data in rows],
        [np.frombuffer(data, step.tokenizer.id_dtype) for data in ids],
    )
    with write_bytes(step.part(bucket)) as file:
        examples = stages.bucket_examples(bucket_ids, pairs, bucket, step.tokenizer, step.options)
        for serialized, counted in examples:
            file.write(b"".join(part for record in serialized for part in framed(record)))
            yield beam.pvalue.TaggedOutput(_RESULTS, counted)
    _EXAMPLES.inc(len(pairs))
    yield bucket // plan.parts, (bucket, len(pairs))


def _complete_shard(element: tuple[int, Iterable[Any]], step: _Step) -> tuple[int, dict[str, Any]]:
    """The parts of a shard -> (shard, its records, bytes and sha256)."""
    shard, parts = element
    digest, size, count = hashlib.sha256(), 0, 0
    with write_bytes(step.shard(shard)) as file:
        for bucket, in_part in sorted(parts):
            count += in_part
            with open_file(step.part(bucket)) as part:
                while data := part.read(_COPIED_BYTES):
                    file.write(data)
                    digest.update(data)
                    size += len(data)
    return shard, {"records": count, "bytes": size, "sha256": digest.hexdigest()}
