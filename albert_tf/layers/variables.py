"""Variables: the model's own names are the names in the original's checkpoints."""

import tensorflow as tf
import tf_keras


def variable_name(variable: tf.Variable) -> str:
    """Returns the name in checkpoints and in exclusion patterns, such as `bert/pooler/dense/bias`."""
    return variable.name.removesuffix(":0")


def build_in_scope(layer: tf_keras.layers.Layer, scope: str, input_size: int) -> tf_keras.layers.Layer:
    """Creates the variables of a Keras layer now, under the names `scope`/<variable>; returns the layer."""
    with tf.name_scope(scope + "/"):
        layer.build([None, input_size])
    return layer


def truncated_normal(standard_deviation: float) -> tf_keras.initializers.Initializer:
    """Makes a new initializer for one variable; a second use of it would repeat the same values."""
    return tf_keras.initializers.TruncatedNormal(stddev=standard_deviation)
