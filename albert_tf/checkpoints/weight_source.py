"""`WeightSource`: the weights at a path, under the original's variable names."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from albert_tf.checkpoints.assets import Assets

ORIGINAL, NATIVE, HUGGINGFACE = "original checkpoint", "albert_tf checkpoint", "Hugging Face folder"
HUB_TF1, HUB_TF2 = "TF1 hub module", "TF2 SavedModel"


@dataclasses.dataclass(frozen=True)
class WeightSource:
    """Weights that can be read by name.

    Attributes:
      path: the path that the user gave, or the checkpoint that a folder means.
      kind: one of the constants above.
      shapes: the shape of each weight, by the original's name.
      read: gives the value of a weight by that name; raises `InputError` if the file is broken.
      slots: names of optimizer state and counters, which are no weights.
      assets: what belongs to the weights, as far as the source tells it.
      head: a key of `albert_tf.models.heads.HEADS`, if the source tells it.
      num_attention_heads: None unless shapes tell it; the shapes of the original do not.
      notes: what the user should know.
      step: the training step, if a checkpoint of a run tells it.
    """

    path: str
    kind: str
    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], np.ndarray]
    slots: tuple[str, ...] = ()
    assets: Assets = dataclasses.field(default_factory=Assets)
    head: str | None = None
    num_attention_heads: int | None = None
    notes: tuple[str, ...] = ()
    step: int | None = None
