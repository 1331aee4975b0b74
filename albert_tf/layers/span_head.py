"""The head of SQuAD 2.0: it scores starts, ends that depend on the start, and if there is an answer."""

import tensorflow as tf
import tf_keras

from albert_tf.config import AlbertConfig
from albert_tf.layers.dense import dense
from albert_tf.layers.dropout import Seed, dropout
from albert_tf.layers.normalization import layer_norm


class SpanHead(tf_keras.layers.Layer):
    """Scores starts, ends given a start, and answerability, as the original's model for SQuAD 2.0 does.

    The shape of `sequence` is `[batch, sequence, H]`; `p_mask`, `[batch, sequence]`, is 1 where no answer may
    start or end.
    """

    def __init__(self, config: AlbertConfig, **kwargs):
        super().__init__(**kwargs)
        self.config = config
        hidden = config.hidden_size
        self.start = self._dense("start_logits/dense", hidden, 1)
        self.end_hidden = self._dense("end_logits/dense_0", 2 * hidden, hidden, activation="tanh")
        self.end_norm = layer_norm("end_logits/LayerNorm", hidden, self.dtype_policy)
        self.end = self._dense("end_logits/dense_1", hidden, 1)
        self.answer_hidden = self._dense("answer_class/dense_0", 2 * hidden, hidden, activation="tanh")
        self.answer = self._dense("answer_class/dense_1", hidden, 1, use_bias=False)

    def _dense(self, scope: str, input_size: int, size: int, **kwargs) -> tf_keras.layers.Dense:
        deviation = self.config.initializer_range
        return dense(scope, input_size, size, deviation, dtype=self.dtype_policy, **kwargs)

    def start_log_probs(self, sequence: tf.Tensor, p_mask: tf.Tensor) -> tf.Tensor:
        """Computes the log-probability of a start at each position: float32 `[batch, sequence]`."""
        flat = tf.reshape(sequence, [-1, self.config.hidden_size])
        return _masked_log_softmax(tf.reshape(self.start(flat), tf.shape(sequence)[:2]), p_mask)

    def end_log_probs(self, sequence: tf.Tensor, starts: tf.Tensor, p_mask: tf.Tensor) -> tf.Tensor:
        """Computes the log-probability of an end at each position, for each of some starts.

        `starts` are positions, int `[batch, starts]`; the result is float32 `[batch, starts, sequence]`.
        """
        vectors = tf.gather(sequence, starts, batch_dims=1)
        shape = tf.shape(sequence)
        pairs_shape = [shape[0], tf.shape(starts)[1], shape[1], self.config.hidden_size]
        positions = tf.broadcast_to(sequence[:, tf.newaxis], pairs_shape)
        pairs = tf.concat([positions, tf.broadcast_to(vectors[:, :, tf.newaxis], pairs_shape)], -1)
        flat = tf.reshape(pairs, [-1, 2 * self.config.hidden_size])
        scores = tf.reshape(self.end(self.end_norm(self.end_hidden(flat))), pairs_shape[:3])
        return _masked_log_softmax(scores, p_mask[:, tf.newaxis])

    def unanswerable_logits(
        self,
        sequence: tf.Tensor,
        start_log_probs: tf.Tensor,
        dropout_prob: float = 0.0,
        dropout_seed: Seed = None,
    ) -> tf.Tensor:
        """Scores that there is no answer: float32 logits `[batch]`."""
        start_probs = tf.cast(tf.exp(start_log_probs), sequence.dtype)
        start_vector = tf.squeeze(tf.matmul(start_probs[:, tf.newaxis], sequence), 1)
        hidden = self.answer_hidden(tf.concat([start_vector, sequence[:, 0]], -1))
        return tf.cast(tf.squeeze(self.answer(dropout(hidden, dropout_prob, dropout_seed)), -1), tf.float32)


def _masked_log_softmax(scores: tf.Tensor, p_mask: tf.Tensor) -> tf.Tensor:
    p_mask = tf.cast(p_mask, tf.float32)
    return tf.nn.log_softmax(tf.cast(scores, tf.float32) * (1 - p_mask) - 1e30 * p_mask)
