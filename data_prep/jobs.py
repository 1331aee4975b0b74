"""The stages as tasks between files; a task whose result is saved is not done again."""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, Any, NamedTuple

from albert_tf.data.tfrecord import framed
from albert_tf.errors import InputError
from albert_tf.tokenization import Tokenizer
from data_prep import statistics
from data_prep.corpus import Corpus
from data_prep.options import Options
from data_prep.stages import Unit, bucket_examples, deal_unit, read_bucket, write_pairs
from data_prep.statistics import ExampleStatistics
from data_prep.text_files import TextRange
from data_prep.text_groups import TextGroup
from data_prep.work_files import WorkFiles, save_result
from data_prep.workers import OnProgress

_COPIED_BYTES = 1 << 20


class Job(NamedTuple):
    """What every task needs to know; `groups` has the ranges of text files that are tokenized together."""

    options: Options
    tokenizer: Tokenizer
    files: WorkFiles
    groups: Sequence[Sequence[TextRange]]


def tokenize_group(job: Job, group: int, on_progress: OnProgress) -> dict[str, Any]:
    """Tokenizes a group of text; returns `TextGroup.result`."""
    text = TextGroup(job.groups[group], job.options)
    paths = []
    for number, corpus in enumerate(text.tokenize(job.tokenizer, on_progress)):
        paths.append(job.files.tokenized(group, number))
        with _written(paths[-1]) as file:
            corpus.save(file)
    return save_result(job.files.tokenized_group(group), text.result, paths)


class DealTask(NamedTuple):
    """A unit (and its number), the files of its corpora, and the number of buckets."""

    number: int
    unit: Unit
    paths: tuple[str, ...]
    buckets: int


def deal_pairs(job: Job, task: DealTask, on_progress: OnProgress) -> dict[str, Any]:
    """Deals a unit's pairs out over buckets; returns the fields of `Lost`."""
    corpus = Corpus.load(task.paths)
    pairs, sizes, lost = deal_unit(corpus, task.unit, task.buckets, job.tokenizer, job.options)
    path = job.files.dealt_pairs(task.number)
    with _written(path) as file:
        write_pairs(file, corpus.ids, pairs, sizes)
    on_progress(0, corpus.ids.size * task.unit.passes)
    return save_result(path, lost._asdict(), [path])


class BucketTask(NamedTuple):
    """A bucket, the numbers of all buckets and units, and the part of a shard that the bucket becomes."""

    bucket: int
    buckets: int
    units: int
    shard: int
    part: int


def write_part(job: Job, task: BucketTask, on_progress: OnProgress) -> dict[str, Any]:
    """Writes the records of a bucket; returns the number of records, the bytes and the statistics, if any."""
    paths = [job.files.dealt_pairs(unit) for unit in range(task.units)]
    ids, pairs = read_bucket(paths, task.bucket, task.buckets, job.tokenizer.id_dtype)
    path = job.files.part(task.shard, task.part)
    total: ExampleStatistics | None = None
    with _written(path) as file:
        for serialized, counted in bucket_examples(ids, pairs, task.bucket, job.tokenizer, job.options):
            file.writelines(part for record in serialized for part in framed(record))
            total = total + counted if total else counted
            on_progress(0, counted.pieces)
        size = file.tell()
    counts = statistics.to_json(total) if total else None
    return save_result(path, {"records": len(pairs), "bytes": size, "statistics": counts}, [path])


def complete_shard(
    job: Job, shard: int, sizes: Iterable[int], on_progress: Callable[[int], None]
) -> dict[str, Any]:
    """Adds all parts of a shard to the first one; returns the bytes and sha256 of the shard.

    `sizes` yields the bytes of each part when the part is written. A part is removed when it has been added.
    So a part that does not exist has been added before.
    """
    path = job.files.part(shard, 0)
    digest = hashlib.sha256()
    end = 0
    for part, size in enumerate(sizes):
        with open(path, "r+b") as file:
            added = job.files.part(shard, part)
            if part and os.path.exists(added):
                file.seek(end)
                with open(added, "rb") as source, _explained(path):
                    shutil.copyfileobj(source, file, _COPIED_BYTES)
                    file.flush()
                os.remove(added)
            file.seek(end)
            end += size
            while data := file.read(min(_COPIED_BYTES, end - file.tell())):
                digest.update(data)
                on_progress(len(data))
    os.truncate(path, end)
    return save_result(job.files.completed(shard), {"bytes": end, "sha256": digest.hexdigest()})


@contextlib.contextmanager
def _written(path: str) -> Iterator[IO[bytes]]:
    """A file of a task; what is in it counts when the result of the task is saved."""
    with _explained(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            yield file


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{error.filename or path}: {error.strerror or error}; "
            "what is done is kept, the same command continues"
        ) from None
