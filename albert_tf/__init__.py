"""ALBERT (A Lite BERT, arXiv 1909.11942) for TensorFlow 2 / Keras.

The names below are imported on first use, so that `import albert_tf` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors and type checkers, which do not follow __getattr__
    from albert_tf.asking.open_model import OpenModel as OpenModel
    from albert_tf.asking.open_model import open_model as open_model
    from albert_tf.checkpoints.loading import load_weights as load_weights
    from albert_tf.config import AlbertConfig as AlbertConfig
    from albert_tf.errors import InputError as InputError
    from albert_tf.models.classification import AlbertForMultipleChoice as AlbertForMultipleChoice
    from albert_tf.models.classification import (
        AlbertForSequenceClassification as AlbertForSequenceClassification,
    )
    from albert_tf.models.classification import AlbertForTokenClassification as AlbertForTokenClassification
    from albert_tf.models.encoder import AlbertEncoder as AlbertEncoder
    from albert_tf.models.pretraining import AlbertForPreTraining as AlbertForPreTraining
    from albert_tf.models.question_answering import AlbertForQuestionAnswering as AlbertForQuestionAnswering
    from albert_tf.models.question_answering import (
        AlbertForQuestionAnsweringV2 as AlbertForQuestionAnsweringV2,
    )
    from albert_tf.models.sentence_embedding import AlbertForSentenceEmbedding as AlbertForSentenceEmbedding
    from albert_tf.tokenization import load_tokenizer as load_tokenizer
    from albert_tf.tokenization.in_graph.preprocessing_layer import PreprocessingLayer as PreprocessingLayer
    from albert_tf.training.optimization import LAMB as LAMB
    from albert_tf.training.optimization import AdamW as AdamW
    from albert_tf.training.optimization import WarmupPolynomialDecay as WarmupPolynomialDecay

__version__ = "0.1.0"  # pyproject.toml reads it from here

_HOMES = {
    "AdamW": "albert_tf.training.optimization",
    "AlbertConfig": "albert_tf.config",
    "AlbertEncoder": "albert_tf.models.encoder",
    "AlbertForMultipleChoice": "albert_tf.models.classification",
    "AlbertForPreTraining": "albert_tf.models.pretraining",
    "AlbertForQuestionAnswering": "albert_tf.models.question_answering",
    "AlbertForQuestionAnsweringV2": "albert_tf.models.question_answering",
    "AlbertForSentenceEmbedding": "albert_tf.models.sentence_embedding",
    "AlbertForSequenceClassification": "albert_tf.models.classification",
    "AlbertForTokenClassification": "albert_tf.models.classification",
    "InputError": "albert_tf.errors",
    "LAMB": "albert_tf.training.optimization",
    "OpenModel": "albert_tf.asking.open_model",
    "PreprocessingLayer": "albert_tf.tokenization.in_graph.preprocessing_layer",
    "WarmupPolynomialDecay": "albert_tf.training.optimization",
    "load_tokenizer": "albert_tf.tokenization",
    "load_weights": "albert_tf.checkpoints.loading",
    "open_model": "albert_tf.asking.open_model",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'albert_tf' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
