"""A SavedModel for TensorFlow Serving, with its assets and its requests for warm-up."""

import inspect
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
from albert_tf.export.serving.served_similarity import ServedSimilarity
from albert_tf.export.serving.served_tags import ServedTagging
from albert_tf.export.trained_model import TrainedModel
from albert_tf.files import move_folder, problem_for_tensorflow, temporary_folder, write_json
from albert_tf.models.heads import of_exported
from albert_tf.serving.grpc_transport import signatures_of

_EXTRA, WARMUP_FILE = "assets.extra", "tf_serving_warmup_requests"


def write_saved_model(
    served: ServedModel, trained: TrainedModel, export_dir: str, version: int | None = None
) -> str:
    """Writes the folder `export_dir`/`version`, which appears when it is complete, and returns its path.

    Beside the graph and the weights, `assets` holds config, vocabulary, `task.json` with the labels, and, if
    they are known, the results of the last evaluation and the command of the training; `assets.extra` holds
    a request that warms up each signature.

    Args:
      served: made of `trained`.
      trained: gives the assets.
      export_dir: the folder of all versions.
      version: a number; by default the one after the largest that is there when the export is complete.

    Raises:
      InputError: the version exists, or the folder cannot be written.
    """
    target = _free_version(export_dir, version)
    if problem := problem_for_tensorflow(target):
        raise InputError(problem)
    with temporary_folder(target) as folder:
        signatures = served.signatures()
        functions = {name: signature.traced() for name, signature in signatures.items()}
        tf.saved_model.save(served, folder, signatures=functions)
        assets = os.path.join(folder, "assets")
        os.makedirs(assets, exist_ok=True)
        trained.assets.write(assets)
        for name, content in ((RESULTS_FILE, trained.metrics), (TRAINING_FILE, trained.training)):
            if content is not None:
                write_json(os.path.join(assets, name), content)
        write_warmup_requests(os.path.join(folder, _EXTRA), signatures)
        while not move_folder(folder, target):  # another export has taken it meanwhile
            target = _free_version(export_dir, version)
    return target


def _free_version(export_dir: str, version: int | None) -> str:
    """The folder of that version, or of the one after the largest; `InputError` if it exists."""
    there = _versions(export_dir)
    if version in there:
        raise InputError(f"{export_dir}/{version} exists: give another --version, or none for the next")
    return os.path.join(export_dir, str(version or max(there, default=0) + 1))


def _versions(export_dir: str) -> list[int]:
    names = os.listdir(export_dir) if os.path.isdir(export_dir) else []
    return [int(name) for name in names if name.isdecimal()]


def find_export(path: str) -> str | None:
    """The folder of an export: the path itself, or the newest version in it; None if there is no export.

    Other SavedModels, such as hub modules, have no requests for warm-up, and are no exports.
    """
    folders = (path, os.path.join(path, str(max(_versions(path), default=0))))
    return next((one for one in folders if os.path.isfile(os.path.join(one, _EXTRA, WARMUP_FILE))), None)


def describe(folder: str) -> str:
    """The signatures of a SavedModel, the default first, with types and shapes of inputs and outputs."""
    with open(os.path.join(folder, "saved_model.pb"), "rb") as file:
        [graph] = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs
    found = signatures_of(graph.signature_def)
    names = sorted(found, key=lambda name: (name != "serving_default", name))
    return "\n".join(str(found[name]) for name in names)


_KINDS: Mapping[str, type[ServedModel]] = of_exported(
    {
        "encoder": ServedModel,
        "similarity": ServedSimilarity,
        "classification": ServedClassification,
        "multiple_choice": ServedMultipleChoice,
        "token_classification": ServedTagging,
        "pretraining": ServedPretraining,
        "question_answering": ServedQuestionAnswering,
        "question_answering_v2": ServedQuestionAnswering,
    }
)


def serve(trained: TrainedModel, settings: Mapping[str, Any]) -> ServedModel:
    """The served model of a trained one.

    The settings are arguments of its constructor. For an argument that is not among them, the value that the
    training kept counts, else the default.

    Raises:
      UsageError: a setting belongs to another kind of model.
    """
    kind = _KINDS[trained.head]
    arguments = inspect.signature(kind.__init__).parameters
    for name in settings:
        if name not in arguments:
            raise UsageError(f"--{name} does not belong to a model for {trained.task['task_name']}")
    kept = {name: trained.task[name] for name in arguments if name in trained.task}
    return kind(trained, **{**kept, **settings})


def write_warmup_requests(folder: str, signatures: Mapping[str, Signature]) -> None:
    """Writes a request for each signature into `assets.extra`, where TensorFlow Serving looks for it."""
    os.makedirs(folder, exist_ok=True)
    with tf.io.TFRecordWriter(os.path.join(folder, WARMUP_FILE)) as writer:
        for name, signature in signatures.items():
            request, example = predict_pb2.PredictRequest(), signature.request()
            request.model_spec.signature_name = name
            for spec in signature.inputs:
                tensor = tf.make_tensor_proto(example[spec.name], spec.dtype)
                request.inputs[spec.name].CopyFrom(tensor)
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
