"""`Features` on disk, so that a second run does not tokenize again.

A record is a `tf.train.Example` of one example; the sequences of its choices follow one another:

| feature | kind | values | content |
|---|---|---|---|
| input_ids | int64 | tokens | without padding |
| segment_ids | int64 | tokens | 0 for [CLS] A [SEP], 1 for B [SEP] |
| lengths, first_lengths, full_lengths | int64 | choices | as in `Features` |
| label_ids | int64 or float | 1 | class or score; left out where there are no labels |

The description beside the file holds the key under which it was made.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from albert_tf.errors import InputWarning
from albert_tf.records import RecordWriter, metadata_path, read_metadata, serialize_examples
from albert_tf.tasks.features import Features

FORMAT = "albert_tf features 1"

_WRITTEN_AT_ONCE = 1 << 14  # examples
_READ_AT_ONCE = 1 << 10
_READ_BUFFER = 1 << 23  # bytes
_LENGTHS = ("lengths", "first_lengths", "full_lengths")


class _UnusableError(Exception):
    """Why a cache file is not used."""


def cached_features(folder: str, name: str, key: Mapping[str, Any], make: Callable[[], Features]) -> Features:
    """The features in `<folder>/<name>.<digest of the key>.tf_record`, made and written if there are none.

    Args:
      folder: is created if needed.
      name: such as "mnli_train".
      key: JSON values; everything that changes the features: digests of the examples and of the vocabulary,
        lengths and so on. The version of the file's format is added.
      make: gives the features if there is no file, or one that is damaged or was made by something else.

    Raises:
      InputError: the folder cannot be written.
    """
    key = json.loads(json.dumps(dict(key)))
    named = json.dumps([FORMAT, key], sort_keys=True)
    digest = hashlib.sha256(named.encode()).hexdigest()[:16]
    path = os.path.join(folder, f"{name}.{digest}.tf_record")
    if os.path.exists(path):
        try:
            return _read(path, key)
        except _UnusableError as error:
            warnings.warn(f"{path} {error}; it is made anew", InputWarning, stacklevel=2)
    with RecordWriter([path]) as writer:  # before the work, so that a folder that cannot be written is known
        features = make()
        for records in _serialized(features):
            writer.write_serialized(records)
        writer.describe(
            {
                "format": FORMAT,
                "tokens": len(features.input_ids),
                "id_dtype": features.input_ids.dtype.name,
                "label_dtype": None if features.labels is None else features.labels.dtype.name,
                "num_choices": features.num_choices,
                "key": key,
            }
        )
    return features


def _serialized(features: Features) -> Iterator[list[bytes]]:
    """The records in order, many at once. Examples of equal length are serialized together."""
    choices = features.num_choices
    totals = features.lengths.reshape(-1, choices).sum(axis=1, dtype=np.int64)
    ends = np.cumsum(totals)
    for begin in range(0, len(features), _WRITTEN_AT_ONCE):
        examples = slice(begin, begin + _WRITTEN_AT_ONCE)
        sequences = slice(begin * choices, (begin + _WRITTEN_AT_ONCE) * choices)
        tokens = slice(ends[begin] - totals[begin], ends[examples][-1])
        first = features.first_lengths[sequences]
        runs = np.stack([first, features.lengths[sequences] - first], axis=1).ravel()
        segment_ids = np.repeat(np.tile(np.array([0, 1], np.uint8), len(first)), runs)
        columns = {key: getattr(features, key)[sequences].reshape(-1, choices) for key in _LENGTHS}
        if features.labels is not None:
            columns["label_ids"] = features.labels[examples][:, None]
        yield _in_groups(totals[examples], features.input_ids[tokens], segment_ids, columns)


def _in_groups(
    totals: np.ndarray, input_ids: np.ndarray, segment_ids: np.ndarray, columns: Mapping[str, np.ndarray]
) -> list[bytes]:
    starts = np.cumsum(totals) - totals
    by_length = np.argsort(totals, kind="stable")
    borders = np.flatnonzero(np.diff(totals[by_length])) + 1
    records: list[bytes] = [b""] * len(totals)
    for rows in np.split(by_length, borders):
        cells = starts[rows, None] + np.arange(totals[rows[0]])
        group = {"input_ids": input_ids[cells], "segment_ids": segment_ids[cells]}
        group |= {key: values[rows] for key, values in columns.items()}
        for row, record in zip(rows.tolist(), serialize_examples(group), strict=True):
            records[row] = record
    return records


def _read(path: str, key: Mapping[str, Any]) -> Features:
    """The features of a file, after every check that can be made."""
    found = read_metadata(path, FORMAT)
    if found is None:
        raise _UnusableError(f"has no description {metadata_path(path)} of a feature cache")
    size = os.path.getsize(path)
    try:
        if found["key"] != key:
            raise _UnusableError("was made for something else")
        if found["bytes"] != size:
            raise _UnusableError(f"has {size} bytes, but {found['bytes']} were written")
        return _read_records(path, found)
    except (KeyError, TypeError, ValueError):
        raise _UnusableError("is damaged") from None


def _read_records(path: str, found: Mapping[str, Any]) -> Features:
    import tensorflow as tf

    choices, id_dtype, label_dtype = found["num_choices"], found["id_dtype"], found["label_dtype"]
    schema = {name: tf.io.FixedLenFeature([choices], tf.int64) for name in _LENGTHS}
    schema["input_ids"] = tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64)
    if label_dtype:
        schema["label_ids"] = tf.io.FixedLenFeature([], tf.float32 if label_dtype == "float32" else tf.int64)

    def parse(serialized):
        parsed = tf.io.parse_example(serialized, schema)
        columns = {name: tf.cast(tf.reshape(parsed[name], [-1]), tf.int32) for name in _LENGTHS}
        columns["input_ids"] = tf.cast(parsed["input_ids"].values, id_dtype)
        return columns | ({"labels": tf.cast(parsed["label_ids"], label_dtype)} if label_dtype else {})

    with tf.device("CPU:0"):
        batches = tf.data.TFRecordDataset(path, buffer_size=_READ_BUFFER).batch(_READ_AT_ONCE)
        batches = batches.map(parse, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
        columns: dict[str, list[np.ndarray]] = {}
        try:
            for batch in batches.as_numpy_iterator():
                for name, values in batch.items():
                    columns.setdefault(name, []).append(values)
        except tf.errors.OpError:
            raise _UnusableError("is damaged") from None
    features = Features(
        labels=None if not label_dtype else np.concatenate(columns.pop("labels")),
        num_choices=choices,
        **{name: np.concatenate(parts) for name, parts in columns.items()},
    )
    if len(features) != found["records"] or len(features.input_ids) != found["tokens"]:
        raise _UnusableError("does not hold what was written")
    return features
