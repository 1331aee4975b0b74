"""Numbers that the original release produced, and the weights and inputs they stand for."""

import json
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from albert_tf.config import AlbertConfig
from albert_tf.layers.variables import variable_name

GOLDENS = json.loads((pathlib.Path(__file__).parent / "goldens.json").read_text(encoding="utf-8"))
TOLERANCE = 1e-5


def config_of(block: dict[str, Any]) -> AlbertConfig:
    return AlbertConfig.from_dict(block["config"])


def inputs() -> dict[str, tf.Tensor]:
    return {name: tf.constant(value, tf.int32) for name, value in GOLDENS["inputs"].items()}


def fill(shape: list[int], k: int, is_gamma: bool = False) -> np.ndarray:
    """The rule of all goldens: element i of variable k is 0.5 sin(0.7 i + k), a gamma 1 + 0.1 of that."""
    values = 0.5 * np.sin(0.7 * np.arange(np.prod(shape)) + k)
    return np.float32(1 + 0.1 * values if is_gamma else values).reshape(shape)


def fill_variables(block: dict[str, Any], variables: list[tf.Variable]) -> None:
    """Gives the model's variables, found by name, the weights of a block; names must match exactly."""
    by_name = {variable_name(v): v for v in variables}
    assert {name: v.shape.as_list() for name, v in by_name.items()} == dict(block["variables"])
    for k, (name, shape) in enumerate(block["variables"]):
        by_name[name].assign(fill(shape, k, name.endswith("gamma")))


def tensors(block: dict[str, Any]) -> dict[str, np.ndarray]:
    """The weights of a block by name, as a checkpoint holds them."""
    return {
        name: fill(shape, k, name.endswith("gamma")) for k, (name, shape) in enumerate(block["variables"])
    }
