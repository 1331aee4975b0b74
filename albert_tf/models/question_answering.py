"""Models that find an answer as a span of the text: SQuAD 1.1 and SQuAD 2.0."""

import tensorflow as tf
import tf_keras

from albert_tf.cli.settings import SquadSettings
from albert_tf.config import AlbertConfig
from albert_tf.layers.dropout import Seed, split_seed
from albert_tf.layers.heads import OutputHead
from albert_tf.layers.span_head import SpanHead
from albert_tf.models.encoder import INPUT_NAMES, HeadModel, Tensors, dropout_seed_for


@tf_keras.saving.register_keras_serializable(package="albert_tf")
class AlbertForQuestionAnswering(HeadModel):
    """ALBERT that scores each position as the start and as the end of the answer: the model of SQuAD 1.1.

    Example:

    ```python
    model = AlbertForQuestionAnswering(AlbertConfig.from_preset("base_v2"))
    model({"input_ids": tf.constant([[2, 48, 25, 3]])})["start_logits"].shape  # [1, 4]
    ```
    """

    reads_pooler = False

    def __init__(self, config: AlbertConfig, **kwargs):
        super().__init__(config, **kwargs)
        self.span = OutputHead(2, config.hidden_size, "cls/squad", dtype=self.dtype_policy)

    def call(self, inputs: Tensors, training: bool | None = None, dropout_seed: Seed = None) -> Tensors:
        """Scores starts and ends: float32 `start_logits` and `end_logits`, both `[batch, sequence]`."""
        encoded = self.encode(inputs, training=training, dropout_seed=dropout_seed)
        start, end = tf.unstack(self.span(encoded["sequence_output"]), axis=-1)
        return {"start_logits": start, "end_logits": end}


@tf_keras.saving.register_keras_serializable(package="albert_tf")
class AlbertForQuestionAnsweringV2(HeadModel):
    """ALBERT for questions that may have no answer: the model of SQuAD 2.0.

    The score of an end depends on the start, as in the original.

    Args:
      start_n_top: number of best starts in the beam of inference.
      end_n_top: number of best ends in the beam for each of these starts.
      dropout_prob: rate of the dropout in the answerability head in training.

    Example:

    ```python
    model = AlbertForQuestionAnsweringV2(AlbertConfig.from_preset("base_v2"), start_n_top=2, end_n_top=3)
    model({"input_ids": tf.constant([[2, 48, 25, 3]])})["end_top_index"].shape  # [1, 6]
    ```
    """

    arguments = ("start_n_top", "end_n_top", "dropout_prob")
    takes = (*INPUT_NAMES, "p_mask", "start_positions")
    reads_pooler = False

    def __init__(
        self,
        config: AlbertConfig,
        start_n_top: int = SquadSettings.start_n_top,
        end_n_top: int = SquadSettings.end_n_top,
        dropout_prob: float = 0.1,
        **kwargs,
    ):
        super().__init__(config, **kwargs)
        self.start_n_top = start_n_top
        self.end_n_top = end_n_top
        self.dropout_prob = dropout_prob
        self.span = SpanHead(config, dtype=self.dtype_policy)

    def call(self, inputs: Tensors, training: bool | None = None, dropout_seed: Seed = None) -> Tensors:
        """Scores spans and answerability.

        `inputs` may also have `p_mask` `[batch, sequence]`, 1 where no answer may begin or end, and
        `start_positions` int `[batch]`, the right starts, on which the ends depend.

        Returns:
          float32 `cls_logits` `[batch]`, high if there is no answer. If `start_positions` is given, also
          float32 `start_log_probs` and `end_log_probs` `[batch, sequence]`. If not, the beam: float32
          `start_top_log_probs` and int32 `start_top_index` `[batch, start_n_top]`, float32
          `end_top_log_probs` and int32 `end_top_index` `[batch, start_n_top * end_n_top]`, all ends of the
          best start first. If a sequence is shorter than a beam, the beam has an entry for each position.
        """
        encoder_seed, head_seed = split_seed(dropout_seed_for(training, dropout_seed), 2)
        sequence = self.encode(inputs, training=training, dropout_seed=encoder_seed)["sequence_output"]
        p_mask = inputs.get("p_mask")
        if p_mask is None:
            p_mask = tf.zeros(tf.shape(sequence)[:2])
        start = self.span.start_log_probs(sequence, p_mask)
        outputs = {"cls_logits": self.span.unanswerable_logits(sequence, start, self.dropout_prob, head_seed)}
        if inputs.get("start_positions") is not None:
            starts = tf.reshape(inputs["start_positions"], [-1, 1])
            end = self.span.end_log_probs(sequence, starts, p_mask)
            return outputs | {"start_log_probs": start, "end_log_probs": tf.squeeze(end, 1)}
        length = tf.shape(sequence)[1]
        start_top = tf.math.top_k(start, tf.minimum(self.start_n_top, length))
        end = self.span.end_log_probs(sequence, start_top.indices, p_mask)
        end_top = tf.math.top_k(end, tf.minimum(self.end_n_top, length))
        flat = [tf.shape(sequence)[0], -1]
        return outputs | {
            "start_top_log_probs": start_top.values,
            "start_top_index": start_top.indices,
            "end_top_log_probs": tf.reshape(end_top.values, flat),
            "end_top_index": tf.reshape(end_top.indices, flat),
        }
