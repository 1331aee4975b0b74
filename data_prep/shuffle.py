"""The external shuffle: pairs of texts are dealt out over buckets, on disk, and read back bucket by bucket.

A task deals its pairs in random order and writes them sorted by bucket, with an index in front, so that a
bucket is one slice of each of the files. A bucket is then small enough to be put in random order in memory.
"""

from collections.abc import Sequence
from typing import IO

import numpy as np

from data_prep.segments import Pairs, span_indices

_TOGETHER = 1 << 20  # pieces copied at a time
_INDEX_ENTRY = 16  # bytes, of two int64
PAIR = np.dtype([("lengths", "<i4", 2), ("label", "u1"), ("may_swap", "u1")])
PAIR_BYTES = PAIR.itemsize  # of a pair in a file, besides its pieces


def deal(pairs: int, buckets: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Deals pairs out over buckets in turn, in random order, beginning with a random bucket.

    Returns:
      int64 [pairs], all pairs sorted by bucket; int64 [buckets], the number of pairs in each.
    """
    order = rng.permutation(pairs)
    bucket = (np.arange(pairs) + rng.integers(buckets)) % buckets
    return order[np.argsort(bucket, kind="stable")], np.bincount(bucket, minlength=buckets)


def write_pairs(file: IO[bytes], ids: np.ndarray, pairs: Pairs, sizes: np.ndarray) -> None:
    """Writes pairs that are sorted by bucket, and their pieces.

    Args:
      file: open for writing.
      ids: unsigned, in which the pairs lie.
      pairs: what to write.
      sizes: int64 [buckets]. The number of pairs in each bucket.
    """
    pair_ends = np.append(0, np.cumsum(sizes))
    piece_ends = np.append(0, np.cumsum(pairs.lengths.sum(axis=1, dtype=np.int64)))
    file.write(np.stack([pair_ends, piece_ends[pair_ends]], axis=1).tobytes())
    file.write(pair_rows(pairs).tobytes())
    borders = np.searchsorted(piece_ends, np.arange(0, max(1, piece_ends[-1]), _TOGETHER))
    for begin, end in zip(borders, [*borders[1:], len(pairs)], strict=True):
        file.write(pair_ids(ids, pairs.take(slice(begin, end))).tobytes())


def pair_rows(pairs: Pairs) -> np.ndarray:
    """All that belongs to pairs besides their pieces."""
    rows = np.empty(len(pairs), PAIR)
    rows["lengths"], rows["label"], rows["may_swap"] = pairs.lengths, pairs.labels, pairs.may_swap
    return rows


def pair_ids(ids: np.ndarray, pairs: Pairs) -> np.ndarray:
    """unsigned [pieces]. The pieces of A, B, A, B, ... end to end; `ids` is what the pairs lie in."""
    return ids[span_indices(pairs.starts.ravel(), pairs.lengths.ravel())]


def joined_pairs(rows: Sequence[np.ndarray], ids: Sequence[np.ndarray]) -> tuple[np.ndarray, Pairs]:
    """Pairs that were taken apart, one behind the other, and the array in which they lie."""
    row = np.concatenate(rows)
    ends = np.cumsum(row["lengths"].ravel(), dtype=np.int64).reshape(-1, 2)
    pairs = Pairs(ends - row["lengths"], row["lengths"], row["label"], row["may_swap"])
    return np.concatenate(ids), pairs


def read_bucket(
    paths: Sequence[str], bucket: int, buckets: int, id_dtype: np.dtype
) -> tuple[np.ndarray, Pairs]:
    """The pairs of a bucket in the order of the files, and the array of ids in which they lie.

    Args:
      paths: files of `write_pairs`.
      bucket: counted from 0.
      buckets: how many each of the files has.
      id_dtype: of the ids.
    """
    rows, ids = [], []
    row_size, id_size = PAIR.itemsize, np.dtype(id_dtype).itemsize
    for path in paths:
        (pair, piece), (next_pair, next_piece) = _index(path, bucket, 2)
        [[pairs, _]] = _index(path, buckets, 1)
        rows_at = (buckets + 1) * _INDEX_ENTRY
        ids_at = rows_at + pairs * row_size
        rows.append(np.fromfile(path, PAIR, next_pair - pair, offset=rows_at + pair * row_size))
        ids.append(np.fromfile(path, id_dtype, next_piece - piece, offset=ids_at + piece * id_size))
    return joined_pairs(rows, ids)


def _index(path: str, bucket: int, entries: int) -> list[list[int]]:
    """How many pairs, and how many pieces, come before a bucket; of some buckets from this one on."""
    found = np.fromfile(path, np.int64, 2 * entries, offset=bucket * _INDEX_ENTRY)
    return found.reshape(-1, 2).tolist()
