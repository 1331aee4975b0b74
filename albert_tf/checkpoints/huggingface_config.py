"""Hugging Face's `config.json`, and the names of its parameters beside those of the original."""

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from albert_tf.config import AlbertConfig
from albert_tf.data.label_lists import MULTI_LABEL
from albert_tf.errors import InputError
from albert_tf.files import read_json, write_json
from albert_tf.models.heads import HEADS

# The first head of a class counts, so that `AlbertModel` is the encoder.
_HEADS = {name: head.name for head in reversed(list(HEADS.values())) for name in head.architectures}
_PLACEHOLDER = re.compile(r"LABEL_\d+")  # stands for a label without a name
_TANH_GELU = ("gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu_python_tanh")
ERF_GELU_NOTE = (
    'hidden_act is "gelu", which is the erf form there; the tanh form, the only one of the original, is used '
    "here. Compare the outputs: they differ by about 1e-3 unless the weights were trained by the original"
)


class _Config(TypedDict, total=False):
    """The keys whose types `AlbertConfig` does not check."""

    model_type: str
    position_embedding_type: str
    hidden_act: str | None
    layer_norm_eps: float
    architectures: list[str] | None
    id2label: dict[str, str] | None
    problem_type: str | None


def read_config(path: str) -> tuple[AlbertConfig, dict[str, Any], list[str]]:
    """The config of a `config.json`, all keys of the file, and notes on what is different here."""
    values = dict(read_json(path, _Config))
    model_type = values.get("model_type", "albert")
    if model_type != "albert":
        raise InputError(f"{path} is the config of another model: model_type is {model_type!r}, not 'albert'")
    if values.get("position_embedding_type", "absolute") != "absolute":
        raise InputError(f"{path}: unknown position_embedding_type {values['position_embedding_type']!r}")
    notes = []
    known = {f.name for f in dataclasses.fields(AlbertConfig)} - {"carried"}
    ours = {key: value for key, value in values.items() if key in known}
    if values.get("hidden_act") in _TANH_GELU:
        ours["hidden_act"] = "gelu"
    elif values.get("hidden_act") == "gelu":
        notes.append(ERF_GELU_NOTE)
    if values.get("layer_norm_eps", 1e-12) != 1e-12:
        notes.append(f"layer_norm_eps is {values['layer_norm_eps']} there and 1e-12 here")
    try:
        return AlbertConfig.from_dict(ours), values, notes
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def head_in(values: Mapping[str, Any]) -> str | None:
    """The head that `architectures` names, if we have it."""
    return next((_HEADS[name] for name in values.get("architectures") or () if name in _HEADS), None)


def task_in(values: Mapping[str, Any], path: str, num_labels: int | None) -> dict[str, Any]:
    """The `task` of `Assets` as far as a `config.json` tells it: labels, and whether a text has several.

    `num_labels` counts the outputs of the head, None if it has no labels. `InputError` if the file numbers
    the labels otherwise, or predicts several scores.
    """
    if num_labels is None or head_in(values) == "multiple_choice":  # its one output is no label
        return {}
    if values.get("problem_type") == "regression" and num_labels > 1:
        raise InputError(f"{path}: problem_type is regression, but the head has {num_labels} outputs, not 1")
    is_multi = values.get("problem_type") == MULTI_LABEL and head_in(values) == "classification"
    kind = {"problem_type": MULTI_LABEL} if is_multi else {}
    if num_labels == 1 and head_in(values) == "classification" and not is_multi:
        return {"label_names": []}
    names = values.get("id2label") or {}
    if not names or any(_PLACEHOLDER.fullmatch(name) for name in names.values()):
        return kind
    if set(names) != {str(number) for number in range(num_labels)}:
        raise InputError(
            f"{path}: id2label names the labels {', '.join(names)}, but the head has {num_labels} outputs"
        )
    return {"label_names": [names[str(number)] for number in range(num_labels)], **kind}


def write_config(
    folder: str,
    config: AlbertConfig,
    head: str,
    task: Mapping[str, Any],
    labels: int | None,
    dropout: float,
    special: Mapping[str, int],
    dtype: str = "float32",
) -> None:
    """Writes a `config.json`; `InputError` if Hugging Face's ALBERT cannot express the model.

    `task` is that of `Assets`, `labels` the number of labels of a classifier, `dropout` stands before it;
    `special` are the ids `pad_token_id`, `bos_token_id` and `eos_token_id`; `dtype` is that of the weights.
    """
    values = dataclasses.asdict(config) | expressible(config)
    for key in ("carried", "cross_layer_sharing"):
        del values[key]
    values |= {
        "model_type": "albert",
        "architectures": [HEADS[head].architectures[0]],
        "hidden_act": "gelu_new" if config.hidden_act == "gelu" else config.hidden_act,
        "layer_norm_eps": 1e-12,
        "classifier_dropout_prob": dropout,
        "tie_word_embeddings": True,
        "dtype": dtype,
        **special,
    }
    if labels is not None:
        names = task.get("label_names") or ()
        if len(names) != labels:
            names = [f"LABEL_{number}" for number in range(labels)]
        values["id2label"] = {str(number): name for number, name in enumerate(names)}
        values["label2id"] = {name: number for number, name in enumerate(names)}
    if task.get("problem_type") == MULTI_LABEL:
        values["problem_type"] = MULTI_LABEL
    write_json(os.path.join(folder, "config.json"), values, sort_keys=True)


def expressible(config: AlbertConfig) -> dict[str, int]:
    """The `num_hidden_groups` with which Hugging Face's ALBERT shares the same weights, or `InputError`."""
    if config.cross_layer_sharing in ("attention", "ffn"):
        raise InputError(
            f"Hugging Face's ALBERT cannot share {config.cross_layer_sharing} alone (cross_layer_sharing): "
            "it shares whole layers or none"
        )
    layers = range(config.num_hidden_layers)
    groups = config.num_hidden_groups if config.cross_layer_sharing == "all" else len(layers)
    theirs = [int(layer / (len(layers) / groups)) for layer in layers]
    ours = [config.attention_group(layer) for layer in layers]
    if theirs != ours:
        raise InputError(
            f"Hugging Face's ALBERT would use other groups: with num_hidden_groups {groups} of {len(layers)} "
            f"layers it has {theirs}, the original {ours}"
        )
    return {"num_hidden_groups": groups}


# Names without their last part: kernels and gammas are called "weight" there, biases and betas "bias".
_STEMS = {
    "albert.embeddings.LayerNorm": "bert/embeddings/LayerNorm",
    "albert.encoder.embedding_hidden_mapping_in": "bert/encoder/embedding_hidden_mapping_in",
    "albert.pooler": "bert/pooler/dense",
    "predictions.dense": "cls/predictions/transform/dense",
    "predictions.LayerNorm": "cls/predictions/transform/LayerNorm",
}
_STEMS_IN_LAYER = {
    "attention.query": "attention_1/self/query",
    "attention.key": "attention_1/self/key",
    "attention.value": "attention_1/self/value",
    "attention.dense": "attention_1/output/dense",
    "attention.LayerNorm": "LayerNorm",
    "ffn": "ffn_1/intermediate/dense",
    "ffn_output": "ffn_1/intermediate/output/dense",
    "full_layer_layer_norm": "LayerNorm_1",
}
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


def _with_last_parts(stems: dict[str, str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for theirs, ours in stems.items():
        weight, bias = ("gamma", "beta") if "LayerNorm" in ours else ("kernel", "bias")
        pairs |= {f"{theirs}.weight": f"{ours}/{weight}", f"{theirs}.bias": f"{ours}/{bias}"}
    return pairs


NAMES = _WHOLE | _with_last_parts(_STEMS)
NAMES_IN_LAYER = _with_last_parts(_STEMS_IN_LAYER)
_BACK = {ours: theirs for theirs, ours in NAMES.items()}
_BACK_IN_LAYER = {ours: theirs for theirs, ours in NAMES_IN_LAYER.items()}

_THEIR_LAYER = re.compile(r"albert\.encoder\.albert_layer_groups\.(\d+)\.albert_layers\.(\d+)\.(.+)")
_OUR_LAYER = re.compile(r"bert/encoder/transformer/group_(\d+)/inner_group_(\d+)/(.+)")


def encoder_prefix(names: Iterable[str]) -> str:
    """How the names of the encoder begin: "albert.", "" for `AlbertModel`, or a user's attribute."""
    end = "embeddings.word_embeddings.weight"
    return next((name.removesuffix(end) for name in names if name.endswith(end)), "albert.")


def to_original(name: str, prefix: str = "albert.") -> str:
    """The original's name; a name that is not in the table stays."""
    parts = tuple(f"{prefix}{part}." for part in ("embeddings", "encoder", "pooler"))
    if name.startswith(parts):
        name = f"albert.{name.removeprefix(prefix)}"
    layer = _THEIR_LAYER.fullmatch(name)
    if layer and layer[3] in NAMES_IN_LAYER:
        return f"bert/encoder/transformer/group_{layer[1]}/inner_group_{layer[2]}/{NAMES_IN_LAYER[layer[3]]}"
    return NAMES.get(name, name)


def to_huggingface(name: str) -> str:
    """Hugging Face's name; a name that is not in the table (in the head of SQuAD 2.0) stays."""
    layer = _OUR_LAYER.fullmatch(name)
    if layer:
        groups = f"albert.encoder.albert_layer_groups.{layer[1]}.albert_layers.{layer[2]}"
        return f"{groups}.{_BACK_IN_LAYER[layer[3]]}"
    return _BACK.get(name, name)


def is_transposed(original_name: str) -> bool:
    """Whether Hugging Face stores the matrix transposed: kernels are, but not in the head of SQuAD 2.0."""
    return original_name.endswith("/kernel") and to_huggingface(original_name) != original_name
