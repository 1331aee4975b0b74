"""A whole run, from the names of text files to records, descriptions and a manifest."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

from albert_tf.errors import InputError
from albert_tf.tokenization import load_tokenizer
from data_prep import manifest as manifests
from data_prep import report
from data_prep.execution import Execution
from data_prep.inputs import describe_inputs, finished_manifest, input_files
from data_prep.options import Options
from data_prep.plan import make_plan
from data_prep.progress import RunProgress
from data_prep.statistics import Document
from data_prep.tasks import Job
from data_prep.text_groups import divide_into_groups
from data_prep.work_files import WorkFiles
from data_prep.workers import Workers


def create_pretraining_data(
    options: Options, show: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Makes the records; returns their manifest, see `data_prep.manifest`.

    Args:
      options: what is wanted.
      show: called with what there is to say before the run gets going.

    Raises:
      InputError: the text, the vocabulary or a path is not usable; earlier output then stays as it was.
    """
    started = time.perf_counter()
    paths = input_files(options)
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
    with files.locked():
        files.keep_only(manifests.make_tokens_key(digests, options) | versions, key | versions)
        job = Job(options, tokenizer, files, divide_into_groups(paths))
        plan = make_plan(inputs, job.groups, tokenizer, options)
        show(plan.describe(options))
        plan.warn_of_full_disks(options)
        with RunProgress(plan.seconds) as progress, Workers(options.workers, job) as workers:
            execution = Execution(job, workers, progress)
            text = execution.tokenize()
            parts = execution.write_parts(text)
            shards = execution.complete(parts)
        examples = parts.statistics
        seconds = time.perf_counter() - started
        left_out = {"skipped_lines": text.skipped_lines, "single_words_left_out": parts.left_out}
        summary = report.summarize(text.statistics, examples, left_out, seconds, options)
        settings = dataclasses.asdict(options)
        manifest = manifests.publish(
            [files.complete(shard) for shard in range(len(shards))],
            shards,
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
                "histograms": report.histograms(text.statistics, examples),
                "longest_documents": _named(text.statistics.longest),
                "shortest_documents": _named(text.statistics.shortest),
                "skipped": text.skipped,
            },
            options=options,
        )
        files.remove()
    return manifest


def _named(documents: Sequence[Document]) -> list[dict[str, Any]]:
    return [{"at": f"{path}:{line + 1}", "pieces": pieces} for pieces, path, line in documents]
