"""Answers from scores: the best spans as a plain search finds them, always exact substrings."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_tf import testing
from albert_tf.tasks.squad import decoding
from albert_tf.tasks.squad.decoding import Answers, Candidate, combined, find_answers
from albert_tf.tasks.squad.windows import window_features
from albert_tf.tokenization import load_tokenizer
from tests.support.squad_files import make_questions

TOKENIZER = load_tokenizer(spm_model_file=testing.SPM_MODEL_FILE)
CONTEXTS = [
    "The boats carry wool, timber and salt; the boats carry cheese and 3,500 apples, the boats.",
    "Éva\u00a0said “non”: ﬃ ½ 가나 😀 e\u0301t e\u0301t.",
    "The cat",
]
LENGTHS = {"max_seq_length": 28, "doc_stride": 7, "max_query_length": 6, "training": False}


def make_features(contexts):
    questions = make_questions([(context, "What is it?", None) for context in contexts])
    return questions, window_features(TOKENIZER, questions, **LENGTHS)


def random_outputs(features, starts, ends, seed, conditional):
    """Scores of as many different positions as there are, the rest of a beam being padding."""
    rng = np.random.default_rng(seed)
    windows, conditions = len(features), starts if conditional else 1
    outputs = {
        "start_index": np.zeros((windows, starts), np.int32),
        "start_score": np.full((windows, starts), -1e30, np.float32),
        "end_index": np.zeros((windows, conditions, ends), np.int32),
        "end_score": np.full((windows, conditions, ends), -1e30, np.float32),
    }
    for i, length in enumerate(features.lengths):
        for kind, rows, count in (("start", [()], starts), ("end", [(j,) for j in range(conditions)], ends)):
            for row in rows:
                some = rng.permutation(length)[:count]
                outputs[f"{kind}_index"][(i, *row, slice(len(some)))] = some
                outputs[f"{kind}_score"][(i, *row, slice(len(some)))] = np.round(
                    rng.normal(size=len(some)), 1
                )
    if conditional:
        outputs["null_score"] = rng.normal(size=windows).astype(np.float32)
    return outputs


def spans_of(outputs, window):
    conditional = len(outputs["end_index"][window]) > 1
    starts = zip(outputs["start_index"][window], outputs["start_score"][window], strict=True)
    for j, (start, score) in enumerate(starts):
        row = (window, j if conditional else 0)
        for end, end_score in zip(outputs["end_index"][row], outputs["end_score"][row], strict=True):
            yield start, end, float(score), float(end_score)


def search(questions, features, outputs, n_best_size, max_answer_length):
    """Candidate texts with their scores, one window, start and end at a time."""
    found = [[] for _ in range(len(questions))]
    token_ends = np.cumsum(features.lengths)
    shown = {}
    for i in range(len(features)):
        for j in range(features.windows.lengths[i]):
            piece = (features.question_of[i], features.window_starts[i] + j)
            score = min(j, features.windows.lengths[i] - 1 - j) + 0.01 * features.windows.lengths[i]
            if piece not in shown or score > shown[piece][0]:
                shown[piece] = (score, i)
    for i in range(len(features)):
        question, first = features.question_of[i], features.first_lengths[i]
        for start, end, score, end_score in sorted(spans_of(outputs, i)):
            if min(score, end_score) < -1e29 or not first <= start <= end < features.lengths[i] - 1:
                continue
            if end - start + 1 > max_answer_length:
                continue
            if shown[question, features.window_starts[i] + start - first][1] != i:
                continue
            offset = token_ends[i] - features.lengths[i]
            begin, stop = features.begins[offset + start], features.ends[offset + end]
            text = questions.contexts[questions.context_of[question]][begin:stop].strip()
            if text:
                found[question].append((text, score, end_score))
    best = []
    for spans in found:
        texts = {}
        for text, score, end_score in sorted(spans, key=lambda span: span[1] + span[2], reverse=True):
            texts.setdefault(text, (score, end_score))
        best.append([(text, *scores) for text, scores in texts.items()][:n_best_size])
    return best


@settings(deadline=None, max_examples=80, derandomize=True)
@given(
    st.lists(st.sampled_from(CONTEXTS), min_size=1, max_size=4),
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(0, 1 << 20),
    st.booleans(),
    st.integers(1, 6),
    st.integers(1, 8),
    st.sampled_from([1, 100, 1 << 20]),
)
def test_the_best_spans_are_those_of_a_plain_search(
    contexts, starts, ends, seed, conditional, n_best_size, max_answer_length, at_once
):
    questions, features = make_features(contexts)
    outputs = random_outputs(features, starts, ends, seed, conditional)
    sizes = {"n_best_size": n_best_size, "max_answer_length": max_answer_length}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "_SPANS_AT_ONCE", at_once)
        answers = find_answers(questions, features, outputs, **sizes)
    found = [[(c.text, c.start_log_prob, c.end_log_prob) for c in row] for row in answers.candidates]
    assert found == search(questions, features, outputs, **sizes)
    for row, context in zip(answers.candidates, questions.context_of, strict=True):
        assert all(questions.contexts[context][c.begin : c.end] == c.text for c in row)
        assert all(c.text == c.text.strip() != "" for c in row)
        if row:
            assert sum(c.probability for c in row) == pytest.approx(1)
    if conditional:
        lowest = [
            outputs["null_score"][features.question_of == i].astype(np.float64).min()
            for i in range(len(questions))
        ]
        np.testing.assert_array_equal(answers.null_scores, lowest)


def test_every_span_of_a_context_can_be_the_answer():
    """Accents, ligatures, Hangul and emoji come back as the very characters of the context."""
    questions, features = make_features([CONTEXTS[1]])
    size = int(features.lengths[0])
    outputs = {
        "start_index": np.arange(size, dtype=np.int32)[None],
        "end_index": np.arange(size, dtype=np.int32)[None, None],
        "start_score": np.zeros((1, size), np.float32),
        "end_score": np.zeros((1, 1, size), np.float32),
    }
    outputs = {name: np.repeat(values, len(features), 0) for name, values in outputs.items()}
    answers = find_answers(questions, features, outputs, n_best_size=10_000, max_answer_length=10_000)
    texts = {candidate.text for candidate in answers.candidates[0]}
    assert {"Éva", "non", "가나", "😀", "e\u0301t", "Éva\u00a0said"} <= texts


def test_without_a_span_there_is_no_text():
    questions, features = make_features(["The cat"])
    never = {
        "start_index": np.zeros((1, 2), np.int32),
        "start_score": np.zeros((1, 2), np.float32),
        "end_index": np.zeros((1, 1, 2), np.int32),
        "end_score": np.zeros((1, 1, 2), np.float32),
    }
    answers = find_answers(questions, features, never)
    assert answers.texts == [""]
    assert answers.null_scores is None


def test_several_models_answer_with_the_mean_probability_of_a_text():
    def found(**chances):
        scores = {"start_log_prob": 1.0, "end_log_prob": 2.0}
        return [Candidate(text, 0, len(text), **scores, probability=p) for text, p in chances.items()]

    one = Answers([found(salt=0.5, wool=0.4, oil=0.1), []], np.array([1.0, -2.0]))
    two = Answers([found(wool=0.6, ale=0.4), found(iron=1.0)], np.array([2.0, 4.0]))
    both = combined([one, two], n_best_size=3)
    assert both.texts == ["wool", "iron"]
    means = [[(each.text, each.probability) for each in candidates] for candidates in both.candidates]
    assert means == [[("wool", 0.5), ("salt", 0.25), ("ale", 0.2)], [("iron", 0.5)]]
    assert both.null_scores.tolist() == [1.5, 1.0]
    assert combined([Answers([[]], None)] * 2, 3).null_scores is None
