"""Which served model belongs to which head."""

from collections.abc import Mapping
from typing import Any

from albert_tf.export.classification import ServedClassification
from albert_tf.export.multiple_choice import ServedMultipleChoice
from albert_tf.export.pretraining import ServedPretraining
from albert_tf.export.question_answering import ServedQuestionAnswering
from albert_tf.export.served_model import ServedModel
from albert_tf.export.trained_model import TrainedModel
from albert_tf.flags import UsageError

_KINDS: Mapping[str, type[ServedModel]] = {
    "encoder": ServedModel,
    "classification": ServedClassification,
    "multiple_choice": ServedMultipleChoice,
    "pretraining": ServedPretraining,
    "question_answering": ServedQuestionAnswering,
    "question_answering_v2": ServedQuestionAnswering,
}


def serve(trained: TrainedModel, settings: Mapping[str, Any]) -> ServedModel:
    """The served model of a trained one.

    Args:
      trained: the model.
      settings: those of the flags of `ServedModel.settings` that are given; for others what the training kept
        counts, else the default.

    Raises:
      UsageError: a setting is of another kind of model.
    """
    kind = _KINDS[trained.head]
    for name in settings:
        if name not in kind.settings:
            raise UsageError(f"--{name} does not belong to a model for {trained.task['task_name']}")
    kept = {name: trained.task[name] for name in kind.settings if name in trained.task}
    return kind(trained, **kept | settings)
