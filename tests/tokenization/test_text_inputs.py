"""What exported models make of texts is what training made of them."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_tf import testing
from albert_tf.data.features import Features, text_features
from albert_tf.export.serving.saved_model import serve
from albert_tf.export.serving.served_classes import ServedMultipleChoice
from albert_tf.tasks.race import RaceQuestions, race_features
from albert_tf.tokenization import load_tokenizer
from albert_tf.tokenization.in_graph.text_inputs import TextInputs, strip
from tests.support.trained_models import LENGTH, trained_model

WORDS = ["The", "boats", "  ", "12,", "é", "中文", "_", "﹏", "a_b", "\u2003", "\x00", "long" * 9, "?"]
TEXTS = st.one_of(st.text(max_size=20), st.lists(st.sampled_from(WORDS), max_size=15).map(" ".join))
ROWS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4)


def assert_same(inputs: dict[str, tf.Tensor], features: Features) -> None:
    inputs = {name: values.numpy().reshape(-1, values.shape[-1]) for name, values in inputs.items()}
    assert inputs["input_mask"].sum(axis=1).tolist() == features.lengths.tolist()
    for row, (begin, length, first) in enumerate(
        zip(features.starts, features.lengths, features.first_lengths, strict=True)
    ):
        expected = features.input_ids[begin : begin + length]
        np.testing.assert_array_equal(inputs["input_ids"][row, :length], expected)
        assert not inputs["input_ids"][row, length:].any()
        segments = inputs["segment_ids"][row]
        assert segments.sum() == segments[first:length].sum() == length - first


@pytest.fixture(scope="module", params=["sentencepiece", "wordpiece"])
def tokenizer(request):
    files = {"sentencepiece": (testing.SPM_MODEL_FILE, None), "wordpiece": (None, testing.VOCAB_FILE)}
    return load_tokenizer(*files[request.param])


@pytest.fixture(scope="module")
def text_inputs(tokenizer):
    return TextInputs(tokenizer, LENGTH)


@given(rows=ROWS)
@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("num_texts", [1, 2])
def test_sequences_are_those_of_training(tokenizer, text_inputs, num_texts, rows):
    columns = tuple(list(column) for column in list(zip(*rows, strict=True))[:num_texts])
    inputs = text_inputs(*(tf.constant(column) for column in columns))
    assert_same(inputs, text_features(tokenizer, columns, None, LENGTH))


@pytest.fixture(scope="module")
def choices():
    return ServedMultipleChoice(trained_model("multiple_choice"), max_qa_length=10)


def test_examples_hold_as_many_choices_as_the_questions_of_the_training():
    served = ServedMultipleChoice(trained_model("multiple_choice", label_names=["A", "B", "C"]))
    signature = served.task_signatures()["serialized_examples"]
    assert signature.function(input=signature.request()["input"])["probabilities"].shape == (1, 3)


@given(rows=st.lists(st.lists(TEXTS, min_size=6, max_size=6), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_choices_are_those_of_training(choices, rows):
    passages, asked, *options = (list(column) for column in zip(*rows, strict=True))
    questions = RaceQuestions(
        articles=passages,
        article_of=np.arange(len(rows), dtype=np.int32),
        questions=asked,
        options=tuple(options),
        names=[""] * len(rows),
        labels=None,
        parts={},
        digest="",
    )
    inputs = choices.inputs_of(
        tf.constant(passages),
        tf.constant(asked),
        tf.constant([list(row) for row in zip(*options, strict=True)]),
    )
    tokenizer = load_tokenizer(testing.SPM_MODEL_FILE)
    assert_same(inputs, race_features(tokenizer, questions, LENGTH, max_qa_length=10))


@given(text=st.text(alphabet="a \t\n\x0b\x1c\x1f\x85\xa0\u1680\u200b\u2009\u2028\u3000_", max_size=8))
@settings(deadline=None)
def test_strip_is_that_of_python(text):
    assert strip(tf.constant([text])).numpy()[0].decode() == text.strip()


def test_a_mask_is_a_piece_of_its_own():
    served, tokenizer = serve(trained_model("pretraining"), {}), load_tokenizer(testing.SPM_MODEL_FILE)
    tokens = served.inputs_of(tf.constant(["The [MASK] boats[MASK]", "boats"]))
    mask, begin, end = tokenizer.mask_id, tokenizer.cls_id, tokenizer.sep_id
    expected = [begin, *tokenizer.encode("The"), mask, *tokenizer.encode("boats"), mask, end]
    assert tokens["input_ids"][0].numpy().tolist() == expected
    assert tokens["input_mask"].numpy().sum(axis=1).tolist() == [
        len(expected),
        2 + len(tokenizer.encode("boats")),
    ]
