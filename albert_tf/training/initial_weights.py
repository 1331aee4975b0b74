"""Where a run's first weights come from: a checkpoint, whose head, depth and groups may be others."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import tf_keras

from albert_tf.checkpoints.assets import read_task
from albert_tf.checkpoints.loading import assign, warn_of
from albert_tf.checkpoints.report import LoadReport
from albert_tf.checkpoints.sources import open_source
from albert_tf.checkpoints.weight_source import WeightSource
from albert_tf.config import AlbertConfig
from albert_tf.errors import InputError
from albert_tf.layers.variables import variable_name
from albert_tf.tasks.task import Task


class InitialWeights(NamedTuple):
    """What was loaded, and for the summary of the run, by name, in what it differs from the model."""

    report: LoadReport
    facts: dict[str, str]


def load_initial_weights(
    task: Task, model: tf_keras.Model, path: str, *, init_from_group0: bool, with_head: bool
) -> InitialWeights:
    """Loads a checkpoint of any kind into a task's model.

    Args:
      task: the model's.
      model: gets the weights. In training it may have more or fewer layers than they are of.
      path: see `albert_tf.load_weights`.
      init_from_group0: give every group of layers the weights of group 0.
      with_head: whether the task's head must come with the rest, because it will not be trained. If not,
        the head of another task is left out.

    Raises:
      InputError: there are no weights, or they have not the head.
    """
    with open_source(path) as source:
        problem = _foreign_head(task, model, source, path)
        if problem and with_head:
            raise InputError(f"{path} {problem}: --do_train makes a head for {task.describe()['task_name']}")
        report = assign(
            model.encoder if problem else model, source, init_from_group0, any_depth=not with_head
        )
    warn_of(report)
    facts = {} if with_head else _depth(task.config, source.config, init_from_group0)
    if problem:
        facts["head"] = f"fresh; the checkpoint {problem}"
    return InitialWeights(report, facts)


def _depth(config: AlbertConfig, stored: AlbertConfig | None, init_from_group0: bool) -> dict[str, str]:
    """What to say of a model that has other layers than the weights."""
    facts = {}
    if stored and stored.num_hidden_layers != config.num_hidden_layers:
        facts["depth"] = f"{config.num_hidden_layers} layers, with the weights of {stored.num_hidden_layers}"
    if init_from_group0 and config.num_hidden_groups > 1:
        facts["groups"] = f"{config.num_hidden_groups}, all with the weights of group 0"
    return facts


def _foreign_head(task: Task, model: tf_keras.Model, source: WeightSource, path: str) -> str | None:
    """Why the head in the checkpoint is not that of the task; None if it is."""
    described = task.describe()
    if not described:
        return None
    head = {
        variable_name(variable): tuple(variable.shape)
        for variable in model.variables
        if not variable_name(variable).startswith("bert/")
    }
    stored = {name: tuple(source.shapes[name]) for name in head if name in source.shapes}
    theirs = read_task(path)
    if theirs and any(theirs.get(key) != described[key] for key in ("task_name", "label_names")):
        return f"has the head of the task {theirs.get('task_name')} ({_labels(theirs)})"
    if not stored:
        return "has no head of a task"
    if stored != head:
        return f"has the head of another task ({_shapes(stored)} instead of {_shapes(head)})"
    return None


def _labels(described: Mapping[str, Any]) -> str:
    return ", ".join(described["label_names"]) or "no classes"


def _shapes(variables: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in variables.items())
