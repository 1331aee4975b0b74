"""`Features`: the token ids of a split, end to end."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Features:
    """The sequences of a split, end to end and without padding, in the order of its examples.

    Attributes:
      input_ids: uint16 or uint32 [tokens]. [CLS] A [SEP] or [CLS] A [SEP] B [SEP] of each sequence.
      lengths: int32 [sequences].
      first_lengths: int32 [sequences]. Tokens of [CLS] A [SEP], which are of segment 0; the others are of 1.
      full_lengths: int32 [sequences]. What `lengths` would be if nothing had been cut.
      labels: int32 class numbers or float32 scores [examples]; None where there are none.
      num_choices: sequences of an example: 1, or the number of its choices.
    """

    input_ids: np.ndarray
    lengths: np.ndarray
    first_lengths: np.ndarray
    full_lengths: np.ndarray
    labels: np.ndarray | None
    num_choices: int = 1

    def __len__(self) -> int:
        """Examples, not sequences."""
        return len(self.lengths) // self.num_choices
