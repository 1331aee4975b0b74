"""`Features` on disk, so that a second run does not tokenize again.

A record is a `tf.train.Example` of one example; the sequences of its choices follow each other:

| feature | kind | values | content |
|---|---|---|---|
| input_ids | int64 | tokens | without padding |
| segment_ids | int64 | tokens | 0 for [CLS] A [SEP], 1 for B [SEP] |
| lengths, first_lengths, full_lengths | int64 | choices | as in `Features` |
| label_ids | int64 or float | 1 or more | class, score or positions, if there are labels |

Further columns of a kind of features have their own names. The description beside the file holds the key
under which it was made, and a checksum over itself and the file.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from albert_tf.data.features import Features
from albert_tf.data.records import RecordWriter, metadata_path, read_metadata, serialize_examples
from albert_tf.errors import InputError, InputWarning
from albert_tf.files import file_digest

FORMAT = "albert_tf features 3"

_WRITTEN_AT_ONCE = 1 << 14  # examples
_READ_AT_ONCE = 1 << 10
_READ_BUFFER = 1 << 23  # bytes
_RECORD_NAMES = {"labels": "label_ids"}  # column -> feature, if their names differ


class _UnusableError(Exception):
    """Why a cache file is not used."""


def cached_features(
    folder: str,
    name: str,
    key: Mapping[str, Any],
    make: Callable[[], Features],
    kind: type[Features] = Features,
    keep: bool = True,
) -> Features:
    """The features in `<folder>/<name>.<digest of the key>.tf_record`, made and written if there are none.

    Args:
      folder: is created if needed; InputError if it cannot be written.
      name: such as "mnli_train".
      key: JSON values of all that changes the features: digests of the examples and of the vocabulary,
        lengths and so on.
      make: makes the features if there is no file that is whole and was made under this key.
      kind: the class of the features.
      keep: whether new features are written.
    """
    key = json.loads(json.dumps(dict(key)))
    named = json.dumps([FORMAT, key], sort_keys=True)
    digest = hashlib.sha256(named.encode()).hexdigest()[:16]
    path = os.path.join(folder, f"{name}.{digest}.tf_record")
    if os.path.exists(path):
        try:
            return _read(path, key, kind)
        except _UnusableError as error:
            warnings.warn(f"{path} {error}; it is made anew", InputWarning, stacklevel=2)
    if not keep:
        return make()
    with RecordWriter([path]) as writer:  # before the work: it refuses a folder that cannot be written
        features = make()
        columns = _stored(features, (*kind.TOKEN_COLUMNS, *kind.EXAMPLE_COLUMNS))
        for records in _serialized(features):
            writer.write_serialized(records)
        described = {
            "format": FORMAT,
            "num_choices": features.num_choices,
            "columns": {column: [values.dtype.name, *values.shape[1:]] for column, values in columns},
            "key": key,
        }
        writer.describe(described | {"checksum": _checksum(described, writer.digests()[0])})
    return features


def _checksum(description: Mapping[str, Any], digest: str) -> str:
    """The sha256 of what is read from a description, and of the digest of its file."""
    keys = ("num_choices", "columns", "key")
    content = json.dumps([*(description[key] for key in keys), digest], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _stored(features: Features, columns: Iterable[str]) -> list[tuple[str, np.ndarray]]:
    pairs = [(column, getattr(features, column)) for column in columns]
    return [(column, values) for column, values in pairs if values is not None]


def _serialized(features: Features) -> Iterator[list[bytes]]:
    """The records in order, many at once."""
    choices = features.num_choices
    totals = features.lengths.reshape(-1, choices).sum(axis=1, dtype=np.int64)
    ends = np.cumsum(totals)
    for begin in range(0, len(features), _WRITTEN_AT_ONCE):
        examples = slice(begin, begin + _WRITTEN_AT_ONCE)
        sequences = slice(begin * choices, (begin + _WRITTEN_AT_ONCE) * choices)
        tokens = slice(ends[begin] - totals[begin], ends[examples][-1])
        first = features.first_lengths[sequences]
        runs = np.stack([first, features.lengths[sequences] - first], axis=1).ravel()
        ragged = {column: values[tokens] for column, values in _stored(features, features.TOKEN_COLUMNS)}
        ragged["segment_ids"] = np.repeat(np.tile(np.array([0, 1], np.uint8), len(first)), runs)
        fixed = {
            column: values[sequences].reshape(-1, choices)
            for column, values in _stored(features, features.SEQUENCE_COLUMNS)
        }
        for column, values in _stored(features, features.EXAMPLE_COLUMNS):
            fixed[_RECORD_NAMES.get(column, column)] = values[examples].reshape(len(totals[examples]), -1)
        yield _in_groups(totals[examples], ragged, fixed)


def _in_groups(
    totals: np.ndarray, ragged: Mapping[str, np.ndarray], fixed: Mapping[str, np.ndarray]
) -> list[bytes]:
    """The records in order, of which those of equal length are serialized together."""
    starts = np.cumsum(totals) - totals
    by_length = np.argsort(totals, kind="stable")
    borders = np.flatnonzero(np.diff(totals[by_length])) + 1
    records: list[bytes] = [b""] * len(totals)
    for rows in np.split(by_length, borders):
        cells = starts[rows, None] + np.arange(totals[rows[0]])
        group = {column: values[cells] for column, values in ragged.items()}
        group |= {column: values[rows] for column, values in fixed.items()}
        for row, record in zip(rows.tolist(), serialize_examples(group), strict=True):
            records[row] = record
    return records


def _read(path: str, key: Mapping[str, Any], kind: type[Features]) -> Features:
    """The features of a file; `_UnusableError` if they are not those of the key."""
    try:
        found = read_metadata(path, FORMAT)
        if found is None:
            raise _UnusableError(f"has no description {metadata_path(path)} of a feature cache")
        if found["key"] != key:
            raise _UnusableError("was made for something else")
        if found["checksum"] != _checksum(found, file_digest(path)):
            raise _UnusableError("is damaged")
    except (InputError, KeyError, OSError):
        raise _UnusableError("is damaged") from None
    return _read_records(path, found, kind)


def _read_records(path: str, found: Mapping[str, Any], kind: type[Features]) -> Features:
    import tensorflow as tf

    choices, columns = found["num_choices"], found["columns"]
    types = {column: np.dtype(dtype) for column, (dtype, *_) in columns.items()}
    types |= dict.fromkeys(kind.SEQUENCE_COLUMNS, np.dtype(np.int32))
    schema = {column: tf.io.FixedLenFeature([choices], tf.int64) for column in kind.SEQUENCE_COLUMNS}
    for column, (_, *shape) in columns.items():
        stored = tf.float32 if types[column] == np.float32 else tf.int64
        if column in kind.TOKEN_COLUMNS:
            schema[column] = tf.io.RaggedFeature(stored, row_splits_dtype=tf.int64)
        else:
            schema[_RECORD_NAMES.get(column, column)] = tf.io.FixedLenFeature(shape, stored)

    def parse(serialized):
        parsed = tf.io.parse_example(serialized, schema)
        read = {column: parsed[_RECORD_NAMES.get(column, column)] for column in types}
        for column in kind.TOKEN_COLUMNS:
            if column in read:
                read[column] = read[column].values
        for column in kind.SEQUENCE_COLUMNS:
            read[column] = tf.reshape(read[column], [-1])
        return {column: tf.cast(values, types[column]) for column, values in read.items()}

    with tf.device("CPU:0"):
        batches = tf.data.TFRecordDataset(path, buffer_size=_READ_BUFFER).batch(_READ_AT_ONCE)
        batches = batches.map(parse, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
        parts = list(batches.as_numpy_iterator())
    absent: dict[str, Any] = dict.fromkeys((*kind.TOKEN_COLUMNS, *kind.EXAMPLE_COLUMNS))
    read = {column: np.concatenate([part[column] for part in parts]) for column in types}
    return kind(num_choices=choices, **absent | read)
