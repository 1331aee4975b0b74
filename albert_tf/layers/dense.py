"""The projection that all parts of ALBERT use."""

from typing import Any

import tf_keras

from albert_tf.layers.variables import build_in_scope, truncated_normal


def dense(
    scope: str, input_size: int, size: int, standard_deviation: float, **kwargs: Any
) -> tf_keras.layers.Dense:
    """Makes a projection of `[tokens, input_size]` to `[tokens, size]`, with its variables.

    Args:
      scope: prefix of the variables' names; they are `scope`/kernel and `scope`/bias.
      input_size: width of the input.
      size: width of the output.
      standard_deviation: standard deviation of the initial kernel, a truncated normal; the bias starts at 0.
      **kwargs: arguments of `tf_keras.layers.Dense`, such as `activation` and `dtype`.
    """
    layer = tf_keras.layers.Dense(size, kernel_initializer=truncated_normal(standard_deviation), **kwargs)
    return build_in_scope(layer, scope, input_size)
