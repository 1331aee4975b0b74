"""Tiny trained models of every kind, as `open_trained_model` gives them."""

import pathlib
from typing import Any

import tensorflow as tf

from albert_tf import testing
from albert_tf.checkpoints.assets import Assets
from albert_tf.checkpoints.run_folder import RESULTS_FILE
from albert_tf.export.trained_model import TrainedModel
from albert_tf.files import write_json
from albert_tf.models import heads
from albert_tf.tokenization import load_tokenizer
from tests.support.checkpoint_files import randomize

LENGTH = 24
TASKS = {
    "classification": {"task_name": "mrpc", "label_names": ["no", "yes"], "num_texts": 2},
    "regression": {"task_name": "custom", "num_texts": 1},
    "multiple_choice": {"task_name": "race", "label_names": ["A", "B", "C", "D"]},
    "token_classification": {
        "task_name": "tagging",
        "label_names": ["O", "B-place", "I-place", "B-thing", "I-thing"],
        "tag_scheme": "IOB2",
    },
    "pretraining": {"task_name": "pretraining"},
    "question_answering": {"task_name": "squad_v1", "max_query_length": 8},
    "question_answering_v2": {"task_name": "squad_v2", "max_query_length": 8},
    "encoder": {"task_name": "encoder"},
    "similarity": {"task_name": "similarity", "pooling": "mean", "normalize": True, "projection_size": 8},
}


def trained_model(
    kind: str,
    *,
    vocab_file: str | None = None,
    config: dict[str, Any] | None = None,
    crf: bool = True,
    early_exit: bool = False,
    **task: Any,
) -> TrainedModel:
    """Makes a model with random weights; `task` overrides the entries of `TASKS`.

    A tagger has a CRF and the casing feature, or neither.
    """
    spm_model_file = None if vocab_file else testing.SPM_MODEL_FILE
    tokenizer = load_tokenizer(spm_model_file, vocab_file)
    defaults = {
        "vocab_size": tokenizer.vocab_size,
        "num_hidden_layers": 1,
        "max_position_embeddings": LENGTH,
    }
    shape = testing.tiny_config(**defaults | (config or {}))
    task = {"label_names": [], "max_seq_length": LENGTH, **TASKS[kind], **task}
    head = "classification" if kind == "regression" else kind
    arguments: dict[str, Any] = {}
    if head in ("classification", "token_classification"):
        arguments["num_labels"] = len(task["label_names"]) or 1
    if early_exit:
        arguments["early_exit"] = True
    if head == "token_classification":
        arguments |= {"crf": crf, "casing_feature": crf}
    if head == "similarity":
        arguments = {name: task[name] for name in ("pooling", "normalize", "projection_size")}
    return TrainedModel(
        model=randomize(heads.HEADS[head].model(shape, **arguments)),
        head=head,
        tokenizer=tokenizer,
        assets=Assets(
            config=shape, spm_model_file=spm_model_file, vocab_file=vocab_file, do_lower_case=True, task=task
        ),
        metrics={"null_score_diff_threshold": 0.5},
        training=None,
        path=f"a model for {kind}",
    )


def write_run(trained: TrainedModel, folder: pathlib.Path) -> pathlib.Path:
    """Writes what the folder of a run holds of a model: the best checkpoint, the assets and the results."""
    tf.train.Checkpoint(model=trained.model).write(str(folder / "model.ckpt-best"))
    trained.assets.write(str(folder))
    write_json(str(folder / RESULTS_FILE), trained.metrics)
    return folder
