"""A whole run, from the names of text files to records, descriptions and a manifest."""

import contextlib
import logging
import time
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from albert_tf.cli.flags import flags_of
from albert_tf.errors import InputError, InputWarning
from albert_tf.tokenization import load_tokenizer
from data_prep import manifest as manifests
from data_prep.execution import Execution, RunProgress
from data_prep.jobs import Job
from data_prep.options import Options
from data_prep.plan import Plan, make_plan
from data_prep.statistics import histograms, summarize
from data_prep.text_groups import Outcome, PointlessRunError, divide_into_groups
from data_prep.work_files import WorkFiles
from data_prep.workers import Workers


def create_pretraining_data(
    options: Options, show: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Makes the records; returns their manifest, see `data_prep.manifest`.

    `show` is called with what there is to say before the work begins.

    Raises:
      InputError: the text, the vocabulary or a path is not usable; earlier output then stays as it was.
    """
    if not options.is_local:
        _beam_pipeline(options)  # says at once if Beam is not installed
    paths = manifests.input_files(options)
    groups = divide_into_groups(paths, options.group_bytes)
    with Workers(options.workers) as workers:
        if options.is_local:
            workers.start_for(len(groups))  # while this process looks at the input
        started = time.perf_counter()
        casing = options.do_lower_case, options.keep_accents
        tokenizer = load_tokenizer(options.spm_model_file, options.vocab_file, *casing)
        for problem in tokenizer.problems():
            warnings.warn(problem, InputWarning, stacklevel=2)
        files = WorkFiles(options.shards, options.temp_dir)
        inputs = manifests.describe_inputs(paths, options.workers)
        digests = [file["sha256"] for file in inputs]
        versions = manifests.versions()
        key = manifests.make_key(digests, options)
        finished = manifests.finished_manifest(key, files.are_for(key | versions), options)
        if finished:
            with contextlib.suppress(InputError), files.locked():
                files.remove()  # what an interrupted run with --overwrite has left
            show(f"{', '.join(options.output_file)}: there already, made by the same command")
            return finished
        job = Job(options, tokenizer, files, groups)
        plan = make_plan(inputs, groups, tokenizer, options)
        show(plan.describe(options))
        if options.is_local:
            tokens_key = manifests.make_tokens_key(digests, options)
            stages = _done_here(job, plan, tokens_key | versions, key | versions, workers)
        else:
            stages = _done_by_beam(job)
        with stages as outcome:
            made_of = {"key": key, "versions": versions, "settings": flags_of(options), "inputs": inputs}
            return _publish(outcome, job, made_of, time.perf_counter() - started)


def _publish(outcome: Outcome, job: Job, made_of: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    text, examples, options = outcome.text, outcome.examples, job.options
    longest, shortest = (
        [{"at": f"{path}:{line + 1}", "pieces": pieces} for pieces, path, line in documents]
        for documents in (text.statistics.longest, text.statistics.shortest)
    )
    summary = summarize(text.statistics, text.skipped_lines, examples, outcome.lost, seconds, options)
    return manifests.publish(
        outcome,
        description={
            "vocab_size": job.tokenizer.vocab_size,
            "max_seq_length": options.max_seq_length,
            "max_predictions_per_seq": options.predictions_length,
            "seed": options.random_seed,
            "settings": made_of["settings"],
            "summary": summary,
        },
        manifest={
            **made_of,
            "summary": summary,
            "histograms": histograms(text.statistics, examples),
            "longest_documents": longest,
            "shortest_documents": shortest,
            "skipped": text.skipped,
        },
        options=options,
    )


@contextlib.contextmanager
def _done_here(
    job: Job, plan: Plan, tokens_key: Mapping[str, Any], key: Mapping[str, Any], workers: Workers
) -> Iterator[Outcome]:
    """Does the stages on this machine; removes the work files when the outcome has been used."""
    with job.files.locked():
        job.files.keep_only(tokens_key, key)
        plan.warn_of_full_disks(job.options)
        try:
            with RunProgress(plan.seconds) as progress:
                outcome = Execution(job, workers, progress).run()
        except PointlessRunError:
            job.files.remove()
            raise
        yield outcome
        job.files.remove()


@contextlib.contextmanager
def _done_by_beam(job: Job) -> Iterator[Outcome]:
    """Lets Apache Beam do the stages."""
    with _quiet_beam(job.options), _beam_pipeline(job.options).done_by_runner(job) as outcome:
        yield outcome


def _beam_pipeline(options: Options) -> types.ModuleType:
    try:
        with _quiet_beam(options):
            from data_prep import beam_pipeline
    except ImportError as error:
        needed = "pip install '.[beam]' in this project's folder brings it"
        raise InputError(f"--runner={options.runner}: {error}; {needed}") from None
    return beam_pipeline


@contextlib.contextmanager
def _quiet_beam(options: Options) -> Iterator[None]:
    """Keeps Beam from its many log messages, unless --verbosity asks for them."""
    before = logging.root.manager.disable
    if options.verbosity == "error":
        logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
