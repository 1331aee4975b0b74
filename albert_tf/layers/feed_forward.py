"""The feed-forward network of a block, with its residual and LayerNorm (paper 3.1)."""

import tensorflow as tf
import tf_keras

from albert_tf.config import AlbertConfig
from albert_tf.layers.activations import activation
from albert_tf.layers.dense import dense
from albert_tf.layers.dropout import dropout
from albert_tf.layers.normalization import layer_norm


class FeedForward(tf_keras.layers.Layer):
    """The feed-forward half of a block: LayerNorm(x + dropout(dense(act(dense(x))))).

    Args:
      config: the model's shape.
      scope: prefix of the variables' names, such as `bert/encoder/transformer/group_0/inner_group_0`.
      **kwargs: arguments of `tf_keras.layers.Layer`, such as `dtype`.
    """

    def __init__(self, config: AlbertConfig, scope: str, **kwargs):
        super().__init__(**kwargs)
        self.config = config
        self.intermediate = dense(
            f"{scope}/ffn_1/intermediate/dense",
            config.hidden_size,
            config.intermediate_size,
            config.initializer_range,
            dtype=self.dtype_policy,
        )
        self.output_dense = dense(
            f"{scope}/ffn_1/intermediate/output/dense",
            config.intermediate_size,
            config.hidden_size,
            config.initializer_range,
            dtype=self.dtype_policy,
        )
        self.layer_norm = layer_norm(f"{scope}/LayerNorm_1", config.hidden_size, self.dtype_policy)

    def call(self, hidden: tf.Tensor, dropout_seed: tf.Tensor | None = None) -> tf.Tensor:
        """Maps `[batch, sequence, H]` to the same shape.

        Args:
          hidden: the output of the attention half.
          dropout_seed: int32 `[2]` for dropout; None for no dropout.
        """
        flat = tf.reshape(hidden, [-1, self.config.hidden_size])
        activate = activation(self.config.hidden_act, training=dropout_seed is not None)
        output = self.output_dense(activate(self.intermediate(flat)))
        output = dropout(output, self.config.hidden_dropout_prob, dropout_seed)
        return tf.reshape(self.layer_norm(output + flat), tf.shape(hidden))
