"""`AlbertForPreTraining`: the encoder with the masked-LM and sentence-order heads."""

import tf_keras

from albert_tf.config import AlbertConfig
from albert_tf.layers.dropout import Seed
from albert_tf.layers.heads import MaskedLMHead, sentence_order_head
from albert_tf.models.encoder import INPUT_NAMES, HeadModel, Tensors


@tf_keras.saving.register_keras_serializable(package="albert_tf")
class AlbertForPreTraining(HeadModel):
    """ALBERT with its two pretraining heads: masked LM and sentence order (paper 3.1).

    Example:

    ```python
    model = AlbertForPreTraining(AlbertConfig.from_preset("base_v2"))
    outputs = model({"input_ids": tf.constant([[2, 48, 4, 3]]), "masked_lm_positions": tf.constant([[2]])})
    outputs["mlm_logits"].shape  # [1, 1, 30000]
    ```
    """

    takes = (*INPUT_NAMES, "masked_lm_positions", "example_starts")

    def __init__(self, config: AlbertConfig, **kwargs):
        super().__init__(config, **kwargs)
        self.masked_lm = MaskedLMHead(config, dtype=self.dtype_policy)
        self.sentence_order = sentence_order_head(config, dtype=self.dtype_policy)

    def call(self, inputs: Tensors, training: bool | None = None, dropout_seed: Seed = None) -> Tensors:
        """Predicts masked pieces and the order of the segments.

        `inputs` may also have `masked_lm_positions`, int `[batch, predictions]`, the positions to predict.
        Without it, every position is predicted. If rows hold several examples, `example_starts`, int
        `[batch, examples]`, says where each one begins; see `AlbertEncoder.call`.

        Returns:
          float32 `mlm_logits` `[batch, predictions, V]`, and float32 `sop_logits` `[batch, 2]`, or
          `[batch, examples, 2]`, for "in order" and "swapped".
        """
        encoded = self.encode(
            inputs,
            training=training,
            output_positions=inputs.get("masked_lm_positions"),
            example_starts=inputs.get("example_starts"),
            dropout_seed=dropout_seed,
        )
        table = self.encoder.embeddings.word_embeddings
        return {
            "mlm_logits": self.masked_lm(encoded["sequence_output"], table),
            "sop_logits": self.sentence_order(encoded["pooled_output"]),
        }
