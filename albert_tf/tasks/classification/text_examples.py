"""`Examples`: what a benchmark's files hold, before it becomes ids."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Examples:
    """The examples of one split, column by column, in file order.

    Attributes:
      names: how a submission names each example: its index or id column, else its running number.
      texts: one or two columns of raw text, each [examples].
      labels: int32 class numbers or float32 scores [examples]; None where the split has no labels.
      parts: the files that the split is made of, by name, such as "matched" and "mismatched"; a split of one
        file has the part "".
      digest: of the files' content and of how they were read; equal digests mean equal examples.
    """

    names: Sequence[str]
    texts: tuple[Sequence[str], ...]
    labels: np.ndarray | None
    parts: Mapping[str, slice]
    digest: str

    def __len__(self) -> int:
        return len(self.names)
