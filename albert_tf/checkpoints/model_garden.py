"""The names that the TensorFlow Model Garden gives ALBERT; the TF2 modules of TF-Hub were made with it."""

import dataclasses
import math
import re

import numpy as np

from albert_tf.checkpoints.source import WeightSource

_LAYER = "bert/encoder/transformer/group_0/inner_group_0"
_NAMES = {
    "word_embeddings/embeddings": "bert/embeddings/word_embeddings",
    "type_embeddings/embeddings": "bert/embeddings/token_type_embeddings",
    "position_embedding/embeddings": "bert/embeddings/position_embeddings",
    "cls/predictions/output_bias/bias": "cls/predictions/output_bias",
}
_STEMS = {
    "embeddings/layer_norm": "bert/embeddings/LayerNorm",
    "embedding_projection": "bert/encoder/embedding_hidden_mapping_in",
    "transformer/self_attention/query": f"{_LAYER}/attention_1/self/query",
    "transformer/self_attention/key": f"{_LAYER}/attention_1/self/key",
    "transformer/self_attention/value": f"{_LAYER}/attention_1/self/value",
    "transformer/self_attention/attention_output": f"{_LAYER}/attention_1/output/dense",
    "transformer/self_attention_layer_norm": f"{_LAYER}/LayerNorm",
    "transformer/intermediate": f"{_LAYER}/ffn_1/intermediate/dense",
    "transformer/output": f"{_LAYER}/ffn_1/intermediate/output/dense",
    "transformer/output_layer_norm": f"{_LAYER}/LayerNorm_1",
    "pooler_transform": "bert/pooler/dense",
}
_QUERY = f"{_LAYER}/attention_1/self/query/kernel"


def with_our_names(source: WeightSource) -> WeightSource:
    """The source under the original's names and shapes if its names are the Model Garden's, else as it is."""
    if "transformer/self_attention/query/kernel" not in source.shapes:
        return source
    names = {_renamed(name): name for name in source.shapes}
    shapes = {ours: _flat(ours, source.shapes[theirs]) for ours, theirs in names.items()}
    _, heads, _ = source.shapes[names[_QUERY]]

    def read(name: str) -> np.ndarray:
        return source.read(names[name]).reshape(shapes[name])

    return dataclasses.replace(source, shapes=shapes, read=read, num_attention_heads=heads)


def _renamed(name: str) -> str:
    stem, _, last = name.rpartition("/")
    return _NAMES.get(name) or (f"{_STEMS[stem]}/{last}" if stem in _STEMS else name)


def _flat(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape with heads and the width of one taken together."""
    if re.search(r"/self/\w+/bias$", name):
        return (math.prod(shape),)
    if re.search(r"/self/\w+/kernel$", name):
        return shape[0], math.prod(shape[1:])
    if name.endswith("attention_1/output/dense/kernel"):
        return math.prod(shape[:2]), shape[2]
    return shape
