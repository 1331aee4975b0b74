"""The first weights of a run, from a checkpoint that may have another head, depth or number of groups."""

from collections.abc import Mapping
from typing import Any

import tf_keras

from albert_tf.checkpoints.assets import Assets, differences
from albert_tf.checkpoints.loading import LoadReport, assign, check_is_whole, warn_of
from albert_tf.checkpoints.sources import open_source
from albert_tf.checkpoints.weight_source import WeightSource
from albert_tf.config import AlbertConfig
from albert_tf.errors import InputError
from albert_tf.layers.variables import variable_name
from albert_tf.models import heads
from albert_tf.tasks.task import Task


def load_initial_weights(
    task: Task,
    model: tf_keras.Model,
    path: str,
    *,
    init_from_group0: bool,
    with_head: bool,
    allow_missing: bool = False,
) -> tuple[LoadReport, dict[str, str]]:
    """Loads a checkpoint of any kind into a task's model.

    Args:
      path: see `albert_tf.load_weights`.
      init_from_group0: whether every group of layers gets the weights of group 0.
      with_head: whether to raise `InputError` if the checkpoint lacks the task's head, because nothing will
        be trained. Otherwise the head of another task is left out, and the depth may differ.
      allow_missing: whether a part of the weights may be missing; otherwise `InputError` names it.

    Returns:
      What was loaded, and facts for the summary, by name, about how the weights differ from the model.
    """
    with open_source(path) as source:
        problem = _foreign_head(task, model, source)
        if problem and with_head:
            raise InputError(f"{path} {problem}: --do_train makes a head for {task.describe()['task_name']}")
        target = model.encoder if problem else model
        report = assign(target, source, init_from_group0, any_depth=not with_head)
    if not allow_missing:
        check_is_whole(report, "" if with_head else "; --allow_missing trains them from initial values")
    warn_of(report)
    facts = {} if with_head else _depth(task.config, source.assets.config, init_from_group0)
    if problem:
        facts["head"] = f"fresh; the checkpoint {problem}"
    elif task.describe():
        facts |= _assumed(task, model, source)
    return report, facts


def _depth(config: AlbertConfig, stored: AlbertConfig | None, init_from_group0: bool) -> dict[str, str]:
    facts = {}
    if stored and stored.num_hidden_layers != config.num_hidden_layers:
        facts["depth"] = f"{config.num_hidden_layers} layers, with the weights of {stored.num_hidden_layers}"
    if init_from_group0 and config.num_hidden_groups > 1:
        facts["groups"] = f"{config.num_hidden_groups}, all with the weights of group 0"
    return facts


def _foreign_head(task: Task, model: tf_keras.Model, source: WeightSource) -> str | None:
    """Why the head in the checkpoint does not belong to the task; None if it does, or may."""
    described, theirs = task.describe(), source.assets.task
    if not described:
        return None
    shapes = {variable_name(variable): tuple(variable.shape) for variable in model.variables}
    head = {name: shape for name, shape in shapes.items() if not name.startswith("bert/")}
    stored = {name: tuple(source.shapes[name]) for name in head if name in source.shapes}
    if theirs.get("task_name", described["task_name"]) != described["task_name"]:
        return f"has the head of the task {theirs['task_name']} ({_labels(theirs)})"
    if not (head or stored):
        return None
    if not stored:
        return "has no head of a task"
    ours, found = heads.head_of_model(model), heads.head_of(source.shapes, source.head)
    if source.head and found != ours:
        return f"is {found.in_words}, not {ours.in_words}"
    if stored != head:
        return f"has the head of another task ({_shapes(stored)} instead of {_shapes(head)})"
    if "task_name" in theirs or not _are_other_words(theirs, described):
        # A head for multiple choice gives a score to any number of options.
        keys = () if ours.name == "multiple_choice" else ("label_names", "num_texts")
        compared = {key: theirs[key] for key in keys if key in theirs}
        if differing := differences(Assets(task=compared), Assets(task=described)):
            return f"has the head of another task: {', '.join(differing)}"
    return None


def _are_other_words(theirs: Mapping[str, Any], described: Mapping[str, Any]) -> bool:
    """Whether the labels may be other words for the same classes: as many, and all differ or only in case."""
    before, now = ([name.lower() for name in task.get("label_names", ())] for task in (theirs, described))
    return len(before) == len(now) > 0 and (before == now or not set(before) & set(now))


def _assumed(task: Task, model: tf_keras.Model, source: WeightSource) -> dict[str, str]:
    """Facts about a head whose task the checkpoint does not name."""
    ours, theirs, described = heads.head_of_model(model), source.assets.task, task.describe()
    if "task_name" in theirs:
        return {}
    facts = {}
    alike = [head.name.replace("_", " ") for head in heads.same_names(ours)]
    if not source.head and len(alike) > 1:
        facts["head"] = f"taken for {ours.in_words}; the checkpoint does not say which of {', '.join(alike)}"
    if theirs.get("label_names", described["label_names"]) != described["label_names"]:
        facts["labels"] = f"{_labels(described)}, which the checkpoint calls {_labels(theirs)}"
    return facts


def _labels(described: Mapping[str, Any]) -> str:
    return ", ".join(described.get("label_names", ())) or "no classes"


def _shapes(variables: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in variables.items())
