"""The external shuffle, the units of planning, the plan of a run."""

import numpy as np
import pytest

from albert_tf import testing
from albert_tf.errors import InputWarning
from albert_tf.tokenization import load_tokenizer
from data_prep import stages
from data_prep.manifest import describe_inputs
from data_prep.options import Options
from data_prep.plan import make_plan
from data_prep.segments import Pairs
from data_prep.stages import buckets_per_shard, deal, plan_units, read_bucket, write_pairs
from data_prep.text_groups import divide_into_groups
from tests.support.data_prep_runs import write_text


def options(**settings):
    return Options(**{"output_file": ("out",), "vocab_file": testing.VOCAB_FILE} | settings)


@pytest.mark.parametrize(("pairs", "buckets"), [(0, 3), (2, 5), (100, 7), (7, 1)])
def test_pairs_are_dealt_evenly_in_random_order(pairs, buckets):
    order, sizes = deal(pairs, buckets, np.random.default_rng(0))
    assert sorted(order.tolist()) == list(range(pairs))
    assert sizes.sum() == pairs
    assert sizes.max() - sizes.min() <= 1


def test_any_pair_may_come_to_any_bucket():
    found = np.zeros((6, 3), int)
    for seed in range(3000):
        order, sizes = deal(6, 3, np.random.default_rng(seed))
        found[order, np.repeat(np.arange(3), sizes)] += 1
    np.testing.assert_allclose(found / 3000, 1 / 3, atol=0.04)


@pytest.mark.parametrize("id_dtype", [np.uint16, np.uint32])
def test_a_bucket_is_read_back_from_all_files(tmp_path, id_dtype):
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 1 << 16, 500).astype(id_dtype)
    expected = {bucket: [] for bucket in range(4)}
    paths = []
    for number, sizes in enumerate(([3, 0, 5, 1], [0, 0, 0, 0], [1, 2, 0, 0])):
        count = sum(sizes)
        pairs = Pairs(
            rng.integers(0, 400, (count, 2)),
            rng.integers(1, 30, (count, 2)),
            *rng.integers(0, 2, (2, count)),
        )
        paths.append(str(tmp_path / str(number)))
        with open(paths[-1], "wb") as file:
            write_pairs(file, ids, pairs, np.array(sizes), together=10)
        for bucket, row in zip(np.repeat(range(4), sizes), range(count), strict=True):
            texts = [
                ids[start : start + length].tolist()
                for start, length in zip(pairs.starts[row], pairs.lengths[row], strict=True)
            ]
            expected[bucket].append((*texts, pairs.labels[row], pairs.may_swap[row]))
    for bucket, rows in expected.items():
        read_ids, pairs = read_bucket(paths, bucket, 4, id_dtype)
        assert read_ids.dtype == id_dtype
        found = [
            (*(read_ids[s : s + n].tolist() for s, n in zip(starts, lengths, strict=True)), *flags)
            for starts, lengths, *flags in zip(
                pairs.starts, pairs.lengths, pairs.labels, pairs.may_swap, strict=True
            )
        ]
        assert found == rows


def test_every_corpus_is_planned_for_every_pass_once():
    pieces = [60, 30, 250, 10, 99, 5]
    units = plan_units(pieces, [1] * 6, options(dupe_factor=7, unit_pieces=100))
    passes = {
        (corpus, n)
        for u in units
        for corpus in u.corpora
        for n in range(u.first_pass, u.first_pass + u.passes)
    }
    assert passes == {(corpus, n) for corpus in range(6) for n in range(7)}
    for unit in units:
        together = sum(pieces[corpus] for corpus in unit.corpora)
        assert together <= 100 or unit.corpora == (2,)
        assert together * unit.passes <= 100 or unit.passes == 1
    assert len({(unit.group, unit.first_pass) for unit in units}) == len(units)


@pytest.mark.parametrize("pieces", [1, 10**6, 10**9, 10**11])
@pytest.mark.parametrize("shards", [1, 3, 1000])
def test_buckets_are_bounded(pieces, shards):
    buckets = shards * buckets_per_shard(pieces, options(num_shards=shards, dupe_factor=10))
    assert pieces * 10 / buckets <= stages.BUCKET_PIECES


def test_the_plan_of_even_text_is_what_comes_of_it(tmp_path):
    text = write_text(tmp_path / "text.txt", documents=100, segments=60)
    wanted = options(max_seq_length=64, dupe_factor=3)
    tokenizer = load_tokenizer(vocab_file=testing.VOCAB_FILE)
    plan = make_plan(describe_inputs([text], 1), divide_into_groups([text]), tokenizer, wanted)
    assert plan.pieces == pytest.approx(100 * 60 * 15, rel=0.05)
    assert plan.examples == pytest.approx(100 * 60 * 15 / 75 * 3 * 1.1, rel=0.2)
    assert "100 files" not in plan.describe(wanted)
    assert f"about {plan.pieces:,} pieces" in plan.describe(wanted)


def test_a_disk_with_too_little_room_is_warned_of(tmp_path, monkeypatch):
    text = write_text(tmp_path / "text.txt", documents=5)
    wanted = options(temp_dir=str(tmp_path))
    tokenizer = load_tokenizer(vocab_file=testing.VOCAB_FILE)
    plan = make_plan(describe_inputs([text], 1), divide_into_groups([text]), tokenizer, wanted)
    plan.warn_of_full_disks(wanted)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    with pytest.warns(InputWarning, match="has 0.0 MB free, but about") as warnings:
        plan.warn_of_full_disks(wanted)
    assert len(warnings) == 2
