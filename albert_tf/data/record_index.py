"""Where the records of TFRecord files lie, and the order in which pretraining sees them.

A `RecordIndex` divides the files into blocks of 32 records, so that reading may begin anywhere. The order
depends on seed and files alone: each time round, the blocks come in another random order, and the records of
320 blocks in a row, about 10,000, are shuffled together as a pool. So a run may begin with any step. It does
not read what came before, and memory holds a few pools.

The devices share a global batch as in `albert_tf.data.batching`. Every worker reads all blocks and parses its
own records only.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from albert_tf.cli.text import progress_bar
from albert_tf.data.tfrecord import find_blocks, read_block
from albert_tf.errors import InputError
from albert_tf.files import appear_when_complete

_RECORDS_OF_A_BLOCK = 32  # about 100 KB: enough to be read fast, few enough to be shuffled well
NUMBERS_OF_A_FILE = 1 << 40  # more than a file has records
_COLUMNS = ("file_of", "begins", "ends", "firsts", "counts")


@dataclasses.dataclass(frozen=True, eq=False)
class RecordIndex:
    """The blocks of 32 records of which files consist; the last block of a file may have fewer.

    Numbers tell the records of all files apart: a file's are consecutive and begin at 2**40 times its index.
    """

    files: tuple[str, ...]
    sizes: tuple[int, ...]  # bytes
    file_of: np.ndarray  # int32 [blocks]: the index of the block's file
    begins: np.ndarray  # int64 [blocks]: the block's first byte in the file
    ends: np.ndarray  # int64 [blocks]: the byte after its last one
    firsts: np.ndarray  # int64 [blocks]: the number of its first record
    counts: np.ndarray  # int32 [blocks]: how many records it has

    def __len__(self) -> int:
        """The number of blocks."""
        return len(self.counts)

    def records_of_files(self) -> list[int]:
        """The number of records of each file."""
        return np.bincount(self.file_of, self.counts, len(self.files)).astype(int).tolist()

    def read(self, blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The numbers, int64, and bytes of the records of some blocks; InputError if one cannot be read."""
        counts = self.counts[blocks]
        ends = np.cumsum(counts)
        numbers = np.repeat(self.firsts[blocks] - (ends - counts), counts) + np.arange(counts.sum())
        records = np.empty(len(numbers), object)
        for block, begin, end in zip(blocks, ends - counts, ends, strict=True):
            path = self.files[self.file_of[block]]
            place = int(self.begins[block]), int(self.ends[block])
            try:
                records[begin:end] = read_block(path, *place, int(self.firsts[block]) % NUMBERS_OF_A_FILE + 1)
            except OSError as error:
                raise InputError(f"{path}: {error.strerror}") from None
        return numbers, records


def index_records(files: Sequence[str], kept_in: str | None = None) -> RecordIndex:
    """Finds the blocks of TFRecord files by the lengths of their records; OSError if a file is gone.

    The index is written to `kept_in`, and read from there while the files are the same.
    """
    stats = [os.stat(path) for path in files]
    sizes = tuple(stat.st_size for stat in stats)
    times = (stat.st_mtime_ns for stat in stats)
    key = json.dumps(list(zip(map(os.path.realpath, files), sizes, times, strict=True)))
    columns = _load(kept_in, key) if kept_in else None
    if columns is None:
        columns = _scan(files, sum(sizes))
        if kept_in:
            with appear_when_complete([kept_in]) as [path], open(path, "wb") as file:
                arrays: dict[str, Any] = {"checksum": _checksum(key, columns), **columns}
                np.savez(file, **arrays)
    return RecordIndex(tuple(files), sizes, **columns)


def _checksum(key: str, columns: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(key.encode())
    for name in _COLUMNS:
        digest.update(f"{columns[name].dtype} {columns[name].shape}".encode())
        digest.update(columns[name].tobytes())
    return digest.hexdigest()


def _load(path: str, key: str) -> dict[str, np.ndarray] | None:
    """The columns in the file; None if it does not exist, is damaged or belongs to other files."""
    try:
        with open(path, "rb") as file, np.load(file) as stored:
            columns = {name: stored[name] for name in _COLUMNS}
            return columns if str(stored["checksum"]) == _checksum(key, columns) else None
    except Exception:  # NumPy and zipfile raise errors of many kinds for damaged files
        return None


def _scan(files: Sequence[str], size: int) -> dict[str, np.ndarray]:
    parts = []
    style = {"unit": "B", "unit_scale": True, "leave": False, "delay": 2}
    with progress_bar(total=size, desc="finding records", **style) as bar:
        for number, path in enumerate(files):
            bounds, counts = find_blocks(path, _RECORDS_OF_A_BLOCK, bar.update)
            firsts = np.cumsum(counts, dtype=np.int64) - counts + number * NUMBERS_OF_A_FILE
            parts.append((np.full(len(counts), number, np.int32), bounds[:-1], bounds[1:], firsts, counts))
    return dict(zip(_COLUMNS, map(np.concatenate, zip(*parts, strict=True)), strict=True))


def shuffled_records(
    index: RecordIndex,
    *,
    batch_size: int,
    seed: int,
    first_step: int,
    context: tf.distribute.InputContext,
    blocks_of_a_pool: int = 320,
) -> tf.data.Dataset:
    """The records that this pipeline's devices train on, endlessly, from a step on.

    `batch_size` is over all devices and divisible by their number; the seed is not negative.

    Returns:
      (epoch, number, record): int64, how often all records were seen before; int64, the number of the record
      in the index; string.
    """
    own = batch_size // context.num_input_pipelines
    begin = context.input_pipeline_id * own

    def own_parts_of_pools() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        position = first_step * batch_size
        for epoch, numbers, records in _pools(index, seed, position, blocks_of_a_pool):
            place = (position + np.arange(len(records))) % batch_size
            is_own = (begin <= place) & (place < begin + own)
            position += len(records)
            yield np.full(is_own.sum(), epoch), numbers[is_own], records[is_own]

    spec = tuple(tf.TensorSpec([None], kind) for kind in (tf.int64, tf.int64, tf.string))
    pools = tf.data.Dataset.from_generator(own_parts_of_pools, output_signature=spec).prefetch(1)
    return pools.flat_map(lambda *columns: tf.data.Dataset.from_tensor_slices(columns))


def _pools(
    index: RecordIndex, seed: int, position: int, size: int
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Epoch, numbers and records of pools of `size` blocks, from the record at that position on."""
    epoch, position = divmod(position, int(index.counts.sum()))
    while True:
        order = np.random.default_rng([seed, 0, epoch]).permutation(len(index))
        ends = np.cumsum(index.counts[order])
        first_pool = int(np.searchsorted(ends, position, side="right")) // size
        for pool in range(first_pool, -(-len(index) // size)):
            first_block = pool * size
            blocks = order[first_block : first_block + size]
            numbers, records = index.read(blocks)
            shuffled = np.random.default_rng([seed, 1, epoch, pool]).permutation(len(records))
            seen = position - int(ends[first_block] - index.counts[blocks[0]])
            shuffled = shuffled[max(seen, 0) :]
            yield epoch, numbers[shuffled], records[shuffled]
        epoch, position = epoch + 1, 0
