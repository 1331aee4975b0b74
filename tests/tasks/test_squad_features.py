"""Windows of contexts, labels and max-context, against a plain retelling of the original's loops."""

import collections

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_tf import testing
from albert_tf.data.feature_cache import cached_features
from albert_tf.data.windows import is_max_context
from albert_tf.errors import InputError
from albert_tf.tasks.squad.windows import WindowFeatures, window_features
from albert_tf.tokenization import load_tokenizer
from tests.support.squad_files import make_questions

TOKENIZERS = [
    load_tokenizer(spm_model_file=testing.SPM_MODEL_FILE),
    load_tokenizer(vocab_file=testing.VOCAB_FILE),
]
Window = collections.namedtuple("Window", "question start length")

contexts = st.text(alphabet="the boat rvsé,12\u00a0\u0301ﬃ가😀 ", min_size=1, max_size=60).filter(str.strip)


@st.composite
def files(draw):
    """Contexts with questions of which some have an answer, at a random place."""
    rows = []
    for context in draw(st.lists(contexts, min_size=1, max_size=3)):
        for _ in range(draw(st.integers(1, 2))):
            begin = draw(st.integers(0, len(context) - 1))
            end = draw(st.integers(begin + 1, len(context)))
            answer = None if draw(st.booleans()) else (begin, context[begin:end])
            rows.append((context, draw(contexts), answer))
    return make_questions(rows)


@st.composite
def settings_of_windows(draw):
    max_query_length = draw(st.integers(1, 6))
    return {
        "max_query_length": max_query_length,
        "max_seq_length": max_query_length + 3 + draw(st.integers(1, 12)),
        "doc_stride": draw(st.integers(1, 14)),
    }


def windows_of(questions, tokenizer, max_seq_length, doc_stride, max_query_length):
    """As the original cuts a context."""
    for number, (question, context) in enumerate(zip(questions.questions, questions.context_of, strict=True)):
        pieces = len(tokenizer.encode(questions.contexts[context]))
        room = max_seq_length - 3 - len(tokenizer.encode(question)[:max_query_length])
        start = 0
        while True:
            length = min(pieces - start, room)
            yield Window(number, start, length)
            if start + length >= pieces:
                break
            start += min(length, doc_stride)


def best_window(windows, question, piece):
    """As the original finds where a piece has the most context."""
    best, best_score = None, None
    for i, window in enumerate(windows):
        end = window.start + window.length - 1
        if window.question != question or not window.start <= piece <= end:
            continue
        score = min(piece - window.start, end - piece) + 0.01 * window.length
        if best_score is None or score > best_score:
            best, best_score = i, score
    return best


@settings(deadline=None, max_examples=60, derandomize=True)
@given(files(), settings_of_windows(), st.sampled_from(TOKENIZERS))
def test_windows_are_the_originals(questions, lengths, tokenizer):
    expected = list(windows_of(questions, tokenizer, **lengths))
    for training in (True, False):
        features = window_features(tokenizer, questions, **lengths, training=training)
        found = zip(
            features.question_of.tolist(),
            features.window_starts.tolist(),
            features.windows.lengths.tolist(),
            strict=True,
        )
        assert [Window(*window) for window in found] == expected
        ends = np.cumsum(features.lengths)
        for window, begin, end in zip(expected, ends - features.lengths, ends, strict=True):
            asked = tokenizer.encode(questions.questions[window.question])[: lengths["max_query_length"]]
            context = tokenizer.encode(questions.contexts[questions.context_of[window.question]])
            shown = context[window.start : window.start + window.length]
            ids = [tokenizer.cls_id, *asked, tokenizer.sep_id, *shown, tokenizer.sep_id]
            assert features.input_ids[begin:end].tolist() == ids
        assert features.lengths.max() <= lengths["max_seq_length"]


@settings(deadline=None, max_examples=60, derandomize=True)
@given(files(), settings_of_windows(), st.sampled_from(TOKENIZERS))
def test_labels_are_the_pieces_that_cover_the_answer(questions, lengths, tokenizer):
    features = window_features(tokenizer, questions, **lengths, training=True)
    encoded = [tokenizer.encode_with_offsets([context]) for context in questions.contexts]
    for i, (start, end, is_impossible) in enumerate(features.labels.tolist()):
        question = features.question_of[i]
        pieces = encoded[questions.context_of[question]]
        if questions.is_impossible[question] or not len(pieces.ids):
            assert (start, end, is_impossible) == (0, 0, 1)
            continue
        [begin], [text] = questions.answer_starts[question], questions.answers[question]
        touched = np.flatnonzero((pieces.ends > begin) & (pieces.begins < begin + len(text)))
        if not len(touched):  # only white space, or what the tokenizer drops
            continue
        first, last = touched[[0, -1]] - features.window_starts[i]
        if first < 0 or last >= features.windows.lengths[i]:
            assert (start, end, is_impossible) == (0, 0, 1)
        else:
            offset = features.first_lengths[i]
            assert (start, end, is_impossible) == (first + offset, last + offset, 0)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(files(), settings_of_windows(), st.sampled_from(TOKENIZERS))
def test_every_piece_has_most_context_in_the_originals_window(questions, lengths, tokenizer):
    features = window_features(tokenizer, questions, **lengths, training=False)
    windows = list(windows_of(questions, tokenizer, **lengths))
    cases = [(i, w.start + j) for i, w in enumerate(windows) for j in range(w.length)]
    expected = [best_window(windows, windows[i].question, piece) == i for i, piece in cases]
    at, pieces = np.array(cases or [(0, 0)][:0], int).reshape(-1, 2).T
    assert is_max_context(features.windows, at, pieces).tolist() == expected


def test_windows_of_a_long_context_meet_in_the_middle():
    """400 pieces in windows of 128 at a stride of 48, the last one shorter."""
    questions = make_questions([("a " * 400, "a", None)])
    [tokenizer, _] = TOKENIZERS
    lengths = {"max_seq_length": 132, "doc_stride": 48, "max_query_length": 1}
    features = window_features(tokenizer, questions, **lengths, training=False)
    windows = list(windows_of(questions, tokenizer, **lengths))
    assert len(windows) == len(features) > 5
    size = windows[-1].start + windows[-1].length
    cases = [(i, piece) for i in range(len(windows)) for piece in range(size)]
    cases = [(i, p) for i, p in cases if windows[i].start <= p < windows[i].start + windows[i].length]
    at, pieces = np.array(cases).T
    expected = [best_window(windows, 0, piece) == i for i, piece in cases]
    assert is_max_context(features.windows, at, pieces).tolist() == expected


@settings(deadline=None, max_examples=60, derandomize=True)
@given(files(), settings_of_windows(), st.sampled_from(TOKENIZERS))
def test_every_span_of_pieces_is_a_range_of_characters(questions, lengths, tokenizer):
    features = window_features(tokenizer, questions, **lengths, training=False)
    ends = np.cumsum(features.lengths)
    for i, begin in enumerate(ends - features.lengths):
        context = questions.contexts[questions.context_of[features.question_of[i]]]
        inside = slice(begin + features.first_lengths[i], ends[i] - 1)
        encoded = tokenizer.encode_with_offsets([context])
        shown = slice(features.window_starts[i], features.window_starts[i] + features.windows.lengths[i])
        np.testing.assert_array_equal(features.begins[inside], encoded.begins[shown])
        np.testing.assert_array_equal(features.ends[inside], encoded.ends[shown])
        outside = np.ones(features.lengths[i], bool)
        outside[features.first_lengths[i] : -1] = False
        assert not features.begins[begin : ends[i]][outside].any()


@pytest.mark.parametrize("training", [True, False])
def test_the_cache_gives_back_what_was_made(tmp_path, training):
    rows = [("The boats on the river. " * 9, "What is on the river?", (4, "boats")), ("Cats", "Who?", None)]
    features = window_features(
        TOKENIZERS[0], make_questions(rows), max_seq_length=32, doc_stride=8, training=training,
        max_query_length=12,
    )  # fmt: skip
    cached_features(str(tmp_path), "a", {}, lambda: features, WindowFeatures)
    again = cached_features(str(tmp_path), "a", {}, lambda: 1 / 0, WindowFeatures)
    for name, values in vars(features).items():
        if isinstance(values, np.ndarray):
            assert getattr(again, name).dtype == values.dtype
        np.testing.assert_array_equal(getattr(again, name), values)


def test_a_question_must_leave_room():
    questions = make_questions([("Cats", "Who?", None)])
    with pytest.raises(InputError, match=r"--max_query_length 64 leaves no room .* at least 68 is needed"):
        window_features(TOKENIZERS[0], questions, max_seq_length=67, training=False)


def test_a_context_of_a_million_characters_is_only_long():
    context = "The boats, walking on the river. " * 30_000 + "cheese"
    questions = make_questions([(context, "What?", (len(context) - 6, "cheese"))])
    features = window_features(TOKENIZERS[0], questions, max_seq_length=384, training=True)
    assert len(features) > 1000
    assert features.labels[-1, 2] == 0
    assert features.labels[:-3, 2].all()
