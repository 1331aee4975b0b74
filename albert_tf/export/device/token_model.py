"""`TokenModel`: what runs on a device, numbers out for token ids in, without texts and checks."""

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from albert_tf.export.serving.served_model import Tensors, embeddings_of
from albert_tf.export.trained_model import TrainedModel
from albert_tf.models.heads import of_exported
from albert_tf.tasks.race import NUM_OPTIONS
from albert_tf.tasks.squad.span_measures import p_mask

MASKED_POSITIONS = "masked_lm_positions"

_INPUTS = ("input_ids", "input_mask", "segment_ids")
_MOST_POSITIONS = 20  # the masked pieces of a text that a model for pretraining tells


class TokenModel(tf.Module):
    """A trained model as one function of token ids, made for shapes that are known when it is converted.

    What it returns, float32 but for what is called an index, int32:

    | head | outputs |
    |---|---|
    | classification | `probabilities` [batch, classes] and `label` [batch], an index; or `score` [batch] |
    | multiple choice | `probabilities` [batch, choices] and `choice` [batch], an index |
    | question answering | `start_logits`, `end_logits` [batch, length] |
    | question answering, 2.0 | the beam of `AlbertForQuestionAnsweringV2`, in context and [CLS] |
    | pretraining | `mlm_logits` [batch, positions, pieces]; `sentence_order` [batch, 2], probabilities |
    | encoder | `pooled`, `mean` [batch, H], `sequence` [batch, length, H] |

    Args:
      trained: the model.

    Attributes:
      head: of the model.
      weights: its variables, each once.
    """

    def __init__(self, trained: TrainedModel):
        super().__init__()
        self.head = trained.head
        self.weights = list(trained.model.variables)
        # The Keras model itself stays out of the object graph, as in `ServedModel`.
        self._predict = lambda inputs: _PREDICTIONS[trained.head](trained, inputs)

    def __call__(self, **inputs: tf.Tensor) -> Tensors:
        """The outputs by name for the inputs of `specs`."""
        return self._predict(inputs)

    def specs(self, batch_size: int | None, length: int | None) -> tuple[tf.TensorSpec, ...]:
        """The inputs, int32 [batch, length], with choices before the length where there are some.

        A model for pretraining also takes `masked_lm_positions` [batch, positions]: 20, or all of a shorter
        sequence.
        """
        shape = [batch_size, NUM_OPTIONS, length] if self.head == "multiple_choice" else [batch_size, length]
        specs = [tf.TensorSpec(shape, tf.int32, name) for name in _INPUTS]
        if self.head == "pretraining":
            positions = None if length is None else min(length, _MOST_POSITIONS)
            specs.append(tf.TensorSpec([batch_size, positions], tf.int32, MASKED_POSITIONS))
        return tuple(specs)

    def function(self, batch_size: int | None, length: int | None) -> tf.types.experimental.ConcreteFunction:
        """The function for one shape; None is any size."""
        specs = {spec.name: spec for spec in self.specs(batch_size, length)}
        return tf.function(self.__call__, autograph=False).get_concrete_function(**specs)

    def decisions(self, outputs: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """What a user would read off the outputs, [batch, ...]; None where the outputs are all there is."""
        if self.head == "pretraining":
            return np.argmax(outputs["mlm_logits"], axis=-1)
        if self.head == "question_answering":
            return np.stack([np.argmax(outputs[f"{side}_logits"], -1) for side in ("start", "end")], -1)
        if self.head == "question_answering_v2":
            return np.stack([outputs[f"{side}_top_index"][:, 0] for side in ("start", "end")], -1)
        return next((outputs[name] for name in ("label", "choice") if name in outputs), None)


def _classify(trained: TrainedModel, inputs: Tensors) -> Tensors:
    logits = trained.model(inputs, training=False)["logits"]
    if not trained.task["label_names"]:
        return {"score": logits[:, 0]}
    return {"label": _best(logits), "probabilities": tf.nn.softmax(logits)}


def _choose(trained: TrainedModel, inputs: Tensors) -> Tensors:
    logits = trained.model(inputs, training=False)["logits"]
    return {"choice": _best(logits), "probabilities": tf.nn.softmax(logits)}


def _best(logits: tf.Tensor) -> tf.Tensor:
    return tf.argmax(logits, axis=-1, output_type=tf.int32)


def _answer(trained: TrainedModel, inputs: Tensors) -> Tensors:
    return trained.model(inputs, training=False)


def _answer_v2(trained: TrainedModel, inputs: Tensors) -> Tensors:
    return trained.model({**inputs, "p_mask": p_mask(inputs)}, training=False)


def _fill(trained: TrainedModel, inputs: Tensors) -> Tensors:
    outputs = trained.model(inputs, training=False)
    # The model may have more rows than there are pieces.
    filled = {"mlm_logits": outputs["mlm_logits"][..., : trained.tokenizer.vocab_size]}
    if trained.lacks_sentence_order:
        return filled
    return filled | {"sentence_order": tf.nn.softmax(outputs["sop_logits"])}


def _embed(trained: TrainedModel, inputs: Tensors) -> Tensors:
    return embeddings_of(trained.model, inputs)


_PREDICTIONS: Mapping[str, Callable[[TrainedModel, Tensors], Tensors]] = of_exported(
    {
        "classification": _classify,
        "multiple_choice": _choose,
        "question_answering": _answer,
        "question_answering_v2": _answer_v2,
        "pretraining": _fill,
        "encoder": _embed,
    }
)
