"""Where a run's first weights come from: a checkpoint, of which the head may be another task's."""

import json
import os
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras

from albert_tf.checkpoints.loading import load_weights
from albert_tf.checkpoints.opening import open_source
from albert_tf.checkpoints.report import LoadReport
from albert_tf.errors import InputError
from albert_tf.layers.variables import variable_name
from albert_tf.tasks.task import Task

TASK_FILE = "task.json"


def load_initial_weights(
    task: Task, model: tf_keras.Model, path: str, *, init_from_group0: bool, with_head: bool
) -> LoadReport:
    """Loads a checkpoint of any kind into a task's model.

    Args:
      task: the model's.
      model: gets the weights.
      path: see `albert_tf.load_weights`.
      init_from_group0: give every group of layers the weights of group 0.
      with_head: whether the task's head must come with the rest, because it will not be trained. If not,
        the head of another task is left out.

    Raises:
      InputError: there are no weights, or they have not the head.
    """
    problem = _foreign_head(task, model, path)
    if problem and with_head:
        raise InputError(f"{path} {problem}: --do_train makes a head for {task.describe()['task_name']}")
    return load_weights(model.encoder if problem else model, path, init_from_group0)


def _foreign_head(task: Task, model: tf_keras.Model, path: str) -> str | None:
    """Why the head in the checkpoint is not that of the task; None if it is."""
    described = task.describe()
    if not described:
        return None
    head = {
        variable_name(variable): tuple(variable.shape)
        for variable in model.variables
        if not variable_name(variable).startswith("bert/")
    }
    with open_source(path) as source:
        stored = {name: tuple(source.shapes[name]) for name in head if name in source.shapes}
    theirs = read_task(path)
    if theirs and any(theirs.get(key) != described[key] for key in ("task_name", "label_names")):
        return f"has the head of the task {theirs.get('task_name')} ({_labels(theirs)})"
    if not stored:
        return "has no head of a task"
    if stored != head:
        return f"has the head of another task ({_shapes(stored)} instead of {_shapes(head)})"
    return None


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


def _labels(described: Mapping[str, Any]) -> str:
    return ", ".join(described["label_names"]) or "no classes"


def _shapes(variables: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in variables.items())
