"""The feed-forward half of a block."""

import tensorflow as tf
import tf_keras

from albert_tf.config import AlbertConfig
from albert_tf.layers.activations import activation
from albert_tf.layers.dropout import dropout
from albert_tf.layers.normalization import layer_norm
from albert_tf.layers.variables import build_in_scope, truncated_normal


class FeedForward(tf_keras.layers.Layer):
    """LayerNorm(x + dropout(dense(act(dense(x)))))."""

    def __init__(self, config: AlbertConfig, scope: str, **kwargs):
        super().__init__(**kwargs)
        self.config = config
        self.intermediate = self._dense(
            config.intermediate_size,
            config.hidden_size,
            f"{scope}/ffn_1/intermediate/dense",
            activation=activation(config.hidden_act),
        )
        self.output_dense = self._dense(
            config.hidden_size, config.intermediate_size, f"{scope}/ffn_1/intermediate/output/dense"
        )
        self.layer_norm = layer_norm(f"{scope}/LayerNorm_1", config.hidden_size, self.dtype_policy)

    def _dense(self, size: int, input_size: int, scope: str, **kwargs) -> tf_keras.layers.Dense:
        initializer = truncated_normal(self.config.initializer_range)
        dense = tf_keras.layers.Dense(size, kernel_initializer=initializer, dtype=self.dtype_policy, **kwargs)
        return build_in_scope(dense, scope, input_size)

    def call(self, hidden: tf.Tensor, dropout_seed: tf.Tensor | None = None) -> tf.Tensor:
        """Maps `[batch, sequence, H]` to the same shape; `dropout_seed` int32 `[2]` trains with dropout."""
        flat = tf.reshape(hidden, [-1, self.config.hidden_size])
        output = self.output_dense(self.intermediate(flat))
        output = dropout(output, self.config.hidden_dropout_prob, dropout_seed)
        return tf.reshape(self.layer_norm(output + flat), tf.shape(hidden))
