"""Activation functions by the names that configs use."""

from collections.abc import Callable

import tensorflow as tf


def gelu(x: tf.Tensor) -> tf.Tensor:
    """GELU in the tanh form, the only one the original has."""
    return tf.nn.gelu(x, approximate=True)


_ACTIVATIONS = {"gelu": gelu, "relu": tf.nn.relu, "tanh": tf.nn.tanh, "linear": tf.identity}


def activation(name: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """The function that `AlbertConfig.hidden_act` names."""
    return _ACTIVATIONS[name]
