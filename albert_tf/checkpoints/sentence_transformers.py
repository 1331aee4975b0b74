"""Folders of sentence-transformers: what they hold beside a Hugging Face folder, in and out."""

import os
from collections.abc import Mapping
from typing import Annotated, Any, TypedDict

import msgspec
import numpy as np
import safetensors.numpy

from albert_tf.errors import InputError
from albert_tf.files import read_json, write_bytes, write_json
from albert_tf.models.sentence_embedding import PROJECTION

_MODULES, _LENGTH = "modules.json", "sentence_bert_config.json"
_POOLING, _DENSE, _NORMALIZE = "1_Pooling", "2_Dense", "3_Normalize"
_MODES = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token"}
_IDENTITY = "torch.nn.modules.linear.Identity"
_BIAS = PROJECTION.replace("kernel", "bias")


class _Module(TypedDict):
    """A line of `modules.json`."""

    path: str
    type: str


class _Length(TypedDict):
    """What is read of `sentence_bert_config.json`."""

    max_seq_length: Annotated[int, msgspec.Meta(ge=4, lt=2**31)]


def write_modules(
    folder: str, task: Mapping[str, Any], weights: Mapping[str, np.ndarray], width: int
) -> bool:
    """Writes the modules of a model for similarity into a Hugging Face folder.

    `weights` are those of the whole model, `width` is its hidden size. Returns whether it did: there is no
    module for the pooled output.
    """
    pooling = task.get("pooling", "mean")
    if pooling not in _MODES:
        return False
    types = {"": "Transformer", _POOLING: "Pooling"}
    modes = {mode: name == pooling for name, mode in _MODES.items()}
    modes |= dict.fromkeys(("pooling_mode_max_tokens", "pooling_mode_mean_sqrt_len_tokens"), False)
    _write(folder, _POOLING, {"word_embedding_dimension": width, **modes})
    if PROJECTION in weights:
        types[_DENSE] = "Dense"
        kernel, bias = weights[PROJECTION], weights[_BIAS]
        sizes = {"in_features": width, "out_features": len(bias), "bias": True}
        _write(folder, _DENSE, {**sizes, "activation_function": _IDENTITY})
        tensors = {"linear.weight": np.ascontiguousarray(kernel.T), "linear.bias": bias}
        with write_bytes(os.path.join(folder, _DENSE, "model.safetensors")) as file:
            file.write(safetensors.numpy.save(tensors, metadata={"format": "pt"}))
    if task.get("normalize", True):
        types[_NORMALIZE] = "Normalize"
        _write(folder, _NORMALIZE, {})
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(types.items())
    ]
    write_json(os.path.join(folder, _MODULES), modules)
    if "max_seq_length" in task:
        length = {"max_seq_length": task["max_seq_length"], "do_lower_case": False}  # the tokenizer does it
        write_json(os.path.join(folder, _LENGTH), length)
    return True


def _write(folder: str, name: str, config: Mapping[str, Any]) -> None:
    os.makedirs(os.path.join(folder, name), exist_ok=True)
    write_json(os.path.join(folder, name, "config.json"), config)


def read_modules(folder: str) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """The task that the modules of a folder describe, as in `Assets`, and the weights of a projection.

    None if the folder has no modules. `InputError` if one of them is of another kind than ours.
    """
    path = os.path.join(folder, _MODULES)
    if not os.path.exists(path):
        return None
    first, *modules = read_json(path, list[_Module]) or [{"path": "", "type": ""}]
    task: dict[str, Any] = {"task_name": "similarity", "label_names": [], "normalize": False}
    weights: dict[str, np.ndarray] = {}
    kinds = [module["type"].rpartition(".")[2] for module in (first, *modules)]
    wanted = [kind for kind in ("Transformer", "Pooling", "Dense", "Normalize") if kind in kinds]
    if kinds != wanted or kinds[:2] != ["Transformer", "Pooling"] or first["path"]:
        found = ", ".join(kinds)
        raise InputError(f"{path} has {found}; Transformer, Pooling, Dense and Normalize can be read")
    for kind, module in zip(kinds[1:], modules, strict=True):
        inside = os.path.join(folder, os.path.basename(module["path"]))
        if kind == "Normalize":
            task["normalize"] = True
        elif kind == "Pooling":
            task["pooling"] = _read_pooling(inside)
        else:
            weights = _read_dense(inside)
            task["projection_size"] = len(weights[_BIAS])
    if os.path.exists(length := os.path.join(folder, _LENGTH)):
        task["max_seq_length"] = read_json(length, _Length)["max_seq_length"]
    return task, weights


def _read_pooling(folder: str) -> str:
    path = os.path.join(folder, "config.json")
    values = read_json(path, dict[str, Any])
    chosen = [name for name, value in values.items() if name.startswith("pooling_mode_") and value is True]
    names = {mode: name for name, mode in _MODES.items()}
    mode = values.get("pooling_mode") or (names.get(chosen[0]) if len(chosen) == 1 else None)
    if mode not in _MODES:
        raise InputError(f"{path}: the pooling must be one of {', '.join(_MODES)}, not {', '.join(chosen)}")
    return mode


def _read_dense(folder: str) -> dict[str, np.ndarray]:
    path = os.path.join(folder, "config.json")
    activation = read_json(path, dict[str, Any]).get("activation_function")
    if activation != _IDENTITY:
        raise InputError(f"{path}: activation_function must be {_IDENTITY}, not {activation!r:.100}")
    file = os.path.join(folder, "model.safetensors")
    try:
        tensors = safetensors.numpy.load_file(file)
        kernel = tensors["linear.weight"].T
        return {PROJECTION: kernel, _BIAS: tensors.get("linear.bias", np.zeros(kernel.shape[1], np.float32))}
    except (OSError, KeyError, ValueError, safetensors.SafetensorError) as error:
        raise InputError(f"{file} cannot be read: {error!s:.200}") from None
