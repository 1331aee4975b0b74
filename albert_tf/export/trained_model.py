"""`TrainedModel`: a model that is to leave the house, with all that belongs to it."""

import contextlib
import dataclasses
import os
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf
import tf_keras

from albert_tf.checkpoints.assets import (
    TRAINING_FILE,
    casing_for,
    config_for,
    folder_of,
    read_task,
    vocabulary_for,
)
from albert_tf.checkpoints.loading import assign, warn_of
from albert_tf.checkpoints.run_folder import RESULTS_FILE, SEEDS_FILE, results_of
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
from albert_tf.tokenization import Tokenizer, load_tokenizer

_SENTENCE_ORDER_WEIGHTS = ("cls/seq_relationship/output_weights", "cls/seq_relationship/output_bias")
_MAX_SEQ_LENGTHS = {"question_answering": 384, "question_answering_v2": 384}
_BEAM = ("start_n_top", "end_n_top")
_HEADS = {
    "pretraining": "pretraining",
    "encoder": "encoder",
    "race": "multiple_choice",
    "squad_v1": "question_answering",
    "squad_v2": "question_answering_v2",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A model, its vocabulary, and what it was trained for.

    Attributes:
      model: with its weights.
      head: one of `albert_tf.models.heads.MODELS`.
      tokenizer: of the vocabulary.
      spm_model_file, vocab_file: the vocabulary's file; one of them is None.
      task: what `task.json` holds: "task_name", "label_names" in the order of the classes (none where the
        result is a score), "max_seq_length", "do_lower_case", and what else the task keeps.
      metrics: results of the last evaluation, if there was one.
      training: the command of the training and its flags, where the folder keeps them.
      path: where the weights came from.
      lacks_sentence_order: whether the weights of pretraining came without those of that head.
    """

    model: tf_keras.Model
    head: str
    tokenizer: Tokenizer
    spm_model_file: str | None
    vocab_file: str | None
    task: Mapping[str, Any]
    metrics: Mapping[str, Any] | None
    training: Mapping[str, Any] | None
    path: str
    lacks_sentence_order: bool = False

    @property
    def config(self) -> AlbertConfig:
        """The model's shape."""
        return self.model.config


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
        config = config_for(source, albert_config_file)
        spm_model_file, vocab_file = vocabulary_for(source, spm_model_file, vocab_file, config)
        saved = read_task(path) or {}
        task_name = (task_name or saved.get("task_name") or "").lower()
        head = _head(path, source, task_name)
        model = heads.build_model(head, config, source.shapes)
        if head == "question_answering_v2":
            for name in _BEAM:
                setattr(model, name, saved.get(name, getattr(model, name)))
        report = assign(model, source)
        lacks_sentence_order = set(report.missing) == set(_SENTENCE_ORDER_WEIGHTS)
        if report.missing and not lacks_sentence_order:
            advice = ": --task_name=encoder exports the embeddings alone" if head == "pretraining" else ""
            raise InputError(f"{path} lacks weights of the model ({', '.join(report.missing)}){advice}")
        warn_of(report)
        longest = min(_MAX_SEQ_LENGTHS.get(head, 512), config.max_position_embeddings)
        task = {"label_names": [], "max_seq_length": longest}
        task |= _known_of(task_name) | (saved if saved.get("task_name") == _name(task_name) else {})
        given = {"label_names": label_names, "num_texts": num_texts, "max_seq_length": max_seq_length}
        task |= {name: value for name, value in given.items() if value is not None}
        task["task_name"] = _name(task_name) or head
        task["do_lower_case"] = casing_for(path, source.do_lower_case, do_lower_case)
        if head == "classification":
            _check_classes(task, model.num_labels)
        check_length(task["max_seq_length"], config)
        tokenizer = load_tokenizer(spm_model_file, vocab_file, task["do_lower_case"])
        training = _read_json(os.path.join(folder, TRAINING_FILE))
        _warn_if_cut_short(folder, training)
        yield TrainedModel(
            model=model,
            head=head,
            tokenizer=tokenizer,
            spm_model_file=spm_model_file,
            vocab_file=None if spm_model_file else vocab_file,
            task=task,
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


def _head(path: str, source: WeightSource, task_name: str) -> str:
    """Which model it is: the task tells, else the weights.

    Raises:
      InputError: they do not agree, or neither tells.
    """
    told = heads.head_of(source.shapes)
    if not task_name:
        if told in heads.SHARED_NAMES and source.head not in (*_HEADS.values(), None):
            raise InputError(f"{path} is a model of {source.head}, which is not exported")
        if told in heads.SHARED_NAMES:
            raise InputError(f"{path} does not say which task its head is for: give --task_name")
        return told
    if task_name not in (*_HEADS, *TASKS, "custom"):
        names = ", ".join(dict.fromkeys([*TASKS, *_HEADS, "custom"]))
        raise InputError(f"--task_name={task_name} is none of {names}")
    wanted = _HEADS.get(task_name, "classification")
    if wanted != "encoder" and told != ("classification" if wanted in heads.SHARED_NAMES else wanted):
        raise InputError(f"{path} holds the weights of {_in_words(told)}, not of {task_name}")
    return wanted


def _in_words(head: str) -> str:
    return "an encoder without a head" if head == "encoder" else f"a model for {head.replace('_', ' ')}"


def _name(task_name: str) -> str:
    return HEADS_OF_OTHERS.get(task_name, task_name)


def _known_of(task_name: str) -> dict[str, Any]:
    """What is known of a benchmark's task without its weights."""
    if task_name == "race":
        return {"label_names": list(ANSWERS)}
    if task_name in TASKS:
        task = find_task(task_name)
        return {"label_names": list(task.label_names), "num_texts": len(task.text_columns)}
    return {}


def _check_classes(task: Mapping[str, Any], num_labels: int) -> None:
    labels = task["label_names"]
    if (len(labels) or 1) != num_labels:
        found = ", ".join(labels) or "no classes"
        raise InputError(
            f"the head has {num_labels} outputs, but the task's labels are {found}: give --labels in the "
            "order of the classes"
        )
    if task.get("num_texts") not in (1, 2):
        raise InputError("is an example of the task one text or two? give --num_texts")


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
