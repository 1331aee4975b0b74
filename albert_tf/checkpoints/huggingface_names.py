"""The table of names: Hugging Face's parameters and the original's variables."""

import re
from collections.abc import Iterable

# Without the last part, which follows from the kind: kernel or gamma is "weight", beta or bias is "bias".
_DENSE = {
    "albert.encoder.embedding_hidden_mapping_in": "bert/encoder/embedding_hidden_mapping_in",
    "albert.pooler": "bert/pooler/dense",
    "predictions.dense": "cls/predictions/transform/dense",
}
_NORM = {
    "albert.embeddings.LayerNorm": "bert/embeddings/LayerNorm",
    "predictions.LayerNorm": "cls/predictions/transform/LayerNorm",
}
_DENSE_IN_LAYER = {
    "attention.query": "attention_1/self/query",
    "attention.key": "attention_1/self/key",
    "attention.value": "attention_1/self/value",
    "attention.dense": "attention_1/output/dense",
    "ffn": "ffn_1/intermediate/dense",
    "ffn_output": "ffn_1/intermediate/output/dense",
}
_NORM_IN_LAYER = {"attention.LayerNorm": "LayerNorm", "full_layer_layer_norm": "LayerNorm_1"}
_WHOLE = {
    "albert.embeddings.word_embeddings.weight": "bert/embeddings/word_embeddings",
    "albert.embeddings.token_type_embeddings.weight": "bert/embeddings/token_type_embeddings",
    "albert.embeddings.position_embeddings.weight": "bert/embeddings/position_embeddings",
    "predictions.bias": "cls/predictions/output_bias",
    "sop_classifier.classifier.weight": "cls/seq_relationship/output_weights",
    "sop_classifier.classifier.bias": "cls/seq_relationship/output_bias",
    "classifier.weight": "output_weights",
    "classifier.bias": "output_bias",
    "qa_outputs.weight": "cls/squad/output_weights",
    "qa_outputs.bias": "cls/squad/output_bias",
}


def _pairs(dense: dict[str, str], norm: dict[str, str]) -> dict[str, str]:
    """The tables with the last parts of the names."""
    pairs = {}
    for table, weight, bias in ((dense, "kernel", "bias"), (norm, "gamma", "beta")):
        for theirs, ours in table.items():
            pairs |= {f"{theirs}.weight": f"{ours}/{weight}", f"{theirs}.bias": f"{ours}/{bias}"}
    return pairs


NAMES = _WHOLE | _pairs(_DENSE, _NORM)
NAMES_IN_LAYER = _pairs(_DENSE_IN_LAYER, _NORM_IN_LAYER)
_BACK = {ours: theirs for theirs, ours in NAMES.items()}
_BACK_IN_LAYER = {ours: theirs for theirs, ours in NAMES_IN_LAYER.items()}

_THEIR_LAYER = re.compile(r"albert\.encoder\.albert_layer_groups\.(\d+)\.albert_layers\.(\d+)\.(.+)")
_OUR_LAYER = re.compile(r"bert/encoder/transformer/group_(\d+)/inner_group_(\d+)/(.+)")


def encoder_prefix(names: Iterable[str]) -> str:
    """What stands before the encoder's parameters: "albert.", "" for `AlbertModel`, or a user's attribute."""
    end = "embeddings.word_embeddings.weight"
    return next((name.removesuffix(end) for name in names if name.endswith(end)), "albert.")


def to_original(name: str, prefix: str = "albert.") -> str:
    """The original's name; a name that is not in the table is its own."""
    if prefix != "albert." and name.startswith(
        (f"{prefix}embeddings.", f"{prefix}encoder.", f"{prefix}pooler.")
    ):
        name = f"albert.{name.removeprefix(prefix)}"
    layer = _THEIR_LAYER.fullmatch(name)
    if layer and layer[3] in NAMES_IN_LAYER:
        return f"bert/encoder/transformer/group_{layer[1]}/inner_group_{layer[2]}/{NAMES_IN_LAYER[layer[3]]}"
    return NAMES.get(name, name)


def to_huggingface(name: str) -> str:
    """Hugging Face's name; a name that is not in the table (the head of SQuAD 2.0) is its own."""
    layer = _OUR_LAYER.fullmatch(name)
    if layer:
        groups = f"albert.encoder.albert_layer_groups.{layer[1]}.albert_layers.{layer[2]}"
        return f"{groups}.{_BACK_IN_LAYER[layer[3]]}"
    return _BACK.get(name, name)


def is_transposed(original_name: str) -> bool:
    """Whether the two store the matrix transposed to each other: kernels, but not those of SQuAD 2.0."""
    return original_name.endswith("/kernel") and to_huggingface(original_name) != original_name
