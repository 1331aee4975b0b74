"""Files of rows with a text each: Parquet, Arrow (Hugging Face), TFRecords (TensorFlow Datasets)."""

import itertools
import os
import re
from collections.abc import Iterator
from typing import IO, Any

from albert_tf.errors import InputError
from albert_tf.files import open_file
from albert_tf.tfrecord import read_records

_ROWS = 1000  # read together
_ARROW_FILE = b"ARROW1"  # how one begins that is no stream
_TFRECORD = re.compile(r"\.tfrecord(-\d+-of-\d+)?$")


def is_table(path: str) -> bool:
    """Whether a file has rows, by its name."""
    return os.path.splitext(path)[1] in (".arrow", ".parquet") or bool(_TFRECORD.search(path))


def read_rows(path: str, field: str) -> Iterator[tuple[list[str | bytes | None], int]]:
    """The texts of some rows, None where a row has none, with the bytes of the file that were read for them.

    Raises:
      InputError: the file is damaged, or `field` is no column of text.
    """
    if _TFRECORD.search(path):
        yield from _record_rows(path, field)
        return
    try:
        import pyarrow as pa
    except ImportError:
        raise InputError(f"{path} needs pyarrow: pip install 'albert-tf[datasets]' brings it") from None
    read = _parquet_rows if path.endswith(".parquet") else _arrow_rows
    with open_file(path) as file:
        try:
            for column, size in read(path, file, field):
                if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
                    raise InputError(f'{path}: column "{field}" is {column.type}, no text (--text_field)')
                yield column.to_pylist(), size
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path} cannot be read ({error}): damaged, or cut short") from None


def _parquet_rows(path: str, file: IO[bytes], field: str) -> Iterator[tuple[Any, int]]:
    import pyarrow.parquet as pq

    table = pq.ParquetFile(file)
    _require_column(path, table.schema_arrow.names, field)
    size = file.seek(0, os.SEEK_END)
    for batch in table.iter_batches(_ROWS, columns=[field]):
        yield batch.column(0), size * len(batch) // table.metadata.num_rows


def _arrow_rows(path: str, file: IO[bytes], field: str) -> Iterator[tuple[Any, int]]:
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


def _record_rows(path: str, field: str) -> Iterator[tuple[list[bytes | None], int]]:
    import tensorflow as tf

    records = read_records(path)
    while together := list(itertools.islice(records, _ROWS)):
        texts = []
        for record in together:
            features = tf.train.Example.FromString(record).features.feature
            _require_column(path, sorted(features), field)
            values = features[field].bytes_list.value
            texts.append(values[0] if values else None)
        yield texts, sum(map(len, together))


def _require_column(path: str, names: list[str], field: str) -> None:
    if field not in names:
        raise InputError(f'{path} has no column "{field}" (--text_field), only {", ".join(names)}')
