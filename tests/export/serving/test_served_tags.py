"""Served taggers: words, tags and spans are those of Python's path, for texts of any length."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from albert_tf import testing
from albert_tf.export.serving.saved_model import serve
from albert_tf.tasks.tagging.reading import TaggedWords
from albert_tf.tasks.tagging.tagging_task import TaggingTask
from albert_tf.tasks.tagging.tags import tag_set_of
from albert_tf.tasks.tagging.word_features import word_features
from albert_tf.tokenization.words import find_words
from albert_tf.training.evaluation import Predictor
from tests.support.trained_models import LENGTH, trained_model

LONG = "The river rises in the hills, and 12 boats carry Wool to the U.S. market. " * 3
KINDS = {
    "crf": {},
    "softmax": {"crf": False, "vocab_file": testing.VOCAB_FILE},
    "plain": {"crf": False, "label_names": ["ADJ", "NOUN", "VERB"], "tag_scheme": "plain"},
}
TEXTS = st.lists(
    st.text("the boat RVs é,12.-'\u00a0\u0301ﬃ가河😀\u200b ", max_size=40), min_size=1, max_size=4
)


@pytest.fixture(scope="module", params=KINDS)
def both(request):
    """The served model, and Python's path to what it gives for texts."""
    trained = trained_model("token_classification", **KINDS[request.param])
    signatures = serve(trained, {}).signatures()
    signature = signatures["serving_default"]
    by_text = signature.function(text=tf.constant(signature.request()["text"]))
    for name in ("tokens", "serialized_examples"):  # of the first window of the same text
        found = signatures[name].function(**signatures[name].request())["tag"].numpy()
        decided = found[found != b""].tolist()
        assert decided
        assert decided == by_text["tags"].numpy().ravel().tolist()[: len(decided)]
    ask = tf.function(signature.function, autograph=False).get_concrete_function(
        text=tf.TensorSpec([None], tf.string)
    )
    tag_set = tag_set_of(trained.task["label_names"], trained.task["tag_scheme"])

    def pythons(texts):
        words = find_words(texts)
        examples = TaggedWords(
            texts=texts, words=words, sentence_of=words.text_of, tags=None, tag_set=tag_set, digest=""
        )
        features = word_features(trained.tokenizer, examples, LENGTH)
        lengths = {"config": trained.config, "max_seq_length": LENGTH}
        task = TaggingTask(tag_set, {"test": examples}, {"test": features}, **lengths)
        outputs = Predictor(task, trained.model, tf.distribute.get_strategy()).predict("test", 4, "")
        tags, scores = task.tags_of("test", outputs)
        begins, ends, types = map(np.asarray, task.spans_of("test", tags))
        for number, text in enumerate(texts):
            own = words.text_of == number
            yield {
                "words": [text[b:e] for b, e in zip(words.begins[own], words.ends[own], strict=True)],
                "tags": [tag_set.names[tag] for tag in tags[own]],
                "spans": [
                    (words.begins[b], words.ends[e - 1], tag_set.types[kind], scores[b:e].min())
                    for b, e, kind in zip(begins, ends, types, strict=True)
                    if own[b]
                ],
            }

    return ask, pythons


def check(both, texts):
    ask, pythons = both
    answer = {name: values.numpy() for name, values in ask(text=tf.constant(texts)).items()}
    for row, expected in enumerate(pythons(texts)):
        for name in ("words", "tags"):
            found = [value.decode() for value in answer[name][row] if value]
            assert found == expected[name]
        spans = [answer[name][row] for name in ("begin", "end", "type", "score", "span")]
        found = [values for values in zip(*spans, strict=True) if values[0] >= 0]
        assert len(found) == len(expected["spans"])
        for (begin, end, kind, score, text), right in zip(found, expected["spans"], strict=True):
            assert (begin, end, kind.decode()) == right[:3]
            assert text.decode() == texts[row][begin:end]
            assert score == pytest.approx(right[3], abs=1e-5)


@settings(deadline=None, max_examples=2, derandomize=True)
@given(texts=TEXTS)
@example(texts=[LONG, "", "the cat", LONG * 2])
def test_answers_are_those_of_pythons_path(both, texts):
    check(both, texts)


def test_no_text_gives_no_rows(both):
    answer = both[0](text=tf.constant([], tf.string))
    assert {values.shape[0] for values in answer.values()} == {0}
