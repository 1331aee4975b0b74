"""The stages from tokenized text to records, as functions of their input and the seed alone.

Each unit and each bucket has its own stream of random numbers; so the caller, the place and the order of the
calls change nothing. The shuffle is external: a task deals its pairs out in random order and writes them,
sorted by bucket, after an index. So a bucket is one slice of each file, and is shuffled in memory.
"""

from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from albert_tf.data import records
from albert_tf.tokenization import Tokenizer
from data_prep.corpus import Corpus
from data_prep.examples import make_examples, make_unmasked_examples
from data_prep.options import Options
from data_prep.segments import Lost, Pairs, plan_pairs, span_indices
from data_prep.statistics import ExampleStatistics

_UNIT_PAIRS = 1 << 19
BUCKET_PIECES = 1 << 25
_BUCKETS_WANTED = 32  # if there are few pieces, so that workers have something to share
_BATCH_PIECES = 1 << 18  # pieces, padding included, that are masked and written together

PAIR = np.dtype([("lengths", "<i4", 2), ("label", "u1"), ("may_swap", "u1")])
_INDEX_ENTRY = 16  # bytes, of two int64

_CORPUS_ORDER, _PAIRS, _EXAMPLES = range(3)  # the streams of chance


class Unit(NamedTuple):
    """Indices of corpora whose pairs are planned together for some passes; `group` numbers these corpora."""

    group: int
    corpora: tuple[int, ...]
    first_pass: int
    passes: int


def plan_units(pieces: Sequence[int], documents: Sequence[int], options: Options) -> list[Unit]:
    """Puts corpora in random order and divides them into groups; the numbers are those of each corpus.

    Small groups are planned for several passes at once, large groups for one pass after the other.
    """
    order = np.random.default_rng([options.random_seed, _CORPUS_ORDER]).permutation(len(pieces)).tolist()
    groups: list[list[int]] = []
    room = 0
    for corpus in order:
        if room < pieces[corpus]:
            groups.append([])
            room = max(options.unit_pieces, pieces[corpus])
        groups[-1].append(corpus)
        room -= pieces[corpus]
    units = []
    for number, group in enumerate(groups):
        group_pieces = sum(pieces[corpus] for corpus in group)
        pairs = group_pieces // options.budget + sum(documents[corpus] for corpus in group)
        together = max(1, min(options.unit_pieces // group_pieces, _UNIT_PAIRS // pairs))
        for first in range(0, options.passes, together):
            units.append(Unit(number, tuple(group), first, min(together, options.passes - first)))
    return units


def deal_unit(
    corpus: Corpus, unit: Unit, buckets: int, tokenizer: Tokenizer, options: Options
) -> tuple[Pairs, np.ndarray, Lost]:
    """Plans the pairs of a unit and deals them out over buckets; `corpus` joins the unit's corpora.

    Returns:
      The pairs, sorted by bucket; int64 [buckets], the number in each bucket; what is in no pair.
    """
    rng = np.random.default_rng([options.random_seed, _PAIRS, unit.group, unit.first_pass])
    pairs, lost = plan_pairs(corpus, tokenizer.is_word_start, unit.passes, options, rng)
    if options.is_dynamic:
        pairs = pairs.in_text_order()
    order, sizes = deal(len(pairs), buckets, rng)
    return pairs.take(order), sizes, lost


def deal(pairs: int, buckets: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Deals pairs out over buckets in turn, in random order, beginning with a random bucket.

    Returns int64 [pairs], the indices of pairs sorted by bucket; int64 [buckets], the number in each bucket.
    """
    order = rng.permutation(pairs)
    bucket = (np.arange(pairs) + rng.integers(buckets)) % buckets
    return order[np.argsort(bucket, kind="stable")], np.bincount(bucket, minlength=buckets)


def buckets_per_shard(pieces: int, options: Options) -> int:
    """The number of buckets of each output file; `pieces` are those of one pass over the text."""
    pieces *= options.passes
    if_small = min(_BUCKETS_WANTED, -(-pieces // options.small_bucket_pieces))
    return -(-max(-(-pieces // BUCKET_PIECES), if_small) // len(options.shards))


def bucket_examples(
    ids: np.ndarray, pairs: Pairs, bucket: int, tokenizer: Tokenizer, options: Options
) -> Iterator[tuple[list[bytes], ExampleStatistics]]:
    """The records of a bucket in their final order, in batches; `pairs` lie in `ids`, unit by unit."""
    rng = np.random.default_rng([options.random_seed, _EXAMPLES, bucket])
    order = rng.permutation(len(pairs))
    rows = max(1, _BATCH_PIECES // options.max_seq_length)
    for begin in range(0, len(pairs), rows):
        batch = pairs.take(order[begin : begin + rows])
        if options.is_dynamic:
            features = make_unmasked_examples(ids, batch, tokenizer, options.max_seq_length)
            ngrams = np.zeros(options.ngram + 1, np.int64)
        else:
            features, ngrams = make_examples(ids, batch, tokenizer, options.max_seq_length, options, rng)
        yield records.serialize_examples(features), ExampleStatistics.of(features, ngrams)


def write_pairs(
    file: IO[bytes], ids: np.ndarray, pairs: Pairs, sizes: np.ndarray, together: int = 1 << 20
) -> None:
    """Writes pairs that are sorted by bucket, and their pieces, about `together` pieces at a time.

    `sizes` is int64 [buckets], the number of pairs in each bucket.
    """
    pair_ends = np.append(0, np.cumsum(sizes))
    piece_ends = np.append(0, np.cumsum(pairs.lengths.sum(axis=1, dtype=np.int64)))
    file.write(np.stack([pair_ends, piece_ends[pair_ends]], axis=1).tobytes())
    file.write(pair_rows(pairs).tobytes())
    borders = np.searchsorted(piece_ends, np.arange(0, max(1, piece_ends[-1]), together))
    for begin, end in zip(borders, [*borders[1:], len(pairs)], strict=True):
        file.write(pair_ids(ids, pairs.take(slice(begin, end))).tobytes())


def pair_rows(pairs: Pairs) -> np.ndarray:
    """All fields of pairs except their pieces."""
    rows = np.empty(len(pairs), PAIR)
    rows["lengths"], rows["label"], rows["may_swap"] = pairs.lengths, pairs.labels, pairs.may_swap
    return rows


def pair_ids(ids: np.ndarray, pairs: Pairs) -> np.ndarray:
    """unsigned [pieces]. The pieces of A, B, A, B, ... end to end; the pairs lie in `ids`."""
    return ids[span_indices(pairs.starts.ravel(), pairs.lengths.ravel())]


def joined_pairs(rows: Sequence[np.ndarray], ids: Sequence[np.ndarray]) -> tuple[np.ndarray, Pairs]:
    """Joins what `pair_ids` and `pair_rows` gave for several `Pairs`: the ids, and the pairs in them."""
    row = np.concatenate(rows)
    ends = np.cumsum(row["lengths"].ravel(), dtype=np.int64).reshape(-1, 2)
    pairs = Pairs(ends - row["lengths"], row["lengths"], row["label"], row["may_swap"])
    return np.concatenate(ids), pairs


def read_bucket(
    paths: Sequence[str], bucket: int, buckets: int, id_dtype: DTypeLike
) -> tuple[np.ndarray, Pairs]:
    """Reads a bucket, counted from 0, of files of `write_pairs`: an array of ids, and the pairs in it."""
    rows, ids = [], []
    id_size = np.dtype(id_dtype).itemsize
    for path in paths:
        (pair, piece), (next_pair, next_piece) = _index(path, bucket, 2)
        [[pairs, _]] = _index(path, buckets, 1)
        rows_at = (buckets + 1) * _INDEX_ENTRY
        ids_at = rows_at + pairs * PAIR.itemsize
        rows.append(np.fromfile(path, PAIR, next_pair - pair, offset=rows_at + pair * PAIR.itemsize))
        ids.append(np.fromfile(path, id_dtype, next_piece - piece, offset=ids_at + piece * id_size))
    return joined_pairs(rows, ids)


def _index(path: str, bucket: int, entries: int) -> list[list[int]]:
    """For this bucket and the next ones: how many pairs, and how many pieces, come before the bucket."""
    found = np.fromfile(path, np.int64, 2 * entries, offset=bucket * _INDEX_ENTRY)
    return found.reshape(-1, 2).tolist()
