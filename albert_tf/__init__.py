"""ALBERT (A Lite BERT, arXiv 1909.11942) for TensorFlow 2 / Keras.

The names below are imported on first use, so that `import albert_tf` costs nothing.
"""

import importlib
from typing import Any

_HOMES = {
    "AlbertConfig": "albert_tf.config",
    "AlbertEncoder": "albert_tf.models.encoder",
    "AlbertForMultipleChoice": "albert_tf.models.classification",
    "AlbertForPreTraining": "albert_tf.models.pretraining",
    "AlbertForQuestionAnswering": "albert_tf.models.question_answering",
    "AlbertForQuestionAnsweringV2": "albert_tf.models.question_answering",
    "AlbertForSequenceClassification": "albert_tf.models.classification",
    "AlbertForTokenClassification": "albert_tf.models.classification",
    "InputError": "albert_tf.errors",
    "load_tokenizer": "albert_tf.tokenization",
    "load_weights": "albert_tf.checkpoints.loading",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'albert_tf' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
