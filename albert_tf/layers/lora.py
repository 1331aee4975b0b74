"""LoRA (arXiv 2106.09685): each layer's own small difference to the projections that layers share."""

import tensorflow as tf
import tf_keras

from albert_tf.config import AlbertConfig
from albert_tf.layers.variables import truncated_normal

PROJECTIONS = ("query", "value")  # as in the paper
SCOPE = "bert/encoder/lora"


def factor_names(block: int, projection: str) -> tuple[str, str]:
    """The names of the factors of a block, counted through all layers."""
    return f"{SCOPE}/block_{block}/{projection}/a", f"{SCOPE}/block_{block}/{projection}/b"


class LoraFactors(tf_keras.layers.Layer):
    """The differences of a block's projections: x A B, of the rank that the config says.

    A starts as a truncated normal and B at 0, so that a fresh difference is 0.
    """

    def __init__(self, config: AlbertConfig, block: int, **kwargs):
        super().__init__(**kwargs)
        size, rank = config.hidden_size, config.lora_rank
        self.factors = []
        for projection in PROJECTIONS:
            first, second = factor_names(block, projection)
            start = truncated_normal(config.initializer_range)
            self.factors.append(self.add_weight(name=first, shape=[size, rank], initializer=start))
            self.factors.append(self.add_weight(name=second, shape=[rank, size], initializer="zeros"))

    def call(self, flat: tf.Tensor, projection: str) -> tf.Tensor:
        """The difference of a projection of `[tokens, H]`, of the same shape."""
        first = 2 * PROJECTIONS.index(projection)
        a, b = (tf.cast(factor, flat.dtype) for factor in self.factors[first : first + 2])
        return tf.matmul(tf.matmul(flat, a), b)
