"""Layer normalization with the original's epsilon."""

import tf_keras

from albert_tf.layers.variables import build_in_scope


def layer_norm(scope: str, size: int, dtype) -> tf_keras.layers.LayerNormalization:
    """Makes a LayerNorm of `[tokens, size]`: epsilon 1e-12, biased variance, statistics in float32."""
    return build_in_scope(tf_keras.layers.LayerNormalization(epsilon=1e-12, dtype=dtype), scope, size)
