"""`ServedModel`, the base of all models for TensorFlow Serving, and `Signature`."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from albert_tf.data.records import serialize_examples
from albert_tf.export.trained_model import TrainedModel
from albert_tf.models.encoder import INPUT_NAMES, ConfiguredModel, range_checks
from albert_tf.models.sentence_embedding import mean_over_pieces
from albert_tf.tokenization.in_graph.text_inputs import TextInputs

Tensors = dict[str, tf.Tensor]


class Signature(NamedTuple):
    """One way to ask a served model.

    Attributes:
      function: takes the inputs by name, returns the outputs by name.
      inputs: a spec for each input, with its name, in the order of the function.
      request: makes valid inputs, which warm a server up and serve as an example.
    """

    function: Callable[..., Tensors]
    inputs: tuple[tf.TensorSpec, ...]
    request: Callable[[], Mapping[str, Any]]

    def traced(self) -> tf.types.experimental.ConcreteFunction:
        """Traces the function: its graph is the one that a SavedModel holds."""
        specs = {spec.name: spec for spec in self.inputs}
        return tf.function(self.function, autograph=False).get_concrete_function(**specs)


class ServedModel(tf.Module):
    """A model that answers requests: texts, ids, or the original's serialized examples.

    A subclass adds the signatures of its task. Every model has the signatures of embeddings. Flags and keys
    of `task.json` have the names of the constructor's further arguments.

    Attributes:
      text_inputs: makes the model's inputs from texts.
      weights: the model's variables, each once.
    """

    def __init__(self, trained: TrainedModel):
        super().__init__()
        self.text_inputs = TextInputs(trained.tokenizer, trained.task["max_seq_length"])
        # The Keras model itself is no attribute: the export would then hold the functions of its layers too.
        self.weights = list(trained.model.variables)
        encoder = trained.model if trained.head == "encoder" else trained.model.encoder
        self._embed = on_inputs(lambda inputs: embeddings_of(encoder, inputs), encoder)

    def task_signatures(self) -> dict[str, Signature]:
        """Returns the signatures of the task, with `serving_default` among them; none if there is no task."""
        return {}

    def signatures(self) -> dict[str, Signature]:
        """Returns all signatures by name."""

        def embed_text(text: tf.Tensor) -> Tensors:
            inputs = self.text_inputs(text)
            return self._embed(**inputs) | {name: inputs[name] for name in ("input_ids", "input_mask")}

        text = Signature(embed_text, (strings("text"),), lambda: {"text": ["A sentence to embed."]})
        embeddings = family(text, self.text_inputs, self._embed, prefix="embeddings")
        task = self.task_signatures() or family(text, self.text_inputs, self._embed)
        return {name: _of_declared_ranks(signature) for name, signature in (task | embeddings).items()}


def family(
    text: Signature,
    inputs_of: Callable[..., Tensors],
    predict: Callable[..., Tensors],
    *,
    prefix: str = "",
    num_choices: int | None = None,
    for_examples: Callable[[Tensors], Tensors] = dict,
    names: Sequence[str] = INPUT_NAMES,
) -> dict[str, Signature]:
    """Makes three signatures with the same outputs: for texts, for ids, for serialized examples.

    Args:
      text: the signature for texts, "serving_default".
      inputs_of: makes the model's inputs from the inputs of `text`.
      predict: takes ids; see `on_inputs`.
      prefix: replaces "serving_default", and stands before the names "tokens" and "serialized_examples".
      num_choices: choices of an example, which holds them end to end; None for a single sequence.
      for_examples: gives the outputs of `predict` the names that they have in the original's exports.
      names: of the inputs of `predict`.
    """

    def predict_examples(input: tf.Tensor) -> Tensors:
        features = {name: tf.io.RaggedFeature(tf.int64) for name in names}
        parsed = tf.io.parse_example(input, features)
        inputs = {name: _dense(parsed[name], num_choices) for name in names}
        return for_examples(predict(**inputs))

    @functools.cache
    def ids() -> dict[str, np.ndarray]:
        request = text.request()
        inputs = inputs_of(*(tf.constant(request[spec.name]) for spec in text.inputs))
        return {name: values.numpy() for name, values in inputs.items()}

    def examples() -> dict[str, list[bytes]]:
        rows = {name: values.reshape(len(values), -1) for name, values in ids().items()}
        return {"input": serialize_examples(rows)}

    shape = [None, None, None] if num_choices else [None, None]
    specs = tuple(tf.TensorSpec(shape, tf.int32, name) for name in names)
    before = f"{prefix}_" if prefix else ""
    return {
        prefix or "serving_default": text._replace(function=_of_one_batch(text.function)),
        f"{before}tokens": Signature(predict, specs, ids),
        f"{before}serialized_examples": Signature(predict_examples, (strings("input"),), examples),
    }


def strings(name: str, rank: int = 1) -> tf.TensorSpec:
    """The spec of an input of texts, string `[batch, ...]` of a rank."""
    return tf.TensorSpec([None] * rank, tf.string, name)


def on_inputs(
    function: Callable[[Tensors], Tensors],
    model: ConfiguredModel,
    rank: int = 2,
    more: Mapping[str, int] | None = None,
) -> Callable[..., Tensors]:
    """Makes a function of the inputs of a model, which checks their shapes and values.

    The given function takes `input_ids`, `input_mask` and `segment_ids`, int32 of that rank, in a mapping. A
    SavedModel holds it once, however many signatures call it. `more` are further inputs, with the number of
    values that they can have.
    """
    names = (*INPUT_NAMES, *(more or {}))

    def checked(*values: tf.Tensor) -> Tensors:
        inputs = dict(zip(names, values, strict=True))
        shape = tf.shape(inputs["input_ids"])
        checks = [tf.debugging.assert_positive(shape[-1], "input_ids holds sequences of no pieces")]
        for name in names[1:]:
            message = f"{name} has not the shape of input_ids"
            checks.append(tf.debugging.assert_equal(tf.shape(inputs[name]), shape, message))
        checks += range_checks(inputs, model.config, tuple((more or {}).values()))
        with tf.control_dependencies(checks):
            return function({name: tf.identity(values) for name, values in inputs.items()})

    specs = [tf.TensorSpec([None] * rank, tf.int32, name) for name in names]
    compiled = tf.function(checked, specs, autograph=False)
    return lambda **inputs: compiled(*(inputs[name] for name in names))


def embeddings_of(encoder: Callable[..., Tensors], inputs: Tensors) -> Tensors:
    """Computes embeddings of inputs, int32 [batch, length].

    Returns:
      float32 `pooled`, the pooled output, and `mean`, the mean over the pieces, both [batch, H]; float32
      `sequence` [batch, length, H], the vector of every piece.
    """
    outputs = encoder(inputs, training=False)
    sequence, pooled = (tf.cast(outputs[f"{kind}_output"], tf.float32) for kind in ("sequence", "pooled"))
    mean = mean_over_pieces(sequence, inputs["input_mask"])
    return {"pooled": pooled, "mean": mean, "sequence": sequence}


def decision(name: str, logits: tf.Tensor) -> Tensors:
    """The best class under a name, int32 [batch], and `probabilities`, from logits [batch, classes]."""
    return {name: tf.argmax(logits, axis=-1, output_type=tf.int32), "probabilities": tf.nn.softmax(logits)}


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
        with tf.control_dependencies(checks):
            return function(**{name: tf.identity(values) for name, values in inputs.items()})

    return checked


def _dense(rows: tf.RaggedTensor, num_choices: int | None) -> tf.Tensor:
    """Pads rows to int32 [batch, length], or [batch, choices, length] if they hold choices end to end."""
    # What int32 cannot hold becomes its end, which `range_checks` refuses; a cast would make an id of it.
    rows = rows.with_values(tf.saturate_cast(rows.values, tf.int32))
    batch = [rows.nrows()]
    if num_choices is not None:
        batch.append(num_choices)
        lengths = tf.repeat(rows.row_lengths() // num_choices, num_choices)
        rows = tf.RaggedTensor.from_row_lengths(rows.values, lengths)
    width = tf.where(rows.nrows() == 0, 1, rows.bounding_shape(axis=1))
    return tf.reshape(rows.to_tensor(shape=tf.stack([rows.nrows(), width])), [*batch, width])
