"""Gradients: summed over the parts of a batch, their sizes, and loss scaling for float16."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from albert_tf.layers.variables import variable_name
from albert_tf.training.distribution import on_all_devices

Batch = Mapping[str, tf.Tensor]


def sum_over_parts(
    measure: Callable[[tf.Tensor | int, Batch], Any], batch: Batch, parts: int, zeros: Any
) -> Any:
    """Sums what `measure` gives for each of some consecutive parts of a batch.

    They are measured one after another, in a loop of the graph: its size does not depend on their number, and
    memory is that of one part.

    Args:
      measure: takes a part's number and the part; gives a structure of tensors.
      batch: tensors `[examples, ...]`, their number divisible by `parts`.
      parts: how many.
      zeros: what `measure` gives, all of it 0.
    """
    if parts == 1:
        return measure(0, batch)
    stacked = {name: _stacked(values, parts) for name, values in batch.items()}

    def add_next(number: tf.Tensor, sums: Any) -> tuple[tf.Tensor, Any]:
        part = {name: tf.gather(values, number) for name, values in stacked.items()}
        return number + 1, tf.nest.map_structure(tf.add, sums, measure(number, part))

    _, sums = tf.while_loop(
        lambda number, sums: number < parts, add_next, (tf.constant(0), zeros), parallel_iterations=1
    )
    return sums


def _stacked(values: tf.Tensor, parts: int) -> tf.Tensor:
    """`[examples, ...]` to `[parts, examples / parts, ...]`, keeping what is known of the shape."""
    shape = tf.shape(values)
    stacked = tf.reshape(values, tf.concat([[parts, shape[0] // parts], shape[1:]], axis=0))
    examples = values.shape[0]
    return tf.ensure_shape(stacked, [parts, examples and examples // parts, *values.shape[1:]])


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
            name = variable_name(variable)
            group = _GROUP.match(name)
            self._groups.setdefault(group[0] if group else name, []).append(i)

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


_START, _FLOOR = 2.0**15, 1.0
_GROWS_AFTER = 2000  # steps


class LossScale(tf.Module):
    """What the loss is multiplied by, and gradients are divided by again once they are float32.

    It is halved at a step whose gradients are not finite, down to 1, and doubled after 2000 finite steps in a
    row. Made in the scope of the strategy.

    Attributes:
      scale: float32 variable, a power of 2.
      good_steps: int64 variable, finite steps since it last changed.
      skipped_steps: int64 variable, steps of the run that were not finite.
    """

    def __init__(self):
        super().__init__()
        self.scale = on_all_devices(_START, tf.float32)
        self.good_steps = on_all_devices(0, tf.int64)
        self.skipped_steps = on_all_devices(0, tf.int64)

    @property
    def is_least(self) -> tf.Tensor:
        """Whether it cannot be lowered any more."""
        return self.scale <= _FLOOR

    def scaled(self, loss: tf.Tensor) -> tf.Tensor:
        """The loss to differentiate."""
        return loss * self.scale

    def unscaled(self, gradients: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The gradients of the loss itself, of those of the scaled one."""
        return [gradient / self.scale for gradient in gradients]

    def update(self, is_finite: tf.Tensor) -> None:
        """Counts a step, on each device alike; `is_finite` is whether its gradients were."""
        good_steps = tf.where(is_finite, self.good_steps + 1, 0)
        is_due = good_steps == _GROWS_AFTER
        raised = tf.where(is_due, 2 * self.scale, self.scale)
        self.scale.assign(tf.where(is_finite, raised, tf.maximum(self.scale / 2, _FLOOR)))
        self.good_steps.assign(tf.where(is_due, tf.zeros([], tf.int64), good_steps))
        self.skipped_steps.assign_add(tf.where(is_finite, tf.zeros([], tf.int64), 1))
