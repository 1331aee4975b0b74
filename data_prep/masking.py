"""N-gram whole-word masking (paper 3.2 and 4.1), for many examples at once.

No loop runs over pieces or n-grams: each step of the one loop here makes the next choice of every example.
"""

import dataclasses

import numpy as np

from albert_tf import flags
from data_prep.segments import SPECIAL_PIECES

MASKED_SHARE, UNCHANGED_SHARE = 0.8, 0.1  # what becomes of a chosen piece; the rest is random


@dataclasses.dataclass(frozen=True)
class MaskingOptions(flags.ScriptOptions):
    """What is to be predicted."""

    masked_lm_prob: float = flags.option(0.15, at_least=0, help="share of the pieces that is to be predicted")
    max_predictions_per_seq: int = flags.option(
        20, at_least=1, help="the most pieces to predict in an example"
    )
    ngram: int = flags.option(3, at_least=1, help="the most words that are chosen together")
    favor_shorter_ngram: bool = flags.option(
        True, help="n words are chosen together with probability proportional to 1/n; if not, in reverse"
    )
    do_whole_word_mask: bool = flags.option(True, help="choose whole words, not single pieces")
    do_permutation: bool = flags.option(
        False, help="also permute as many other pieces; arrays of predictions become twice as long"
    )

    def __post_init__(self):
        super().__post_init__()
        if self.masked_lm_prob > 1:
            raise flags.UsageError(f"--masked_lm_prob must be at most 1, not {self.masked_lm_prob}")

    @property
    def predictions_length(self) -> int:
        """The length of the arrays of predictions."""
        return self.max_predictions_per_seq * (2 if self.do_permutation else 1)


def numbers_to_predict(pieces: np.ndarray, options: MaskingOptions) -> np.ndarray:
    """How many pieces of each example are chosen at most; `pieces` int [examples] counts no special ones."""
    if not options.masked_lm_prob:
        return np.zeros_like(pieces)
    # Halves go to the even number, as with Python's round in the original.
    wanted = np.rint((pieces + SPECIAL_PIECES) * options.masked_lm_prob).astype(pieces.dtype)
    return np.minimum(np.maximum(wanted, 1), options.max_predictions_per_seq)


def ngram_probabilities(options: MaskingOptions) -> np.ndarray:
    """The probability of choosing 1, 2, ... `ngram` words together."""
    weights = 1 / np.arange(1, options.ngram + 1)
    weights /= weights.sum()
    return weights if options.favor_shorter_ngram else weights[::-1]


def choose_units(
    unit_starts: np.ndarray,
    example_starts: np.ndarray,
    quota: np.ndarray,
    taken: np.ndarray,
    options: MaskingOptions,
    rng: np.random.Generator,
) -> np.ndarray:
    """Chooses n-grams of units for each example until its quota of pieces is filled.

    For an example: its units come as first units of n-grams in random order. For each, n is drawn; the
    n-gram (shorter at the end of the example) loses last units until it fits what is left of the quota,
    and is chosen unless it is empty or has a unit already taken.

    Args:
      unit_starts: int [units + 1]. The piece at which each unit of the batch begins, and the end.
      example_starts: int [examples + 1]. The unit at which each example begins, and the end.
      quota: int [examples]. Pieces to choose at most.
      taken: bool [units]. Units that must not be chosen.
      options: `ngram` and `favor_shorter_ngram` count here.
      rng: the only source of chance.

    Returns:
      bool [units].
    """
    # A Fisher-Yates shuffle within each example, carried only as far as it is needed.
    order = np.arange(len(unit_starts) - 1)
    cumulative = np.cumsum(ngram_probabilities(options))[:-1]
    chosen = np.zeros_like(taken)
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
            units = unit[free & (unit + n < stop)] + n
            taken[units] = chosen[units] = True
        left = left - np.where(free, unit_starts[stop] - begin, 0)

        first = first + 1
        going = (left > 0) & (first < end)
        first, end, left = first[going], end[going], left[going]
    return chosen


@dataclasses.dataclass(frozen=True)
class Masked:
    """The outcome for a batch of examples whose pieces lie end to end.

    Attributes:
      ids: unsigned [pieces]. What the model sees.
      predicted: int64 [predictions]. Which of the pieces are to be predicted, ascending.
    """

    ids: np.ndarray
    predicted: np.ndarray


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
      mask_id: the id of [MASK].
      vocab_size: random pieces are drawn from the whole vocabulary, as in the original.
      options: what is wanted.
      rng: the only source of chance.
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
    result[predicted[chance < MASKED_SHARE]] = mask_id
    randomized = predicted[chance >= MASKED_SHARE + UNCHANGED_SHARE]
    result[randomized] = rng.integers(0, vocab_size, randomized.size)

    if options.do_permutation:
        permuted = _pieces(
            choose_units(unit_starts, example_starts, quota, chosen, options, rng), unit_starts
        )
        # Sorting by example plus a fraction puts the pieces of each example in random order.
        example = np.searchsorted(ends, permuted, side="right")
        result[permuted] = ids[permuted[np.argsort(example + rng.random(permuted.size))]]
        predicted = np.sort(np.concatenate([predicted, permuted]))
    return Masked(result, predicted)


def _pieces(chosen: np.ndarray, unit_starts: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.repeat(chosen, np.diff(unit_starts)))
