"""`TrainedModel`: a model to export, with all that belongs to it."""

import contextlib
import dataclasses
import inspect
import os
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, TypedDict

import tf_keras

from albert_tf.checkpoints.assets import Assets, folder_of
from albert_tf.checkpoints.loading import assign, warn_of
from albert_tf.checkpoints.run_folder import (
    RESULTS_FILE,
    SEEDS_FILE,
    TRAINING_FILE,
    find_checkpoints,
    read_if_there,
    results_of,
)
from albert_tf.checkpoints.sources import open_source
from albert_tf.checkpoints.weight_source import WeightSource
from albert_tf.cli.export_options import TrainedModelOptions
from albert_tf.cli.text import without_secrets
from albert_tf.config import AlbertConfig
from albert_tf.errors import InputError, InputWarning
from albert_tf.models import heads
from albert_tf.models.classification import AlbertForTokenClassification
from albert_tf.published import local_weights
from albert_tf.tasks.classification.classification_task import HEADS_OF_OTHERS
from albert_tf.tasks.classification.glue import TASKS, find_task
from albert_tf.tasks.race import ANSWERS
from albert_tf.tasks.task import check_length
from albert_tf.tokenization import Tokenizer

_SENTENCE_ORDER_WEIGHTS = ("cls/seq_relationship/output_weights", "cls/seq_relationship/output_bias")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A model, its vocabulary, and what it was trained for.

    Attributes:
      model: with its weights.
      head: a name of `albert_tf.models.heads.HEADS`.
      tokenizer: of the vocabulary.
      assets: what belongs to the weights. The task has at least "task_name", "label_names" and
        "max_seq_length".
      metrics: results of the last evaluation; None if there was none.
      training: the command of the training and its flags; None if the folder does not keep them.
      path: where the weights came from.
      lacks_sentence_order: whether the weights of pretraining lack this head.
    """

    model: tf_keras.Model
    head: str
    tokenizer: Tokenizer
    assets: Assets
    metrics: Mapping[str, Any] | None
    training: Mapping[str, Any] | None
    path: str
    lacks_sentence_order: bool = False

    @property
    def config(self) -> AlbertConfig:
        """The model's shape."""
        return self.model.config

    @property
    def task(self) -> Mapping[str, Any]:
        """What the model was trained for."""
        return self.assets.task


@contextlib.contextmanager
def open_trained_model(
    path: str,
    *,
    task_name: str | None = None,
    label_names: tuple[str, ...] | None = None,
    num_texts: int | None = None,
    albert_config_file: str | None = None,
    spm_model_file: str | None = None,
    vocab_file: str | None = None,
    do_lower_case: bool | None = None,
    keep_accents: bool | None = None,
    max_seq_length: int | None = None,
) -> Iterator[TrainedModel]:
    """Loads a model of any kind; what is not given is taken from the files beside the weights.

    An archive is extracted to a temporary folder, where its vocabulary lies until the block ends. The
    arguments mean what the flags of `TrainedModelOptions` mean: `path` is --input, `label_names` is --labels.

    Raises:
      InputError: something is missing, or does not go together.
    """
    if os.path.exists(os.path.join(path, SEEDS_FILE)):
        results = read_if_there(os.path.join(path, RESULTS_FILE), dict[str, Any])
        best = (results or {}).get("best_seed", "seed-...")
        raise InputError(f"{path} holds runs of several seeds: name one of them, such as {path}/{best}")
    path = local_weights(path)
    folder = folder_of(path)
    with open_source(path) as source:
        task_name, head = _task_and_head(path, source, (task_name or "").lower())
        saved = source.assets.task
        if saved.get("task_name", task_name) != task_name:
            saved = {}
        known = {**_known_of(task_name), **saved, "task_name": task_name}
        assets = dataclasses.replace(source.assets, task=known).overridden(
            albert_config_file=albert_config_file,
            spm_model_file=spm_model_file,
            vocab_file=vocab_file,
            do_lower_case=do_lower_case,
            keep_accents=keep_accents,
            label_names=label_names and list(label_names),
            num_texts=num_texts,
            max_seq_length=max_seq_length,
        )
        config = assets.needed_config()
        longest = min(head.max_seq_length, config.max_position_embeddings)
        task = {"label_names": [], "max_seq_length": longest, **assets.task}
        tokenizer = assets.tokenizer()
        model = heads.build_model(head.name, config, source.shapes)
        for name in head.settings:
            setattr(model, name, saved.get(name, getattr(model, name)))
        report = assign(model, source)
        lacks_sentence_order = set(report.missing) == set(_SENTENCE_ORDER_WEIGHTS)
        if report.missing and not lacks_sentence_order:
            problem = f"{path} lacks weights of the model ({', '.join(report.missing)})"
            if head.name == "pretraining":
                problem += ": --task_name=encoder exports the embeddings alone"
            raise InputError(problem)
        warn_of(report)
        if head.name in ("classification", "token_classification"):
            _check_classes(path, task, model)
        check_length(task["max_seq_length"], config)
        training = without_secrets(read_if_there(os.path.join(folder, TRAINING_FILE), _Training))
        _warn_if_cut_short(folder, training)
        yield TrainedModel(
            model=model,
            head=head.name,
            tokenizer=tokenizer,
            assets=dataclasses.replace(assets, do_lower_case=tokenizer.do_lower_case, task=task),
            lacks_sentence_order=lacks_sentence_order,
            metrics=results_of(folder, source.step),
            training=training,
            path=path,
        )


def arguments_of(options: TrainedModelOptions) -> dict[str, Any]:
    """The arguments of `open_trained_model`, from flags."""
    flags = {"path": "input", "label_names": "labels"}  # whose names differ
    names = inspect.signature(open_trained_model).parameters
    return {name: getattr(options, flags.get(name, name)) for name in names}


def _task_and_head(path: str, source: WeightSource, task_name: str) -> tuple[str, heads.Head]:
    """The task and its head: as given, else as the files beside the weights say, else as the weights say.

    Raises:
      InputError: the task and the weights do not agree, or nothing tells the task.
    """
    told = heads.head_of(source.shapes, source.head)
    task_name = task_name or source.assets.task.get("task_name", "")
    if not task_name:
        if not told.task_names:
            raise InputError(f"{path} is {told.in_words}, which is not exported")
        if not source.head and len(heads.same_names(told)) > 1:
            raise InputError(f"{path} does not say which task its head is for: give --task_name")
        return told.task_names[0], told
    wanted = heads.HEADS["classification"] if task_name in TASKS else heads.head_of_task(task_name)
    if wanted is None:
        others = [name for head in heads.HEADS.values() for name in head.task_names]
        raise InputError(f"--task_name={task_name} is none of {', '.join([*TASKS, *others])}")
    fits = wanted == told or (not source.head and wanted in heads.same_names(told))
    if wanted.weights and not fits:
        raise InputError(f"{path} holds the weights of {told.in_words}, not of {task_name}")
    return HEADS_OF_OTHERS.get(task_name, task_name), wanted


def _known_of(task_name: str) -> dict[str, Any]:
    """What is known of a task without its weights."""
    if task_name == "race":
        return {"label_names": list(ANSWERS)}
    if task_name in TASKS:
        task = find_task(task_name)
        return {"label_names": list(task.label_names), "num_texts": len(task.text_columns)}
    return {}


def _check_classes(path: str, task: Mapping[str, Any], model: tf_keras.Model) -> None:
    """Raises InputError if labels do not fit the head, or the number of texts is not known."""
    labels, problems = task["label_names"], []
    is_tagger = isinstance(model, AlbertForTokenClassification)
    if len(labels) != model.num_labels and (labels or is_tagger or model.num_labels != 1):
        found = ", ".join(labels) or "no classes"
        problems.append(
            f"the head has {model.num_labels} outputs, but the task's labels are {found}: give --labels in "
            "the order of the classes"
        )
    if not is_tagger and task.get("num_texts") not in (1, 2):
        problems.append("is an example of the task one text or two? give --num_texts")
    if problems:
        raise InputError(f"{path}: {'; '.join(problems)}")


def _warn_if_cut_short(folder: str, training: Mapping[str, Any] | None) -> None:
    flags = (training or {}).get("flags", {})
    wanted = flags.get("num_train_steps", 0)
    step = (find_checkpoints(folder) or [""])[-1].rpartition("-")[2]
    if step.isdecimal() and int(step) < wanted and not flags.get("early_stopping_patience"):
        text = f"{folder}: the training stopped at step {step} of {wanted}"
        warnings.warn(text, InputWarning, stacklevel=3)


class _Flags(TypedDict, total=False):
    num_train_steps: int


class _Training(TypedDict, total=False):
    """What is read of `training.json`."""

    flags: _Flags
