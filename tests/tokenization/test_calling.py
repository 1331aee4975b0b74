"""A tokenizer that is called makes the inputs of a model, from one text or many, and makes text of ids."""

import re

import numpy as np
import pytest

from albert_tf import AlbertEncoder, testing
from albert_tf.data.features import text_features
from albert_tf.errors import InputError
from albert_tf.tokenization import load_tokenizer
from albert_tf.tokenization.sequences import Sequences

TEXTS = ["The boats carry wool.", "", "seven boats, 2009, and the mill " * 3]
PAIRS = ["Rain fell.", "The river rises in the hills.", "a fish"]
ARGUMENTS = {"spm": (testing.SPM_MODEL_FILE, None), "wordpiece": (None, testing.VOCAB_FILE)}


@pytest.fixture(scope="module", params=ARGUMENTS)
def tokenizer(request):
    return load_tokenizer(*ARGUMENTS[request.param])


@pytest.mark.parametrize("pairs", [None, PAIRS])
@pytest.mark.parametrize("max_length", [4, 11])
def test_the_inputs_are_those_of_fine_tuning(tokenizer, pairs, max_length):
    columns = (TEXTS,) if pairs is None else (TEXTS, pairs)
    features = text_features(tokenizer, columns, None, max_length)
    inputs = tokenizer(TEXTS, pairs, max_length=max_length, padding="max_length")
    expected = Sequences(features.input_ids, features.lengths, features.first_lengths)
    np.testing.assert_array_equal(inputs["input_ids"], expected.padded(max_length, tokenizer.pad_id))
    assert inputs["input_mask"].sum(axis=1).tolist() == features.lengths.tolist()
    second = (inputs["input_mask"] - inputs["segment_ids"]).sum(axis=1)
    assert second.tolist() == features.first_lengths.tolist()
    assert {values.dtype for values in inputs.values()} == {np.dtype(np.int32)}


def test_one_text_is_a_batch_of_one(tokenizer):
    inputs = tokenizer("The boats", "a fish")
    ids = [tokenizer.cls_id, *tokenizer.encode("The boats"), tokenizer.sep_id]
    other = [*tokenizer.encode("a fish"), tokenizer.sep_id]
    assert inputs["input_ids"].tolist() == [ids + other]
    assert inputs["segment_ids"].tolist() == [[0] * len(ids) + [1] * len(other)]
    for name, values in tokenizer(["The boats"], ["a fish"]).items():
        np.testing.assert_array_equal(values, inputs[name])


def test_nothing_is_cut_unless_asked_and_no_text_makes_no_row(tokenizer):
    long = TEXTS[2] * 20
    assert tokenizer([long, ""])["input_mask"].sum(axis=1).tolist() == [len(tokenizer.encode(long)) + 2, 2]
    assert tokenizer([])["input_ids"].shape[0] == 0
    assert tokenizer(iter(PAIRS))["input_ids"].tolist() == tokenizer(PAIRS)["input_ids"].tolist()


def test_a_model_takes_the_inputs(tokenizer):
    config = testing.tiny_config(vocab_size=tokenizer.vocab_size)
    outputs = AlbertEncoder(config)(tokenizer(TEXTS, PAIRS, max_length=16))
    assert outputs["pooled_output"].shape == [3, config.hidden_size]


def test_offsets_are_the_characters_of_each_piece(tokenizer):
    inputs = tokenizer(["The boats", "a"], ["the  mill.", "the mill"], max_length=9, offsets=True)
    offsets = inputs.pop("offsets")
    assert offsets[0].tolist() == [[0, 0], [0, 3], [4, 9], [0, 0], [0, 3], [5, 9], [9, 10], [0, 0]]
    special = np.isin(inputs["input_ids"], [tokenizer.cls_id, tokenizer.sep_id, tokenizer.pad_id])
    assert not offsets[special].any()


def test_decoding_gives_the_text_without_what_frames_it(tokenizer):
    [ids] = tokenizer("The boats walking", max_length=9, padding="max_length")["input_ids"]
    assert tokenizer.decode(ids) == "the boats walking"
    ids = [*tokenizer.encode("the"), tokenizer.mask_id, *tokenizer.encode("boats"), tokenizer.unk_id]
    assert tokenizer.decode(ids) == f"the [MASK] boats {tokenizer.special.unk}"
    assert tokenizer.decode([]) == ""


def test_sentencepiece_restores_the_spaces():
    tokenizer = load_tokenizer(testing.SPM_MODEL_FILE)
    text = "the boats, in 2009, were seven."
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize(("given", "settings", "message"), [
    ((["a"], "b"), {}, "texts and text_pairs must both be one text, or both be lists"),
    (("a", ["b"]), {}, "texts and text_pairs must both be one text, or both be lists"),
    ((["a", "b"], ["c"]), {}, "2 texts, but 1 text_pairs"),
    (([("a", "b")],), {}, "each text must be str, not tuple"),
    ((b"a",), {}, "a list of texts is needed, not one text"),
    (("a",), {"max_length": 3}, "max_length must be at least 4, not 3"),
    (("a",), {"padding": "max_length"}, "'max_length' together with max_length, not 'max_length'"),
    (("a",), {"padding": True}, "padding must be 'longest', or 'max_length' together with max_length, not T"),
])  # fmt: skip
def test_what_cannot_be_meant_is_refused(tokenizer, given, settings, message):
    with pytest.raises(InputError, match=re.escape(message)):
        tokenizer(*given, **settings)


def test_a_batch_of_ids_is_not_one_text(tokenizer):
    with pytest.raises(InputError, match="the ids of one text are needed, not those of a batch"):
        tokenizer.decode(tokenizer(TEXTS)["input_ids"])
