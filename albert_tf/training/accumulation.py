"""Gradient accumulation: a batch is taken apart, and what its parts give is summed."""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

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
