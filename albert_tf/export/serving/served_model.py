"""`ServedModel`, the base of all models for TensorFlow Serving, and `Signature`."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import tensorflow as tf

from albert_tf.export.serving.text_inputs import TextInputs
from albert_tf.export.trained_model import TrainedModel
from albert_tf.models.encoder import INPUT_NAMES

Tensors = dict[str, tf.Tensor]


class Signature(NamedTuple):
    """One way to ask a served model.

    Attributes:
      function: takes the inputs by name, returns the outputs by name.
      inputs: the specs of the function's inputs, in its order; each has the name of its input.
      request: valid inputs, which warm a server up and serve as an example.
    """

    function: Callable[..., Tensors]
    inputs: tuple[tf.TensorSpec, ...]
    request: Mapping[str, Any]


class ServedModel(tf.Module):
    """A model that answers requests: texts, ids, or the original's serialized examples.

    A subclass adds the signatures of its task. Every model has the signatures of embeddings.

    Args:
      trained: the model.

    Attributes:
      settings: names of the constructor's further arguments; flags and entries of `task.json` have the same
        names.
      text_inputs: makes the model's inputs from texts.
      weights: the model's variables, each once.
    """

    settings: ClassVar[tuple[str, ...]] = ()

    def __init__(self, trained: TrainedModel):
        super().__init__()
        self.text_inputs = TextInputs(trained.tokenizer, trained.task["max_seq_length"])
        # The Keras model itself is no attribute: the export would then hold the functions of its layers too.
        self.weights = list(trained.model.variables)
        encoder = trained.model if trained.head == "encoder" else trained.model.encoder
        self._embed = on_inputs(lambda inputs: embeddings_of(encoder, inputs))

    def task_signatures(self) -> dict[str, Signature]:
        """Returns the signatures of the task, with `serving_default` among them; none if there is no task."""
        return {}

    def signatures(self) -> dict[str, Signature]:
        """Returns all signatures by name."""

        def embed_text(text: tf.Tensor) -> Tensors:
            inputs = self.text_inputs(text)
            return self._embed(**inputs) | {name: inputs[name] for name in ("input_ids", "input_mask")}

        text = Signature(embed_text, (strings("text"),), {"text": ["A sentence to embed."]})
        embeddings = family(text, self.text_inputs, self._embed, prefix="embeddings")
        task = self.task_signatures()
        default = {} if task else family(text, self.text_inputs, self._embed)
        return {
            name: _of_declared_ranks(signature) for name, signature in (default | task | embeddings).items()
        }


def family(
    text: Signature,
    inputs_of: Callable[..., Tensors],
    predict: Callable[..., Tensors],
    *,
    prefix: str = "",
    num_choices: int | None = None,
    for_examples: Callable[[Tensors], Tensors] = dict,
) -> dict[str, Signature]:
    """Makes three signatures with the same outputs: one takes texts, one ids, one serialized examples.

    Args:
      text: the signature that takes texts.
      inputs_of: makes the model's inputs from the inputs of `text`.
      predict: takes ids; see `on_inputs`.
      prefix: name of the first signature, and prefix of the names "tokens" and "serialized_examples" of the
        others. Without a prefix the first signature is "serving_default".
      num_choices: number of choices of an example, which holds them end to end; None for a single sequence.
      for_examples: gives the outputs of `predict` the names that they have in the original's exports.

    Returns:
      The three signatures by name.
    """

    def predict_examples(input: tf.Tensor) -> Tensors:
        features = {name: tf.io.RaggedFeature(tf.int64) for name in INPUT_NAMES}
        parsed = tf.io.parse_example(input, features)
        inputs = {name: _dense(parsed[name], num_choices) for name in INPUT_NAMES}
        return for_examples(predict(**inputs))

    request = [tf.constant(text.request[spec.name]) for spec in text.inputs]
    ids = {name: values.numpy() for name, values in inputs_of(*request).items()}
    shape = [None, None, None] if num_choices else [None, None]
    specs = tuple(tf.TensorSpec(shape, tf.int32, name) for name in INPUT_NAMES)
    examples = {"input": [_example(row).SerializeToString() for row in _rows(ids)]}
    before = f"{prefix}_" if prefix else ""
    return {
        prefix or "serving_default": text._replace(function=_of_one_batch(text.function)),
        f"{before}tokens": Signature(predict, specs, ids),
        f"{before}serialized_examples": Signature(predict_examples, (strings("input"),), examples),
    }


def strings(name: str, rank: int = 1) -> tf.TensorSpec:
    """The spec of an input of texts, string `[batch, ...]` of a rank."""
    return tf.TensorSpec([None] * rank, tf.string, name)


def on_inputs(function: Callable[[Tensors], Tensors], rank: int = 2) -> Callable[..., Tensors]:
    """Makes a function of `input_ids`, `input_mask` and `segment_ids`, which checks their shapes.

    A SavedModel holds the function once, however many signatures call it.

    Args:
      function: takes the three inputs, int32, in a mapping.
      rank: rank of each input.
    """

    def checked(input_ids: tf.Tensor, input_mask: tf.Tensor, segment_ids: tf.Tensor) -> Tensors:
        inputs = {"input_ids": input_ids, "input_mask": input_mask, "segment_ids": segment_ids}
        shape = tf.shape(input_ids)
        checks = [tf.debugging.assert_positive(shape[-1], "input_ids holds sequences of no pieces")]
        for name in ("input_mask", "segment_ids"):
            message = f"{name} has not the shape of input_ids"
            checks.append(tf.debugging.assert_equal(tf.shape(inputs[name]), shape, message))
        with tf.control_dependencies([check for check in checks if check is not None]):
            return function({name: tf.identity(values) for name, values in inputs.items()})

    specs = [tf.TensorSpec([None] * rank, tf.int32, name) for name in INPUT_NAMES]
    return tf.function(checked, specs, autograph=False)


def embeddings_of(encoder: Callable[..., Tensors], inputs: Tensors) -> Tensors:
    """Computes embeddings.

    Args:
      encoder: an `AlbertEncoder`.
      inputs: its inputs, int32 [batch, length].

    Returns:
      float32 `pooled`, the pooled output, and `mean`, the mean over the pieces, both [batch, H]; float32
      `sequence` [batch, length, H], the vector of every piece.
    """
    outputs = encoder(inputs, training=False)
    sequence, pooled = (tf.cast(outputs[f"{kind}_output"], tf.float32) for kind in ("sequence", "pooled"))
    weights = tf.cast(inputs["input_mask"], tf.float32)[..., None]
    total = tf.reduce_sum(sequence * weights, axis=1)
    return {
        "pooled": pooled,
        "mean": tf.math.divide_no_nan(total, tf.reduce_sum(weights, axis=1)),
        "sequence": sequence,
    }


def most_probable(logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Decides by logits [batch, classes].

    Returns:
      The index of the most probable class, int32 [batch], and the probabilities of all, [batch, classes].
    """
    return tf.argmax(logits, axis=-1, output_type=tf.int32), tf.nn.softmax(logits)


def _of_declared_ranks(signature: Signature) -> Signature:
    """Lets the signature refuse inputs of a rank that it does not declare: a server does not check ranks."""

    def checked(**inputs: tf.Tensor) -> Tensors:
        return signature.function(
            **{spec.name: tf.ensure_shape(inputs[spec.name], spec.shape) for spec in signature.inputs}
        )

    return signature._replace(function=checked)


def _of_one_batch(function: Callable[..., Tensors]) -> Callable[..., Tensors]:
    """Lets the function refuse inputs that differ in their number of rows."""

    def checked(**inputs: tf.Tensor) -> Tensors:
        (first, rows), *others = ((name, tf.shape(values)[0]) for name, values in inputs.items())
        checks = [
            tf.debugging.assert_equal(count, rows, f"{first} and {name} differ in their number of rows")
            for name, count in others
        ]
        with tf.control_dependencies([check for check in checks if check is not None]):
            return function(**{name: tf.identity(values) for name, values in inputs.items()})

    return checked


def _dense(rows: tf.RaggedTensor, num_choices: int | None) -> tf.Tensor:
    """Pads rows to int32 [batch, length], or [batch, choices, length] if they hold choices end to end."""
    rows = tf.cast(rows, tf.int32)
    batch = [rows.nrows()]
    if num_choices is not None:
        batch.append(num_choices)
        lengths = tf.repeat(rows.row_lengths() // num_choices, num_choices)
        rows = tf.RaggedTensor.from_row_lengths(rows.values, lengths)
    width = tf.where(rows.nrows() == 0, 1, rows.bounding_shape(axis=1))
    return tf.reshape(rows.to_tensor(shape=tf.stack([rows.nrows(), width])), [*batch, width])


def _rows(inputs: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    return [dict(zip(inputs, row, strict=True)) for row in zip(*inputs.values(), strict=True)]


def _example(row: Mapping[str, np.ndarray]) -> tf.train.Example:
    features = {
        name: tf.train.Feature(int64_list=tf.train.Int64List(value=values.ravel()))
        for name, values in row.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=features))
