"""`WeightSource`: the weights at a path, under the original's variable names."""

import dataclasses
import re
from collections.abc import Callable, Mapping

import numpy as np

from albert_tf.checkpoints.assets import Assets
from albert_tf.errors import InputError
from albert_tf.layers.lora import PROJECTIONS, SCOPE, factor_names

ORIGINAL, NATIVE, HUGGINGFACE = "original checkpoint", "albert_tf checkpoint", "Hugging Face folder"
HUB_TF1, HUB_TF2 = "TF1 hub module", "TF2 SavedModel"

_TYPES = ("float16", "bfloat16", "float32", "float64")  # others hold no weights, or scaled ones


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

    def weight(self, name: str) -> np.ndarray:
        """The value of a weight as float32; `InputError` if it is of another kind or not finite."""
        value = self.read(name)
        kind = getattr(value, "dtype", type(value).__name__)
        if str(kind) not in _TYPES:
            raise InputError(f"{self.path}: {name} holds {kind} values, but weights are {', '.join(_TYPES)}")
        with np.errstate(over="ignore"):  # of float64, which the check finds
            value = np.asarray(value, np.float32)
        if not np.isfinite(value).all():
            raise InputError(
                f"{self.path}: {name} holds values that are not finite numbers (NaN or infinity)"
            )
        return value


_LAYER = re.compile(r"(bert/encoder/transformer/group_)(\d+)(/inner_group_(\d+)/(\w+)/.*)")


def with_merged_lora(source: WeightSource, assets: Assets) -> tuple[WeightSource, Assets]:
    """The weights with LoRA factors added to the projections, and their assets with a fitting config.

    Layers that shared their weights then have weights of their own. Without factors nothing changes.
    """
    config = assets.needed_config()
    if config.lora_rank is None:
        return source, assets
    shapes: dict[str, tuple[int, ...]] = {}
    made_of: dict[str, tuple[str, int]] = {}  # name -> name in the source, number of the block
    for stored, shape in source.shapes.items():
        found = _LAYER.fullmatch(stored)
        if not found:
            shapes |= {} if stored.startswith(f"{SCOPE}/") else {stored: shape}
            continue
        before, group, behind, inner, part = found.groups()
        group_of = config.ffn_group if part in ("ffn_1", "LayerNorm_1") else config.attention_group
        for layer in range(config.num_hidden_layers):
            if group_of(layer) == int(group):
                name = f"{before}{layer}{behind}"
                made_of[name] = stored, layer * config.inner_group_num + int(inner)
                shapes[name] = shape

    def read(name: str) -> np.ndarray:
        stored, block = made_of.get(name, (name, 0))
        value = source.read(stored)
        for projection in PROJECTIONS:
            if stored.endswith(f"/{projection}/kernel"):
                a, b = map(source.weight, factor_names(block, projection))
                value = value + a @ b
        return value

    alone = dataclasses.replace(config, lora_rank=None, cross_layer_sharing="none", num_hidden_groups=1)
    return dataclasses.replace(source, shapes=shapes, read=read), dataclasses.replace(assets, config=alone)
