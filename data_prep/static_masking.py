"""N-gram whole-word masking (paper 3.2 and 4.1), for many examples at once.

No loop runs over pieces or n-grams: each step of the one loop here makes the next choice of every example.
"""

from typing import NamedTuple

import numpy as np

from albert_tf.data import masking
from albert_tf.data.masking import MaskingOptions


def numbers_to_predict(pieces: np.ndarray, options: MaskingOptions) -> np.ndarray:
    """The most pieces to choose in each example; `pieces` int [examples] counts no special pieces."""
    if not options.masked_lm_prob:
        return np.zeros_like(pieces)
    # Halves go to the even number, as with Python's round in the original.
    wanted = np.rint((pieces + masking.SPECIAL_PIECES) * options.masked_lm_prob).astype(pieces.dtype)
    return np.minimum(np.maximum(wanted, 1), options.max_predictions_per_seq)


def choose_units(
    unit_starts: np.ndarray,
    example_starts: np.ndarray,
    quota: np.ndarray,
    taken: np.ndarray,
    options: MaskingOptions,
    rng: np.random.Generator,
) -> np.ndarray:
    """Chooses n-grams of units for each example until its quota of pieces is filled.

    The units of an example are tried in random order as first units of n-grams, and n is drawn for each. The
    n-gram loses last units until it fits the example and the rest of the quota. It is chosen unless it is
    empty or has a unit that is taken already.

    Args:
      unit_starts: int [units + 1]. The piece at which each unit of the batch begins, and the end.
      example_starts: int [examples + 1]. The unit at which each example begins, and the end.
      quota: int [examples]. The most pieces to choose.
      taken: bool [units]. Units that must not be chosen.

    Returns:
      int64 [units]. The number of units in the n-gram with which each unit was chosen; 0 if it was not.
    """
    # A Fisher-Yates shuffle within each example; it stops when the quota is filled.
    order = np.arange(len(unit_starts) - 1)
    cumulative = np.cumsum(masking.ngram_probabilities(options))[:-1]
    chosen = np.zeros(taken.shape, np.int64)
    taken = taken.copy()
    active = np.flatnonzero((quota > 0) & (np.diff(example_starts) > 0))
    first, end, left = example_starts[active], example_starts[active + 1], quota[active]
    while first.size:
        chance = rng.random((2, first.size))
        drawn = first + (chance[0] * (end - first)).astype(np.int64)
        unit = order[drawn]
        order[drawn] = order[first]

        stop = np.minimum(unit + 1 + np.searchsorted(cumulative, chance[1], side="right"), end)
        begin = unit_starts[unit]
        for _ in range(options.ngram):
            stop -= unit_starts[stop] - begin > left
        free = stop > unit
        for n in range(options.ngram):
            free &= ~taken[unit + n * (unit + n < stop)]
        for n in range(options.ngram):
            reached = free & (unit + n < stop)
            units = unit[reached] + n
            taken[units] = True
            chosen[units] = (stop - unit)[reached]
        left = left - np.where(free, unit_starts[stop] - begin, 0)

        first = first + 1
        going = (left > 0) & (first < end)
        first, end, left = first[going], end[going], left[going]
    return chosen


class Masked(NamedTuple):
    """A batch of examples whose pieces lie end to end.

    Attributes:
      ids: unsigned [pieces]. What the model sees.
      predicted: int64 [predictions]. The pieces to predict, ascending.
      ngrams: int64 [ngram + 1]. How many n-grams of each n were chosen.
    """

    ids: np.ndarray
    predicted: np.ndarray
    ngrams: np.ndarray


def mask(
    ids: np.ndarray,
    is_unit_start: np.ndarray,
    example_lengths: np.ndarray,
    mask_id: int,
    vocab_size: int,
    options: MaskingOptions,
    rng: np.random.Generator,
) -> Masked:
    """Chooses the pieces to predict and replaces them.

    Args:
      ids: unsigned [pieces]. The pieces of all examples end to end, without special ones.
      is_unit_start: bool [pieces]. Where a masking unit begins; true at the first piece of each example.
      example_lengths: int64 [examples].
      vocab_size: random pieces are drawn from the whole vocabulary, as in the original.
    """
    ends = np.cumsum(example_lengths)
    unit_starts = np.append(np.flatnonzero(is_unit_start), ids.size)
    example_starts = np.append(0, np.searchsorted(unit_starts, ends))
    quota = numbers_to_predict(example_lengths, options)
    nothing = np.zeros(len(unit_starts) - 1, bool)

    chosen = choose_units(unit_starts, example_starts, quota, nothing, options, rng)
    predicted = _pieces(chosen, unit_starts)
    result = ids.copy()
    chance = rng.random(predicted.size)
    result[predicted[chance < masking.MASKED_SHARE]] = mask_id
    randomized = predicted[chance >= masking.MASKED_SHARE + masking.UNCHANGED_SHARE]
    result[randomized] = rng.integers(0, vocab_size, randomized.size)

    ngrams = _count_ngrams(chosen, options)
    if options.do_permutation:
        also_chosen = choose_units(unit_starts, example_starts, quota, chosen > 0, options, rng)
        ngrams += _count_ngrams(also_chosen, options)
        permuted = _pieces(also_chosen, unit_starts)
        # Sorting by example plus a fraction puts the pieces of each example in random order.
        example = np.searchsorted(ends, permuted, side="right")
        result[permuted] = ids[permuted[np.argsort(example + rng.random(permuted.size))]]
        predicted = np.sort(np.concatenate([predicted, permuted]))
    return Masked(result, predicted, ngrams)


def _count_ngrams(chosen: np.ndarray, options: MaskingOptions) -> np.ndarray:
    sizes = np.arange(options.ngram + 1)
    return np.bincount(chosen, minlength=sizes.size) * (sizes > 0) // np.maximum(sizes, 1)


def _pieces(chosen: np.ndarray, unit_starts: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.repeat(chosen, np.diff(unit_starts)))
