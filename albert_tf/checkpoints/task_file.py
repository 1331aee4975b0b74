"""What lies beside trained weights and says what they were trained for, and how."""

import json
import os
from typing import Any

import tensorflow as tf

from albert_tf.errors import InputError

TASK_FILE = "task.json"
TRAINING_FILE = "training.json"  # the command, and the flags of the training loop


def read_task(path: str) -> dict[str, Any] | None:
    """What the weights in a folder, or those of a checkpoint in it, were trained for, if it says."""
    path = os.path.join(folder_of(path), TASK_FILE)
    if not tf.io.gfile.exists(path):
        return None
    try:
        with tf.io.gfile.GFile(path) as file:
            described = json.load(file)
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    kinds = {"task_name": str, "label_names": list, "max_seq_length": int}
    is_task = isinstance(described, dict) and all(isinstance(described.get(k), t) for k, t in kinds.items())
    if not is_task or not all(isinstance(name, str) for name in described["label_names"]):
        raise InputError(f"{path} does not describe a task")
    return described


def folder_of(path: str) -> str:
    """The folder that weights lie in: that of a checkpoint, or `path` itself."""
    return path if tf.io.gfile.isdir(path) else os.path.dirname(path)
