"""The projection that all parts of ALBERT use."""

from typing import Any

import tf_keras

from albert_tf.layers.variables import build_in_scope, truncated_normal


def dense(
    scope: str, input_size: int, size: int, standard_deviation: float, **kwargs: Any
) -> tf_keras.layers.Dense:
    """Makes a projection of `[tokens, input_size]` to `[tokens, size]`, with its kernel and bias.

    The kernel starts as a truncated normal of the given standard deviation, the bias at 0. `**kwargs` are
    arguments of `tf_keras.layers.Dense`.
    """
    layer = tf_keras.layers.Dense(size, kernel_initializer=truncated_normal(standard_deviation), **kwargs)
    return build_in_scope(layer, scope, input_size)
