"""A layer that makes the inputs of a model of texts, and models that begin with it."""

import re

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from albert_tf import testing
from albert_tf.data.features import text_features
from albert_tf.errors import InputError
from albert_tf.models.classification import AlbertForSequenceClassification
from albert_tf.tokenization import load_tokenizer
from albert_tf.tokenization.in_graph.preprocessing_layer import PreprocessingLayer
from albert_tf.training.optimization import AdamW

TEXTS = ["The boats are near the river.", "It rains."]
SECOND = ["walking", "The hills, the rivers, and all the boats."]
TOKENIZERS = {
    "sentencepiece": load_tokenizer(testing.SPM_MODEL_FILE),
    "wordpiece": load_tokenizer(vocab_file=testing.VOCAB_FILE, do_lower_case=False),
}
LENGTH = 12


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("columns", [[TEXTS], [TEXTS, SECOND]], ids=["texts", "pairs"])
@pytest.mark.parametrize("padding", ["longest", "max_length"])
def test_ids_are_those_of_fine_tuning(kind, columns, padding):
    features = text_features(TOKENIZERS[kind], columns, None, LENGTH)
    layer = PreprocessingLayer(TOKENIZERS[kind], LENGTH, padding)
    inputs = {name: value.numpy() for name, value in layer(columns if columns[1:] else columns[0]).items()}
    width = LENGTH if padding == "max_length" else max(features.lengths)
    for row, (start, length) in enumerate(zip(features.starts, features.lengths, strict=True)):
        expected = np.pad(features.input_ids[start : start + length], (0, width - length))
        np.testing.assert_array_equal(inputs["input_ids"][row], expected)
        np.testing.assert_array_equal(inputs["input_mask"][row], np.arange(width) < length)


@pytest.mark.parametrize("texts", [
    tuple(TEXTS), np.array(TEXTS), np.array(TEXTS, object), tf.constant(TEXTS), [TEXTS],
    tf.constant(TEXTS)[:, tf.newaxis], [text.encode() for text in TEXTS],
])  # fmt: skip
def test_texts_come_in_many_forms(texts):
    layer = PreprocessingLayer(TOKENIZERS["sentencepiece"], LENGTH)
    for name, value in layer(TEXTS).items():
        np.testing.assert_array_equal(layer(texts)[name], value)


@pytest.mark.parametrize(("texts", "message"), [
    ("one text", "a list of texts is needed, not one text: ['one text']"),
    ([], "takes texts or a pair of texts, not 0 parts"),
    ([TEXTS, TEXTS, TEXTS], "takes texts or a pair of texts, not 3 parts"),
    ([TEXTS, TEXTS[:1]], "there must be as many first texts as second texts, not (2,) and (1,)"),
    ([TEXTS, "one text"], "a list of texts is needed, not one text: ['one text']"),
    ([*TEXTS, None], "texts must be strings: a list of them, or an array of one axis"),
    (np.zeros(2), "texts must be strings: a list of them, or an array of one axis"),
    (tf.zeros(2), "texts must be strings [batch] or [batch, 1], not float32 (2,)"),
    (tf.constant([TEXTS]), "texts must be strings [batch] or [batch, 1], not string (1, 2)"),
    (tf_keras.Input([], dtype=tf.int32), "not int32 (None,)"),
])  # fmt: skip
def test_what_is_no_batch_of_texts_is_refused(texts, message):
    with pytest.raises(InputError, match=re.escape(message)):
        PreprocessingLayer(TOKENIZERS["sentencepiece"], LENGTH)(texts)


@pytest.mark.parametrize(("arguments", "message"), [
    ((testing.SPM_MODEL_FILE,), "needs a tokenizer of load_tokenizer, not '"),
    ((TOKENIZERS["wordpiece"], 3), "max_seq_length must be a number from 4 on, not 3"),
    ((TOKENIZERS["wordpiece"], 8, True), "padding must be longest or max_length, not True"),
])  # fmt: skip
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        PreprocessingLayer(*arguments)


def test_a_saved_model_holds_its_vocabulary_and_its_optimizer(tmp_path):
    columns = [tf_keras.Input([], dtype=tf.string) for _ in range(2)]
    inputs = PreprocessingLayer(TOKENIZERS["wordpiece"], LENGTH)(columns)
    head = AlbertForSequenceClassification(testing.tiny_config(num_hidden_layers=1), num_labels=2)
    model = tf_keras.Model(columns, head(inputs)["logits"])
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(AdamW(0.1), loss, run_eagerly=True)
    texts = tf.constant(TEXTS), tf.constant(SECOND)
    model.fit(texts, np.array([0, 1]), verbose=0)
    path = str(tmp_path / "model.keras")
    model.save(path)
    loaded = tf_keras.models.load_model(path)
    np.testing.assert_array_equal(loaded(texts), model(texts))
    for ours, theirs in zip(loaded.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_layer_made_of_its_config_is_the_same(kind):
    layer = PreprocessingLayer(TOKENIZERS[kind], LENGTH, "max_length", name="texts")
    again = PreprocessingLayer.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert again.tokenizer.pieces == layer.tokenizer.pieces
    assert again.tokenizer.do_lower_case == (kind == "sentencepiece")
    for name, value in layer(TEXTS).items():
        np.testing.assert_array_equal(again(TEXTS)[name], value)
