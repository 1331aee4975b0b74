"""An opened model answers in the order of the texts, and refuses in one line what it cannot mean."""

import re

import numpy as np
import pytest

import albert_tf
from albert_tf.asking.open_model import open_model
from albert_tf.errors import InputError

TEXTS = ["boats", "", "seven boats, 2009 " * 9, "The boats carry wool.", "河水 mill", "x", "a fish is gone"]


def test_answers_come_in_the_order_of_the_texts_whatever_the_batch(opened):
    model = opened("classification")
    alone = [model.predict(*pair)[0] for pair in zip(TEXTS, TEXTS[::-1], strict=True)]
    for batch_size in (3, 100):
        answers = model.predict(iter(TEXTS), text_pair=np.array(TEXTS[::-1]), batch_size=batch_size)
        for answer, expected in zip(answers, alone, strict=True):
            assert answer["label"] == expected["label"]
            assert answer["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-6)
    assert list(alone[0]["probabilities"]) == ["no", "yes"]
    assert model.predict([], []) == []


def test_questions_may_have_different_numbers_of_options(opened):
    model = opened("multiple_choice")
    options = [["boats", "river"], ["a", "b", "c"], ["wool", "salt"]]
    answers = model.predict(["The boats."] * 3, ["What _ ?"] * 3, options, batch_size=2)
    assert [len(answer["probabilities"]) for answer in answers] == [2, 3, 2]
    for answer, offered in zip(answers, options, strict=True):
        [expected] = model.predict("The boats.", "What _ ?", offered)
        assert answer["choice"] == expected["choice"]
        assert answer["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-6)


def test_each_text_gets_guesses_for_its_own_masks(opened):
    answers = opened("pretraining").predict(["[MASK] the [MASK]", "no mask", "[MASK]"])
    assert [len(answer["pieces"]) for answer in answers] == [2, 0, 1]
    assert answers[0]["positions"] == [1, 3]
    assert {len(guesses) for answer in answers for guesses in answer["probabilities"]} == {5}


def test_each_text_gets_its_own_spans_and_words(opened):
    texts = ["", "The boats, 2009", "salt"]
    for text, answer in zip(texts, opened("token_classification").predict(texts), strict=True):
        assert answer["words"] == text.replace(",", " ,").split()
        assert len(answer["tags"]) == len(answer["word_begin"]) == len(answer["words"])
        assert answer["span"] == [text[b:e] for b, e in zip(answer["begin"], answer["end"], strict=True)]
        assert len(answer["type"]) == len(answer["score"]) == len(answer["span"])


def test_every_model_embeds(opened):
    model = opened("classification")
    first, second = model.embed(["The boats carry wool.", "boats"], with_sequence=True)
    ids = model.tokenizer("boats")["input_ids"][0].tolist()
    assert second["input_ids"].tolist() == ids
    np.testing.assert_allclose(second["mean"], second["sequence"].mean(axis=0), atol=1e-6)
    assert len(first["sequence"]) > len(second["sequence"]) == len(ids)
    [alone] = model.embed("boats")
    assert alone.keys() == {"mean", "pooled"}
    np.testing.assert_allclose(alone["pooled"], second["pooled"], atol=1e-6)


def test_settings_decide_the_task_and_its_answers(run_folder):
    model = open_model(run_folder, top_k=2)
    assert (model.task_name, model.inputs, model.labels) == ("pretraining", ("text",), ())
    assert "pretraining, predict(text)" in repr(model)
    assert len(model.predict("a [MASK]")[0]["pieces"][0]) == 2
    encoder = albert_tf.open_model(str(run_folder), task_name="encoder")
    [embedded] = encoder.predict("The boats")
    np.testing.assert_array_equal(embedded["mean"], model.embed("The boats")[0]["mean"])


@pytest.mark.parametrize(("texts", "by_name", "message"), [
    ((["a"],), {}, "mrpc (mrpc) takes text and text_pair: text_pair is missing"),
    (([("a", "b")],), {}, "text_pair is missing"),
    ((["a"], ["b"], ["c"]), {}, "takes text and text_pair, not 3 inputs"),
    ((["a"],), {"text": ["b"]}, "text is given twice"),
    ((["a"], ["b"]), {"context": ["c"]}, "takes text and text_pair, and no context"),
    ((["a", "b"], "c"), {}, "the inputs have different lengths (text: 2, text_pair: 1)"),
    (([("a", "b")], ["c"]), {}, "text: each text must be str, not tuple"),
    ((["a"], None), {}, "text_pair: "),
    ((b"a", "b"), {}, "text: a list of texts is needed, not one text"),
    ((["a", "\ud83d"], ["b", "c"]), {}, "text: row 1 holds \\ud83d, which is half a character"),
    ((["a"], ["b"]), {"batch_size": 0}, "batch_size must be at least 1, not 0"),
])  # fmt: skip
def test_what_cannot_be_meant_is_refused(opened, texts, by_name, message):
    with pytest.raises(InputError, match=re.escape(message)):
        opened("classification").predict(*texts, **by_name)


@pytest.mark.parametrize(("options", "message"), [
    ([["a", "b"], []], "options: row 1 is empty"),
    ([["a", 1], ["b"]], "options: each text must be str, not int"),
    (3, "options: "),
])  # fmt: skip
def test_options_are_lists_of_texts(opened, options, message):
    with pytest.raises(InputError, match=message):
        opened("multiple_choice").predict(["a", "b"], ["c", "d"], options)


@pytest.mark.parametrize(("settings", "message"), [
    ({"doc_stride": 3}, "--doc_stride does not belong to a model for pretraining"),
    ({"task_name": "mrpc"}, "not of mrpc"),
    ({"poems": True}, "--poems does not belong"),
])  # fmt: skip
def test_settings_that_do_not_belong_are_refused(run_folder, settings, message):
    with pytest.raises(InputError, match=message):
        open_model(run_folder, **settings)


def test_a_path_without_a_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        open_model(tmp_path / "none")
    with pytest.raises(InputError, match="holds no weights"):
        open_model(tmp_path)
