"""`WeightSource`: weights found at a path, under the original's variable names."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from albert_tf.checkpoints.assets import Assets

ORIGINAL, NATIVE, HUGGINGFACE = "original checkpoint", "albert_tf checkpoint", "Hugging Face folder"
HUB_TF1, HUB_TF2 = "TF1 hub module", "TF2 SavedModel"

_HUB_PREFIX = "module/"


@dataclasses.dataclass(frozen=True)
class WeightSource:
    """Weights that can be read by name.

    Attributes:
      path: where they are: as the user gave it, or the checkpoint that a folder means.
      kind: one of the constants above.
      shapes: of each weight, by the original's name.
      read: the value of a weight by that name; raises `InputError` if the file is broken.
      slots: names of tensors of an optimizer, and counters; no weights.
      assets: what belongs to the weights, as far as the source says.
      head: which model the weights belong to (see `albert_tf.models.heads`), where that can be told.
      num_attention_heads: where shapes tell it, as the original's do not.
      notes: what the user should know.
      step: of the training, where a checkpoint of a run says it.
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


def without_hub_prefix(names: Iterable[str]) -> dict[str, str]:
    """Each name by what it is called outside a hub module; fine-tuning one adds `module/` in front."""
    return {name.removeprefix(_HUB_PREFIX): name for name in names}


def split_slots(shapes: Mapping[str, tuple[int, ...]]) -> tuple[dict[str, tuple[int, ...]], tuple[str, ...]]:
    """Divides tensors into weights and optimizer state.

    A slot is called <variable>/<slot>, so its parent is a tensor too; counters such as `global_step` are
    scalars.

    Returns:
      The shapes of the weights, and the sorted names of the rest.
    """
    slots = {name for name, shape in shapes.items() if name.rpartition("/")[0] in shapes or not shape}
    return {n: s for n, s in shapes.items() if n not in slots}, tuple(sorted(slots))
