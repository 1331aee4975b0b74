"""Names of variables: the original's checkpoint names are the model's own."""

import tensorflow as tf
import tf_keras


def variable_name(variable: tf.Variable) -> str:
    """The name as checkpoints and exclusion patterns know it, such as `bert/pooler/dense/bias`."""
    return variable.name.removesuffix(":0")


def build_in_scope(layer: tf_keras.layers.Layer, scope: str, input_size: int) -> tf_keras.layers.Layer:
    """Creates the variables of a Keras layer at once, named `scope`/<variable>; returns the layer."""
    with tf.name_scope(scope + "/"):
        layer.build([None, input_size])
    return layer


def truncated_normal(standard_deviation: float) -> tf_keras.initializers.Initializer:
    """A fresh initializer for one variable: a reused unseeded one would repeat its values."""
    return tf_keras.initializers.TruncatedNormal(stddev=standard_deviation)
