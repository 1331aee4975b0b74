"""`AlbertEncoder`: ids in, contextual vectors out; and the base classes of all models."""

from collections.abc import Mapping
from typing import Any, ClassVar

import tensorflow as tf
import tf_keras

from albert_tf.config import AlbertConfig
from albert_tf.errors import InputError, refuse_keras_3
from albert_tf.layers.dropout import Seed, split_seed
from albert_tf.layers.embeddings import FactorizedEmbedding
from albert_tf.layers.encoder import SharedEncoder
from albert_tf.layers.heads import pooler

INPUT_NAMES = ("input_ids", "input_mask", "segment_ids")
Tensors = Mapping[str, tf.Tensor]

# Names that other libraries give our inputs.
_OTHER_NAMES = {
    "attention_mask": "input_mask",
    "input_type_ids": "segment_ids",
    "input_word_ids": "input_ids",
    "token_type_ids": "segment_ids",
}


class ConfiguredModel(tf_keras.Model):
    """A Keras model that is made, saved and rebuilt from an `AlbertConfig`.

    Attributes:
      arguments: of the constructor, besides `config`; each is an attribute too.
      takes: the names of the inputs; the model refuses all others.
      axes: of `input_ids`, `input_mask` and `segment_ids`.
    """

    arguments: ClassVar[tuple[str, ...]] = ()
    takes: ClassVar[tuple[str, ...]] = INPUT_NAMES
    axes: ClassVar[tuple[str, ...]] = ("batch", "sequence")

    def __init__(self, config: AlbertConfig, **kwargs):
        if not isinstance(config, AlbertConfig):
            name = type(self).__name__
            problem = f"{name} needs an AlbertConfig, not {config!r:.80}"
            raise InputError(f'{problem}: {name}(AlbertConfig.from_preset("base_v2"))')
        super().__init__(**kwargs)
        self.config = config
        self.built = True  # the constructors make all variables

    @tf.autograph.experimental.do_not_convert  # for `fit`: models hold TensorFlow operations only
    def __call__(self, inputs: Tensors, *args: Any, **kwargs: Any) -> Any:
        """Does what `call` does; `InputError` if the inputs have wrong names, ranks, shapes or types."""
        return super().__call__(self._checked(inputs), *args, **kwargs)

    def _checked(self, inputs: Tensors) -> dict[str, Any]:
        """The inputs that are given, as tensors."""
        model = type(self).__name__
        if not isinstance(inputs, Mapping):
            wanted = 'a dict of tensors, such as {"input_ids": ids}'
            raise InputError(f"{model} takes {wanted}, not a {_kind_of(inputs)}")
        for name in inputs:
            if name not in self.takes:
                meant = _OTHER_NAMES.get(name)
                hint = f"it is called {meant} here" if meant else f"there are {', '.join(self.takes)}"
                raise InputError(f"{model} has no input {name!r}: {hint}")
        if inputs.get("input_ids") is None:
            raise InputError(f"{model} needs input_ids")
        given = {name: _tensor(name, value) for name, value in inputs.items() if value is not None}
        first = tf.TensorShape(given["input_ids"].shape)
        if first.rank not in (None, len(self.axes)):
            wanted = f"[{', '.join(self.axes)}]"
            raise InputError(f"input_ids of {model} must be {wanted}, not of the shape {first}")
        for name in INPUT_NAMES:
            if name in given and not first.is_compatible_with(shape := given[name].shape):
                raise InputError(f"{name} must have the shape of input_ids, {first}, not {shape}")
        return given

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Does what `tf_keras.Model.compile` does; `InputError` for an object of Keras 3."""
        refuse_keras_3("compile", [args, kwargs])
        super().compile(*args, **kwargs)

    def fit(self, *args: Any, callbacks: Any = None, **kwargs: Any) -> tf_keras.callbacks.History:
        """Does what `tf_keras.Model.fit` does; `InputError` for a callback of Keras 3."""
        refuse_keras_3("callbacks", callbacks)
        return super().fit(*args, callbacks=callbacks, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor as JSON values."""
        arguments = {name: getattr(self, name) for name in self.arguments}
        keras = {"name": self.name, "dtype": self.dtype_policy.name}
        return {"config": self.config.to_dict(), **arguments, **keras}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects=None) -> "ConfiguredModel":
        """Builds the model that `get_config` describes."""
        return cls(**{**config, "config": AlbertConfig.from_dict(config["config"])})


@tf_keras.saving.register_keras_serializable(package="albert_tf")
class AlbertEncoder(ConfiguredModel):
    """The ALBERT encoder: embeddings, shared layers and pooler (paper 3.1).

    With a `lora_rank` in the config, of all these only the LoRA factors and the pooler are trainable.

    Attributes:
      recompute: whether the backward pass of training computes each block again from its input. The gradients
        are the same; a step needs a fraction of the memory and 1.4 times the time. False unless you set it.

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
        if config.lora_rank:
            self.freeze(config.num_hidden_layers)

    def freeze(self, layers: int) -> None:
        """Leaves the embeddings and the first layers as they are in training."""
        self.embeddings.trainable = False
        self.encoder.freeze(layers)

    def call(
        self,
        inputs: Tensors,
        training: bool | None = None,
        output_positions: tf.Tensor | None = None,
        example_starts: tf.Tensor | None = None,
        return_all_layers: bool = False,
        return_attention_probs: bool = False,
        dropout_seed: Seed = None,
    ) -> dict[str, Any]:
        """Encodes a batch.

        Args:
          inputs: int tensors `[batch, sequence]`: `input_ids`, and optionally `input_mask`, 1 for pieces and
            0 for padding (default: ones), and `segment_ids` (default: zeros).
          training: whether to apply dropout.
          output_positions: int `[batch, outputs]`. If given, `sequence_output` holds these positions only,
            and the last block computes nothing else.
          example_starts: int32 `[batch, examples]`, if rows hold several examples: the position of each one's
            [CLS], ascending from 0, padded with 0. Each example is encoded as if it were alone, and
            `pooled_output` is `[batch, examples, H]`.
          return_all_layers: whether to add `embedding_output` `[batch, sequence, E]` and `all_layer_outputs`,
            a list with the output `[batch, sequence, H]` of each of the L x `inner_group_num` blocks.
          return_attention_probs: whether to add `attention_probs`, a list with the probabilities
            `[batch, heads, sequence, sequence]` of each block. If output positions are given, the last entry
            of both lists has `outputs` in place of the first `sequence`.
          dropout_seed: int32 `[2]`; the same seed gives the same dropout. By default every training call
            draws a seed.

        Returns:
          `sequence_output` `[batch, sequence, H]`, `pooled_output` `[batch, H]` and the entries that the
          arguments add, in the compute dtype of the model.

        Raises:
          InputError: the sequence is longer than the position table.
        """
        input_ids = tf.convert_to_tensor(inputs["input_ids"])
        input_mask = inputs.get("input_mask")
        segment_ids = inputs.get("segment_ids")
        embedding_seed, encoder_seed = split_seed(dropout_seed_for(training, dropout_seed), 2)

        begins = None if example_starts is None else _example_begins(example_starts, tf.shape(input_ids)[1])
        embedding_output, hidden = self.embeddings(
            input_ids,
            tf.zeros_like(input_ids) if segment_ids is None else segment_ids,
            example_begins=begins,
            dropout_seed=embedding_seed,
        )
        computed, examples = output_positions, 1
        if output_positions is not None:
            # The pooler needs the position of each [CLS], whichever positions the caller wants.
            if example_starts is None:
                computed = tf.pad(output_positions, [[0, 0], [1, 0]])
            else:
                computed = tf.concat([example_starts, output_positions], axis=1)
                examples = tf.shape(example_starts)[1]
        all_layers, attention_probs = self.encoder(
            hidden,
            tf.ones_like(input_ids) if input_mask is None else input_mask,
            output_positions=computed,
            example_begins=begins,
            dropout_seed=encoder_seed,
            recompute=bool(self.recompute and training and not return_attention_probs),
        )
        last = all_layers[-1]
        if output_positions is not None:
            all_layers[-1] = last[:, examples:]
        if example_starts is None:
            first = last[:, 0]
        elif output_positions is None:
            first = tf.gather(last, example_starts, batch_dims=1)
        else:
            first = last[:, :examples]
        outputs = {"sequence_output": all_layers[-1], "pooled_output": self.pooler(first)}
        if return_all_layers:
            outputs |= {"embedding_output": embedding_output, "all_layer_outputs": all_layers}
        if return_attention_probs:
            if output_positions is not None:
                attention_probs[-1] = attention_probs[-1][:, :, examples:]
            outputs["attention_probs"] = attention_probs
        return outputs


class HeadModel(ConfiguredModel):
    """An `AlbertEncoder`, its attribute `encoder`, to which a subclass adds a head.

    Attributes:
      reads_pooler: whether the head reads the pooler. If not, the pooler is not trainable.
    """

    reads_pooler: ClassVar[bool] = True

    def __init__(self, config: AlbertConfig, **kwargs):
        super().__init__(config, **kwargs)
        self.encoder = AlbertEncoder(config, dtype=self.dtype_policy)
        self.encoder.pooler.trainable = self.reads_pooler

    def encode(self, inputs: Tensors, **arguments: Any) -> dict[str, Any]:
        """Encodes the inputs of the encoder; see `AlbertEncoder.call`."""
        return self.encoder({name: inputs[name] for name in INPUT_NAMES if name in inputs}, **arguments)

    def pooled_output(self, inputs: Tensors, training: bool | None, dropout_seed: Seed) -> tf.Tensor:
        """Encodes a batch to `[batch, H]`; the last block computes the first position only."""
        no_positions = tf.zeros([tf.shape(inputs["input_ids"])[0], 0], tf.int32)
        encoded = self.encode(
            inputs, training=training, output_positions=no_positions, dropout_seed=dropout_seed
        )
        return encoded["pooled_output"]

    def first_of_layers(self, inputs: Tensors, training: bool | None, dropout_seed: Seed) -> tf.Tensor:
        """Encodes a batch; returns the first position behind each layer, `[layers, batch, H]`."""
        first = tf.zeros([tf.shape(inputs["input_ids"])[0], 1], tf.int32)
        encoded = self.encode(
            inputs,
            training=training,
            output_positions=first,
            return_all_layers=True,
            dropout_seed=dropout_seed,
        )
        inner = self.config.inner_group_num
        return tf.stack([hidden[:, 0] for hidden in encoded["all_layer_outputs"][inner - 1 :: inner]])


def _example_begins(example_starts: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Where the example of each position begins, int `[batch, sequence]`, from `[batch, examples]`."""
    starts = example_starts[:, tf.newaxis]
    is_before = starts <= tf.range(length, dtype=starts.dtype)[tf.newaxis, :, tf.newaxis]
    return tf.reduce_max(tf.where(is_before, starts, 0), axis=-1)


def _tensor(name: str, value: Any) -> Any:
    """The value of an input, as a tensor if it is none; `InputError` if it cannot be one."""
    refuse_keras_3(name, value)
    if isinstance(value, tf.RaggedTensor | tf.SparseTensor):
        raise InputError(f"{name} is a {_kind_of(value)}: pad it, and give input_mask with 0 for the padding")
    if not isinstance(getattr(value, "dtype", None), tf.DType):
        try:
            value = tf.convert_to_tensor(value)
        except (ValueError, TypeError):
            raise InputError(f"{name} must be whole numbers, in rows of equal lengths") from None
    if name in ("input_ids", "segment_ids") and not value.dtype.is_integer:
        raise InputError(f"{name} must be whole numbers, not {value.dtype.name}")
    return value


def _kind_of(value: Any) -> str:
    return "tensor" if isinstance(value, tf.Tensor) else type(value).__name__


def dropout_seed_for(training: bool | None, seed: Seed) -> Seed:
    """In training the given seed, or else one from TensorFlow's global generator; None outside training."""
    if training and seed is None:
        return tf.random.uniform([2], maxval=tf.int32.max, dtype=tf.int32)
    return seed if training else None


def range_checks(inputs: Tensors, config: AlbertConfig, more: tuple[int, ...] = ()) -> list[tf.Operation]:
    """Operations that fail if ids, mask or segments, int32 in this order, are not what the model knows.

    `more` are the numbers of values of further inputs.

    Without them, a mask of 2 would be taken for attention, and a GPU would read zeros for an unknown id.
    """
    bounds = (config.vocab_size, 2, config.type_vocab_size, *more)
    return [
        tf.debugging.Assert(
            tf.reduce_all((values >= 0) & (values < bound)), [f"{name} must be from 0 to {bound - 1}"]
        )
        for (name, values), bound in zip(inputs.items(), bounds, strict=True)
    ]
