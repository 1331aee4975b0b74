"""Multi-head self-attention with its output projection, residual and LayerNorm (paper 3.1)."""

import math

import tensorflow as tf
import tf_keras

from albert_tf.config import AlbertConfig
from albert_tf.layers.dense import dense
from albert_tf.layers.dropout import Seed, dropout, split_seed
from albert_tf.layers.lora import LoraFactors
from albert_tf.layers.normalization import layer_norm


def attention_bias(input_mask: tf.Tensor) -> tf.Tensor:
    """Computes what is added to the scores of each key: 0 for real pieces, -10000 for padding.

    Takes `[batch, sequence]`, 1 for real pieces and 0 for padding; returns float32 `[batch, 1, 1, sequence]`.
    """
    bias = (1.0 - tf.cast(input_mask, tf.float32)) * -10000.0
    shape = tf.shape(input_mask)
    # A reshape: with [:, tf.newaxis] TensorFlow would not fuse scale and bias into the matmul.
    return tf.reshape(bias, [shape[0], 1, 1, shape[1]])


def bias_between_examples(query_begins: tf.Tensor, key_begins: tf.Tensor) -> tf.Tensor:
    """Computes what keeps attention inside each example of a row: -10000 between two examples, else 0.

    Takes int `[batch, queries]` and `[batch, sequence]`, where the example of a position begins; returns
    float32 `[batch, 1, queries, sequence]`, which all heads and layers share.
    """
    is_other = query_begins[:, :, tf.newaxis] != key_begins[:, tf.newaxis, :]
    return tf.cast(is_other, tf.float32)[:, tf.newaxis] * -10000.0


def attention_probabilities(query: tf.Tensor, key: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Computes softmax(q k' / sqrt(size) + bias), the softmax in float32.

    From `[batch, heads, queries, size]`, `[batch, heads, sequence, size]` and `attention_bias` it makes
    `[batch, heads, queries, sequence]` in the dtype of `query`.
    """
    scores = tf.matmul(query, key, transpose_b=True) * (1.0 / math.sqrt(query.shape[-1]))
    return tf.cast(tf.nn.softmax(tf.cast(scores, tf.float32) + bias), query.dtype)


class SelfAttention(tf_keras.layers.Layer):
    """The attention half of a block: LayerNorm(x + dropout(dense(attention(x))))."""

    def __init__(self, config: AlbertConfig, scope: str, **kwargs):
        super().__init__(**kwargs)
        self.config = config
        self.query = self._dense(f"{scope}/attention_1/self/query")
        self.key = self._dense(f"{scope}/attention_1/self/key")
        self.value = self._dense(f"{scope}/attention_1/self/value")
        self.output_dense = self._dense(f"{scope}/attention_1/output/dense")
        self.layer_norm = layer_norm(f"{scope}/LayerNorm", config.hidden_size, self.dtype_policy)

    def _dense(self, scope: str) -> tf_keras.layers.Dense:
        size = self.config.hidden_size
        return dense(scope, size, size, self.config.initializer_range, dtype=self.dtype_policy)

    def call(
        self,
        hidden: tf.Tensor,
        bias: tf.Tensor,
        queries: tf.Tensor | None = None,
        dropout_seed: Seed = None,
        lora: LoraFactors | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Attends from some positions to all positions.

        Args:
          hidden: `[batch, sequence, H]`, the positions to attend to.
          bias: from `attention_bias`.
          queries: `[batch, queries, H]`, the rows of `hidden` to compute; default: all rows.
          lora: what this block adds to its projections of queries and values.

        Returns:
          The output `[batch, queries, H]` and the probabilities `[batch, heads, queries, sequence]`.
        """
        config = self.config
        queries = hidden if queries is None else queries
        probs_seed, output_seed = split_seed(dropout_seed, 2)
        flat = tf.reshape(hidden, [-1, config.hidden_size])
        flat_queries = tf.reshape(queries, [-1, config.hidden_size])

        query, value = self.query(flat_queries), self.value(flat)
        if lora is not None:
            query, value = query + lora(flat_queries, "query"), value + lora(flat, "value")
        probs = attention_probabilities(
            self._split_heads(query, queries),
            self._split_heads(self.key(flat), hidden),
            bias,
        )
        dropped = dropout(probs, config.attention_probs_dropout_prob, probs_seed)
        context = tf.matmul(dropped, self._split_heads(value, hidden))
        context = tf.reshape(tf.transpose(context, [0, 2, 1, 3]), [-1, config.hidden_size])
        output = dropout(self.output_dense(context), config.hidden_dropout_prob, output_seed)
        output = self.layer_norm(output + flat_queries)
        return tf.reshape(output, tf.shape(queries)), probs

    def _split_heads(self, projected: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
        """[tokens, H] -> [batch, heads, length, H / heads]; `like` has the batch and the length."""
        heads = self.config.num_attention_heads
        shape = [tf.shape(like)[0], tf.shape(like)[1], heads, self.config.hidden_size // heads]
        return tf.transpose(tf.reshape(projected, shape), [0, 2, 1, 3])
