"""Documents into pairs: chunks, cuts, order, truncation."""

import numpy as np
import pytest

from albert_tf.cli.flags import UsageError
from data_prep.corpus import Corpus
from data_prep.segments import SegmentOptions, plan_pairs

ALWAYS_START = np.ones(1 << 16, bool)


def corpus_of(*documents):
    """A corpus of documents given as lists of segment lengths; piece i has id i."""
    lengths = [length for document in documents for length in document]
    return Corpus(
        np.arange(sum(lengths), dtype=np.uint16),
        np.concatenate([[0], np.cumsum(lengths)]),
        np.concatenate([[0], np.cumsum([len(document) for document in documents])]),
    )


def plan(corpus, is_word_start=ALWAYS_START, seed=0, **settings):
    options = SegmentOptions(**{"short_seq_prob": 0.0, "dupe_factor": 1} | settings)
    return plan_pairs(corpus, is_word_start, options.dupe_factor or 40, options, np.random.default_rng(seed))


def covered(pairs):
    """The first piece and the end of A and B together."""
    return np.stack([pairs.starts.min(axis=1), (pairs.starts + pairs.lengths).max(axis=1)], axis=1)


# -------------------------------------------------------------------------------------------- chunks


def test_chunks_take_segments_until_they_reach_the_target():
    # The budget of 23 is 20: 8 + 8 + 8 reaches it, 5 + 5 + 5 ends with its document.
    pairs, lost = plan(corpus_of([8, 8, 8, 5, 5, 5], [4, 6]), max_seq_length=23)
    assert lost.single_words_left_out == 0
    ends = covered(pairs)
    assert len(pairs) == 3
    assert (pairs.lengths.sum(axis=1) == [20, 15, 10]).all()
    assert ends[1].tolist() == [24, 39]
    assert ends[2].tolist() == [39, 49]


def test_pieces_that_truncation_drops_are_counted():
    _, lost = plan(corpus_of([8, 8, 8, 5, 5, 5], [4, 6]), max_seq_length=23)
    assert lost.cut_off_pieces == 24 - 20
    pairs, lost = plan(corpus_of([1000]), max_seq_length=23)
    assert (pairs.lengths.sum(), lost.cut_off_pieces) == (20, 980)


def test_the_cut_between_a_and_b_is_uniform_over_the_segments():
    pairs, _ = plan(corpus_of([1, 2, 3, 4]), max_seq_length=60, dupe_factor=30000)
    first = np.where(pairs.labels == 0, pairs.lengths[:, 0], pairs.lengths[:, 1])
    counts = np.bincount(first)
    assert np.flatnonzero(counts).tolist() == [1, 3, 6]
    np.testing.assert_allclose(counts[[1, 3, 6]] / len(pairs), 1 / 3, atol=0.01)


def test_half_of_the_pairs_are_swapped():
    pairs, _ = plan(corpus_of([5, 5, 5]), max_seq_length=60, dupe_factor=30000)
    assert np.mean(pairs.labels) == pytest.approx(0.5, abs=0.01)
    assert (pairs.labels == (pairs.starts[:, 0] > pairs.starts[:, 1])).all()


def test_short_targets_come_as_often_and_are_as_long_as_asked():
    # 100 segments of one piece, budget 100: a pass is one pair of 100, or of a random target t in 2..100.
    passes = 20000
    pairs, lost = plan(corpus_of([1] * 100), max_seq_length=103, dupe_factor=passes, short_seq_prob=0.1)
    totals = np.bincount(pairs.lengths.sum(axis=1), minlength=101)
    assert totals[100] / passes == pytest.approx(0.9 + 0.1 / 99, abs=0.01)
    # A target of more than 50 gives one full chunk and a rest.
    assert totals[51:100].sum() / passes == pytest.approx(0.1 * 49 / 99, abs=0.005)
    # 33, 49, ... leave a last chunk of one word, which is left out.
    targets = range(2, 101)
    assert lost.single_words_left_out / passes == pytest.approx(
        0.1 * sum(100 % t == 1 for t in targets) / 99, abs=0.002
    )


def test_a_chunk_of_one_segment_is_cut_between_words():
    # Words begin at even pieces: 2, 4, 6 and 8 are the places to cut [0, 10).
    starts = np.arange(100) % 2 == 0
    pairs, lost = plan(corpus_of([10]), starts, max_seq_length=60, dupe_factor=20000)
    assert lost.single_words_left_out == 0
    assert (covered(pairs) == [0, 10]).all()
    cuts = np.bincount(pairs.starts.max(axis=1), minlength=10)
    assert np.flatnonzero(cuts).tolist() == [2, 4, 6, 8]
    np.testing.assert_allclose(cuts[[2, 4, 6, 8]] / len(pairs), 0.25, atol=0.015)
    assert np.mean(pairs.labels) == pytest.approx(0.5, abs=0.015)


def test_single_words_are_left_out_and_counted():
    starts = np.zeros(100, bool)
    starts[[0, 3, 5]] = True  # segments: one word; a word and the rest of it; two words
    pairs, lost = plan(corpus_of([3], [2], [4]), starts | (np.arange(100) == 7), max_seq_length=60)
    assert lost.single_words_left_out == 2
    assert covered(pairs).tolist() == [[5, 9]]


# ---------------------------------------------------------------------------- other documents (NSP)


def test_the_originals_way_with_single_segments_is_a_random_document():
    corpus = corpus_of([30, 30], [30, 30], [30])
    pairs, lost = plan(corpus, max_seq_length=43, dupe_factor=2000, single_segment_chunks="random_document")
    # 40 pieces: [30, 30] is one chunk of two segments; the single segment needs another document.
    documents = np.searchsorted([60, 120], pairs.starts, side="right")
    single = documents[:, 0] == 2
    assert lost.single_words_left_out == 0
    assert np.count_nonzero(single) >= 2000
    assert (pairs.labels[(documents[:, 0] != documents[:, 1])] == 1).all()
    alone = (documents == 2).any(axis=1)
    assert (pairs.labels[alone] == 1).all()
    assert (documents[alone] != documents[alone][:, ::-1]).all()
    assert np.mean(documents[alone][:, 1] == 0) == pytest.approx(0.5, abs=0.05)


def test_next_sentence_prediction_takes_b_from_another_document_half_of_the_time():
    corpus = corpus_of(*[[5] * 6] * 20)
    pairs, _ = plan(corpus, max_seq_length=33, dupe_factor=500, random_next_sentence=True)
    documents = pairs.starts // 30
    other = documents[:, 0] != documents[:, 1]
    assert (pairs.labels == other).all()
    in_order = pairs.starts[:, 0] < pairs.starts[:, 1]
    assert in_order[~other].all()
    # Whole documents are chunks; half are random, and leave segments that begin chunks of their own.
    assert 0.5 < np.mean(other) < 0.7


def test_segments_that_a_random_b_pushed_aside_begin_the_next_pair():
    corpus = corpus_of([4] * 5, [4] * 5)
    pairs, _ = plan(corpus, max_seq_length=203, random_next_sentence=True, dupe_factor=200)
    a_pieces = np.where(pairs.labels == 1, pairs.lengths[:, 0], pairs.lengths.sum(axis=1))
    assert a_pieces.sum() == 200 * corpus.ids.size


def test_a_single_document_is_its_own_random_document():
    pairs, _ = plan(corpus_of([5] * 4), max_seq_length=33, random_next_sentence=True, dupe_factor=50)
    assert (pairs.starts < 20).all()


def test_a_random_b_fills_the_target():
    corpus = corpus_of([10], [3] * 40)
    pairs, _ = plan(corpus, max_seq_length=33, single_segment_chunks="random_document", dupe_factor=200)
    first = pairs.lengths[pairs.starts[:, 0] < 10]
    assert (first[:, 0] == 10).all()
    reaches = first[:, 1] == 20  # 7 segments of 3 reach 20 and are truncated; near the end there are fewer
    assert np.mean(reaches) == pytest.approx(34 / 40, abs=0.08)


# ---------------------------------------------------------------------------------------- truncation


@pytest.mark.parametrize(
    ("a", "b", "expected"), [(15, 8, (12, 8)), (4, 30, (4, 16)), (19, 30, (10, 10)), (11, 11, (10, 10))]
)
def test_the_longer_text_is_truncated(a, b, expected):
    pairs, _ = plan(corpus_of([a, b]), max_seq_length=23, dupe_factor=4)
    for label, lengths in zip(pairs.labels, pairs.lengths.tolist(), strict=True):
        assert tuple(lengths) == (expected[::-1] if label else expected)


def test_of_equal_texts_b_loses_first():
    pairs, _ = plan(corpus_of([10, 11]), max_seq_length=22, dupe_factor=50)
    assert (pairs.lengths == [10, 9]).all()


def test_front_and_back_are_truncated_with_equal_chance():
    pairs, _ = plan(corpus_of([4, 36]), max_seq_length=23, dupe_factor=20000)
    long = pairs.lengths == 16
    dropped_in_front = pairs.starts[long] - 4
    assert dropped_in_front.mean() == pytest.approx(10, abs=0.1)
    assert dropped_in_front.var() == pytest.approx(5, abs=0.3)


# ------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    "settings",
    [{"max_seq_length": 4}, {"dupe_factor": 0}, {"short_seq_prob": 1.5}, {"short_seq_prob": -0.1}],
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(UsageError, match=next(iter(settings))):
        SegmentOptions(**settings)


def test_the_same_seed_gives_the_same_pairs_and_another_seed_others():
    corpus = corpus_of([5] * 30, [7] * 20)
    one, again, other = (plan(corpus, max_seq_length=33, seed=seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(one.starts, again.starts)
    assert np.array_equal(one.labels, again.labels)
    assert not np.array_equal(one.starts, other.starts)
