"""`AlbertForSequenceClassification`: a class or a score for a text or a pair of texts."""

from collections.abc import Mapping

import tensorflow as tf
import tf_keras

from albert_tf.config import AlbertConfig
from albert_tf.layers.dropout import dropout, split_seed
from albert_tf.layers.heads import OutputHead
from albert_tf.models.encoder import dropout_seed_for, no_positions
from albert_tf.models.head_model import HeadModel


@tf_keras.saving.register_keras_serializable(package="albert_tf")
class AlbertForSequenceClassification(HeadModel):
    """ALBERT with a classifier on the pooled output, the model of the GLUE tasks.

    Args:
      config: the model's shape.
      num_labels: classes; 1 for a score (regression).
      classifier_dropout_prob: dropout on the pooled output in training.
      **kwargs: of `tf_keras.Model`: `name`, and `dtype`, for instance "mixed_bfloat16".

    Example:

    ```python
    model = AlbertForSequenceClassification(AlbertConfig.from_preset("base_v2"), num_labels=3)
    model({"input_ids": tf.constant([[2, 48, 25, 3]])})["logits"].shape  # [1, 3]
    ```
    """

    arguments = ("num_labels", "classifier_dropout_prob")

    def __init__(self, config: AlbertConfig, num_labels: int, classifier_dropout_prob: float = 0.1, **kwargs):
        super().__init__(config, **kwargs)
        self.num_labels = num_labels
        self.classifier_dropout_prob = classifier_dropout_prob
        self.classifier = OutputHead(num_labels, config.hidden_size, dtype=self.dtype_policy)

    def call(
        self,
        inputs: Mapping[str, tf.Tensor],
        training: bool | None = None,
        dropout_seed: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        """float32 `logits` `[batch, num_labels]` for the inputs of `AlbertEncoder`."""
        encoder_seed, head_seed = split_seed(dropout_seed_for(training, dropout_seed), 2)
        pooled = self.encoder(
            inputs,
            training=training,
            output_positions=no_positions(inputs["input_ids"]),
            dropout_seed=encoder_seed,
        )["pooled_output"]
        return {"logits": self.classifier(dropout(pooled, self.classifier_dropout_prob, head_seed))}
