"""Data sets by name (of Hugging Face and of TensorFlow), and their files of rows with a text each."""

import contextlib
import io
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from typing import IO, Any

from albert_tf.data.tfrecord import parse_example, read_records
from albert_tf.errors import InputError
from albert_tf.files import matching_files, open_file

_FORM = "hf:NAME:SPLIT, hf:NAME:CONFIG:SPLIT or tfds:NAME:SPLIT"
_BRINGS_IT = "pip install '.[datasets]' in this project's folder brings it"
_ARROW_FILE = b"ARROW1"  # the start of an Arrow file that is not a stream
_TFRECORD = re.compile(r"\.tfrecord(-\d+-of-\d+)?$", re.IGNORECASE)


def matching_text_files(names: Sequence[str]) -> list[str]:
    """The files that names, globs and data sets (as hf:NAME:SPLIT, tfds:NAME:SPLIT) stand for, each once.

    The library of a data set downloads files that are missing, into its own cache.

    Raises:
      InputError: there is no such file or data set, or its library is not installed.
    """
    found: dict[str, None] = {}
    for name in names:
        kind, _, source = name.partition(":")
        if kind in _KINDS and not source.startswith("//"):
            found |= dict.fromkeys(_files_of(name, kind, source))
        else:
            found |= dict.fromkeys(matching_files([name]))
    return list(found)


def _files_of(name: str, kind: str, source: str) -> list[str]:
    *words, split = source.split(":")
    if not 1 <= len(words) <= 2 or not all(words) or not split.isidentifier():
        raise InputError(f"--input_file={name}: a data set is named {_FORM}")
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # progress of downloads is on standard error
            files = _KINDS[kind](*words, split=split)
    except ImportError as error:
        raise InputError(f"{name}: {error}; {_BRINGS_IT}") from None
    except Exception as error:  # each library, and each script of a data set, has its own errors
        raise InputError(f"{name} cannot be had: {type(error).__name__}: {error}") from None
    other = next((file for file in files if not is_table(file)), None)
    if other or not files:
        what = f"has files of a kind that is not read ({other})" if other else "has no files"
        raise InputError(f"{name}: the data set {what}")
    return files


def _hugging_face(name: str, config: str | None = None, *, split: str) -> list[str]:
    import datasets

    if os.path.exists(os.path.join(name, "dataset_dict.json")):
        dataset: Any = datasets.load_from_disk(os.path.join(name, split))
    elif os.path.exists(os.path.join(name, "state.json")):
        dataset = datasets.load_from_disk(name)
    else:
        dataset = datasets.load_dataset(name, config, split=split)
    return [file["filename"] for file in dataset.cache_files]


def _tensorflow(name: str, *, split: str) -> list[str]:
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(name) if os.path.isdir(name) else tfds.builder(name)
    builder.download_and_prepare()
    return [os.fspath(path) for path in builder.info.splits[split].filepaths]


_KINDS = {"hf": _hugging_face, "tfds": _tensorflow}


def is_table(path: str) -> bool:
    """Whether a file has rows, by its name."""
    return path.lower().endswith((".arrow", ".parquet")) or bool(_TFRECORD.search(path))


def read_rows(path: str, field: str, together: int = 1000) -> Iterator[tuple[list[str | bytes | None], int]]:
    """The texts of `together` rows (or of an Arrow batch) at a time, and the bytes that were read for them.

    The text of a row may be None. Raises InputError if the file is damaged or `field` is no column of text.
    """
    if _TFRECORD.search(path):
        yield from _record_rows(path, field, together)
        return
    try:
        import pyarrow as pa
    except ImportError:
        raise InputError(f"{path} needs pyarrow: {_BRINGS_IT}") from None
    read = _parquet_rows if path.lower().endswith(".parquet") else _arrow_rows
    with open_file(path) as file:
        try:
            for column, size in read(path, file, field, together):
                column.validate(full=True)  # or damaged offsets would end the process
                if pa.types.is_dictionary(column.type):
                    column = column.dictionary_decode()
                if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
                    raise InputError(f'{path}: column "{field}" is {column.type}, no text (--text_field)')
                yield column.to_pylist(), size
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path} cannot be read ({error}): damaged, or cut short") from None


def _parquet_rows(path: str, file: IO[bytes], field: str, together: int) -> Iterator[tuple[Any, int]]:
    import pyarrow.parquet as pq

    table = pq.ParquetFile(file)
    _require_column(path, table.schema_arrow.names, field)
    size = file.seek(0, os.SEEK_END)
    for batch in table.iter_batches(together, columns=[field]):
        yield batch.column(0), size * len(batch) // table.metadata.num_rows


def _arrow_rows(path: str, file: IO[bytes], field: str, _: int) -> Iterator[tuple[Any, int]]:
    import pyarrow as pa

    start = file.read(len(_ARROW_FILE))
    file.seek(0)
    if start == _ARROW_FILE:
        reader = pa.ipc.open_file(file)
        batches = map(reader.get_batch, range(reader.num_record_batches))
    else:
        batches = reader = pa.ipc.open_stream(file)
    _require_column(path, reader.schema.names, field)
    done = 0
    for batch in batches:
        before, done = done, max(done, file.tell())
        yield batch.column(field), done - before


def _record_rows(path: str, field: str, together: int) -> Iterator[tuple[list[str | bytes | None], int]]:
    records = enumerate(read_records(path), 1)
    while rows := list(itertools.islice(records, together)):
        texts: list[str | bytes | None] = []
        for number, record in rows:
            features = parse_example(record, f"{path}, record {number}")
            _require_column(path, sorted(features), field)
            value = next(iter(features[field]), None)
            if not isinstance(value, bytes | None):
                kind = type(value).__name__
                raise InputError(f'{path}, record {number}: "{field}" is {kind}, no text (--text_field)')
            texts.append(value)
        yield texts, sum(len(record) for _, record in rows)


def _require_column(path: str, names: list[str], field: str) -> None:
    if field not in names:
        raise InputError(f'{path} has no column "{field}" (--text_field), only {", ".join(names)}')
