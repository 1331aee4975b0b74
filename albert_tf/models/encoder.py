"""`AlbertEncoder`: ids in, contextual vectors out; and what all models have in common."""

from collections.abc import Mapping
from typing import Any, ClassVar

import tensorflow as tf
import tf_keras

from albert_tf.config import AlbertConfig
from albert_tf.layers.dropout import split_seed
from albert_tf.layers.embeddings import FactorizedEmbedding
from albert_tf.layers.encoder import SharedEncoder
from albert_tf.layers.heads import pooler


class ConfiguredModel(tf_keras.Model):
    """A Keras model that is made, saved and rebuilt from an `AlbertConfig`.

    Attributes:
      arguments: names of the constructor's further arguments, each kept as an attribute.
    """

    arguments: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: AlbertConfig, **kwargs):
        super().__init__(**kwargs)
        self.config = config
        self.built = True  # the constructors make all variables

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, as JSON values."""
        arguments = {name: getattr(self, name) for name in self.arguments}
        keras = {"name": self.name, "dtype": self.dtype_policy.name}
        return {"config": self.config.to_dict(), **arguments, **keras}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects=None) -> "ConfiguredModel":
        """Builds the model that `get_config` describes."""
        return cls(**{**config, "config": AlbertConfig.from_dict(config["config"])})


def dropout_seed_for(training: bool | None, seed: tf.Tensor | None) -> tf.Tensor | None:
    """The seed to train with: the given one, else one of TensorFlow's global generator; None otherwise."""
    if not training:
        return None
    if seed is None:
        return tf.random.uniform([2], maxval=tf.int32.max, dtype=tf.int32)
    return seed


def no_positions(input_ids: tf.Tensor) -> tf.Tensor:
    """The `output_positions` of those who read the pooled output alone: int32 `[batch, 0]`."""
    return tf.zeros([tf.shape(input_ids)[0], 0], tf.int32)


@tf_keras.saving.register_keras_serializable(package="albert_tf")
class AlbertEncoder(ConfiguredModel):
    """The ALBERT encoder.

    Args:
      config: the model's shape.
      **kwargs: of `tf_keras.Model`: `name`, and `dtype`, for instance "mixed_bfloat16".

    Attributes:
      recompute: whether, in training, the backward pass computes each layer again from its input: the same
        gradients in a fraction of the memory, for 1.4 times the time. False unless it is set.

    Example:

    ```python
    encoder = AlbertEncoder(AlbertConfig.from_preset("base_v2"))
    outputs = encoder({"input_ids": tf.constant([[2, 48, 25, 3]])})
    outputs["pooled_output"].shape  # [1, 768]
    ```
    """

    def __init__(self, config: AlbertConfig, **kwargs):
        super().__init__(config, **kwargs)
        self.embeddings = FactorizedEmbedding(config, dtype=self.dtype_policy)
        self.encoder = SharedEncoder(config, dtype=self.dtype_policy)
        self.pooler = pooler(config, dtype=self.dtype_policy)
        self.recompute = False

    def call(
        self,
        inputs: Mapping[str, tf.Tensor],
        training: bool | None = None,
        output_positions: tf.Tensor | None = None,
        return_all_layers: bool = False,
        return_attention_probs: bool = False,
        dropout_seed: tf.Tensor | None = None,
    ) -> dict[str, Any]:
        """Encodes a batch.

        Args:
          inputs: `input_ids` int `[batch, sequence]`, and if wanted `input_mask` (default: ones) and
            `segment_ids` (default: zeros) of the same shape.
          training: whether to apply the config's dropout.
          output_positions: int `[batch, outputs]`; `sequence_output` then holds these positions only,
            and the last block computes nothing else.
          return_all_layers: adds `embedding_output` `[batch, sequence, E]` and `all_layer_outputs`, a
            list with the output of each of the L x inner blocks.
          return_attention_probs: adds `attention_probs`, a list of `[batch, heads, sequence, sequence]`.
            With output positions, the last of either list has `outputs` in place of its query `sequence`.
          dropout_seed: int32 `[2]`; the same seed gives the same dropout.

        Returns:
          `sequence_output` `[batch, sequence, H]` and `pooled_output` `[batch, H]`, and what was asked for.

        Raises:
          InputError: the sequence is longer than the position table.
        """
        input_ids = tf.convert_to_tensor(inputs["input_ids"])
        input_mask = inputs.get("input_mask")
        segment_ids = inputs.get("segment_ids")
        embedding_seed, encoder_seed = split_seed(dropout_seed_for(training, dropout_seed), 2)

        embedding_output, hidden = self.embeddings(
            input_ids,
            tf.zeros_like(input_ids) if segment_ids is None else segment_ids,
            dropout_seed=embedding_seed,
        )
        computed = output_positions
        if output_positions is not None:
            # The pooler reads position 0, whatever else is asked for.
            computed = tf.pad(output_positions, [[0, 0], [1, 0]])
        all_layers, attention_probs = self.encoder(
            hidden,
            tf.ones_like(input_ids) if input_mask is None else input_mask,
            output_positions=computed,
            dropout_seed=encoder_seed,
            recompute=bool(self.recompute and training and not return_attention_probs),
        )
        last = all_layers[-1]
        if output_positions is not None:
            all_layers[-1] = last[:, 1:]
        outputs = {"sequence_output": all_layers[-1], "pooled_output": self.pooler(last[:, 0])}
        if return_all_layers:
            outputs |= {"embedding_output": embedding_output, "all_layer_outputs": all_layers}
        if return_attention_probs:
            if output_positions is not None:
                attention_probs[-1] = attention_probs[-1][:, :, 1:]
            outputs["attention_probs"] = attention_probs
        return outputs


class HeadModel(ConfiguredModel):
    """An encoder, to which a subclass adds its head."""

    def __init__(self, config: AlbertConfig, **kwargs):
        super().__init__(config, **kwargs)
        self.encoder = AlbertEncoder(config, dtype=self.dtype_policy)
