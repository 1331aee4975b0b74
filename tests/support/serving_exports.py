"""Exports of tiny models with random weights, one of each kind, and requests to them."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from albert_tf import testing
from albert_tf.export.serving.saved_model import WARMUP_FILE, serve, write_saved_model
from albert_tf.export.trained_model import TrainedModel
from tests.support.trained_models import TASKS, trained_model

# Kind -> further arguments of `trained_model`; one kind has a WordPiece vocabulary, one has two layers.
KINDS: dict[str, dict[str, Any]] = {kind: {} for kind in TASKS} | {
    "regression": {"vocab_file": testing.VOCAB_FILE},
    "multiple_choice": {"max_qa_length": 12},
    "encoder": {"config": {"num_hidden_layers": 2}},
}

# Input of texts -> its rows: plain, empty, only spaces, foreign or masked, not UTF-8, too long.
_TEXTS = {
    "text": [
        "The boats carry wool.",
        "",
        " \t\u3000 ",
        "[MASK] 3,500 河水 [MASK]",
        b"\xff boat\xc3",
        "salt, wool " * 200,
    ],
    "text_pair": ["", "In 2,009 ΣΑΣ", "the mill", "[MASK]", b"\x00\xf0\x9f\x98", "The cat watches. " * 300],
    "passage": ["The river rises.", "", "  ", "河水从山上流到大海", b"\xfe\xfe", "The fish is gone. " * 300],
    "context": [
        "The river rises.",
        "",
        "  ",
        "河水从山上流到大海",
        b"\xfe\xfe fish",
        "The fish is gone. " * 300,
    ],
    "question": ["The river rises in _ .", "", "_", "Who is _ and __?", b"\xff _ \xff", "What? " * 100],
    "options": [["the hills", "", b"\xff", "fish " * 100]] * 6,
}


def make_trained_model(kind: str) -> TrainedModel:
    """Makes a model of a kind of `KINDS`."""
    return trained_model(kind, **KINDS[kind])


def export(trained: TrainedModel, folder: str) -> str:
    """Exports a version; returns its folder."""
    return write_saved_model(serve(trained, {}), trained, folder)


def warmup_requests(export_dir: str) -> dict[str, dict[str, np.ndarray]]:
    """Reads the warm-up file of an export: signature -> inputs of its request."""
    requests = {}
    path = os.path.join(export_dir, "assets.extra", WARMUP_FILE)
    for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        requests[request.model_spec.signature_name] = inputs
    return requests


def requests_to(inputs: Mapping[str, tf.TensorSpec]) -> list[dict[str, np.ndarray]]:
    """Makes valid requests to a signature with these inputs: ids, or texts in a batch and alone."""
    if "input_ids" in inputs:
        shape = [3, 4, 9] if inputs["input_ids"].shape.rank == 3 else [3, 9]
        random = np.random.default_rng(0)
        lengths = random.integers(1, 10, [*shape[:-1], 1])
        request = {
            "input_ids": random.integers(0, 100, shape, np.int32),
            "input_mask": (np.arange(9) < lengths).astype(np.int32),
            "segment_ids": (np.arange(9) > lengths // 2).astype(np.int32),
            "word_shapes": random.integers(0, 6, shape, np.int32),
        }
        return [{name: values for name, values in request.items() if name in inputs}]
    if "input" in inputs:
        return []
    columns = {name: np.array(_TEXTS[name], object) for name in inputs}
    return [columns, *({name: rows[i : i + 1] for name, rows in columns.items()} for i in (0, 1, 4))]


def assert_same(answer: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Checks that strings and whole numbers are equal, and that other numbers differ by at most 1e-5."""
    assert set(answer) == set(expected)
    for name in expected:
        found, values = _array(answer[name]), _array(expected[name])
        assert found.shape == values.shape, name
        if values.dtype.kind == "f":
            np.testing.assert_allclose(found, values, atol=1e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(found, values, err_msg=name)


def _array(values: Any) -> np.ndarray:
    """Strings as `str`."""
    array = np.asarray(values)
    if array.dtype == object:
        texts = [value.decode() if isinstance(value, bytes) else value for value in array.flat]
        array = np.array(texts, object).reshape(array.shape)
    return array
