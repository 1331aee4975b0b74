"""A SavedModel for TensorFlow Serving, with what travels along."""

import os
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from albert_tf.checkpoints.run_folder import RESULTS_FILE, TRAINING_FILE
from albert_tf.cli.flags import UsageError
from albert_tf.errors import InputError
from albert_tf.export.serving.served_answers import ServedQuestionAnswering
from albert_tf.export.serving.served_classes import ServedClassification, ServedMultipleChoice
from albert_tf.export.serving.served_model import ServedModel, Signature
from albert_tf.export.serving.served_pretraining import ServedPretraining
from albert_tf.export.trained_model import TrainedModel
from albert_tf.files import folder_appears_when_complete, write_json
from albert_tf.models.heads import of_exported


def write_saved_model(
    served: ServedModel, trained: TrainedModel, export_dir: str, version: int | None = None
) -> str:
    """Writes `export_dir`/`version`, which appears when it is complete, as a server that watches it wants.

    Beside the graph and the weights it holds, in `assets`, config, vocabulary, `task.json` with the labels,
    and where they are known the results of the last evaluation and the command of the training; in
    `assets.extra`, a request to warm up each signature.

    Args:
      served: what is written.
      trained: what it was made of.
      export_dir: of all versions.
      version: a number; by default the one after the largest that is there.

    Returns:
      The folder.

    Raises:
      InputError: the version exists, or the folder cannot be written.
    """
    there = []
    if os.path.isdir(export_dir):
        there = [int(name) for name in os.listdir(export_dir) if name.isdecimal()]
    if version in there:
        raise InputError(f"{export_dir}/{version} exists: give another --version, or none for the next")
    target = os.path.join(export_dir, str(version or max(there, default=0) + 1))
    with folder_appears_when_complete(target) as folder:
        signatures = served.signatures()
        functions = {
            name: tf.function(signature.function, autograph=False).get_concrete_function(
                **{spec.name: spec for spec in signature.inputs}
            )
            for name, signature in signatures.items()
        }
        tf.saved_model.save(served, folder, signatures=functions)
        _write_assets(os.path.join(folder, "assets"), trained)
        write_warmup_requests(os.path.join(folder, "assets.extra"), signatures)
    return target


def describe(folder: str) -> str:
    """The signatures of a SavedModel, with types and shapes of their inputs and outputs."""
    contents = saved_model_pb2.SavedModel()
    with open(os.path.join(folder, "saved_model.pb"), "rb") as file:
        contents.ParseFromString(file.read())
    [graph] = contents.meta_graphs
    lines = []
    for name, signature in sorted(graph.signature_def.items(), key=_default_first):
        if not name.startswith("__"):
            lines.append(name)
            lines += [f"  takes  {line}" for line in _tensors(signature.inputs)]
            lines += [f"  gives  {line}" for line in _tensors(signature.outputs)]
    return "\n".join(lines)


def _default_first(item: tuple[str, Any]) -> tuple[bool, str]:
    name, _ = item
    return name != "serving_default", name


def _tensors(tensors: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}: {tf.as_dtype(info.dtype).name} {_shape(tf.TensorShape(info.tensor_shape))}"
        for name, info in sorted(tensors.items())
    ]


def _shape(shape: tf.TensorShape) -> str:
    return "[...]" if shape.rank is None else f"[{', '.join('?' if d is None else str(d) for d in shape)}]"


def _write_assets(folder: str, trained: TrainedModel) -> None:
    os.makedirs(folder, exist_ok=True)
    trained.assets.write(folder)
    for name, content in ((RESULTS_FILE, trained.metrics), (TRAINING_FILE, trained.training)):
        if content is not None:
            write_json(os.path.join(folder, name), content)


_KINDS: Mapping[str, type[ServedModel]] = of_exported(
    {
        "encoder": ServedModel,
        "classification": ServedClassification,
        "multiple_choice": ServedMultipleChoice,
        "pretraining": ServedPretraining,
        "question_answering": ServedQuestionAnswering,
        "question_answering_v2": ServedQuestionAnswering,
    }
)


def serve(trained: TrainedModel, settings: Mapping[str, Any]) -> ServedModel:
    """The served model of a trained one.

    Args:
      trained: the model.
      settings: those of the flags of `ServedModel.settings` that are given; for others what the training kept
        counts, else the default.

    Raises:
      UsageError: a setting is of another kind of model.
    """
    kind = _KINDS[trained.head]
    for name in settings:
        if name not in kind.settings:
            raise UsageError(f"--{name} does not belong to a model for {trained.task['task_name']}")
    kept = {name: trained.task[name] for name in kind.settings if name in trained.task}
    return kind(trained, **{**kept, **settings})


WARMUP_FILE = "tf_serving_warmup_requests"


def write_warmup_requests(folder: str, signatures: Mapping[str, Signature]) -> None:
    """Writes one request for each signature where TensorFlow Serving looks for it, in `assets.extra`."""
    os.makedirs(folder, exist_ok=True)
    with tf.io.TFRecordWriter(os.path.join(folder, WARMUP_FILE)) as writer:
        for name, signature in signatures.items():
            request = predict_pb2.PredictRequest()
            request.model_spec.signature_name = name
            for spec in signature.inputs:
                tensor = tf.make_tensor_proto(signature.request[spec.name], spec.dtype)
                request.inputs[spec.name].CopyFrom(tensor)
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
