"""Activation functions by the names that configs use."""

import math
from collections.abc import Callable

import tensorflow as tf


def gelu(x: tf.Tensor) -> tf.Tensor:
    """GELU in the tanh form, the only one the original has: x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2.

    These very operations are one for TensorFlow with oneDNN, in the matmul before it, and for LiteRT.
    """
    return tf.nn.gelu(x, approximate=True)


@tf.custom_gradient
def trainable_gelu(x: tf.Tensor) -> tf.Tensor:
    """`gelu` with its gradient written out.

    It keeps two tensors of the width of the feed-forward network for the backward pass where automatic
    differentiation keeps five.
    """
    scale, cubic = math.sqrt(2 / math.pi), 0.044715
    tanh = tf.tanh(scale * x * (1 + cubic * x * x))

    def gradient(upstream):
        slope = scale * (1 + 3 * cubic * x * x)
        return upstream * 0.5 * (1 + tanh + x * (1 - tanh * tanh) * slope)

    return 0.5 * x * (1 + tanh), gradient


_ACTIVATIONS = {"gelu": gelu, "relu": tf.nn.relu, "tanh": tf.nn.tanh, "linear": tf.identity}


def activation(name: str, training: bool = False) -> Callable[[tf.Tensor], tf.Tensor]:
    """The function that `AlbertConfig.hidden_act` names; `training` saves memory for the backward pass."""
    return trainable_gelu if training and name == "gelu" else _ACTIVATIONS[name]
