"""The words of raw text and their shapes, in Python and in the graph."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_tf.tokenization.in_graph.words_in_graph import WordFinder
from albert_tf.tokenization.words import Shape, find_words, shapes_of

TEXTS = st.text(
    st.one_of(st.sampled_from("aZé1 .-'’@,東ǅ\u00a0\u0301\t"), st.characters(exclude_categories=["Cs"])),
    max_size=12,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Dr. Who's  at U.S., $3.5", ["Dr", ".", "Who's", "at", "U.S", ".", ",", "$", "3.5"]),
        ("-a- a--b @x a@b", ["-", "a", "-", "a", "-", "-", "b", "@", "x", "a@b"]),
        ("東京abc、x", ["東", "京", "abc", "、", "x"]),
        (" \t\u3000", []),
    ],
)
def test_words(text, words):
    found = find_words([text])
    assert [text[b:e] for b, e in zip(found.begins, found.ends, strict=True)] == words


def test_shapes():
    text = "word Word WORD W wOrd 3D ,"
    found = shapes_of([text], find_words([text])).tolist()
    names = ["OTHER", "TITLE", "UPPER", "TITLE", "MIXED", "DIGITS", "OTHER"]
    assert found == [Shape[name] for name in names]


@pytest.fixture(scope="module")
def in_graph():
    return tf.function(WordFinder(), [tf.TensorSpec([None], tf.string)], autograph=False)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(texts=st.lists(TEXTS, max_size=4))
def test_the_graph_finds_the_same(in_graph, texts):
    found = in_graph(tf.constant(texts, tf.string))
    expected = find_words(texts)
    for values, pythons in zip(found, (*expected, shapes_of(texts, expected)), strict=True):
        np.testing.assert_array_equal(values, pythons)
