"""Question answering in the graph: what Python's path finds, for any text, saved and loaded again."""

import dataclasses
import functools
import json

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from hypothesis import example, given, settings
from hypothesis import strategies as st

import run_squad
from albert_tf import testing
from albert_tf.checkpoints.assets import Assets
from albert_tf.cli.settings import SquadSettings
from albert_tf.data.windows import is_max_context
from albert_tf.errors import InputError, InputWarning
from albert_tf.export.serving import saved_model
from albert_tf.export.serving.answer_spans import cut_windows
from albert_tf.export.serving.saved_model import write_saved_model
from albert_tf.export.serving.served_answers import ServedQuestionAnswering
from albert_tf.export.trained_model import TrainedModel, open_trained_model
from albert_tf.models.encoder import INPUT_NAMES
from albert_tf.tasks.squad.decoding import find_answers
from albert_tf.tasks.squad.span_measures import beam
from albert_tf.tasks.squad.squad_task import NAMES, SquadTask
from albert_tf.tasks.squad.windows import window_features
from albert_tf.tokenization import load_tokenizer
from albert_tf.tokenization.in_graph.text_inputs import TextInputs, strip, strip_ranges
from tests.support.script_runs import run_script
from tests.support.squad_files import make_questions, write_squad

VERSIONS = ("1.1", "2.0")
VOCABULARIES = {
    "1.1": {"spm_model_file": None, "vocab_file": testing.VOCAB_FILE},
    "2.0": {"spm_model_file": testing.SPM_MODEL_FILE, "vocab_file": None},
}
MAX_SEQ_LENGTH = 24
WINDOWS = {"max_query_length": 6, "doc_stride": 5}
CHOICE = {"n_best_size": 4, "max_answer_length": 5}
LONG = "The boats carry wool, timber and salt; the boats carry cheese and 3,500 apples to the river. " * 5

ALPHABET = "the boats rvsé,.12\u00a0\u3000\u2028\n\x1c\x00\u200b\ufeff\u2581\u0301\ufb03가😀 "
texts = st.one_of(st.text(ALPHABET, max_size=120), st.text(" \u00a0\n\u200b\u2581", max_size=4))
words = st.sampled_from(
    ["the", "boats", "salt;", "\u00e9\u0301t", "3,500", "\ufb03", "가나", "😀", "\u3000", "-"]
)
long_texts = st.lists(words, min_size=15, max_size=50).map(" ".join)
pairs_of_texts = st.lists(st.tuples(texts, st.one_of(texts, long_texts)), min_size=1, max_size=4)


def trained_model(version, **attributes):
    """A model with random weights."""
    tokenizer = load_tokenizer(**VOCABULARIES[version])
    tf_keras.utils.set_random_seed(1)
    config = testing.tiny_config(initializer_range=0.5, num_hidden_layers=1, vocab_size=tokenizer.vocab_size)
    task = {"task_name": NAMES[version], "label_names": [], "max_seq_length": MAX_SEQ_LENGTH}
    values = {
        "model": SquadTask(version, {}, {}, config=config, max_seq_length=MAX_SEQ_LENGTH).build_model(),
        "head": {"1.1": "question_answering", "2.0": "question_answering_v2"}[version],
        "tokenizer": tokenizer,
        "assets": Assets(config=config, **VOCABULARIES[version], task=task),
        "metrics": {"null_score_diff_threshold": 0.0},
        "training": None,
        "path": "run",
    }
    return TrainedModel(**values | attributes)


def serve(trained, **given):
    return ServedQuestionAnswering(trained, **WINDOWS, **{**CHOICE, **given})


def asker(served):
    """A function of a list of questions and a list of contexts, which calls the graph."""
    signature = served.task_signatures()["serving_default"]
    specs = {spec.name: spec for spec in signature.inputs}
    graph = tf.function(signature.function, autograph=False).get_concrete_function(**specs)

    def ask(questions, contexts):
        outputs = graph(question=tf.constant(questions, tf.string), context=tf.constant(contexts, tf.string))
        return {name: values.numpy() for name, values in outputs.items()}

    return ask


class PythonsPath:
    """What run_squad.py does with the same model, all windows at once."""

    def __init__(self, model, tokenizer, version):
        self._tokenizer, self._version = tokenizer, version
        specs = {name: tf.TensorSpec([None, None], tf.int32) for name in INPUT_NAMES}
        task = SquadTask(
            version,
            {},
            {},
            config=model.config,
            max_seq_length=MAX_SEQ_LENGTH,
            settings=SquadSettings(**CHOICE),
        )
        self._outputs = tf.function(
            lambda batch: task.outputs(model, batch | {"example_index": tf.constant(0)}), [specs]
        )

    def __call__(self, pairs):
        questions = make_questions([(context, question, None) for question, context in pairs], self._version)
        features = window_features(
            self._tokenizer, questions, max_seq_length=MAX_SEQ_LENGTH, **WINDOWS, training=False
        )
        ids = tf.RaggedTensor.from_row_lengths(
            features.input_ids.astype(np.int32), features.lengths
        ).to_tensor()
        positions = np.arange(ids.shape[1])
        inside = positions < features.lengths[:, None]
        second = inside & (positions >= features.first_lengths[:, None])
        inputs = {
            "input_ids": ids,
            "input_mask": tf.cast(inside, tf.int32),
            "segment_ids": tf.cast(second, tf.int32),
        }
        outputs = {name: values.numpy() for name, values in self._outputs(inputs).items()}
        return find_answers(questions, features, outputs, **CHOICE)


@functools.cache
def both(version):
    """The two ways to ask a model."""
    trained = trained_model(version)
    return asker(serve(trained)), PythonsPath(trained.model, trained.tokenizer, version)


@functools.cache
def with_a_head_of_zeros():
    """The same for a model to which all spans are equally good."""
    trained = trained_model("1.1")
    trained.model.span.set_weights([np.zeros_like(values) for values in trained.model.span.get_weights()])
    return asker(serve(trained)), PythonsPath(trained.model, trained.tokenizer, "1.1")


def check(found, expected):
    best = found.get("best_answer", found["answer"])
    rows = zip(expected.candidates, best, found["begin"], found["end"], found["score"], strict=True)
    for candidates, text, begin, end, score in rows:
        if not candidates:
            assert (text, begin, end, score) == (b"", 0, 0, np.float32(-1e30))
            continue
        first = candidates[0]
        assert (text.decode(), begin, end) == (first.text, first.begin, first.end)
        assert score == pytest.approx(first.start_log_prob + first.end_log_prob, rel=1e-5, abs=1e-5)
    if expected.null_scores is not None:
        np.testing.assert_allclose(found["no_answer_score"], expected.null_scores, rtol=1e-5, atol=1e-5)
        answered = np.where(found["no_answer_score"] <= 0, best, b"")
        np.testing.assert_array_equal(found["answer"], answered)


@pytest.mark.parametrize("version", VERSIONS)
@settings(deadline=None, max_examples=60, derandomize=True)
@given(pairs=pairs_of_texts)
@example(pairs=[("", ""), ("What do they carry?", LONG), ("Who?", "Nobody."), (LONG, LONG)])
@example(pairs=[("the " * i, LONG[10 * i :]) for i in range(7)])
def test_the_answer_is_that_of_pythons_path(version, pairs):
    ask, pythons = both(version)
    check(ask(*zip(*pairs, strict=True)), pythons(pairs))


@settings(deadline=None, max_examples=60, derandomize=True)
@given(pairs=pairs_of_texts)
@example(pairs=[("What do they carry?", LONG), ("the", " \u3000"), ("the", LONG + "\n")])
def test_of_equally_good_spans_it_is_pythons_too(pairs):
    """Every logit of this model is 0; a softmax, as in version 2.0, would not give exactly equal scores."""
    ask, pythons = with_a_head_of_zeros()
    check(ask(*zip(*pairs, strict=True)), pythons(pairs))


def test_a_start_is_taken_from_the_window_that_python_takes():
    """Also where the last window is so much shorter that its length outweighs the pieces around."""
    tokenizer = load_tokenizer(**VOCABULARIES["2.0"])
    contexts = [(LONG * 3)[:size] for size in range(400, 1000, 37)]
    questions = make_questions([(context, "Who?", None) for context in contexts])
    lengths = {"doc_stride": 128, "max_query_length": 6}
    features = window_features(tokenizer, questions, max_seq_length=160, **lengths, training=False)
    asked = tf.constant(questions.questions), tf.constant(contexts)
    windows = cut_windows(TextInputs(tokenizer, 160), *asked, **lengths)
    for found, expected in (
        (windows.contexts.text_of, features.question_of),
        (windows.contexts.lengths, features.windows.lengths),
        (windows.first_positions, features.first_lengths),
    ):
        np.testing.assert_array_equal(found, expected)
    assert features.windows.lengths.max() - features.windows.lengths.min() > 120
    numbers = np.arange(len(features), dtype=np.int32)
    for shown in range(0, 160, 3):
        has_it = shown < features.windows.lengths
        pieces = features.window_starts + np.where(has_it, shown, 0)
        expected = is_max_context(features.windows, numbers, pieces)
        pieces = windows.contexts.starts[:, None] + np.where(has_it, shown, 0)[:, None]
        found = windows.contexts.is_max_context(numbers, pieces)
        np.testing.assert_array_equal(found[:, 0], expected)


class OfSmallBatches:
    """A model that refuses batches of more than three sequences."""

    def __init__(self, model):
        self._model = model

    def __getattr__(self, name):
        return getattr(self._model, name)

    def __call__(self, inputs, training=False):
        with tf.control_dependencies([tf.debugging.assert_less_equal(tf.shape(inputs["input_ids"])[0], 3)]):
            return self._model({name: tf.identity(values) for name, values in inputs.items()}, training)


@pytest.mark.parametrize("version", VERSIONS)
def test_few_windows_go_at_once_and_the_answers_are_the_same(version):
    ask, _ = both(version)
    asked = ["What do they carry?", "Who?", "the boats"], [LONG, "Nobody.", LONG[100:]]
    expected = ask(*asked)
    trained = trained_model(version)
    trained = dataclasses.replace(trained, model=OfSmallBatches(trained.model))
    found = asker(serve(trained, windows_at_once=3))(*asked)
    assert found.keys() == expected.keys()
    for name in ("answer", "begin", "end"):
        np.testing.assert_array_equal(found[name], expected[name])
    np.testing.assert_allclose(found["score"], expected["score"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_empty_batch_has_no_answers(version):
    ask, _ = both(version)
    assert {name: values.shape for name, values in ask([], []).items()} == dict.fromkeys(
        ask(["a"], ["b"]), (0,)
    )


def test_bytes_that_are_no_utf8_are_replaced():
    ask, pythons = both("2.0")
    question, context = b"\xffWho?", b"\xff\xfe the boats \xe2\x82 the river \xf0"
    replaced = tf.strings.unicode_transcode([question, context], "UTF-8", "UTF-8").numpy()
    assert "\ufffd the river" in replaced[1].decode()
    check(ask([question], [context]), pythons([tuple(text.decode() for text in replaced)]))


def test_questions_without_contexts_are_refused_in_words():
    ask, _ = both("1.1")
    with pytest.raises(tf.errors.InvalidArgumentError, match="context and question differ in their number"):
        ask(["Who?", "What?"], [LONG])


def test_the_threshold_decides_whether_there_is_an_answer():
    asked = ["What do they carry?", "Who?"], [LONG, "Nobody."]
    ask, _ = both("2.0")
    null_scores = ask(*asked)["no_answer_score"]
    lowest = {"null_score_diff_threshold": float(null_scores.min())}
    for served in (serve(trained_model("2.0", metrics=lowest)), serve(trained_model("2.0"), **lowest)):
        found = asker(served)(*asked)
        assert all(found["best_answer"])
        expected = np.where(null_scores == null_scores.min(), found["best_answer"], b"")
        np.testing.assert_array_equal(found["answer"], expected)


def test_without_an_evaluation_the_threshold_is_0():
    with pytest.warns(InputWarning, match="--null_score_diff_threshold is taken as 0"):
        serve(trained_model("2.0", metrics=None))


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="--max_query_length 21 leaves no room"):
        ServedQuestionAnswering(trained_model("1.1"), max_query_length=21)
    with pytest.raises(InputError, match="--null_score_diff_threshold is for SQuAD 2"):
        serve(trained_model("1.1"), null_score_diff_threshold=0.0)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_signature_survives_saving(version, tmp_path):
    trained = trained_model(version)
    served = serve(trained)
    folder = write_saved_model(served, trained, str(tmp_path / "export"))
    loaded = tf.saved_model.load(folder).signatures
    assert set(loaded) == set(served.signatures())
    asked = {"question": ["What do they carry?", ""], "context": [LONG, " "]}
    ask, _ = both(version)  # of the same weights
    expected = ask(**{f"{name}s": values for name, values in asked.items()})
    found = loaded["serving_default"](**{name: tf.constant(values) for name, values in asked.items()})
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
    request = {n: tf.constant(v) for n, v in served.signatures()["tokens"].request().items()}
    outputs = beam(trained.model, request) if version == "2.0" else trained.model(request)
    examples = tf.constant(served.signatures()["serialized_examples"].request()["input"])
    for found in (loaded["tokens"](**request), loaded["serialized_examples"](input=examples)):
        assert found.keys() == outputs.keys()
        for name, values in outputs.items():
            np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_trained_folder_is_served_as_it_predicts(version, tmp_path):
    """Windows, lengths, beam and threshold are those of the folder, without a flag."""
    contexts = [LONG, "The two boats and the three cats.", "Nobody bakes bread like the baker's wife."]
    asked = [(context, question, None) for context in contexts for question in ("Who?", "two boats", "carry")]
    train = [(LONG, "What?", (16, "wool")), (contexts[1], "boats", (4, "two"))]
    testing.tiny_config(initializer_range=0.5, num_hidden_layers=1).to_json_file(
        str(tmp_path / "albert_config.json")
    )
    flags = {
        "output_dir": tmp_path / "run",
        "version": version,
        "predict_file": write_squad(tmp_path / "dev.json", train, version),
    }
    chosen = {
        "albert_config_file": tmp_path / "albert_config.json",
        "spm_model_file": testing.SPM_MODEL_FILE,
        "train_file": write_squad(tmp_path / "train.json", train, version),
        "max_seq_length": 30,
        "max_query_length": 5,
        "doc_stride": 7,
        "max_answer_length": 4,
        "n_best_size": 3,
        "start_n_top": 2,
        "end_n_top": 3,
        "train_step": 2,
        "learning_rate": 0.01,
    }
    assert run_script(run_squad.main, flags | chosen, "--do_train", "--do_eval") == 0
    flags["predict_file"] = write_squad(tmp_path / "asked.json", asked, version, with_answers=False)
    assert run_script(run_squad.main, flags, "--do_predict") == 0
    with open_trained_model(str(tmp_path / "run")) as trained:
        kept = {name for name in chosen if name in trained.task}
        assert kept >= {"doc_stride", "max_answer_length", "n_best_size", "start_n_top"}
        assert all(trained.task[name] == chosen[name] for name in kept)
        found = asker(saved_model.serve(trained, {}))([q for _, q, _ in asked], [c for c, _, _ in asked])
    folder = tmp_path / "run"
    best = json.loads((folder / "nbest_predictions.json").read_text()).values()
    texts = found.get("best_answer", found["answer"])
    assert [text.decode() for text in texts] == [candidates[0]["text"] for candidates in best]
    predictions = json.loads((folder / "predictions.json").read_text())
    assert [text.decode() for text in found["answer"]] == list(predictions.values())


def test_white_space_is_pythons():
    characters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    stripped = strip(tf.constant(characters)).numpy()
    assert {c for c, text in zip(characters, stripped, strict=True) if not text} == {
        c for c in characters if c.isspace()
    }


@settings(deadline=None, max_examples=30, derandomize=True)
@given(st.lists(st.text(" \u3000\na\u00e9😀", max_size=8), max_size=4))
def test_ranges_are_stripped_as_python_strips_their_texts(rows):
    ranges = [[(b, e) for b in range(len(row) + 1) for e in range(b, len(row) + 1)] for row in rows]
    flat = np.array([pair for row in ranges for pair in row], np.int32).reshape(-1, 2)
    begins, ends = (
        tf.RaggedTensor.from_row_lengths(column, np.array([len(row) for row in ranges], np.int64))
        for column in flat.T
    )
    begins, ends = strip_ranges(tf.constant(rows, tf.string), begins, ends)
    for row, pairs, new_begins, new_ends in zip(rows, ranges, begins.to_list(), ends.to_list(), strict=True):
        for (begin, end), new_begin, new_end in zip(pairs, new_begins, new_ends, strict=True):
            text = row[begin:end].strip()
            assert (row[new_begin:new_end] if new_begin < new_end else "") == text
            if text:
                assert begin <= new_begin < new_end <= end
