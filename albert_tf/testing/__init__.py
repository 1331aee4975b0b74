"""A tiny config and a tiny vocabulary of each kind, so that tests need no download.

`make_tokenizers` makes the vocabularies.
"""

import os
from typing import Any

from albert_tf.config import AlbertConfig

_FOLDER = os.path.dirname(os.path.abspath(__file__))
SPM_MODEL_FILE = os.path.join(_FOLDER, "tiny_sentencepiece.model")
VOCAB_FILE = os.path.join(_FOLDER, "tiny_wordpiece.txt")


def tiny_config(**changes: Any) -> AlbertConfig:
    """A model of some thousand parameters for `SPM_MODEL_FILE`; `changes` replace keys of the config."""
    sizes = {
        "vocab_size": 160,
        "embedding_size": 8,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 64,
    }
    return AlbertConfig(**(sizes | changes))
