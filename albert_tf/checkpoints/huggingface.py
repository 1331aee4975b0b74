"""Hugging Face folders: `config.json`, `model.safetensors`, the tokenizer, modules of sentence vectors."""

import os
from collections.abc import Mapping
from typing import TypedDict

import ml_dtypes  # noqa: F401  (makes numpy, and so safetensors, know bfloat16)
import numpy as np
import safetensors
import safetensors.numpy

from albert_tf.checkpoints.assets import Assets
from albert_tf.checkpoints.huggingface_config import (
    encoder_prefix,
    head_in,
    is_transposed,
    read_config,
    task_in,
    to_huggingface,
    to_original,
    write_config,
)
from albert_tf.checkpoints.huggingface_tokenizer import read_casing, special_ids, write_tokenizer
from albert_tf.checkpoints.sentence_transformers import read_modules, write_modules
from albert_tf.checkpoints.weight_source import HUGGINGFACE, WeightSource
from albert_tf.errors import InputError
from albert_tf.files import open_file, read_json, write_bytes

_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_MAPPING = "bert/encoder/embedding_hidden_mapping_in"
# The output layer is tied to the word embeddings.
_TIED = {
    "predictions.decoder.weight": "{prefix}embeddings.word_embeddings.weight",
    "predictions.decoder.bias": "predictions.bias",
}


class _Index(TypedDict):
    """The index of weights in several files: the file of each tensor."""

    weight_map: dict[str, str]


def is_folder(folder: str) -> bool:
    """Whether a folder holds safetensors; `InputError` if it holds only a pickle."""
    if any(os.path.exists(os.path.join(folder, name)) for name in (_WEIGHTS, _INDEX)):
        return True
    for name in _PICKLES:
        if os.path.exists(os.path.join(folder, name)):
            raise _pickle_refused(os.path.join(folder, name), folder)
    return False


def is_safetensors(path: str) -> bool:
    """Whether a file begins as safetensors do; `InputError` if it begins as a pickle of PyTorch does."""
    with open_file(path) as file:
        start = file.read(9)
    if start[8:] == b"{":  # the JSON header, after its length
        return True
    if start.startswith((b"\x80", b"PK\x03\x04")):
        raise _pickle_refused(path, os.path.dirname(path) or ".")
    return False


def _pickle_refused(path: str, folder: str) -> InputError:
    return InputError(
        f"{path} is a pickle, which can run any code when it is read. If you trust it, convert it: "
        f'python -c "from transformers import AutoModelForPreTraining as M; '
        f"M.from_pretrained('{folder}').save_pretrained('{folder}')\" writes {_WEIGHTS}"
    )


def read_folder(folder: str, path: str) -> WeightSource:
    """The weights of a folder by the original's names; `path` is what the user gave."""
    config_file = os.path.join(folder, "config.json")
    if not os.path.exists(config_file):
        raise InputError(f"{folder} has {_WEIGHTS} but no config.json beside it")
    config, values, notes = read_config(config_file)
    tensors = _Tensors(folder)
    prefix = encoder_prefix(tensors.files)
    _check_tied(tensors, prefix, folder)
    skipped = {*_TIED, f"{prefix}embeddings.position_ids"}
    names = {to_original(name, prefix): name for name in tensors.files if name not in skipped}
    shapes = {ours: tensors.shape(theirs) for ours, theirs in names.items()}
    shapes = {name: shape[::-1] if is_transposed(name) else shape for name, shape in shapes.items()}

    modules, projection = read_modules(folder) or ({}, {})
    shapes |= {name: value.shape for name, value in projection.items()}

    def read(name: str) -> np.ndarray:
        if name in projection:
            return projection[name]
        value = tensors.read(names[name])
        return np.ascontiguousarray(value.T) if is_transposed(name) else value

    if not config.has_projection:
        _drop_identity(shapes, read, folder)
    labels = next(iter(shapes.get("output_weights", ())), None)
    task = modules or task_in(values, config_file, labels)
    told = Assets(place=path, config=config, task=task, **read_casing(folder))
    assets = told.or_else(Assets.read(folder))
    is_similarity = assets.task.get("task_name") == "similarity"  # whose class there is that of an encoder
    return WeightSource(
        path=path,
        kind=HUGGINGFACE,
        shapes=shapes,
        read=read,
        assets=assets,
        head="similarity" if is_similarity else head_in(values),
        notes=tuple(notes),
    )


class _Tensors:
    """The tensors of one or several safetensors files, by Hugging Face's names."""

    def __init__(self, folder: str):
        index, files = os.path.join(folder, _INDEX), [_WEIGHTS]
        if os.path.exists(index):
            files = sorted(set(read_json(index, _Index)["weight_map"].values()))
        self._folder = folder
        self.files = {}
        for name in files:
            path = os.path.join(folder, name)
            if os.path.basename(name) != name:
                raise InputError(f"{index} names {name!r:.200}, which is no file of its folder")
            if not os.path.isfile(path):
                raise InputError(f"{path} does not exist, though {_INDEX} names it")
            try:
                opened = safetensors.safe_open(path, "np")
                self.files.update(dict.fromkeys(opened.keys(), opened))
            except (safetensors.SafetensorError, OSError, ValueError) as error:
                raise InputError(f"{path} is damaged: {error!s:.300}") from None

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.files[name].get_slice(name).get_shape())

    def read(self, name: str) -> np.ndarray:
        try:
            return self.files[name].get_tensor(name)
        except (safetensors.SafetensorError, AttributeError, TypeError, ValueError) as error:
            raise InputError(f"{self._folder}: {name:.200} cannot be read: {error!s:.300}") from None


def _check_tied(tensors: _Tensors, prefix: str, folder: str) -> None:
    for name, template in _TIED.items():
        source = template.format(prefix=prefix)
        both = name in tensors.files and source in tensors.files
        if both and not np.array_equal(tensors.read(name), tensors.read(source)):
            raise InputError(f"{folder}: {name} differs from {source}; ALBERT's output layer is tied to it")


def _drop_identity(shapes: dict[str, tuple[int, ...]], read, folder: str) -> None:
    """Removes the projection, which Hugging Face always has, if the original has none."""
    if f"{_MAPPING}/kernel" not in shapes:
        return
    kernel, bias = read(f"{_MAPPING}/kernel"), read(f"{_MAPPING}/bias")
    if not np.array_equal(kernel, np.eye(*kernel.shape)) or np.any(bias):
        raise InputError(
            f"{folder}: embedding_hidden_mapping_in is not the identity, but ALBERT has no projection if "
            "embedding_size equals hidden_size"
        )
    del shapes[f"{_MAPPING}/kernel"], shapes[f"{_MAPPING}/bias"]


def write_folder(
    folder: str, assets: Assets, weights: Mapping[str, np.ndarray], head: str, dropout: float = 0.1
) -> None:
    """Writes what `from_pretrained` loads: config, weights, and a tokenizer if there is a vocabulary.

    The weights have the original's names and all one type; `dropout` stands before the classifier.
    `InputError` if Hugging Face's ALBERT cannot express the model.
    """
    config = assets.needed_config()
    if "word_shapes/vectors" in weights:
        raise InputError("Hugging Face's ALBERT cannot express the casing feature: train without it")
    tensors = dict(weights)
    if head == "similarity" and write_modules(folder, assets.task, weights, config.hidden_size):
        tensors = {name: value for name, value in weights.items() if name.startswith("bert/")}
    dtype = next(iter(weights.values())).dtype
    if not config.has_projection:
        size = config.hidden_size
        tensors[f"{_MAPPING}/kernel"] = np.eye(size, dtype=dtype)
        tensors[f"{_MAPPING}/bias"] = np.zeros(size, dtype)
    labels = len(weights["output_bias"]) if "output_bias" in weights else None
    write_config(folder, config, head, assets.task, labels, dropout, special_ids(assets), str(dtype))
    content = {
        to_huggingface(name): np.ascontiguousarray(value.T if is_transposed(name) else value)
        for name, value in sorted(tensors.items())
    }
    with write_bytes(os.path.join(folder, _WEIGHTS)) as file:  # safetensors itself lets only the owner read
        file.write(safetensors.numpy.save(content, metadata={"format": "pt"}))
    write_tokenizer(folder, assets)
    assets.write_task(folder)
