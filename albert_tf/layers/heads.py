"""Heads on the encoder: the pooler, the masked-LM head, and heads of one matrix."""

import tensorflow as tf
import tf_keras

from albert_tf.config import AlbertConfig
from albert_tf.layers.activations import activation
from albert_tf.layers.dense import dense
from albert_tf.layers.normalization import layer_norm
from albert_tf.layers.variables import truncated_normal


def pooler(config: AlbertConfig, dtype=None) -> tf_keras.layers.Dense:
    """Makes the pooler: tanh(dense(x)) of the first position, `[batch, H]` to `[batch, H]`."""
    size, deviation = config.hidden_size, config.initializer_range
    return dense("bert/pooler/dense", size, size, deviation, activation="tanh", dtype=dtype)


class MaskedLMHead(tf_keras.layers.Layer):
    """Predicts pieces: H -> E, activation, LayerNorm, product with the transposed word embeddings."""

    def __init__(self, config: AlbertConfig, **kwargs):
        super().__init__(**kwargs)
        self.config = config
        scope = "cls/predictions"
        self.dense = dense(
            f"{scope}/transform/dense",
            config.hidden_size,
            config.embedding_size,
            config.initializer_range,
            activation=activation(config.hidden_act),
            dtype=self.dtype_policy,
        )
        self.layer_norm = layer_norm(f"{scope}/transform/LayerNorm", config.embedding_size, self.dtype_policy)
        self.output_bias = self.add_weight(
            name=f"{scope}/output_bias",
            shape=[config.vocab_size],
            initializer="zeros",
            experimental_autocast=False,
        )

    def call(self, sequence_output: tf.Tensor, word_embeddings: tf.Tensor) -> tf.Tensor:
        """Maps `[batch, positions, H]` and the table `[V, E]` to float32 logits `[batch, positions, V]`."""
        flat = tf.reshape(sequence_output, [-1, self.config.hidden_size])
        transformed = self.layer_norm(self.dense(flat))
        table = tf.cast(word_embeddings, transformed.dtype)
        logits = tf.cast(tf.matmul(transformed, table, transpose_b=True), tf.float32) + self.output_bias
        shape = tf.shape(sequence_output)
        return tf.reshape(logits, [shape[0], shape[1], self.config.vocab_size])


class OutputHead(tf_keras.layers.Layer):
    """Computes logits x W' + b. W is `[size, hidden_size]`, as the original stores it."""

    def __init__(
        self, size: int, hidden_size: int, scope: str = "", standard_deviation: float = 0.02, **kwargs
    ):
        super().__init__(**kwargs)
        prefix = f"{scope}/" if scope else ""
        self.output_weights = self.add_weight(
            name=f"{prefix}output_weights",
            shape=[size, hidden_size],
            initializer=truncated_normal(standard_deviation),
        )
        self.output_bias = self.add_weight(name=f"{prefix}output_bias", shape=[size], initializer="zeros")

    def call(self, hidden: tf.Tensor) -> tf.Tensor:
        """Maps `[..., hidden_size]` to float32 logits `[..., size]`."""
        size, hidden_size = self.output_weights.shape
        flat = tf.reshape(hidden, [-1, hidden_size])
        logits = tf.matmul(flat, self.output_weights, transpose_b=True) + self.output_bias
        return tf.cast(tf.reshape(logits, tf.concat([tf.shape(hidden)[:-1], [size]], 0)), tf.float32)


class ExitHeads(tf_keras.layers.Layer):
    """An `OutputHead` for each layer but the last one, which reads the first position behind its layer."""

    def __init__(self, layers: int, size: int, hidden_size: int, **kwargs):
        super().__init__(**kwargs)
        self.output_weights = self.add_weight(
            name="exits/output_weights",
            shape=[layers - 1, size, hidden_size],
            initializer=truncated_normal(0.02),
        )
        self.output_bias = self.add_weight(
            name="exits/output_bias", shape=[layers - 1, size], initializer="zeros"
        )

    def call(self, firsts: tf.Tensor) -> tf.Tensor:
        """Maps `[layers - 1, batch, hidden_size]` to float32 logits `[layers - 1, batch, size]`."""
        logits = tf.matmul(firsts, self.output_weights, transpose_b=True) + self.output_bias[:, None]
        return tf.cast(logits, tf.float32)

    def of_layer(self, layer: tf.Tensor, first: tf.Tensor) -> tf.Tensor:
        """Maps `[batch, hidden_size]` behind a layer, from 0, to float32 logits `[batch, size]`."""
        weights, bias = self.output_weights[layer], self.output_bias[layer]
        return tf.matmul(tf.cast(first, tf.float32), weights, transpose_b=True) + bias


class WordShapes(tf_keras.layers.Layer):
    """A learned vector for each shape of a word, which is added to the hidden vector of the word."""

    def __init__(self, shapes: int, hidden_size: int, **kwargs):
        super().__init__(**kwargs)
        size = [shapes, hidden_size]
        self.vectors = self.add_weight(name="word_shapes/vectors", shape=size, initializer="zeros")

    def call(self, hidden: tf.Tensor, word_shapes: tf.Tensor) -> tf.Tensor:
        """Adds to `[batch, sequence, H]` the vectors of int32 `[batch, sequence]`; 0 stands for none."""
        has_one = tf.cast(word_shapes > 0, hidden.dtype)[..., None]
        vectors = tf.gather(self.vectors, tf.maximum(word_shapes - 1, 0))
        return hidden + has_one * tf.cast(vectors, hidden.dtype)


def sentence_order_head(config: AlbertConfig, dtype=None) -> OutputHead:
    """Makes the head that tells from the pooled output if two segments are in order (0) or swapped (1)."""
    return OutputHead(2, config.hidden_size, "cls/seq_relationship", config.initializer_range, dtype=dtype)
