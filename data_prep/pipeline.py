"""A whole run, from the names of text files to records, descriptions and a manifest."""

import contextlib
import logging
import time
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from albert_tf.cli.flags import flags_of
from albert_tf.errors import InputError
from albert_tf.tokenization import load_tokenizer
from data_prep import manifest as manifests
from data_prep.execution import Execution, RunProgress
from data_prep.jobs import Job
from data_prep.manifest import describe_inputs, finished_manifest, input_files
from data_prep.options import SIZES, Options, Sizes
from data_prep.plan import Plan, make_plan
from data_prep.statistics import Document, histograms, summarize
from data_prep.text_files import TextRange
from data_prep.text_groups import Outcome, PointlessRunError, divide_into_groups
from data_prep.work_files import WorkFiles
from data_prep.workers import Workers


def create_pretraining_data(
    options: Options, show: Callable[[str], None] = lambda text: None, sizes: Sizes = SIZES
) -> dict[str, Any]:
    """Makes the records; returns their manifest, see `data_prep.manifest`.

    Args:
      options: what is wanted.
      show: called with what there is to say before the run gets going.
      sizes: how much is worked on together.

    Raises:
      InputError: the text, the vocabulary or a path is not usable; earlier output then stays as it was.
    """
    if not options.is_local:
        _beam_pipeline(options)  # says at once where there is none
    paths = input_files(options)
    groups = divide_into_groups(paths, sizes)
    with Workers(options.workers) as workers:
        if options.is_local:
            workers.start_for(len(groups))  # while this process looks at the input
        return _create(options, paths, groups, workers, show, sizes)


def _create(
    options: Options,
    paths: Sequence[str],
    groups: Sequence[Sequence[TextRange]],
    workers: Workers,
    show: Callable[[str], None],
    sizes: Sizes,
) -> dict[str, Any]:
    started = time.perf_counter()
    tokenizer = load_tokenizer(options.spm_model_file, options.vocab_file, options.do_lower_case)
    files = WorkFiles(options.shards, options.temp_dir)
    inputs = describe_inputs(paths, options.workers)
    digests = [file["sha256"] for file in inputs]
    versions = manifests.versions()
    key = manifests.make_key(digests, options)
    finished = finished_manifest(key, files.are_for(key | versions), options)
    if finished:
        with contextlib.suppress(InputError), files.locked():
            files.remove()  # what an interrupted run with --overwrite has left
        show(f"{', '.join(options.output_file)}: there already, made by the same command")
        return finished
    job = Job(options, tokenizer, files, groups, sizes)
    plan = make_plan(inputs, groups, tokenizer, options)
    show(plan.describe(options))
    if options.is_local:
        keys = manifests.make_tokens_key(digests, options) | versions, key | versions
        stages = _done_here(job, plan, keys, workers)
    else:
        stages = _done_by_beam(job)
    with stages as outcome:
        text, examples = outcome.text, outcome.examples
        seconds = time.perf_counter() - started
        left_out = {"skipped_lines": text.skipped_lines, "single_words_left_out": outcome.left_out}
        summary = summarize(text.statistics, examples, left_out, seconds, options)
        settings = flags_of(options)
        return manifests.publish(
            outcome.complete,
            outcome.shards,
            description={
                "vocab_size": tokenizer.vocab_size,
                "max_seq_length": options.max_seq_length,
                "max_predictions_per_seq": options.predictions_length,
                "seed": options.random_seed,
                "settings": settings,
                "summary": summary,
            },
            manifest={
                "key": key,
                "versions": versions,
                "settings": settings,
                "inputs": inputs,
                "summary": summary,
                "histograms": histograms(text.statistics, examples),
                "longest_documents": _named(text.statistics.longest),
                "shortest_documents": _named(text.statistics.shortest),
                "skipped": text.skipped,
            },
            options=options,
        )


@contextlib.contextmanager
def _done_here(
    job: Job, plan: Plan, keys: tuple[dict[str, Any], dict[str, Any]], workers: Workers
) -> Iterator[Outcome]:
    """Does the stages on this machine; the files are removed when the outcome has been used.

    Args:
      job: what is to be done.
      plan: of the run.
      keys: what the tokenized text, and all that follows, is made for.
      workers: who does it.
    """
    options, files = job.options, job.files
    with files.locked():
        files.keep_only(*keys)
        plan.warn_of_full_disks(options)
        try:
            with RunProgress(plan.seconds) as progress:
                execution = Execution(job, workers, progress)
                tokenized = execution.tokenize()
                written = execution.write_shards(tokenized)
        except PointlessRunError:
            files.remove()
            raise
        complete = [files.complete(shard) for shard in range(len(written.shards))]
        yield Outcome(tokenized.text, written.statistics, written.left_out, written.shards, complete)
        files.remove()


@contextlib.contextmanager
def _done_by_beam(job: Job) -> Iterator[Outcome]:
    """Has Apache Beam do the stages."""
    with _quiet_beam(job.options), _beam_pipeline(job.options).done_by_runner(job) as outcome:
        yield outcome


def _beam_pipeline(options: Options) -> types.ModuleType:
    try:
        with _quiet_beam(options):
            from data_prep import beam_pipeline
    except ImportError as error:
        needed = "pip install 'albert-tf[beam]' brings it"
        raise InputError(f"--runner={options.runner}: {error}; {needed}") from None
    return beam_pipeline


@contextlib.contextmanager
def _quiet_beam(options: Options) -> Iterator[None]:
    """Keeps Beam from logging, which it does a lot, unless --verbosity asks for it."""
    before = logging.root.manager.disable
    if options.verbosity == "error":
        logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _named(documents: Sequence[Document]) -> list[dict[str, Any]]:
    return [{"at": f"{path}:{line + 1}", "pieces": pieces} for pieces, path, line in documents]
