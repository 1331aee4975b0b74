"""Activation functions by the names that configs use."""

import math
from collections.abc import Callable

import tensorflow as tf


def gelu(x: tf.Tensor) -> tf.Tensor:
    """GELU in the tanh form, the only form in the original: x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2.

    TensorFlow with oneDNN fuses exactly this operation into the matmul before it; LiteRT runs it as one.
    """
    return tf.nn.gelu(x, approximate=True)


@tf.custom_gradient
def trainable_gelu(x: tf.Tensor) -> tf.Tensor:
    """`gelu` that keeps two tensors for the backward pass; automatic differentiation keeps five."""
    scale, cubic = math.sqrt(2 / math.pi), 0.044715
    tanh = tf.tanh(scale * x * (1 + cubic * x * x))

    def gradient(upstream):
        slope = scale * (1 + 3 * cubic * x * x)
        return upstream * 0.5 * (1 + tanh + x * (1 - tanh * tanh) * slope)

    return 0.5 * x * (1 + tanh), gradient


_ACTIVATIONS = {"gelu": gelu, "relu": tf.nn.relu, "tanh": tf.nn.tanh, "linear": tf.identity}


def activation(name: str, training: bool = False) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the function that `AlbertConfig.hidden_act` names; "gelu" in training is `trainable_gelu`."""
    return trainable_gelu if training and name == "gelu" else _ACTIVATIONS[name]
