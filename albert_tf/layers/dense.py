"""The one kind of projection that ALBERT is made of."""

from typing import Any

import tf_keras

from albert_tf.layers.variables import build_in_scope, truncated_normal


def dense(
    scope: str, input_size: int, size: int, standard_deviation: float, **kwargs: Any
) -> tf_keras.layers.Dense:
    """A projection of `[tokens, input_size]` to `[tokens, size]`, its variables made and named `scope`/...

    Args:
      scope: where `kernel` and `bias` are.
      input_size: width of the input.
      size: width of the output.
      standard_deviation: of the truncated-normal initial kernel; the bias starts at 0.
      **kwargs: of `tf_keras.layers.Dense`, such as `activation` and `dtype`.
    """
    layer = tf_keras.layers.Dense(size, kernel_initializer=truncated_normal(standard_deviation), **kwargs)
    return build_in_scope(layer, scope, input_size)
