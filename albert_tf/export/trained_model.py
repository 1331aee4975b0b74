"""`TrainedModel`: a model that is to leave the house, with all that belongs to it."""

import contextlib
import dataclasses
import os
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf
import tf_keras

from albert_tf.checkpoints.assets import Assets, folder_of
from albert_tf.checkpoints.loading import assign, warn_of
from albert_tf.checkpoints.run_folder import RESULTS_FILE, SEEDS_FILE, TRAINING_FILE, results_of
from albert_tf.checkpoints.sources import open_source
from albert_tf.checkpoints.weight_source import WeightSource
from albert_tf.cli.flags import ScriptOptions
from albert_tf.cli.options import TrainedModelOptions
from albert_tf.config import AlbertConfig
from albert_tf.errors import InputError, InputWarning
from albert_tf.files import read_json
from albert_tf.models import heads
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
      head: one of `albert_tf.models.heads.HEADS`.
      tokenizer: of the vocabulary.
      assets: what belongs to the weights. The task says at least "task_name", "label_names" and
        "max_seq_length".
      metrics: results of the last evaluation, if there was one.
      training: the command of the training and its flags, where the folder keeps them.
      path: where the weights came from.
      lacks_sentence_order: whether the weights of pretraining came without those of that head.
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
    max_seq_length: int | None = None,
) -> Iterator[TrainedModel]:
    """Loads a model of any kind; what is not given is taken from the files beside the weights.

    An archive is extracted to a temporary folder, where its vocabulary lies until the block ends.

    Args:
      path: the folder of a run, of which the best checkpoint is taken, or weights of any kind (see
        `albert_tf.load_weights`).
      task_name: of GLUE, "race", "squad_v1", "squad_v2", "pretraining", "encoder" or "custom".
      label_names: of the classes of a custom task.
      num_texts: texts in an example of a custom task, 1 or 2.
      albert_config_file: the config.
      spm_model_file: the SentencePiece model.
      vocab_file: the WordPiece vocabulary.
      do_lower_case: whether text is lower-cased.
      max_seq_length: pieces of a sequence at most.

    Raises:
      InputError: something is missing, or does not go together.
    """
    _refuse_folder_of_seeds(path)
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
            advice = (
                ": --task_name=encoder exports the embeddings alone" if head.name == "pretraining" else ""
            )
            raise InputError(f"{path} lacks weights of the model ({', '.join(report.missing)}){advice}")
        warn_of(report)
        if head.name == "classification":
            _check_classes(path, task, model.num_labels)
        check_length(task["max_seq_length"], config)
        training = _read_json(os.path.join(folder, TRAINING_FILE))
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
    """The arguments of `open_trained_model` that flags name."""
    names = [field.name for field in dataclasses.fields(TrainedModelOptions)]
    renamed = {"input": "path", "labels": "label_names"}
    unwanted = [field.name for field in dataclasses.fields(ScriptOptions)]
    return {renamed.get(n, n): getattr(options, n) for n in names if n not in unwanted}


def _task_and_head(path: str, source: WeightSource, task_name: str) -> tuple[str, heads.Head]:
    """The name of the task and the model: as given, else as the files beside the weights, or these, say.

    Raises:
      InputError: the task and the weights do not agree, or nothing tells.
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
    """What is known of a benchmark's task without its weights."""
    if task_name == "race":
        return {"label_names": list(ANSWERS)}
    if task_name in TASKS:
        task = find_task(task_name)
        return {"label_names": list(task.label_names), "num_texts": len(task.text_columns)}
    return {}


def _check_classes(path: str, task: Mapping[str, Any], num_labels: int) -> None:
    """InputError for what is not known, or does not fit the head, with the flags that say it."""
    labels, problems = task["label_names"], []
    if (len(labels) or 1) != num_labels:
        found = ", ".join(labels) or "no classes"
        problems.append(
            f"the head has {num_labels} outputs, but the task's labels are {found}: give --labels in the "
            "order of the classes"
        )
    if task.get("num_texts") not in (1, 2):
        problems.append("is an example of the task one text or two? give --num_texts")
    if problems:
        raise InputError(f"{path}: {'; '.join(problems)}")


def _refuse_folder_of_seeds(path: str) -> None:
    if os.path.exists(os.path.join(path, SEEDS_FILE)):
        best = (_read_json(os.path.join(path, RESULTS_FILE)) or {}).get("best_seed", "seed-...")
        raise InputError(f"{path} holds runs of several seeds: name one of them, such as {path}/{best}")


def _warn_if_cut_short(folder: str, training: Mapping[str, Any] | None) -> None:
    flags = (training or {}).get("flags", {})
    wanted = flags.get("num_train_steps", 0)
    step = (tf.train.latest_checkpoint(folder) or "").rpartition("-")[2]
    if step.isdecimal() and int(step) < wanted and not flags.get("early_stopping_patience"):
        text = f"{folder}: the training stopped at step {step} of {wanted}"
        warnings.warn(text, InputWarning, stacklevel=3)


def _read_json(path: str) -> dict[str, Any] | None:
    return read_json(path, dict[str, Any]) if os.path.exists(path) else None
