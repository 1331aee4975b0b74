"""Masks drawn in TensorFlow: sound for every record, and distributed as those of static records."""

import collections
import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from albert_tf.data import records
from albert_tf.data.dynamic_masking import choose_units, draw_chance, draw_masks
from albert_tf.data.masking import MaskingOptions
from data_prep.corpus import Corpus
from data_prep.examples import make_examples, make_unmasked_examples
from data_prep.segments import plan_pairs
from tests.data_prep.test_examples import OPTIONS, TOKENIZER, Options, boundaries, check_example, corpora
from tests.data_prep.test_masking import choose_at_once


def choose_in_tensorflow(sizes, quota, options, seed, examples):
    starts = np.concatenate([[0], np.cumsum(np.tile(sizes, examples))])
    chance = np.random.default_rng(seed).random((2, examples, len(sizes) + 2), np.float32)
    chosen = choose_units(
        tf.constant(starts, tf.int32),
        tf.fill([examples], len(sizes)),
        tf.fill([examples], quota),
        tf.constant(chance[0]),
        tf.constant(chance[1]),
        options,
    )
    assert not chosen[-1]
    return [frozenset(np.flatnonzero(row).tolist()) for row in chosen[:-1].numpy().reshape(examples, -1)]


def assert_same_distribution(one, other):
    """Two samples of the same size: chi-square, five standard deviations allowed."""
    one, other = collections.Counter(one), collections.Counter(other)
    outcomes = set(one) | set(other)
    statistic = sum((one[o] - other[o]) ** 2 / (one[o] + other[o]) for o in outcomes)
    freedom = max(len(outcomes) - 1, 1)
    assert statistic < freedom + 5 * np.sqrt(2 * freedom)


@pytest.mark.parametrize(
    ("sizes", "quota", "ngram", "favor_shorter"),
    [
        ([1, 1, 1, 1, 1, 1], 3, 3, True),
        ([1, 1, 1, 1, 1, 1], 3, 3, False),
        ([1, 2, 1, 3, 1, 1, 2], 4, 3, True),
        ([2, 2, 3, 2], 5, 2, True),
        ([3, 3, 3], 2, 3, True),
        ([1, 2, 1, 1, 2, 1, 1], 3, 4, False),
        ([1, 1, 4], 10, 3, True),
        ([1, 2, 2], 2, 1, True),
    ],
)
def test_choices_are_distributed_as_those_of_static_records(sizes, quota, ngram, favor_shorter):
    options = MaskingOptions(ngram=ngram, favor_shorter_ngram=favor_shorter)
    static = choose_at_once(sizes, quota, options, np.random.default_rng(5), 8000)
    assert_same_distribution(static, choose_in_tensorflow(sizes, quota, options, 6, 8000))


def as_batch(features):
    """What parsing gives for the features of unmasked records."""
    serialized = records.serialize_examples(features)
    return records.parse_unmasked_batch(serialized, features["input_ids"].shape[1])


def chances(count, length, seed=0, epoch=0):
    def draw(number):
        return draw_chance(seed, tf.constant(epoch, tf.int64), number, length)

    if count <= 20:  # a graph takes longer to build
        return tf.stack([draw(tf.constant(number, tf.int64)) for number in range(count)])
    return tf.data.Dataset.range(count).map(draw).batch(count).get_single_element()


def masked(features, chance, options):
    drawn = draw_masks(as_batch(features), chance, TOKENIZER.vocab_size, options)
    return {name: values.numpy() for name, values in drawn.items()}


@settings(deadline=None, derandomize=True, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(corpora(), OPTIONS, st.integers(0, 100))
def test_every_record_is_sound(corpus, options, seed):
    options = dataclasses.replace(options, do_permutation=False)
    planned, _ = plan_pairs(
        corpus, TOKENIZER.is_word_start, options.dupe_factor or 40, options, np.random.default_rng(seed)
    )
    pairs = planned.take(np.arange(min(len(planned), 20))).in_text_order()
    if not len(pairs):
        return
    length = options.max_seq_length
    features = make_unmasked_examples(corpus.ids, pairs, TOKENIZER, length)
    drawn = masked(features, chances(len(pairs), length, seed), options)
    for i in range(len(pairs)):
        texts = [
            corpus.ids[start : start + size].tolist()
            for start, size in zip(pairs.starts[i], pairs.lengths[i], strict=True)
        ]
        assert features["token_boundary"][i].tolist() == boundaries(*texts, length)
        swapped = drawn["next_sentence_labels"][i] != pairs.labels[i]
        assert pairs.may_swap[i] or not swapped
        example = {name: values[i].tolist() for name, values in drawn.items()}
        check_example(example, texts[::-1] if swapped else texts, options)


@pytest.fixture(scope="module")
def text():
    """A corpus with words of one to four pieces, and pairs of which many are cut."""
    rng = np.random.default_rng(0)
    starts = np.flatnonzero(TOKENIZER.is_word_start)[5:]
    rests = np.flatnonzero(~TOKENIZER.is_word_start)
    ids = np.where(rng.random(12000) < 0.6, rng.choice(starts, 12000), rng.choice(rests, 12000))
    corpus = Corpus(ids.astype(np.uint16), np.arange(0, 12001, 12), np.arange(0, 1001, 50))
    options = Options(max_seq_length=64, max_predictions_per_seq=20, dupe_factor=10)
    pairs, _ = plan_pairs(corpus, TOKENIZER.is_word_start, options.dupe_factor or 40, options, rng)
    return corpus, pairs.take(rng.permutation(len(pairs))), options


@pytest.fixture(scope="module")
def both(text):
    """The same pairs as static records, and drawn from unmasked ones."""
    corpus, pairs, options = text
    static, _ = make_examples(corpus.ids, pairs, TOKENIZER, 64, options, np.random.default_rng(1))
    static["next_sentence_labels"] = static["next_sentence_labels"][:, 0]
    unmasked = make_unmasked_examples(corpus.ids, pairs.in_text_order(), TOKENIZER, 64)
    return static, masked(unmasked, chances(len(pairs), 64), options)


def runs(examples):
    """Lengths of the runs of neighbouring predictions."""
    grid = np.zeros((len(examples["input_ids"]), 66), int)
    rows, nth = np.nonzero(examples["masked_lm_weights"])
    grid[rows, examples["masked_lm_positions"][rows, nth].astype(int) + 1] = 1
    edges = np.diff(grid.ravel())
    return np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)


def fates(examples):
    rows, nth = np.nonzero(examples["masked_lm_weights"])
    seen = examples["input_ids"][rows, examples["masked_lm_positions"][rows, nth]]
    kept = seen == examples["masked_lm_ids"][rows, nth]
    return np.where(seen == TOKENIZER.mask_id, "masked", np.where(kept, "kept", "random"))


@pytest.mark.parametrize(
    "figure",
    [
        lambda e: e["masked_lm_weights"].sum(axis=1),
        lambda e: e["next_sentence_labels"],
        lambda e: e["masked_lm_positions"][e["masked_lm_weights"] == 1],
        lambda e: e["masked_lm_ids"][e["masked_lm_weights"] == 1],
        runs,
        fates,
    ],
    ids=["count", "label", "positions", "labels", "runs", "fates"],
)
def test_drawn_records_look_like_static_ones(both, figure):
    static, drawn = (figure(examples).tolist() for examples in both)
    size = min(len(static), len(drawn))
    assert size > 0.98 * max(len(static), len(drawn))
    assert_same_distribution(static[:size], drawn[:size])


def test_a_quarter_of_the_random_pieces_is_of_each_quarter_of_the_vocabulary(both):
    _, drawn = both
    rows, nth = np.nonzero(drawn["masked_lm_weights"])
    seen = drawn["input_ids"][rows, drawn["masked_lm_positions"][rows, nth]]
    random = seen[fates(drawn) == "random"]
    assert np.histogram(random, 4, (0, TOKENIZER.vocab_size))[0] / random.size == pytest.approx(
        0.25, abs=0.04
    )


def test_the_order_is_drawn_afresh_and_says_nothing_about_the_lengths(text):
    corpus, pairs, options = text
    unmasked = make_unmasked_examples(corpus.ids, pairs.in_text_order(), TOKENIZER, 64)
    assert not unmasked["next_sentence_labels"].any()
    drawn = [masked(unmasked, chances(len(pairs), 64, epoch=epoch), options) for epoch in (0, 1)]
    first, second = (examples["next_sentence_labels"] for examples in drawn)
    assert first.mean() == pytest.approx(0.5, abs=0.05)
    assert np.mean(first == second) == pytest.approx(0.5, abs=0.05)
    # Of two long texts one keeps a piece more than the other; which one must not tell their order.
    length_b = drawn[0]["segment_ids"].sum(axis=1) - 1
    for length in (30, 31):
        assert np.count_nonzero(length_b == length) > 100
        assert first[length_b == length].mean() == pytest.approx(0.5, abs=0.15)


def test_labels_that_are_not_about_order_stay(text):
    corpus, _, _ = text
    options = Options(max_seq_length=64, dupe_factor=2, random_next_sentence=True)
    pairs, _ = plan_pairs(
        corpus, TOKENIZER.is_word_start, options.dupe_factor or 40, options, np.random.default_rng(0)
    )
    unmasked = make_unmasked_examples(corpus.ids, pairs.in_text_order(), TOKENIZER, 64)
    drawn = masked(unmasked, chances(len(pairs), 64), options)
    assert not unmasked["may_swap"].any()
    assert set(pairs.labels) == {0, 1}
    np.testing.assert_array_equal(drawn["next_sentence_labels"], pairs.labels)
    np.testing.assert_array_equal(drawn["segment_ids"], unmasked["segment_ids"])


def test_chance_comes_from_seed_epoch_and_number_alone():
    def draw(seed, epoch, number):
        return draw_chance(seed, tf.constant(epoch, tf.int64), tf.constant(number, tf.int64), 16).numpy()

    one = draw(1, 2, 3)
    np.testing.assert_array_equal(one, draw(1, 2, 3))
    for other in (draw(2, 2, 3), draw(1, 3, 3), draw(1, 2, 4), draw(1, 3, 2), draw(1, 2, 3 + (1 << 40))):
        assert not np.any(one == other)
    assert one.shape == (65,)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_record_gets_the_same_masks_in_any_batch_and_in_a_graph(text, jit_compile):
    corpus, pairs, options = text
    unmasked = make_unmasked_examples(corpus.ids, pairs.take(np.arange(12)), TOKENIZER, 64)
    chance = chances(12, 64)
    together = masked(unmasked, chance, options)
    batch = as_batch(unmasked)
    dataset = tf.data.Dataset.from_tensor_slices((batch, chance)).batch(5)

    @tf.function(autograph=False, jit_compile=jit_compile)
    def draw(b, c):
        return draw_masks(b, c, TOKENIZER.vocab_size, options)

    if jit_compile:
        parts = [draw(*part) for part in dataset]
    else:
        dataset = dataset.map(draw)
        parts = list(dataset.as_numpy_iterator())
    for name, values in together.items():
        assert jit_compile or dataset.element_spec[name].shape[1:] == values.shape[1:]
        np.testing.assert_array_equal(values, np.concatenate([part[name] for part in parts]))


def test_more_predictions_than_positions_are_padded(text):
    corpus, pairs, _ = text
    unmasked = make_unmasked_examples(corpus.ids, pairs.take(np.arange(4)), TOKENIZER, 64)
    options = MaskingOptions(masked_lm_prob=1.0, max_predictions_per_seq=80)
    drawn = masked(unmasked, chances(4, 64), options)
    assert drawn["masked_lm_positions"].shape == (4, 80)
    real = drawn["input_mask"].sum(axis=1)
    # With the whole text to be predicted only n-grams that meet taken words are left out.
    assert (drawn["masked_lm_weights"].sum(axis=1) >= 0.5 * real).all()
