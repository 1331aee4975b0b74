"""`RecordIndex`: where the records of TFRecord files lie, in blocks, so that reading may begin anywhere."""

import dataclasses
import json
import os
import zipfile
from collections.abc import Sequence

import numpy as np

from albert_tf.errors import InputError
from albert_tf.files import appear_when_complete
from albert_tf.progress import progress_bar
from albert_tf.tfrecord import find_blocks, read_block

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
        """Blocks."""
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
                np.savez(file, key=key, **columns)
    return RecordIndex(tuple(files), tuple(stat.st_size for stat in stats), **columns)


def _load(path: str, key: str) -> dict[str, np.ndarray] | None:
    """The columns in the file; None if it is not there, damaged or of other files."""
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
