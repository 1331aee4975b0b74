"""Which model a set of weights belongs to."""

from collections.abc import Mapping
from typing import Any

import tf_keras

from albert_tf.config import AlbertConfig
from albert_tf.errors import InputError
from albert_tf.models.classification import (
    AlbertForMultipleChoice,
    AlbertForSequenceClassification,
    AlbertForTokenClassification,
)
from albert_tf.models.encoder import AlbertEncoder
from albert_tf.models.pretraining import AlbertForPreTraining
from albert_tf.models.question_answering import AlbertForQuestionAnswering, AlbertForQuestionAnsweringV2

MODELS: Mapping[str, type[tf_keras.Model]] = {
    "encoder": AlbertEncoder,
    "pretraining": AlbertForPreTraining,
    "classification": AlbertForSequenceClassification,
    "multiple_choice": AlbertForMultipleChoice,
    "token_classification": AlbertForTokenClassification,
    "question_answering": AlbertForQuestionAnswering,
    "question_answering_v2": AlbertForQuestionAnsweringV2,
}
# These three store their head under the same names.
SHARED_NAMES = ("classification", "multiple_choice", "token_classification")


def head_of(shapes: Mapping[str, Any]) -> str:
    """The head that the names tell; where three have the same names, "classification"."""
    if "output_weights" in shapes:
        return "classification"
    if "cls/squad/output_weights" in shapes:
        return "question_answering"
    if "start_logits/dense/kernel" in shapes:
        return "question_answering_v2"
    if any(name.startswith(("cls/predictions/", "cls/seq_relationship/")) for name in shapes):
        return "pretraining"
    return "encoder"


def build_model(head: str, config: AlbertConfig, shapes: Mapping[str, tuple[int, ...]]) -> tf_keras.Model:
    """A fresh model with that head; labels are counted in the shapes.

    Raises:
      InputError: the weights have no such head, or not one of that size.
    """
    if head in SHARED_NAMES:
        if "output_weights" not in shapes:
            raise InputError(f"there is no head for {head} in the weights (output_weights)")
        labels = shapes["output_weights"][0]
        if head != "multiple_choice":
            return MODELS[head](config, num_labels=labels)
        if labels != 1:
            raise InputError(f"the head has {labels} labels; multiple choice has 1, a score for each choice")
    return MODELS[head](config)
