"""The order of pretraining records: shuffled, the same from any step on, and for any number of workers."""

import itertools
import mmap
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from albert_tf.data.record_index import RecordIndex, index_records, shuffled_records
from albert_tf.data.records import RecordWriter
from albert_tf.data.tfrecord import find_blocks, framed, read_records
from albert_tf.errors import InputError


def write_numbers(path: pathlib.Path, count: int, first: int = 0) -> str:
    """Records of different lengths, each of its own."""
    with RecordWriter([str(path)]) as writer:
        writer.write_serialized([b"%d" % n + b"." * (n % 7) for n in range(first, first + count)])
        writer.describe({})
    return str(path)


@pytest.fixture
def index(tmp_path) -> RecordIndex:
    return index_records([write_numbers(tmp_path / "a", 100), write_numbers(tmp_path / "b", 70, first=100)])


def steps(
    index: RecordIndex,
    count: int,
    first_step: int = 0,
    seed: int = 1,
    batch_size: int = 24,
    blocks_of_a_pool: int = 320,
    **context,
):
    dataset = shuffled_records(
        index,
        batch_size=batch_size,
        seed=seed,
        first_step=first_step,
        context=tf.distribute.InputContext(**context),
        blocks_of_a_pool=blocks_of_a_pool,
    )
    own = batch_size // context.get("num_input_pipelines", 1)
    elements = list(itertools.islice(dataset.as_numpy_iterator(), count * own))
    return [elements[i : i + own] for i in range(0, len(elements), own)]


def values(elements) -> list[int]:
    return [int(record.rstrip(b".")) for _, _, record in elements]


def test_every_record_comes_once_a_round_in_another_order(index):
    rounds = steps(index, 3, batch_size=170)
    assert [{int(epoch) for epoch, _, _ in one} for one in rounds] == [{0}, {1}, {2}]
    orders = [values(one) for one in rounds]
    for order in orders:
        assert sorted(order) == list(range(170))
    assert len({tuple(order) for order in orders}) == 3
    assert values(steps(index, 1, seed=2, batch_size=170)[0]) != orders[0]
    # Neighbours are torn apart: their mean distance in a random order is a third of all.
    assert np.abs(np.diff(orders[0])).mean() > 40


def test_numbers_tell_records_apart_whatever_the_order(index):
    for _, number, record in itertools.chain(*steps(index, 20)):
        value = int(record.rstrip(b"."))
        assert number == (value if value < 100 else (1 << 40) + value - 100)


@pytest.mark.parametrize("blocks_of_a_pool", [1, 2, 320])
def test_a_step_has_the_same_records_wherever_reading_begins(index, blocks_of_a_pool):
    whole = steps(index, 30, blocks_of_a_pool=blocks_of_a_pool)
    for first_step in (1, 6, 7, 13, 29):  # 170 records are 7 batches and 2 records
        found = steps(index, 30 - first_step, first_step, blocks_of_a_pool=blocks_of_a_pool)
        assert found == whole[first_step:]


@pytest.mark.parametrize("workers", [2, 3, 8])
def test_workers_share_each_batch_without_overlap(index, workers):
    whole = steps(index, 10)
    parts = [
        steps(index, 10, num_input_pipelines=workers, input_pipeline_id=i, num_replicas_in_sync=workers)
        for i in range(workers)
    ]
    for number, batch in enumerate(whole):
        assert list(itertools.chain(*(part[number] for part in parts))) == batch


def test_what_was_consumed_is_not_read_again(tmp_path, monkeypatch):
    index = index_records([write_numbers(tmp_path / "many", 32 * 50)])
    read, read_all = [], RecordIndex.read

    def counted(self, blocks):
        read.append(len(blocks))
        return read_all(self, blocks)

    monkeypatch.setattr(RecordIndex, "read", counted)
    [batch] = steps(index, 1, first_step=32 * 5 - 1, batch_size=10, blocks_of_a_pool=5)
    assert [int(epoch) for epoch, _, _ in batch] == [0] * 10  # the last ten of the first round
    assert set(read) == {5}
    assert len(read) < 10  # some pools of the next round are read ahead


def test_an_index_is_kept_while_the_files_are_the_same(tmp_path, monkeypatch):
    path, kept = write_numbers(tmp_path / "a", 100), str(tmp_path / "out" / "index.npz")
    first = index_records([path], kept)
    with monkeypatch.context() as patch:
        patch.setattr("albert_tf.data.record_index.find_blocks", None)
        again = index_records([path], kept)
    for column in ("file_of", "begins", "ends", "firsts", "counts"):
        np.testing.assert_array_equal(getattr(again, column), getattr(first, column))
    write_numbers(tmp_path / "a", 101)
    assert index_records([path], kept).records_of_files() == [101]
    for damage in (b"", b"garbage", pathlib.Path(kept).read_bytes()[:200]):
        pathlib.Path(kept).write_bytes(damage)
        assert index_records([path], kept).records_of_files() == [101]


@pytest.mark.parametrize("change", [
    lambda columns: {"counts": columns["counts"][:-1]},
    lambda columns: {"counts": columns["counts"].astype(np.float64)},
    lambda columns: {"counts": columns["counts"].astype(np.int64)},
    lambda columns: {"counts": columns["counts"][::-1]},
    lambda columns: {"begins": columns["begins"] - 1},
    lambda columns: {"file_of": columns["file_of"] + 7},
    lambda columns: {"ends": columns["ends"].reshape(1, -1)},
    lambda columns: {"firsts": np.array([{}] * len(columns["firsts"]))},
    lambda columns: {"ends": None},
    lambda columns: {"checksum": np.zeros(3)},
])  # fmt: skip
def test_an_index_that_does_not_fit_is_made_again(tmp_path, change):
    path, kept = write_numbers(tmp_path / "a", 100), tmp_path / "index.npz"
    first = index_records([path], str(kept))
    with np.load(kept) as stored:
        columns = dict(stored)
    columns |= change(columns)
    np.savez(kept, **{name: values for name, values in columns.items() if values is not None})
    again = index_records([path], str(kept))
    for column in ("file_of", "begins", "ends", "firsts", "counts"):
        np.testing.assert_array_equal(getattr(again, column), getattr(first, column))
        assert getattr(again, column).dtype == getattr(first, column).dtype


def test_blocks_hold_what_the_file_holds(index):
    for number, path in enumerate(index.files):
        _, found = index.read(np.flatnonzero(index.file_of == number))
        assert list(found) == list(read_records(path))
    assert index.records_of_files() == [100, 70]
    assert index.sizes == tuple(os.path.getsize(path) for path in index.files)


def test_a_large_file_is_indexed_in_the_memory_of_a_small_one(tmp_path, monkeypatch):
    path = write_numbers(tmp_path / "large", 20_000)  # about 100 pages of memory
    whole = find_blocks(path, 32, lambda size: None)
    released = []

    class WatchedMap(mmap.mmap):
        def madvise(self, advice, start, length):
            released.append((start, start + length))
            super().madvise(advice, start, length)

    monkeypatch.setattr(mmap, "mmap", WatchedMap)
    again = find_blocks(path, 32, lambda size: None, mapped_bytes=8 * mmap.PAGESIZE)
    for found, expected in zip(again, whole, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert max(end - begin for begin, end in released) < 10 * mmap.PAGESIZE
    assert os.path.getsize(path) - released[-1][1] <= 8 * mmap.PAGESIZE


def test_damage_is_named(tmp_path):
    path = tmp_path / "damaged"
    frames = [b"".join(framed(b"%d" % n)) for n in range(40)]
    path.write_bytes(b"".join(frames)[:-1])
    with pytest.raises(InputError, match=r"damaged, record 40: the file ends inside the record"):
        index_records([str(path)])
    frames[35] = frames[35][:-1] + bytes([frames[35][-1] ^ 1])
    path.write_bytes(b"".join(frames))
    with pytest.raises(InputError, match=r"damaged, record 36 is damaged \(wrong checksum of its bytes\)"):
        index_records([str(path)]).read(np.array([1]))
    path.write_bytes(b"")
    assert index_records([str(path)]).records_of_files() == [0]
