"""`AlbertForSentenceEmbedding`: one vector for a text, of which near ones mean similar texts."""

import tensorflow as tf
import tf_keras

from albert_tf.config import AlbertConfig
from albert_tf.errors import InputError
from albert_tf.layers.dense import dense
from albert_tf.layers.dropout import Seed, dropout, split_seed
from albert_tf.models.encoder import HeadModel, Tensors, dropout_seed_for

POOLINGS = ("mean", "cls", "pooled")
PROJECTION = "projection/kernel"


@tf_keras.saving.register_keras_serializable(package="albert_tf")
class AlbertForSentenceEmbedding(HeadModel):
    """ALBERT with one vector for a text.

    Args:
      pooling: what the vector is made of: "mean", the mean over the pieces; "cls", the output for [CLS]; or
        "pooled", the pooled output.
      projection_size: the size of a linear projection on it; None for no projection.
      normalize: whether vectors have the length 1.
      dropout_prob: rate of the dropout before the projection in training.

    Example:

    ```python
    model = AlbertForSentenceEmbedding(AlbertConfig.from_preset("base_v2"), projection_size=256)
    model({"input_ids": tf.constant([[2, 48, 25, 3]])})["embedding"].shape  # [1, 256]
    ```
    """

    arguments = ("pooling", "projection_size", "normalize", "dropout_prob")

    def __init__(
        self,
        config: AlbertConfig,
        pooling: str = "mean",
        projection_size: int | None = None,
        normalize: bool = True,
        dropout_prob: float = 0.0,
        **kwargs,
    ):
        if pooling not in POOLINGS:
            raise InputError(f"pooling must be one of {', '.join(POOLINGS)}, not {pooling!r}")
        super().__init__(config, **kwargs)
        self.encoder.pooler.trainable = pooling == "pooled"
        self.pooling, self.normalize = pooling, normalize
        self.projection_size, self.dropout_prob = projection_size, dropout_prob
        self.projection = None
        if projection_size is not None:
            scope, width = PROJECTION.rpartition("/")[0], config.hidden_size
            deviation = config.initializer_range
            self.projection = dense(scope, width, projection_size, deviation, dtype=self.dtype_policy)

    @property
    def size(self) -> int:
        """The number of values in a vector."""
        return self.projection_size or self.config.hidden_size

    def call(self, inputs: Tensors, training: bool | None = None, dropout_seed: Seed = None) -> Tensors:
        """Embeds texts: float32 `embedding` `[batch, size]`."""
        encoder_seed, head_seed = split_seed(dropout_seed_for(training, dropout_seed), 2)
        vectors = dropout(self._pool(inputs, training, encoder_seed), self.dropout_prob, head_seed)
        if self.projection is not None:
            vectors = self.projection(vectors)
        vectors = tf.reshape(tf.cast(vectors, tf.float32), [-1, self.size])  # what is known of the shape
        return {"embedding": tf.math.l2_normalize(vectors, axis=-1) if self.normalize else vectors}

    def _pool(self, inputs: Tensors, training: bool | None, seed: Seed) -> tf.Tensor:
        if self.pooling == "pooled":
            return self.pooled_output(inputs, training, seed)
        first = None
        if self.pooling == "cls":
            first = tf.zeros([tf.shape(inputs["input_ids"])[0], 1], tf.int32)
        encoded = self.encode(inputs, training=training, dropout_seed=seed, output_positions=first)
        sequence = encoded["sequence_output"]
        if self.pooling == "cls":
            return sequence[:, 0]
        return mean_over_pieces(sequence, inputs.get("input_mask"))


def mean_over_pieces(sequence: tf.Tensor, input_mask: tf.Tensor | None) -> tf.Tensor:
    """The means, float32 `[batch, H]`, of the vectors `[batch, length, H]` that the mask counts."""
    sequence = tf.cast(sequence, tf.float32)
    if input_mask is None:
        return tf.reduce_mean(sequence, axis=1)
    weights = tf.cast(input_mask, tf.float32)[..., None]
    total = tf.reduce_sum(sequence * weights, axis=1)
    return tf.math.divide_no_nan(total, tf.reduce_sum(weights, axis=1))
