"""Dropout as a function of an explicit seed, so that a training step can be repeated exactly."""

from typing import TypeAlias

import tensorflow as tf

Seed: TypeAlias = tf.Tensor | None  # int32 [2]; the same seed drops the same elements; None means no dropout


def dropout(x: tf.Tensor, rate: float, seed: Seed) -> tf.Tensor:
    """Zeroes elements of `x` with probability `rate` (below 1) and scales the rest by 1 / (1 - rate)."""
    if seed is None or rate == 0:
        return x
    keep = tf.random.stateless_uniform(tf.shape(x), seed) >= rate
    return tf.where(keep, x * tf.cast(1 / (1 - rate), x.dtype), tf.zeros([], x.dtype))


def split_seed(seed: Seed, parts: int) -> list[Seed]:
    """Derives independent seeds from one; each is None if the seed is None."""
    if seed is None:
        return [None] * parts
    return tf.unstack(tf.random.split(seed, parts))
