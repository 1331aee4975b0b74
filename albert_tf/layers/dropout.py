"""Dropout as a function of an explicit seed, so that a training step can be repeated exactly."""

import tensorflow as tf


def dropout(x: tf.Tensor, rate: float, seed: tf.Tensor | None) -> tf.Tensor:
    """Zeroes elements with probability `rate` and scales the rest by 1 / (1 - rate).

    Args:
      x: float tensor of any shape.
      rate: at least 0 and below 1.
      seed: int32 `[2]`; the same seed drops the same elements. None means no dropout.

    Returns:
      A tensor of the shape and dtype of `x`.
    """
    if seed is None or rate == 0:
        return x
    keep = tf.random.stateless_uniform(tf.shape(x), seed) >= rate
    return tf.where(keep, x * tf.cast(1 / (1 - rate), x.dtype), tf.zeros([], x.dtype))


def split_seed(seed: tf.Tensor | None, parts: int) -> list[tf.Tensor | None]:
    """Derives `parts` independent seeds, int32 `[2]` each, from one; without a seed each part is None."""
    if seed is None:
        return [None] * parts
    return tf.unstack(tf.random.split(seed, parts))
