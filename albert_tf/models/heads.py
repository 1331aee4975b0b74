"""The table of heads: which models exist, and how their weights are told apart."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

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
from albert_tf.models.sentence_embedding import PROJECTION, AlbertForSentenceEmbedding

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Head:
    """A row of the table.

    Attributes:
      weights: how the names of the head's variables begin; several heads can have the same names.
      attribute: the model's attribute that holds the head. Checkpoints of this package store its name, which
        tells heads apart whose variables have the same names.
      architectures: Hugging Face's classes; the first one is written.
      pipeline: Hugging Face's name of what its class does.
      outputs: the name of each output of the model -> its name in Hugging Face's model.
      task_names: values of `--task_name` for the head, besides the tasks of GLUE; a head without any cannot
        be exported.
      max_seq_length: the most pieces of a sequence, if nothing else gives it.
      settings: attributes of the model that a task keeps.
    """

    name: str
    model: type[tf_keras.Model]
    weights: tuple[str, ...] = ()
    attribute: str | None = None
    architectures: tuple[str, ...]
    pipeline: str
    outputs: Mapping[str, str]
    task_names: tuple[str, ...] = ()
    max_seq_length: int = 512
    settings: tuple[str, ...] = ()

    @property
    def in_words(self) -> str:
        """The model's name in messages."""
        return f"a model for {self.name.replace('_', ' ')}" if self.weights else "an encoder without a head"


def _head_with_classes(
    name: str, model: type, attribute: str, pipeline: str, task_names: tuple[str, ...] = ()
) -> Head:
    return Head(
        name=name,
        model=model,
        weights=("output_weights", "output_bias"),
        attribute=attribute,
        architectures=(model.__name__,),
        pipeline=pipeline,
        outputs={"logits": "logits"},
        task_names=task_names,
    )


_SPANS = ("cls_logits", "start_top_log_probs", "start_top_index", "end_top_log_probs", "end_top_index")

# Of several heads, the first row counts: fine-tuned weights may still have the heads of pretraining.
HEADS: Mapping[str, Head] = {
    head.name: head
    for head in (
        Head(
            name="encoder",
            model=AlbertEncoder,
            architectures=("AlbertModel",),
            pipeline="feature-extraction",
            outputs={"sequence_output": "last_hidden_state", "pooled_output": "pooler_output"},
            task_names=("encoder",),
        ),
        _head_with_classes(
            "classification",
            AlbertForSequenceClassification,
            "classifier",
            "text-classification",
            ("custom",),
        ),
        _head_with_classes(
            "multiple_choice", AlbertForMultipleChoice, "choice", "multiple-choice", ("race",)
        ),
        _head_with_classes(
            "token_classification",
            AlbertForTokenClassification,
            "token_classifier",
            "token-classification",
            ("tagging",),
        ),
        Head(
            name="question_answering",
            model=AlbertForQuestionAnswering,
            weights=("cls/squad/",),
            architectures=("AlbertForQuestionAnswering",),
            pipeline="question-answering",
            outputs={"start_logits": "start_logits", "end_logits": "end_logits"},
            task_names=("squad_v1",),
            max_seq_length=384,
        ),
        Head(
            name="question_answering_v2",
            model=AlbertForQuestionAnsweringV2,
            weights=("start_logits/", "end_logits/", "answer_class/"),
            # Transformers has no such head for ALBERT; the encoder is what it can load.
            architectures=("AlbertModel",),
            pipeline="feature-extraction",
            outputs={name: name for name in _SPANS},
            task_names=("squad_v2",),
            max_seq_length=384,
            settings=("start_n_top", "end_n_top"),
        ),
        Head(
            name="similarity",
            model=AlbertForSentenceEmbedding,
            weights=("projection/",),  # which not every such model has
            architectures=("AlbertModel",),
            pipeline="sentence-similarity",
            outputs={"embedding": "sentence_embedding"},
            task_names=("similarity",),
            settings=("pooling", "normalize"),
        ),
        Head(
            name="pretraining",
            model=AlbertForPreTraining,
            weights=("cls/predictions/", "cls/seq_relationship/"),
            architectures=("AlbertForPreTraining", "AlbertForMaskedLM"),
            pipeline="fill-mask",
            outputs={"mlm_logits": "prediction_logits", "sop_logits": "sop_logits"},
            task_names=("pretraining",),
        ),
    )
}
_MOST_LABELS = 2**20
# Heads whose weights have the same names.
SHARED_NAMES = tuple(head.name for head in HEADS.values() if head.attribute)


def of_exported(values: Mapping[str, _T]) -> Mapping[str, _T]:
    """The same mapping; ValueError unless it has a value for each head that has tasks, and for no other."""
    wanted = {head.name for head in HEADS.values() if head.task_names}
    if values.keys() != wanted:
        raise ValueError(f"the heads {', '.join(sorted(wanted ^ values.keys()))} are missing or not exported")
    return values


def find_head(name: str) -> Head:
    """The row of that name; `InputError` if there is none."""
    if name not in HEADS:
        raise InputError(f"there is no head {name!r}; there are {', '.join(HEADS)}")
    return HEADS[name]


def head_of_model(model: tf_keras.Model) -> Head:
    """The row of a model."""
    return next(head for head in HEADS.values() if type(model) is head.model)


def head_of_task(task_name: str) -> Head | None:
    """The row of a task; None for the tasks of GLUE."""
    return next((head for head in HEADS.values() if task_name in head.task_names), None)


def head_of(shapes: Mapping[str, Any], told: str | None = None) -> Head:
    """The head of weights, told by their names; for heads with the same names by `told`, else the first."""
    found = [head for head in HEADS.values() if any(name.startswith(head.weights) for name in shapes)]
    if not found:
        return HEADS["similarity" if told == "similarity" else "encoder"]
    return next((head for head in found if head.name == told), found[0])


def same_names(head: Head) -> list[Head]:
    """All heads whose weights have the same names as those of this head, itself included."""
    return [other for other in HEADS.values() if other.weights == head.weights]


def build_model(head: str, config: AlbertConfig, shapes: Mapping[str, tuple[int, ...]]) -> tf_keras.Model:
    """A fresh model with that head and the labels of these weights; `InputError` if they do not fit."""
    model = find_head(head).model
    if head in SHARED_NAMES:
        if "output_weights" not in shapes:
            raise InputError(f"there is no head for {head} in the weights (output_weights)")
        shape = shapes["output_weights"]
        if len(shape) != 2 or not 0 < shape[0] <= _MOST_LABELS:
            raise InputError(f"output_weights has shape {list(shape)}, not [labels, hidden_size]")
        labels = shape[0]
        if head == "token_classification":
            parts = {"crf": "crf/transitions", "casing_feature": "word_shapes/vectors"}
            return model(config, num_labels=labels, **{part: name in shapes for part, name in parts.items()})
        if head == "classification":
            return model(config, num_labels=labels, early_exit="exits/output_weights" in shapes)
        if labels != 1:
            raise InputError(f"the head has {labels} labels; multiple choice has 1, a score for each choice")
    if head == "similarity":
        return model(config, projection_size=shapes[PROJECTION][-1] if PROJECTION in shapes else None)
    return model(config)
