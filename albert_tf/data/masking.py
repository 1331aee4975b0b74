"""What pretraining has to predict, whether data preparation masks it or training does."""

import dataclasses
import math
from typing import Annotated, Literal

import numpy as np

from albert_tf.cli import flags

SPECIAL_PIECES = 3  # [CLS] A [SEP] B [SEP]
MASKED_SHARE, UNCHANGED_SHARE = 0.8, 0.1  # of the chosen pieces; the others become random pieces


@dataclasses.dataclass(frozen=True)
class MaskingOptions(flags.ScriptOptions):
    """What is to be predicted."""

    masked_lm_prob: float = flags.option(
        0.15, at_least=0, at_most=1, help="the share of the pieces to predict"
    )
    max_predictions_per_seq: Annotated[int, Literal["auto"]] = flags.option(
        20,
        at_least=1,
        help="the most pieces to predict in an example; auto: so many that every example has its share",
    )
    ngram: int = flags.option(3, at_least=1, help="the most words that are chosen together")
    favor_shorter_ngram: bool = flags.option(
        True,
        help="choose n words together with a probability proportional to 1/n; with --no, in reverse",
    )
    do_whole_word_mask: bool = flags.option(True, help="choose whole words instead of single pieces")
    do_permutation: bool = flags.option(
        False, help="also permute as many other pieces; the arrays of predictions are then twice as long"
    )

    @property
    def predictions_length(self) -> int:
        """The length of the arrays of predictions."""
        return self.max_predictions_per_seq * (2 if self.do_permutation else 1)


def predictions_for(max_seq_length: int, masked_lm_prob: float) -> int:
    """The most predictions of an example that needs all positions; "auto" stands for it."""
    return max(1, math.ceil(round(max_seq_length * masked_lm_prob, 6)))


def ngram_probabilities(options: MaskingOptions) -> np.ndarray:
    """The probability of choosing 1, 2, ... `ngram` words together."""
    weights = 1 / np.arange(1, options.ngram + 1)
    weights /= weights.sum()
    return weights if options.favor_shorter_ngram else weights[::-1]
