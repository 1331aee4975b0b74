"""The sizes of gradients, updates and weights, for each part of a model."""

import re
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from albert_tf.layers.variables import variable_name

# Embeddings, each part of a layer, the pooler, each head.
_GROUP = re.compile(r".*/inner_group_\d+/[^/]+|bert/encoder/[^/]+|(bert|cls)/[^/]+|[^/]+")


def norms_of(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    """float32 [tensors]."""
    return tf.stack([tf.cast(tf.norm(tensor), tf.float32) for tensor in tensors])


class GroupNorms:
    """Adds the norms of variables up for the groups that they belong to.

    Args:
      variables: a model's.
    """

    def __init__(self, variables: Sequence[tf.Variable]):
        self._groups: dict[str, list[int]] = {}
        for i, variable in enumerate(variables):
            group = _GROUP.match(variable_name(variable)).group()
            self._groups.setdefault(group, []).append(i)

    def scalars(self, gradients: np.ndarray, updates: np.ndarray, weights: np.ndarray) -> dict[str, float]:
        """TensorBoard scalars by name, of norms that are float32 [variables]."""
        scalars = {}
        for group, members in self._groups.items():
            gradient, update, weight = (
                float(np.linalg.norm(norms[members])) for norms in (gradients, updates, weights)
            )
            scalars[f"gradient_norm/{group}"] = gradient
            scalars[f"weight_norm/{group}"] = weight
            scalars[f"update_ratio/{group}"] = update / weight if weight else 0.0
        return scalars
