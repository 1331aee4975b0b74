"""The feed-forward network of a block, with its residual and LayerNorm (paper 3.1)."""

import tensorflow as tf
import tf_keras

from albert_tf.config import AlbertConfig
from albert_tf.layers.activations import activation
from albert_tf.layers.dense import dense
from albert_tf.layers.dropout import Seed, dropout
from albert_tf.layers.normalization import layer_norm


class FeedForward(tf_keras.layers.Layer):
    """The feed-forward half of a block: LayerNorm(x + dropout(dense(act(dense(x)))))."""

    def __init__(self, config: AlbertConfig, scope: str, **kwargs):
        super().__init__(**kwargs)
        self.config = config
        outer, inner, deviation = config.hidden_size, config.intermediate_size, config.initializer_range
        policy, prefix = self.dtype_policy, f"{scope}/ffn_1/intermediate"
        self.intermediate = dense(f"{prefix}/dense", outer, inner, deviation, dtype=policy)
        self.output_dense = dense(f"{prefix}/output/dense", inner, outer, deviation, dtype=policy)
        self.layer_norm = layer_norm(f"{scope}/LayerNorm_1", outer, policy)

    def call(self, hidden: tf.Tensor, dropout_seed: Seed = None) -> tf.Tensor:
        """Maps `[batch, sequence, H]` to the same shape."""
        flat = tf.reshape(hidden, [-1, self.config.hidden_size])
        activate = activation(self.config.hidden_act, training=dropout_seed is not None)
        output = self.output_dense(activate(self.intermediate(flat)))
        output = dropout(output, self.config.hidden_dropout_prob, dropout_seed)
        return tf.reshape(self.layer_norm(output + flat), tf.shape(hidden))
