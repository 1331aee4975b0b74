"""Hugging Face's `config.json` and ours."""

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

from albert_tf.config import AlbertConfig
from albert_tf.errors import InputError

ARCHITECTURES = {
    "encoder": "AlbertModel",
    "pretraining": "AlbertForPreTraining",
    "classification": "AlbertForSequenceClassification",
    "multiple_choice": "AlbertForMultipleChoice",
    "token_classification": "AlbertForTokenClassification",
    "question_answering": "AlbertForQuestionAnswering",
    # Transformers has no such head for ALBERT; the encoder is what it can load.
    "question_answering_v2": "AlbertModel",
}
_TANH_GELU = ("gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu_python_tanh")
ERF_GELU_NOTE = (
    'hidden_act is "gelu", which is the erf form there; the tanh form, the only one of the original, is used '
    "here. Compare the outputs: they differ by about 1e-3 unless the weights were trained by the original"
)


def read_config(path: str) -> tuple[AlbertConfig, dict[str, Any], list[str]]:
    """Reads a `config.json`.

    Returns:
      The config, all keys of the file, and notes on what it asks for that is done otherwise here.

    Raises:
      InputError: it is no ALBERT's, or the model cannot be expressed here.
    """
    try:
        with open(path, encoding="utf-8") as file:
            values = json.load(file)
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    model_type = values.get("model_type", "albert")
    if model_type != "albert":
        raise InputError(f"{path} is the config of another model: model_type is {model_type!r}, not 'albert'")
    if values.get("position_embedding_type", "absolute") != "absolute":
        raise InputError(
            f"{path}: position_embedding_type {values['position_embedding_type']!r} is not known"
        )
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
    """The head that `architectures` names, if it has a counterpart."""
    heads = {architecture: head for head, architecture in reversed(ARCHITECTURES.items())}
    heads["AlbertForMaskedLM"] = "pretraining"
    return next((heads[name] for name in values.get("architectures") or () if name in heads), None)


def write_config(
    folder: str,
    config: AlbertConfig,
    head: str,
    labels: int | None,
    dropout: float,
    special: Mapping[str, int],
) -> None:
    """Writes a `config.json`.

    Args:
      folder: where.
      config: the model's shape.
      head: a key of `ARCHITECTURES`.
      labels: number of labels of a classifier.
      dropout: of the classifier.
      special: ids under the keys `pad_token_id`, `bos_token_id` and `eos_token_id`.

    Raises:
      InputError: Hugging Face's ALBERT cannot express the model.
    """
    values = dataclasses.asdict(config) | expressible(config)
    for key in ("carried", "cross_layer_sharing"):
        del values[key]
    values |= {
        "model_type": "albert",
        "architectures": [ARCHITECTURES[head]],
        "hidden_act": "gelu_new" if config.hidden_act == "gelu" else config.hidden_act,
        "layer_norm_eps": 1e-12,
        "classifier_dropout_prob": dropout,
        "tie_word_embeddings": True,
        "dtype": "float32",
        **special,
    }
    if labels is not None:
        values["id2label"] = {str(i): f"LABEL_{i}" for i in range(labels)}
        values["label2id"] = {f"LABEL_{i}": i for i in range(labels)}
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump(values, file, indent=2, sort_keys=True)
        file.write("\n")


def expressible(config: AlbertConfig) -> dict[str, int]:
    """The `num_hidden_groups` under which Hugging Face's ALBERT shares the same weights.

    Raises:
      InputError: there is none.
    """
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
