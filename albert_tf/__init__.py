"""ALBERT (A Lite BERT, arXiv 1909.11942) for TensorFlow 2 / Keras.

The names below are imported on first use, so that `import albert_tf` costs nothing.
"""

import importlib
from typing import Any

_HOMES = {
    "AlbertConfig": "albert_tf.config",
    "AlbertEncoder": "albert_tf.models.encoder",
    "AlbertForPreTraining": "albert_tf.models.pretraining",
    "InputError": "albert_tf.errors",
    "load_tokenizer": "albert_tf.tokenization",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'albert_tf' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
