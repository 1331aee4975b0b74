"""The TFRecords of pretraining: their schema, a fast writer and the reader.

A record is a `tf.train.Example`; S is `max_seq_length`, P `max_predictions_per_seq` (twice that if pieces are
permuted):

| feature | kind | values | content |
|---|---|---|---|
| input_ids | int64 | S | [CLS] A [SEP] B [SEP], padded with 0 |
| input_mask | int64 | S | 1 for pieces, 0 for padding |
| segment_ids | int64 | S | 0 for [CLS] A [SEP], 1 for B [SEP], 0 for padding |
| token_boundary | int64 | S | 1 at word starts and special pieces; readers do not need it |
| masked_lm_positions | int64 | P | ascending, padded with 0 |
| masked_lm_ids | int64 | P | the pieces to predict there, padded with 0 |
| masked_lm_weights | float | P | 1 for predictions, 0 for padding |
| next_sentence_labels | int64 | 1 | 0 in order, 1 swapped (SOP) or not the next text (NSP) |

An unmasked record has input_ids as they are in the text, segment_ids, token_boundary and next_sentence_labels
as above (the padding begins after the last 1 of segment_ids), and two other features:

| feature | kind | values | content |
|---|---|---|---|
| may_swap | int64 | 1 | 1 if A and B are in the order of the text and may change places (SOP), else 0 |
| mask_id | int64 | 1 | the id of [MASK] |

Beside the record file F lies `F.json`, which says how it was made. Neither this module nor its writer imports
TensorFlow.
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

import numpy as np

from albert_tf.data.tfrecord import framed
from albert_tf.errors import InputError
from albert_tf.files import appear_when_complete, file_digest, matching_files, read_json

FORMAT = "albert_tf pretraining records 1"

_MANIFEST_SUFFIX = ".manifest.json"
_NO_BOUND = 1 << 31  # of ids, if the vocabulary is not known: they must fit int32


def serialize_examples(features: Mapping[str, np.ndarray]) -> list[bytes]:
    """Many `tf.train.Example`s at once, equal to the protocol buffer library's deterministic bytes.

    All records are laid out in one array of bytes. In it the numbers of an array have the same width; the
    bytes that shorter numbers leave empty are dropped at the end, in one step.

    Args:
      features: name -> array [records, values], of float32, bool or non-negative integers below 2**32.
    """
    layout = _Layout(len(next(iter(features.values()))))
    for name in sorted(features):
        layout.begin_message(b"\x0a")  # an entry of the map: name (field 1), feature (field 2)
        layout.append(b"\x0a" + bytes([len(name)]) + name.encode())
        layout.begin_message(b"\x12")
        values = features[name]
        layout.begin_message(b"\x12" if values.dtype == np.float32 else b"\x1a")
        layout.begin_message(b"\x0a")  # the packed values
        if values.dtype == np.float32:
            layout.append_cells(np.ascontiguousarray(values, "<f4").view(np.uint8))
        else:
            layout.append_cells(*_varints(values))
        for _ in range(4):
            layout.end_message()
    return layout.records(b"\x0a")


class _Layout:
    """Rows of bytes under construction: `cells` and, where some are unused, `used`, both [rows, width]."""

    def __init__(self, rows: int):
        self._rows = rows
        self._parts: list[tuple[np.ndarray, np.ndarray | None]] = []
        self._lengths = np.zeros(rows, np.int64)
        self._open: list[tuple[bytes, int, np.ndarray]] = []

    def append(self, constant: bytes) -> None:
        cells = np.frombuffer(constant, np.uint8)
        self.append_cells(np.broadcast_to(cells, (self._rows, cells.size)))

    def append_cells(self, cells: np.ndarray, used: np.ndarray | None = None) -> None:
        self._parts.append((cells, used))
        self._lengths = self._lengths + (cells.shape[1] if used is None else np.count_nonzero(used, axis=1))

    def begin_message(self, tag: bytes) -> None:
        self._open.append((tag, len(self._parts), self._lengths))

    def end_message(self) -> None:
        """Puts tag and length before what was appended since the message began."""
        tag, index, before = self._open.pop()
        later, self._parts = self._parts[index:], self._parts[:index]
        size = self._lengths - before
        self._lengths = before
        self.append(tag)
        self.append_cells(*_varints(size[:, None]))
        self._parts += later
        self._lengths = self._lengths + size

    def records(self, tag: bytes) -> list[bytes]:
        """The rows as bytes, each as one message under `tag`."""
        self._open.append((tag, 0, np.zeros(self._rows, np.int64)))
        self.end_message()
        cells = np.concatenate([cells for cells, _ in self._parts], axis=1)
        unused = [np.ones(c.shape, bool) if used is None else used for c, used in self._parts]
        data = cells[np.concatenate(unused, axis=1)].tobytes()
        ends = np.cumsum(self._lengths).tolist()
        return [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


def _varints(values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Seven bits a byte, lowest first, the top bit set on all but the last byte of a number.

    Gives cells, uint8 [rows, values * width], and which are used, bool, the same shape; None if all are.
    """
    if values.dtype != bool and values.size and values.min() < 0:
        raise ValueError("a record holds no negative numbers")
    largest = int(values.max(initial=0))
    width = max(1, -(-largest.bit_length() // 7))
    if width == 1:
        return values.astype(np.uint8), None
    values = values.astype(np.uint16 if largest < 1 << 16 else np.uint32, copy=False)
    cells = np.empty((*values.shape, width), np.uint8)
    used = np.ones(cells.shape, bool)
    for i in range(width):
        cells[..., i] = (values >> (7 * i)) & 0x7F
        if i:
            used[..., i] = values >= 1 << (7 * i)
            cells[..., i - 1] |= used[..., i].astype(np.uint8) << 7
    return cells.reshape(len(values), -1), used.reshape(len(values), -1)


class RecordWriter:
    """TFRecord files, each with its description beside it, that appear when all are complete.

    Example:
      with RecordWriter(["train.tfrecord"]) as writer:
          writer.write({"input_ids": ids, ...})
          writer.describe({"vocab_size": 30000, ...})
    """

    def __init__(self, paths: Sequence[str]):
        self._paths = list(paths)
        self._counts = [0] * len(paths)
        self._next = 0  # the file that the next record goes to

    def __enter__(self) -> "RecordWriter":
        with contextlib.ExitStack() as stack:
            both = self._paths + [metadata_path(path) for path in self._paths]
            names = stack.enter_context(appear_when_complete(both))
            self._names = names[len(self._paths) :]
            self._files = [stack.enter_context(open(name, "wb")) for name in names[: len(self._paths)]]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error) -> bool | None:
        return self._stack.__exit__(*error)

    def write(self, features: Mapping[str, np.ndarray]) -> None:
        """Appends a record for each row of the arrays; the files get them in turn."""
        self.write_serialized(serialize_examples(features))

    def write_serialized(self, records: Sequence[bytes]) -> None:
        """Appends records as `serialize_examples` makes them; the files get them in turn."""
        for i, file in enumerate(self._files):
            own = records[(i - self._next) % len(self._files) :: len(self._files)]
            file.writelines(part for record in own for part in framed(record))
            self._counts[i] += len(own)
        self._next = (self._next + len(records)) % len(self._files)

    def digests(self) -> list[str]:
        """The sha256 of what each file holds so far."""
        for file in self._files:
            file.flush()
        return [file_digest(file.name) for file in self._files]

    def describe(self, metadata: Mapping[str, Any]) -> None:
        """Writes each file's description: format, records, bytes, and the metadata, which overrides these."""
        for name, records, count in zip(self._names, self._files, self._counts, strict=True):
            own = {"format": FORMAT, "records": count, "bytes": records.tell()}
            with open(name, "w", encoding="utf-8") as file:
                json.dump(own | dict(metadata), file, indent=2)
                file.write("\n")


def metadata_path(path: str) -> str:
    """Where the description of the record file `path` is."""
    return f"{path}.json"


def manifest_path(path: str) -> str:
    """Where the manifest is of record files that were made together, named `path` or beginning so."""
    return f"{path}{_MANIFEST_SUFFIX}"


class _Settings(TypedDict, total=False):
    """The flags of data preparation that later programs read."""

    spm_model_file: str | None
    vocab_file: str | None
    do_lower_case: bool | None
    keep_accents: bool | None
    masked_lm_prob: float
    max_predictions_per_seq: int
    ngram: int
    favor_shorter_ngram: bool
    do_whole_word_mask: bool
    do_permutation: bool


class Description(TypedDict, total=False):
    """The keys of the description of a record file that programs read; see `read_metadata`."""

    records: int
    bytes: int
    vocab_size: int
    settings: _Settings


def read_metadata(path: str, format: str = FORMAT) -> dict[str, Any] | None:
    """The description of a record file, or None if there is none of this format.

    Keys of pretraining records: format, records, bytes, vocab_size, max_seq_length, max_predictions_per_seq
    (the length of the arrays), seed, settings (the flags), summary (the run's figures). `InputError` if one
    of them has another type than it should have.
    """
    try:
        metadata = read_json(metadata_path(path), dict[str, Any])
    except InputError:
        return None
    if metadata.get("format") != format:
        return None
    return dict(read_json(metadata_path(path), Description))


def parse_pretraining_batch(
    serialized: Any,
    max_seq_length: int,
    max_predictions_per_seq: int,
    vocab_size: int = _NO_BOUND,
    type_vocab_size: int = 2,
) -> dict[str, Any]:
    """Parses serialized records, string [batch], eagerly or inside tf.data (batch first: ten times faster).

    TensorFlow's `InvalidArgumentError` if a record holds a value out of range; see `schema`.

    Returns:
      input_ids, input_mask, segment_ids: int32 [batch, max_seq_length]; masked_lm_positions, masked_lm_ids:
      int32 [batch, max_predictions_per_seq]; masked_lm_weights: float32, the same shape;
      next_sentence_labels: int32 [batch].
    """
    return _parse_batch(
        serialized, schema(max_seq_length, max_predictions_per_seq, vocab_size, type_vocab_size)
    )


def parse_unmasked_batch(
    serialized: Any, max_seq_length: int, vocab_size: int = _NO_BOUND, type_vocab_size: int = 2
) -> dict[str, Any]:
    """Parses serialized unmasked records, string [batch]; errors are those of `parse_pretraining_batch`.

    Returns:
      input_ids, segment_ids, token_boundary: int32 [batch, max_seq_length]; next_sentence_labels, may_swap,
      mask_id: int32 [batch].
    """
    import tensorflow as tf

    parsed = _parse_batch(serialized, schema(max_seq_length, None, vocab_size, type_vocab_size))
    is_second = parsed["segment_ids"] == 1
    positions = tf.range(max_seq_length)
    begin = tf.reduce_min(tf.where(is_second, positions, max_seq_length), axis=1)
    end = tf.reduce_max(tf.where(is_second, positions + 1, 0), axis=1)
    pieces = tf.reduce_sum(tf.cast(is_second, tf.int32), axis=1)
    are_pairs = tf.reduce_all((begin >= 3) & (pieces >= 2) & (end - begin == pieces))
    with tf.control_dependencies([tf.debugging.Assert(are_pairs, [NOT_A_PAIR])]):
        return {name: tf.identity(values) for name, values in parsed.items()}


def _parse_batch(serialized: Any, fields: Mapping[str, "Field"]) -> dict[str, Any]:
    import tensorflow as tf

    types = {"int64_list": tf.int64, "float_list": tf.float32}
    wanted = {
        name: tf.io.FixedLenFeature([field.length] if field.flag else [], types[field.kind])
        for name, field in fields.items()
    }
    parsed = tf.io.parse_example(serialized, wanted)
    checks = []
    for name, values in parsed.items():
        bound, meaning = fields[name].bound, fields[name].meaning
        is_right = tf.reduce_all((values >= 0) & (values < bound))
        checks.append(tf.debugging.Assert(is_right, [f"{name} holds a value out of range: {meaning}"]))
    with tf.control_dependencies(checks):
        return {n: tf.cast(v, tf.int32 if v.dtype == tf.int64 else v.dtype) for n, v in parsed.items()}


def record_files(patterns: Sequence[str]) -> list[str]:
    """What `matching_files` gives, without the descriptions and manifests beside record files."""
    found = matching_files(patterns)
    descriptions = {metadata_path(path) for path in found}
    return [path for path in found if path not in descriptions and not path.endswith(_MANIFEST_SUFFIX)]


class Field(NamedTuple):
    """What a reader needs of a feature: its kind, number of values, and the range of these.

    `flag` says the number of values; it is empty if that is always 1. A value v is right if 0 <= v < `bound`,
    for the reason `meaning`.
    """

    kind: str
    length: int
    flag: str
    bound: float
    meaning: str


NOT_A_PAIR = "segment_ids are not 0 for [CLS] A [SEP], 1 for B [SEP] and 0 for padding"


def schema(
    max_seq_length: int,
    max_predictions_per_seq: int | None,
    vocab_size: int = _NO_BOUND,
    type_vocab_size: int = 2,
) -> dict[str, Field]:
    """What a reader needs of each feature.

    `max_predictions_per_seq`, the length of the arrays of predictions, is None for unmasked records.
    """
    pieces = (vocab_size, f"there are {vocab_size} pieces in the vocabulary")
    segments = (type_vocab_size, f"there are {type_vocab_size} segments (type_vocab_size)")
    binary = (2, "it is 0 or 1")
    sequence = ("int64_list", max_seq_length, "--max_seq_length")
    single = ("int64_list", 1, "")
    common = {
        "input_ids": Field(*sequence, *pieces),
        "segment_ids": Field(*sequence, *segments),
        "next_sentence_labels": Field(*single, *binary),
    }
    if max_predictions_per_seq is None:
        return common | {
            "token_boundary": Field(*sequence, *binary),
            "may_swap": Field(*single, *binary),
            "mask_id": Field(*single, *pieces),
        }
    length = (max_predictions_per_seq, "--max_predictions_per_seq")
    places = (max_seq_length, f"there are {max_seq_length} positions")
    return common | {
        "input_mask": Field(*sequence, *binary),
        "masked_lm_positions": Field("int64_list", *length, *places),
        "masked_lm_ids": Field("int64_list", *length, *pieces),
        "masked_lm_weights": Field(
            "float_list", *length, float("inf"), "weights are finite and not negative"
        ),
    }
