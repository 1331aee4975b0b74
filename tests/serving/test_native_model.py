"""Without Python, through the loader of TensorFlow Serving, every signature answers as it does in Python."""

import numpy as np
import pytest
import tensorflow as tf

from tests.support.native_model import NativeModel, RequestError
from tests.support.serving_exports import assert_same, requests_to, warmup_requests
from tests.support.trained_models import LENGTH


def inputs_of(function) -> dict[str, tf.TensorSpec]:
    return function.structured_input_signature[1]


def test_answers_are_those_of_python(native, signatures, export_dir):
    warmup = warmup_requests(export_dir)
    assert set(warmup) == set(signatures)
    for name, function in signatures.items():
        for request in [warmup[name], *requests_to(inputs_of(function))]:
            assert_same(
                native.predict(name, request), function(**{n: tf.constant(v) for n, v in request.items()})
            )


def test_vectors_are_those_of_the_keras_model(native, signatures, trained):
    [request] = requests_to(inputs_of(signatures["embeddings_tokens"]))
    encoder = trained.model if trained.head == "encoder" else trained.model.encoder
    expected = encoder({name: tf.constant(values) for name, values in request.items()}, training=False)
    answer = native.predict("embeddings_tokens", request)
    assert_same({"pooled": answer["pooled"]}, {"pooled": expected["pooled_output"]})
    assert not np.allclose(answer["pooled"][0], answer["pooled"][1])


def test_texts_become_the_ids_of_the_python_tokenizer(native, trained):
    [request, *_] = requests_to({"text": tf.TensorSpec([None], tf.string)})
    answer = native.predict("embeddings", request)
    for ids, mask, text in zip(answer["input_ids"], answer["input_mask"], request["text"], strict=True):
        text = text if isinstance(text, str) else text.decode(errors="replace")
        pieces = trained.tokenizer.encode(text)[: LENGTH - 2]
        assert ids[: mask.sum()].tolist() == [trained.tokenizer.cls_id, *pieces, trained.tokenizer.sep_id]


def test_bad_requests_are_refused_in_words_and_the_next_is_answered(native, signatures, export_dir):
    warmup = warmup_requests(export_dir)
    for name, function in signatures.items():
        expected = native.predict(name, warmup[name])
        for request, message in bad_requests(inputs_of(function), warmup[name]):
            with pytest.raises(RequestError, match=message):
                native.predict(name, request)
        assert_same(native.predict(name, warmup[name]), expected)


def bad_requests(specs, valid):
    """Requests that no signature takes, with what is said of them."""
    [first, *others] = specs
    values = valid[first]
    yield valid | {"stranger": ["a"]}, "input size does not match signature"
    yield {name: valid[name] for name in others}, "input size does not match signature"
    yield {name: valid[name] for name in others} | {"stranger": values}, first
    yield valid | {first: values.ravel()[0]}, "not compatible with expected shape"
    yield valid | {first: values[None]}, "not compatible with expected shape"
    yield valid | {first: np.zeros(values.shape, np.float32)}, "Expects arg"
    if others and "input_ids" not in specs:
        yield valid | {others[0]: np.repeat(valid[others[0]], 2, axis=0)}, "differ in their number of rows"
    if "input_ids" in specs:
        ids = valid["input_ids"]
        yield valid | {"input_ids": ids + 1000}, "input_ids must be from 0 to"
        yield valid | {"input_ids": -1 - ids}, "input_ids must be from 0 to"
        yield valid | {"segment_ids": ids * 0 + 2}, "segment_ids must be from 0 to 1"
        yield valid | {"input_mask": ids * 0 + 2}, "input_mask must be from 0 to 1"
        yield valid | {"input_mask": ids[..., :-1]}, "input_mask has not the shape of input_ids"
        yield {name: np.tile(values, 60) for name, values in valid.items()}, "longer than the 24 positions"
        yield {name: values[..., :0] for name, values in valid.items()}, "sequences of no pieces"
    if "input" in specs:
        yield {"input": [b"\xff no example"]}, "Could not parse example"
        yield {"input": [b""]}, "sequences of no pieces"


def test_an_empty_batch_gets_an_empty_answer(native, signatures, export_dir):
    for name, request in warmup_requests(export_dir).items():
        answer = native.predict(name, {input: values[:0] for input, values in request.items()})
        assert {output: len(values) for output, values in answer.items()} == dict.fromkeys(answer, 0)


def test_what_is_no_request_is_refused_in_words(native):
    assert "INVALID_ARGUMENT" in native.ask("no JSON")["error"]
    assert 'signature key "stranger" not found' in native.ask('{"signature": "stranger"}')["error"]


def test_a_request_is_repeated_and_timed(native_program, tmp_path):
    module = tf.Module()
    spec = tf.TensorSpec([None], tf.float32, "x")
    double = tf.function(lambda x: {"y": 2.0 * x}, [spec])
    tf.saved_model.save(module, str(tmp_path), signatures=double)
    with NativeModel(native_program, str(tmp_path), repeat=3, warm_up=2, intra_op_threads=1) as model:
        answer = model.request("serving_default", {"x": np.float32([1.5])})
    assert len(answer["milliseconds"]) == 3
    assert answer["peak_mebibytes"] > 1
    assert answer["outputs"]["y"]["floatVal"] == [3.0]


def test_a_folder_without_a_model_ends_the_program_with_words(native_program, tmp_path):
    model = NativeModel(native_program, str(tmp_path))
    with model, pytest.raises(AssertionError, match=r"(?s)ended with status 1:.*Could not find SavedModel"):
        model.ask("{}")
