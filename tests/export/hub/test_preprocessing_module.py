"""The preprocessing module: ids equal to those of fine-tuning, the interface of the published ones."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub as hub
import tf_keras
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_tf import testing
from albert_tf.data.features import text_features
from albert_tf.export.hub.module import save_hub_preprocessing
from albert_tf.tokenization import load_tokenizer

LENGTH = 12
WORDS = st.sampled_from(["the", "boats,", "in", "2009,", "Été", "market", "cheese", "hills"])
TEXTS = st.lists(st.one_of(WORDS, st.text(max_size=4)), max_size=12).map(" ".join)


@pytest.fixture(scope="module", params=["sentencepiece", "wordpiece"])
def saved(request, tmp_path_factory):
    files = {"sentencepiece": (testing.SPM_MODEL_FILE, None), "wordpiece": (None, testing.VOCAB_FILE)}
    tokenizer = load_tokenizer(*files[request.param])
    path = str(tmp_path_factory.mktemp("preprocessing") / "module")
    save_hub_preprocessing(path, tokenizer, LENGTH)
    return tokenizer, hub.load(path)


def expected(tokenizer, columns: tuple[list[str], ...], length: int) -> dict[str, np.ndarray]:
    """What fine-tuning makes of texts, padded."""
    features = text_features(tokenizer, columns, None, length)
    ids = np.full((len(features), length), tokenizer.pad_id, np.int32)
    mask, types = np.zeros((2, len(features), length), np.int32)
    rows = zip(features.starts, features.lengths, features.first_lengths, strict=True)
    for row, (start, size, first) in enumerate(rows):
        ids[row, :size] = features.input_ids[start : start + size]
        mask[row, :size] = 1
        types[row, first:size] = 1
    return {"input_word_ids": ids, "input_mask": mask, "input_type_ids": types}


def assert_same(outputs, wanted) -> None:
    assert set(outputs) == set(wanted)
    for name, value in wanted.items():
        assert outputs[name].dtype == tf.int32
        np.testing.assert_array_equal(outputs[name], value, err_msg=name)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4), st.integers(4, 20))
def test_ids_are_those_of_fine_tuning(saved, pairs, length):
    tokenizer, module = saved
    first, second = (list(column) for column in zip(*pairs, strict=True))
    assert_same(module(tf.constant(first)), expected(tokenizer, (first,), LENGTH))
    pieces = [module.tokenize(tf.constant(texts)) for texts in (first, second)]
    assert_same(module.bert_pack_inputs(pieces[:1], seq_length=length), expected(tokenizer, (first,), length))
    assert_same(
        module.bert_pack_inputs(pieces, seq_length=length), expected(tokenizer, (first, second), length)
    )


def test_no_texts_give_no_inputs(saved):
    outputs = saved[1](tf.constant([], tf.string))
    assert {value.shape for value in outputs.values()} == {(0, LENGTH)}


def test_special_tokens_are_told(saved):
    tokenizer, module = saved
    special = {name: int(value) for name, value in module.tokenize.get_special_tokens_dict().items()}
    assert special == {
        "start_of_sequence_id": tokenizer.cls_id,
        "end_of_segment_id": tokenizer.sep_id,
        "padding_id": tokenizer.pad_id,
        "mask_id": tokenizer.mask_id,
        "vocab_size": tokenizer.vocab_size,
    }


def test_words_of_pieces_are_packed_as_pieces(saved):
    module = saved[1]
    words = tf.ragged.constant([[[5, 6], [7]], [[8], [], [9]]], dtype=tf.int32)
    assert_same(
        module.bert_pack_inputs([words, words]), module.bert_pack_inputs([words.merge_dims(1, 2)] * 2)
    )


@pytest.mark.parametrize("saved", ["sentencepiece"], indirect=True)
def test_a_model_of_one_text_is_saved_and_loaded(saved, tmp_path):
    tokenizer, module = saved
    texts = ["The boats, walking on the river", "in 2009,"]
    text = tf_keras.layers.Input([], dtype=tf.string)
    pack = hub.KerasLayer(module.bert_pack_inputs, arguments={"seq_length": 8})
    model = tf_keras.Model(text, pack(hub.KerasLayer(module.tokenize)(text)))
    model.save(str(tmp_path / "model"))
    for one in (model, tf_keras.models.load_model(str(tmp_path / "model"))):
        assert_same(one(tf.constant(texts)), expected(tokenizer, (texts,), 8))
    pieces = module.tokenize(tf.constant(texts))
    assert_same(module.bert_pack_inputs(pieces), module.bert_pack_inputs([pieces]))


def test_in_keras_and_in_a_pipeline(saved):
    tokenizer, module = saved
    texts = ["The boats, walking on the river", "in 2009,"]
    inputs = [tf_keras.layers.Input([], dtype=tf.string) for _ in range(2)]
    tokenize = hub.KerasLayer(module.tokenize)
    pack = hub.KerasLayer(module.bert_pack_inputs, arguments={"seq_length": 8})
    model = tf_keras.Model(inputs, pack([tokenize(text) for text in inputs]))
    column = tf.constant(texts)
    assert_same(model([column, column]), expected(tokenizer, (texts, texts), 8))
    [batch] = tf.data.Dataset.from_tensors(column).map(module)
    assert_same(batch, expected(tokenizer, (texts,), LENGTH))
