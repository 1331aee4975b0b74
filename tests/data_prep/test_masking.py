"""N-gram whole-word masking, against numbers by hand and a slow reference."""

import collections

import numpy as np
import pytest

from albert_tf.cli.flags import UsageError, parse
from albert_tf.data.masking import MaskingOptions, ngram_probabilities
from data_prep.options import Options
from data_prep.static_masking import choose_units, mask, numbers_to_predict


def choose_slowly(sizes, quota, probabilities, rng, taken=()):
    """One example, one step after the other: what `choose_units` does for many at once."""
    chosen, pieces = set(), 0
    for unit in rng.permutation(len(sizes)):
        if pieces >= quota:
            break
        n = 1 + rng.choice(len(probabilities), p=probabilities)
        while n and pieces + sum(sizes[unit : unit + n]) > quota:
            n -= 1
        units = set(range(unit, min(unit + n, len(sizes))))
        if not n or units & (chosen | set(taken)):
            continue
        chosen |= units
        pieces += sum(sizes[unit : unit + n])
    return frozenset(chosen)


def choose_at_once(sizes, quota, options, rng, examples, taken=()):
    unit_starts = np.concatenate([[0], np.cumsum(np.tile(sizes, examples))])
    example_starts = np.arange(examples + 1) * len(sizes)
    blocked = np.zeros(len(sizes), bool)
    blocked[list(taken)] = True
    chosen = choose_units(
        unit_starts, example_starts, np.full(examples, quota), np.tile(blocked, examples), options, rng
    )
    return [frozenset(np.flatnonzero(row).tolist()) for row in chosen.reshape(examples, -1)]


@pytest.mark.parametrize(
    ("sizes", "quota", "ngram", "favor_shorter", "taken"),
    [
        ([1, 1, 1, 1, 1, 1], 3, 3, True, ()),
        ([1, 1, 1, 1, 1, 1], 3, 3, False, ()),
        ([1, 2, 1, 3, 1, 1, 2], 4, 3, True, ()),
        ([2, 2, 3, 2], 5, 2, True, ()),
        ([3, 3, 3], 2, 3, True, ()),
        ([1, 2, 1, 1, 2, 1, 1], 3, 4, False, (2, 4)),
        ([1, 1, 4], 10, 3, True, ()),
        ([1, 2, 2], 2, 1, True, ()),
    ],
)
def test_choices_are_distributed_as_one_after_the_other(sizes, quota, ngram, favor_shorter, taken):
    runs = 8000
    options = MaskingOptions(ngram=ngram, favor_shorter_ngram=favor_shorter)
    rng = np.random.default_rng(5)
    probabilities = ngram_probabilities(options)
    slow = collections.Counter(choose_slowly(sizes, quota, probabilities, rng, taken) for _ in range(runs))
    fast = collections.Counter(choose_at_once(sizes, quota, options, rng, runs, taken))
    outcomes = set(slow) | set(fast)
    # Two samples of the same size: chi-square with outcomes - 1 degrees of freedom, five deviations allowed.
    statistic = sum((slow[o] - fast[o]) ** 2 / (slow[o] + fast[o]) for o in outcomes)
    freedom = max(len(outcomes) - 1, 1)
    assert statistic < freedom + 5 * np.sqrt(2 * freedom)


def test_examples_of_different_lengths_do_not_touch_each_other():
    rng = np.random.default_rng(0)
    units = np.array([3, 0, 50, 1, 7])
    example_starts = np.concatenate([[0], np.cumsum(units)])
    sizes = rng.integers(1, 4, units.sum())
    unit_starts = np.concatenate([[0], np.cumsum(sizes)])
    quota = np.array([2, 5, 20, 0, 100])
    for _ in range(50):
        chosen = choose_units(
            unit_starts, example_starts, quota, np.zeros(units.sum(), bool), MaskingOptions(ngram=1), rng
        )
        pieces = np.add.reduceat(np.append(chosen * sizes, 0), example_starts[:-1]) * (units > 0)
        assert (pieces <= quota).all()
        assert chosen[example_starts[4] :].all()
        assert not chosen[example_starts[3]]


@pytest.mark.parametrize(
    ("favor_shorter", "expected"), [(True, [6 / 11, 3 / 11, 2 / 11]), (False, [2 / 11, 3 / 11, 6 / 11])]
)
def test_ngram_probabilities(favor_shorter, expected):
    options = MaskingOptions(favor_shorter_ngram=favor_shorter)
    np.testing.assert_allclose(ngram_probabilities(options), expected)


@pytest.mark.parametrize(
    ("tokens", "settings", "expected"),
    [
        (30, {}, 4),  # 4.5 goes to the even 4
        (50, {}, 8),  # 7.5 goes to the even 8
        (5, {}, 1),
        (5, {"masked_lm_prob": 0.01}, 1),
        (512, {}, 20),
        (512, {"max_predictions_per_seq": 77}, 77),
        (512, {"masked_lm_prob": 0.0}, 0),
    ],
)
def test_how_many_are_predicted(tokens, settings, expected):
    assert numbers_to_predict(np.array([tokens - 3]), MaskingOptions(**settings)).tolist() == [expected]


@pytest.mark.parametrize(
    ("flags", "most"),
    [
        (["--max_seq_length=512"], 77),  # 76.8
        (["--max_seq_length=100"], 15),
        (["--max_seq_length=5"], 1),
        (["--max_seq_length=512", "--masked_lm_prob=0.25"], 128),
        (["--max_seq_length=512", "--masked_lm_prob=0"], 1),
    ],
)
def test_auto_predicts_the_share_of_the_longest_examples(flags, most):
    needed = ["--input_file=a", "--output_file=b", "--max_predictions_per_seq=auto"]
    assert parse(Options, ["program", *needed, *flags]).max_predictions_per_seq == most


def masked(examples=2000, length=97, seed=0, **settings):
    """Random ids 10..29 in one-piece words; [MASK] is 4, random pieces are hardly ever among the ids."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(10, 30, examples * length).astype(np.uint16)
    lengths = np.full(examples, length)
    result = mask(ids, np.ones(ids.size, bool), lengths, 4, 60000, MaskingOptions(**settings), rng)
    return ids, result


def test_of_the_chosen_pieces_80_10_10_percent_are_masked_kept_and_random():
    ids, result = masked()
    assert result.predicted.size == 2000 * 15
    seen = result.ids[result.predicted]
    kept = np.mean(seen == ids[result.predicted])
    assert np.mean(seen == 4) == pytest.approx(0.8, abs=0.01)
    assert kept == pytest.approx(0.1, abs=0.01)
    random = seen[(seen != 4) & (seen != ids[result.predicted])]
    assert random.size / seen.size == pytest.approx(0.1, abs=0.01)
    assert random.mean() == pytest.approx(30000, rel=0.03)
    untouched = np.delete(np.arange(ids.size), result.predicted)
    assert np.array_equal(result.ids[untouched], ids[untouched])


def test_permuted_pieces_keep_the_contents_of_their_example():
    ids, result = masked(examples=500, do_permutation=True)
    assert result.predicted.size == 500 * 30
    assert (np.diff(result.predicted) > 0).all()
    example = result.predicted // 97
    assert (np.bincount(example) == 30).all()
    changed = (result.ids != ids) & (result.ids != 4) & (result.ids >= 10) & (result.ids < 30)
    # 15 of 97 pieces change places among themselves; with 20 different ids most of them show it.
    assert changed.sum() > 500 * 10
    for e in range(50):
        here = slice(97 * e, 97 * (e + 1))
        before, after = ids[here], result.ids[here]
        moved = np.flatnonzero((before != after) & (after != 4) & (after >= 10) & (after < 30))
        assert set(moved) <= set(result.predicted[example == e] - 97 * e)
        assert np.array_equal(np.sort(after[moved]), np.sort(before[moved]))


def test_the_ngrams_that_were_chosen_are_counted_by_their_words():
    _, result = masked(ngram=3)
    # Nothing is taken twice, so the words of all n-grams are the predicted pieces, here of one piece each.
    assert result.ngrams @ np.arange(4) == result.predicted.size
    shares = result.ngrams[1:] / result.ngrams.sum()
    # A quota of 15 cuts the last n-gram short, and long ones meet taken words more often.
    assert shares[0] > 6 / 11
    assert shares[2] < 2 / 11
    np.testing.assert_allclose(shares, [6 / 11, 3 / 11, 2 / 11], atol=0.06)


def test_nothing_is_masked_with_probability_zero():
    ids, result = masked(masked_lm_prob=0.0)
    assert result.predicted.size == 0
    assert np.array_equal(result.ids, ids)


@pytest.mark.parametrize(
    "settings",
    [{"masked_lm_prob": 1.1}, {"masked_lm_prob": -0.1}, {"max_predictions_per_seq": 0}, {"ngram": 0}],
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(UsageError, match=next(iter(settings))):
        MaskingOptions(**settings)
