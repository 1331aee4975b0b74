"""The factorized embedding (paper 3.1): tables of width E, projected to the encoder's width H."""

import tensorflow as tf
import tf_keras

from albert_tf.config import AlbertConfig
from albert_tf.errors import InputError
from albert_tf.layers.dense import dense
from albert_tf.layers.dropout import Seed, dropout
from albert_tf.layers.normalization import layer_norm
from albert_tf.layers.variables import truncated_normal


class FactorizedEmbedding(tf_keras.layers.Layer):
    """Word, segment and position embeddings: their sum, normalized, then projected to H if E is not H."""

    def __init__(self, config: AlbertConfig, **kwargs):
        super().__init__(**kwargs)
        self.config = config
        width = config.embedding_size
        # The masked-LM head uses this table `[V, E]`, too.
        self.word_embeddings = self._table("word_embeddings", config.vocab_size)
        self.token_type_embeddings = self._table("token_type_embeddings", config.type_vocab_size)
        self.position_embeddings = self._table("position_embeddings", config.max_position_embeddings)
        self.layer_norm = layer_norm("bert/embeddings/LayerNorm", width, self.dtype_policy)
        self.projection = None
        if config.has_projection:
            scope, deviation = "bert/encoder/embedding_hidden_mapping_in", config.initializer_range
            self.projection = dense(scope, width, config.hidden_size, deviation, dtype=self.dtype_policy)

    def _table(self, name: str, rows: int) -> tf.Variable:
        return self.add_weight(
            name=f"bert/embeddings/{name}",
            shape=[rows, self.config.embedding_size],
            initializer=truncated_normal(self.config.initializer_range),
            experimental_autocast=False,  # The large table is not cast: only the rows that are looked up.
        )

    def call(
        self,
        input_ids: tf.Tensor,
        segment_ids: tf.Tensor,
        example_begins: tf.Tensor | None = None,
        dropout_seed: Seed = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Embeds ids and segments, int `[batch, sequence]`; InputError if they are too long for the model.

        If rows hold several examples, `example_begins`, int `[batch, sequence]`, says where the example of
        each piece begins: positions are counted from there.

        Returns:
          The embedding output `[batch, sequence, E]` and the encoder's input `[batch, sequence, H]`.
        """
        length = self._checked_length(input_ids)
        embedded = tf.gather(self.word_embeddings, input_ids)
        embedded += tf.gather(self.token_type_embeddings, segment_ids)
        if example_begins is None:
            embedded += self.position_embeddings[:length]
        else:
            embedded += tf.gather(self.position_embeddings, tf.range(length) - example_begins)
        flat = self.layer_norm(tf.reshape(embedded, [-1, self.config.embedding_size]))
        flat = dropout(flat, self.config.hidden_dropout_prob, dropout_seed)
        embedding_output = tf.reshape(flat, tf.shape(embedded))
        if self.projection is None:
            return embedding_output, embedding_output
        shape = [tf.shape(input_ids)[0], length, self.config.hidden_size]
        return embedding_output, tf.reshape(self.projection(flat), shape)

    def _checked_length(self, input_ids: tf.Tensor) -> int | tf.Tensor:
        longest = self.config.max_position_embeddings
        length = input_ids.shape[1]
        problem = f"is longer than the {longest} positions of the model (max_position_embeddings)"
        if length is None:
            length = tf.shape(input_ids)[1]
            check = tf.debugging.assert_less_equal(length, longest, f"the sequence {problem}")
            with tf.control_dependencies([check] if check is not None else []):
                return tf.identity(length)
        if length > longest:
            raise InputError(f"a sequence of {length} pieces {problem}")
        return length
