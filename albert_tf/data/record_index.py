"""Where the records of TFRecord files lie, and the order in which pretraining sees them.

A `RecordIndex` knows the files in blocks of 32 records, so that reading may begin anywhere. The order is a
function of seed and files alone: each time round all records, the blocks come in another random order, and
the records of 320 blocks in a row, about 10,000, are shuffled together. So a run may begin with any step:
what came before it is not read, nor kept in memory is more than a few such pools.

Where there are several devices, each global batch is cut into as many consecutive parts, and an input
pipeline yields the parts of its own devices one after another. So the records of a step do not depend on the
number of devices. Every worker reads all blocks and parses its own records only.
"""

import dataclasses
import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from albert_tf.cli.progress import progress_bar
from albert_tf.data.tfrecord import find_blocks, read_block
from albert_tf.errors import InputError
from albert_tf.files import appear_when_complete

_RECORDS_OF_A_BLOCK = 32  # some 100 KB: enough to be read fast, few enough to be shuffled well
NUMBERS_OF_A_FILE = 1 << 40  # more than it has records


@dataclasses.dataclass(frozen=True, eq=False)
class RecordIndex:
    """The blocks of 32 records of which files consist; the last one of a file may have fewer.

    Attributes:
      files: their paths.
      sizes: bytes of each file.
      file_of: int32 [blocks]. Which file.
      begins: int64 [blocks]. The first byte in the file.
      ends: int64 [blocks]. The byte after the last.
      firsts: int64 [blocks]. The number of the block's first record, which tells a record from all others of
        all files: 2**40 for each file before its own, and the records before it in its own.
      counts: int32 [blocks]. Records in the block.
    """

    files: tuple[str, ...]
    sizes: tuple[int, ...]
    file_of: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    firsts: np.ndarray
    counts: np.ndarray

    def __len__(self) -> int:
        """The number of blocks."""
        return len(self.counts)

    def records_of_files(self) -> list[int]:
        """The number of records of each file."""
        return np.bincount(self.file_of, self.counts, len(self.files)).astype(int).tolist()

    def read(self, blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Reads blocks, checksums verified.

        Returns:
          The numbers of their records, int64 [records], and the records, bytes objects, the same shape.

        Raises:
          InputError: a record is damaged, or a file is gone.
        """
        counts = self.counts[blocks]
        numbers = np.repeat(self.firsts[blocks], counts) + _counted(counts)
        records = np.empty(len(numbers), object)
        end = 0
        for block, count in zip(blocks, counts, strict=True):
            begin, end = end, end + int(count)
            path = self.files[self.file_of[block]]
            place = int(self.begins[block]), int(self.ends[block])
            try:
                records[begin:end] = read_block(path, *place, int(self.firsts[block]) % NUMBERS_OF_A_FILE + 1)
            except OSError as error:
                raise InputError(f"{path}: {error.strerror}") from None
        return numbers, records


def index_records(files: Sequence[str], kept_in: str | None = None) -> RecordIndex:
    """Finds the blocks of files by the lengths of their records.

    Args:
      files: TFRecord files.
      kept_in: file for the index, which is used again while the files are the same.

    Raises:
      InputError: a file is cut short or is no TFRecord file.
      OSError: a file is gone.
    """
    stats = [os.stat(path) for path in files]
    key = json.dumps(
        [[os.path.realpath(p), s.st_size, s.st_mtime_ns] for p, s in zip(files, stats, strict=True)]
    )
    columns = _load(kept_in, key) if kept_in else None
    if columns is None:
        columns = _scan(files, [stat.st_size for stat in stats])
        if kept_in:
            with appear_when_complete([kept_in]) as [path], open(path, "wb") as file:
                arrays: dict[str, Any] = {"key": key, **columns}
                np.savez(file, **arrays)
    return RecordIndex(tuple(files), tuple(stat.st_size for stat in stats), **columns)


def _load(path: str, key: str) -> dict[str, np.ndarray] | None:
    """The columns in the file; None if it does not exist, is damaged or belongs to other files."""
    try:
        with open(path, "rb") as file, np.load(file) as stored:
            if stored["key"] != key:
                return None
            return {name: stored[name] for name in stored.files if name != "key"}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _scan(files: Sequence[str], sizes: Sequence[int]) -> dict[str, np.ndarray]:
    parts = []
    with progress_bar(
        total=sum(sizes), desc="finding records", unit="B", unit_scale=True, leave=False, delay=2
    ) as bar:
        for number, path in enumerate(files):
            bounds, counts = find_blocks(path, _RECORDS_OF_A_BLOCK, bar.update)
            firsts = np.cumsum(counts, dtype=np.int64) - counts + number * NUMBERS_OF_A_FILE
            parts.append((np.full(len(counts), number, np.int32), bounds[:-1], bounds[1:], firsts, counts))
    names = ("file_of", "begins", "ends", "firsts", "counts")
    return {
        name: np.concatenate(columns) for name, columns in zip(names, zip(*parts, strict=True), strict=True)
    }


def _counted(counts: np.ndarray) -> np.ndarray:
    """0, 1, ... counts[0] - 1, 0, 1, ..."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


# ------------------------------------------------------------------------------------------------------ order


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

    Args:
      index: of the files.
      batch_size: over all devices; divisible by their number.
      seed: not negative.
      first_step: the batch to begin with.
      context: the devices.
      blocks_of_a_pool: how many blocks are shuffled together.

    Returns:
      (epoch, number, record): int64, how often all records were seen before; int64, which tells the record
      from all others; string.
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
