"""Gradients: their sum over the parts of a batch, their norms, and loss scaling for float16."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from albert_tf.layers.variables import variable_name
from albert_tf.training.distribution import on_all_devices
from albert_tf.training.optimization import norm

Batch = Mapping[str, tf.Tensor]


def sum_over_parts(
    measure: Callable[[tf.Tensor | int, Batch], Any],
    batch: Batch,
    parts: int,
    zeros: Any,
    used: tf.Tensor | int,
) -> Any:
    """Sums the results of `measure` over consecutive parts of a batch.

    A loop of the graph measures one part after another: the size of the graph does not depend on their
    number, and the memory is that of one part.

    Args:
      measure: takes a part's number and the part; returns a structure of tensors.
      batch: tensors `[examples, ...]`; `parts` divides the number of examples.
      zeros: the same structure, with zeros.
      used: how many of the parts to measure, from the first one.
    """
    if parts == 1:
        return measure(0, batch)
    stacked = _all_stacked(batch, parts)

    def add_next(number: tf.Tensor, sums: Any) -> tuple[tf.Tensor, Any]:
        part = {name: tf.gather(values, number) for name, values in stacked.items()}
        return number + 1, tf.nest.map_structure(tf.add, sums, measure(number, part))

    _, sums = tf.while_loop(
        lambda number, sums: number < used,
        add_next,
        (tf.constant(0), zeros),
        parallel_iterations=1,
    )
    return sums


def join_over_parts(function: Callable[[tf.Tensor, Batch], tf.Tensor], batch: Batch, parts: int) -> tf.Tensor:
    """The float32 results `[examples, ...]` of a function of each part's number and the part, joined.

    No gradient flows through it: the memory is that of one part.
    """
    numbered = tf.range(parts), _all_stacked(batch, parts)
    results = tf.map_fn(
        lambda part: tf.stop_gradient(function(*part)),
        numbered,
        parallel_iterations=1,
        fn_output_signature=tf.float32,
    )
    return tf.reshape(results, tf.concat([[-1], tf.shape(results)[2:]], axis=0))


def _all_stacked(batch: Batch, parts: int) -> dict[str, tf.Tensor]:
    return {name: _stacked(values, parts) for name, values in batch.items()}


def _stacked(values: tf.Tensor, parts: int) -> tf.Tensor:
    """`[examples, ...]` to `[parts, examples / parts, ...]`; keeps the static shape."""
    shape = tf.shape(values)
    stacked = tf.reshape(values, tf.concat([[parts, shape[0] // parts], shape[1:]], axis=0))
    examples = values.shape[0]
    return tf.ensure_shape(stacked, [parts, examples and examples // parts, *values.shape[1:]])


# The embeddings, each part of a layer, the pooler, each head.
_GROUP = re.compile(r".*/inner_group_\d+/[^/]+|bert/encoder/[^/]+|(bert|cls)/[^/]+|[^/]+")


def norms_of(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    """float32 `[tensors]`: the norm of each tensor."""
    return tf.stack([tf.cast(norm(tensor), tf.float32) for tensor in tensors])


class GroupNorms:
    """Combines the norms of a model's variables into norms of its parts, such as the pooler."""

    def __init__(self, variables: Sequence[tf.Variable]):
        self._groups: dict[str, list[int]] = {}
        for i, variable in enumerate(variables):
            name = variable_name(variable)
            group = _GROUP.match(name)
            self._groups.setdefault(group[0] if group else name, []).append(i)

    def scalars(self, gradients: np.ndarray, updates: np.ndarray, weights: np.ndarray) -> dict[str, float]:
        """TensorBoard scalars by name; each argument is float32 `[variables]`, the norms of one kind."""
        scalars = {}
        for group, members in self._groups.items():
            kinds = (gradients, updates, weights)
            gradient, update, weight = (float(np.linalg.norm(norms[members])) for norms in kinds)
            scalars[f"gradient_norm/{group}"] = gradient
            scalars[f"weight_norm/{group}"] = weight
            scalars[f"update_ratio/{group}"] = update / weight if weight else 0.0
        return scalars


_START, _FLOOR = 2.0**15, 1.0
_GROWS_AFTER = 2000  # steps


class LossScale(tf.Module):
    """The factor of the loss in float16; the float32 gradients are divided by it again.

    A step with gradients that are not finite halves it, down to 1; 2000 finite steps in a row double it. Make
    it in the scope of the strategy.

    Attributes:
      scale: float32 variable, a power of 2.
      good_steps: int64 variable: finite steps since the scale last changed.
      skipped_steps: int64 variable: steps of the run that were not finite.
    """

    def __init__(self):
        super().__init__()
        self.scale = on_all_devices(_START, tf.float32)
        self.good_steps = on_all_devices(0, tf.int64)
        self.skipped_steps = on_all_devices(0, tf.int64)

    @property
    def is_least(self) -> tf.Tensor:
        """Whether the scale cannot become smaller."""
        return self.scale <= _FLOOR

    def update(self, is_finite: tf.Tensor) -> None:
        """Counts a step, in the same way on all devices; `is_finite` describes its gradients."""
        good_steps = tf.where(is_finite, self.good_steps + 1, 0)
        is_due = good_steps == _GROWS_AFTER
        raised = tf.where(is_due, 2 * self.scale, self.scale)
        self.scale.assign(tf.where(is_finite, raised, tf.maximum(self.scale / 2, _FLOOR)))
        self.good_steps.assign(tf.where(is_due, tf.zeros([], tf.int64), good_steps))
        self.skipped_steps.assign_add(tf.where(is_finite, tf.zeros([], tf.int64), 1))
