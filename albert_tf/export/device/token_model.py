"""`TokenModel`: the function that runs on a device; it makes numbers of token ids, without checks."""

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from albert_tf.data.label_lists import MULTI_LABEL
from albert_tf.export.serving.served_model import Tensors, decision, embeddings_of
from albert_tf.export.serving.served_tags import WORD_SHAPES
from albert_tf.export.trained_model import TrainedModel
from albert_tf.models.encoder import INPUT_NAMES
from albert_tf.models.heads import of_exported
from albert_tf.tasks.squad.span_measures import beam

MASKED_POSITIONS = "masked_lm_positions"

_MOST_POSITIONS = 20  # positions whose pieces a model for pretraining predicts


class TokenModel(tf.Module):
    """A trained model as one function of token ids, for shapes that are known before the conversion.

    Its outputs are float32; an index is int32:

    | head | outputs |
    |---|---|
    | classification | `probabilities` [batch, classes] and `label` [batch], an index; or `score` [batch] |
    | several labels at once | `probabilities` [batch, labels] |
    | multiple choice | `probabilities` [batch, choices] and `choice` [batch], an index |
    | question answering | `start_logits`, `end_logits` [batch, length] |
    | question answering, 2.0 | the beam of `AlbertForQuestionAnsweringV2`, in context and [CLS] |
    | tagging | `probabilities` [batch, length, tags], `label` [batch, length], an index; see `_tag` |
    | pretraining | `mlm_logits` [batch, positions, pieces]; `sentence_order` [batch, 2], probabilities |
    | similarity | `embedding` [batch, size] |
    | encoder | `pooled`, `mean` [batch, H], `sequence` [batch, length, H] |

    Attributes:
      head: see `TrainedModel`.
      weights: the model's variables, each once.
    """

    def __init__(self, trained: TrainedModel):
        super().__init__()
        self.head = trained.head
        self.weights = list(trained.model.variables)
        self._num_choices = len(trained.task["label_names"])
        is_tagger = trained.head == "token_classification"
        self._reads_words = is_tagger and (trained.model.crf or trained.model.casing_feature)
        # The Keras model itself is no attribute, as in `ServedModel`.
        self._predict = lambda inputs: _PREDICTIONS[trained.head](trained, inputs)

    def __call__(self, **inputs: tf.Tensor) -> Tensors:
        """The outputs by name, from the inputs of `specs`."""
        return self._predict(inputs)

    def specs(self, batch_size: int | None, length: int | None) -> tuple[tf.TensorSpec, ...]:
        """The inputs: int32 [batch, length], or [batch, choices, length] for multiple choice.

        A model for pretraining also takes `masked_lm_positions` [batch, positions], with 20 positions, or as
        many as a shorter sequence has. None for a size means any size.
        """
        choices = [self._num_choices] if self.head == "multiple_choice" else []
        shape = [batch_size, *choices, length]
        specs = [tf.TensorSpec(shape, tf.int32, name) for name in INPUT_NAMES]
        if self.head == "pretraining":
            positions = None if length is None else min(length, _MOST_POSITIONS)
            specs.append(tf.TensorSpec([batch_size, positions], tf.int32, MASKED_POSITIONS))
        if self._reads_words:
            specs.append(tf.TensorSpec(shape, tf.int32, WORD_SHAPES))
        return tuple(specs)

    def function(self, batch_size: int | None, length: int | None) -> tf.types.experimental.ConcreteFunction:
        """Makes the function for one shape; None means any size."""
        specs = {spec.name: spec for spec in self.specs(batch_size, length)}
        return tf.function(self.__call__, autograph=False).get_concrete_function(**specs)

    def decisions(self, outputs: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """The decisions that outputs lead to, [batch, ...]; None if they are scores or vectors."""
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
    if trained.task.get("problem_type") == MULTI_LABEL:
        return {"probabilities": tf.sigmoid(logits)}
    return decision("label", logits)


def _tag(trained: TrainedModel, inputs: Tensors) -> Tensors:
    """Probabilities of the tags of every piece; a CRF has the `label` of the best chain through the words."""
    logits = trained.model(inputs, training=False)["logits"]
    decided = decision("label", logits)
    if WORD_SHAPES not in inputs:
        return decided
    return decided | {"label": trained.model.tags(logits, inputs[WORD_SHAPES] > 0)[0]}


def _fill(trained: TrainedModel, inputs: Tensors) -> Tensors:
    outputs = trained.model(inputs, training=False)
    # The model may have more rows than there are pieces.
    filled = {"mlm_logits": outputs["mlm_logits"][..., : trained.tokenizer.vocab_size]}
    if trained.lacks_sentence_order:
        return filled
    return filled | {"sentence_order": tf.nn.softmax(outputs["sop_logits"])}


_PREDICTIONS: Mapping[str, Callable[[TrainedModel, Tensors], Tensors]] = of_exported(
    {
        "classification": _classify,
        "multiple_choice": lambda trained, inputs: decision(
            "choice", trained.model(inputs, training=False)["logits"]
        ),
        "question_answering": lambda trained, inputs: trained.model(inputs, training=False),
        "similarity": lambda trained, inputs: trained.model(inputs, training=False),
        "question_answering_v2": lambda trained, inputs: beam(trained.model, inputs),
        "token_classification": _tag,
        "pretraining": _fill,
        "encoder": lambda trained, inputs: embeddings_of(trained.model, inputs),
    }
)
