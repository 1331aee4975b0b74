"""Inputs that a model cannot mean are refused by all models, in one line that says what to do."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from albert_tf.errors import InputError
from albert_tf.models.heads import HEADS, build_model
from albert_tf.testing import tiny_config

IDS = np.array([[2, 5, 9, 3]], np.int32)


def shaped(name, ids):
    return ids[:, np.newaxis] if name == "multiple_choice" else ids


@pytest.fixture(scope="module")
def models():
    shapes = {"output_weights": (1, tiny_config().hidden_size)}
    return {name: build_model(name, tiny_config(), shapes) for name in HEADS}


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize(("theirs", "ours"), [
    ("attention_mask", "input_mask"), ("token_type_ids", "segment_ids"),
    ("input_word_ids", "input_ids"), ("input_type_ids", "segment_ids"),
])  # fmt: skip
def test_keys_of_other_libraries_are_refused_with_ours(models, name, theirs, ours):
    inputs = {"input_ids": shaped(name, IDS), theirs: shaped(name, np.ones_like(IDS))}
    model = HEADS[name].model.__name__
    with pytest.raises(InputError, match=f"{model} has no input '{theirs}': it is called {ours} here"):
        models[name](inputs)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize(("given", "message"), [
    (lambda ids: {"input_ids": ids, "segment_id": ids}, "no input 'segment_id': there are input_ids, input_"),
    (lambda ids: ids, "takes a dict of tensors, such as {\"input_ids\": ids}, not a ndarray"),
    (lambda ids: tf.constant(ids), "takes a dict of tensors, such as {\"input_ids\": ids}, not a tensor"),
    (lambda ids: [ids], "not a list"),
    (lambda ids: {}, "needs input_ids"),
    (lambda ids: {"input_ids": None}, "needs input_ids"),
    (lambda ids: {"input_ids": ids[0]}, "sequence], not of the shape ("),
    (lambda ids: {"input_ids": ids.astype(np.float32)}, "input_ids must be whole numbers, not float32"),
    (lambda ids: {"input_ids": [[1, 2], [1]]}, "input_ids must be whole numbers, in rows of equal lengths"),
    (lambda ids: {"input_ids": tf.ragged.constant([[1, 2], [1]])}, "input_ids is a RaggedTensor: pad it"),
    (lambda ids: {"input_ids": ids, "input_mask": ids[..., :2]}, "input_mask must have the shape of"),
    (lambda ids: {"input_ids": keras.Input([4], dtype="int32")}, "input_ids: KerasTensor is of Keras 3"),
])  # fmt: skip
def test_what_is_no_batch_is_refused(models, name, given, message):
    with pytest.raises(InputError, match=re.escape(message)):
        models[name](given(shaped(name, IDS)))


@pytest.mark.parametrize("model", [head.model for head in HEADS.values()])
def test_the_name_of_a_preset_is_no_config(model):
    with pytest.raises(InputError, match=re.escape('(AlbertConfig.from_preset("base_v2"))')):
        model("base_v2", **({"num_labels": 2} if "num_labels" in model.arguments else {}))


def test_lists_are_taken_and_absent_inputs_may_be_none(models):
    expected = models["encoder"]({"input_ids": IDS})["pooled_output"]
    given = {"input_ids": IDS.tolist(), "input_mask": [[1, 1, 1, 1]], "segment_ids": None}
    np.testing.assert_array_equal(models["encoder"](given)["pooled_output"], expected)


@pytest.mark.parametrize("name", ["classification", "multiple_choice"])
def test_keras_inputs_make_a_functional_model(models, name):
    shape = [1, None] if name == "multiple_choice" else [None]
    inputs = {"input_ids": tf_keras.Input(shape, dtype=tf.int32, name="input_ids")}
    outputs = models[name](inputs)
    functional = tf_keras.Model(inputs, outputs)
    for key, value in models[name]({"input_ids": shaped(name, IDS)}).items():
        np.testing.assert_allclose(functional({"input_ids": shaped(name, IDS)})[key], value, atol=1e-6)


def test_arrays_of_other_libraries_are_taken(models):
    class Array:
        """As a tensor of PyTorch: it has a `dtype` that TensorFlow does not know."""

        dtype, shape = "torch.int64", IDS.shape

        def __array__(self, dtype=None, copy=None):
            return IDS.astype(dtype or np.int64)

    expected = models["encoder"]({"input_ids": IDS})["pooled_output"]
    np.testing.assert_array_equal(models["encoder"]({"input_ids": Array()})["pooled_output"], expected)


def test_keras_predicts_without_a_warning_of_autograph(models, caplog):
    tf.get_logger().addHandler(caplog.handler)
    try:
        with caplog.at_level("WARNING", "tensorflow"):
            models["classification"].predict({"input_ids": IDS}, verbose=0)
    finally:
        tf.get_logger().removeHandler(caplog.handler)
    assert "AutoGraph" not in caplog.text
