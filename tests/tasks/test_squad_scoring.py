"""SQuAD's metrics: digit for digit those of the official scripts, and thresholds as good as there are."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_tf.tasks.squad import scoring
from albert_tf.tasks.squad.reading import SquadQuestions, read_squad
from albert_tf.tasks.squad.scoring import (
    apply_threshold,
    best_threshold,
    original_best_threshold,
    question_scores,
    totals_v1,
    totals_v2,
)
from albert_tf.tasks.squad.segmentation import SEGMENTATIONS, normalize_answer, segmentation_of
from tests.support.goldens import GOLDENS
from tests.support.squad_files import official_totals

HARD_TEXTS = [
    "",
    " ",
    "the",
    "A",
    "an-the a",  # the hyphen goes first: "anthe"
    "The the THE",
    "Denver Broncos",
    "the Denver  Broncos.",
    "Broncos Broncos Denver",
    "den-ver",
    "U.S.",
    "$1,000",
    "1000",
    "１０００",
    "٣",
    "–",
    "“Denver”",
    "Denver\xa0Broncos",
    "the\xa0Broncos",
    "Denver\u200bBroncos",
    "a\u0301",  # a word of two characters whose second is no letter: the article goes
    "á",
    "_a_",
    "İstanbul the",
    "ǅ",
    "the’s",
    "...",
    "\x1c",
]
TEXTS = st.one_of(
    st.sampled_from(HARD_TEXTS),
    st.lists(st.sampled_from([*HARD_TEXTS, "\n", "dog", "cat"]), max_size=5).map(" ".join),
    st.text(max_size=6),
)


@pytest.fixture(scope="module")
def official():
    from official.nlp.tools import squad_evaluate_v1_1, squad_evaluate_v2_0

    return {"1.1": squad_evaluate_v1_1, "2.0": squad_evaluate_v2_0}


def questions_of(answers, version="2.0"):
    """One question a tuple of answers, all about one paragraph."""
    return SquadQuestions(
        titles=[""],
        contexts=["x"],
        article_of=np.zeros(1, np.int32),
        context_of=np.zeros(len(answers), np.int32),
        questions=["x?"] * len(answers),
        ids=[f"q{i}" for i in range(len(answers))],
        answers=[tuple(texts) for texts in answers],
        answer_starts=[(-1,) * len(texts) for texts in answers],
        is_impossible=np.array([not texts for texts in answers]),
        has_answers=True,
        version=version,
        digest="",
    )


def totals_of(version, questions, predictions):
    scores = question_scores(version, predictions, questions)
    return totals_v1(*scores) if version == "1.1" else totals_v2(*scores, questions)


# --------------------------------------------------------------------------------------------- scores


@pytest.mark.parametrize(("text", "expected"), GOLDENS["squad_eval"]["normalize"])
def test_normalized_answers_equal_the_originals(text, expected):
    assert normalize_answer(text) == expected


@pytest.mark.parametrize(("prediction", "reference", "f1_v1", "f1_v2"), GOLDENS["squad_eval"]["f1"])
def test_f1_equals_the_originals(prediction, reference, f1_v1, f1_v2):
    assert scoring.f1("1.1", prediction, [reference]) == f1_v1
    assert scoring.f1("2.0", prediction, [reference]) == f1_v2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Denver-Broncos!", "denverbroncos"),
        ("Denver\xa0the\u2003Broncos\n", "denver broncos"),
        ("Anna and the other a", "anna and other"),
        ("“A”", "“ ”"),
        ("the１", "the１"),
        ("a_the", "athe"),
        ("é a", "é"),
    ],
)
def test_normalization(text, expected):
    assert normalize_answer(text) == expected


@pytest.mark.parametrize(
    ("prediction", "references", "v1", "v2"),
    [
        ("the Denver Broncos!", ["Panthers", "Denver broncos"], (1, 1.0), (1, 1.0)),
        ("Broncos", ["Denver Broncos", "the Broncos of Denver"], (0, 2 / 3), (0, 2 / 3)),
        ("dog dog", ["dog", "dog dog cat"], (0, 0.8), (0, 0.8)),
        ("", ["the"], (1, 0), (1, 1)),
        ("", ["the", "dog"], (1, 0), (0, 0)),
        ("!", ["a", "an"], (1, 0), (1, 1)),
        ("dog", ["the"], (0, 0), (0, 0)),
    ],
)
def test_scores_are_the_best_over_the_references(prediction, references, v1, v2):
    for version, expected in (("1.1", v1), ("2.0", v2)):
        exact = scoring.exact_match(version, prediction, references)
        f1 = scoring.f1(version, prediction, references)
        assert (exact, f1) == (expected[0], pytest.approx(expected[1], abs=1e-15))


def test_an_impossible_question_wants_no_text():
    exact, f1 = question_scores("2.0", ["", "dog", "the", "dog"], questions_of([[], [], [], ["dog"]]))
    assert exact.tolist() == f1.tolist() == [1, 0, 1, 1]
    assert exact.dtype == f1.dtype == np.float64


def test_normalization_equals_the_official_one_for_every_character(official):
    for version in ("1.1", "2.0"):
        for begin in range(0, 0x11000, 64):
            text = " a".join(map(chr, range(begin, begin + 64)))
            assert normalize_answer(text) == official[version]._normalize_answer(text)


@pytest.mark.parametrize("version", ["1.1", "2.0"])
def test_hard_texts_score_as_officially(version):
    pairs = [(prediction, reference) for prediction in HARD_TEXTS for reference in HARD_TEXTS]
    questions = questions_of([[reference] for _, reference in pairs])
    predictions = [prediction for prediction, _ in pairs]
    assert totals_of(version, questions, predictions) == official_totals(version, questions, predictions)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.lists(st.tuples(TEXTS, st.lists(TEXTS, min_size=1, max_size=4)), min_size=1, max_size=30))
def test_totals_of_1_1_equal_the_official_ones(pairs):
    predictions, answers = zip(*pairs, strict=True)
    questions = questions_of(answers, "1.1")
    assert totals_of("1.1", questions, predictions) == official_totals("1.1", questions, predictions)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.lists(st.tuples(TEXTS, st.lists(TEXTS, max_size=4)), min_size=1, max_size=30))
def test_totals_of_2_0_equal_the_official_ones(pairs):
    predictions, answers = zip(*pairs, strict=True)
    questions = questions_of(answers)
    assert totals_of("2.0", questions, predictions) == official_totals("2.0", questions, predictions)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("光荣和ω-force开发", "光 荣 和 ωforce 开 发"),  # CMRC 2018 drops the hyphen
        ("约3.5%，或1,000人", "约 3.5 % 或 1,000 人"),
        ("Andrew W. Mellon (基金)。", "andrew w. mellon ( 基 金 )"),
        ("1990—1991年", "1990 — 1991 年"),
        ("it's don't v1.0.", "it 's do n't v1.0 ."),
        ('\'Tis "Iskra"…', '\' tis " iskra " …'),
        ("，。-", ""),
    ],
)
def test_chinese_characters_and_treebank_words(text, words):
    by = SEGMENTATIONS["character"]
    assert list(by.words(by.normalize(text))) == words.split()


@pytest.mark.parametrize(
    ("prediction", "references", "exact", "f1"),
    [
        ("光荣和《ω-force》", ["光荣和ω-force"], 1, 1.0),
        ("武田信玄等人", ["武田信玄"], 0, 2 * (4 / 6) * 1 / (4 / 6 + 1)),
        ("玄信田武", ["武田信玄"], 0, 0.25),  # the longest common run, not common characters
        ("12月的72", ["72", "11月"], 0, 0.4),  # of 4 and 2 words: 12, 月, 的, 72
        ("", ["武田"], 0, 0.0),
        ("上海", ["武田", "上海市"], 0, 0.8),
    ],
)
def test_answers_in_chinese_score_as_in_cmrc(prediction, references, exact, f1):
    by = SEGMENTATIONS["character"]
    assert scoring.exact_match("1.1", prediction, references, by) == exact
    assert scoring.f1("1.1", prediction, references, by) == pytest.approx(f1, abs=1e-15)


def test_the_letters_of_the_contexts_choose_the_segmentation():
    assert segmentation_of(["《战国无双3》是由光荣和ω-force开发的"]) == "character"
    assert segmentation_of(["これは日本語です", "NHK"]) == "character"
    assert segmentation_of(["The Chinese name is 北京", "2008"]) == "space"


def test_all_results_of_2_0_take_the_segmentation():
    questions = dataclasses.replace(questions_of([["武田信玄"], [], ["，"]]), segmentation="character")
    assert totals_of("2.0", questions, ["武田", "", "。"])["f1"] == pytest.approx(100 * (2 / 3 + 2) / 3)


def test_parts_without_questions_are_left_out():
    exact, f1 = question_scores("2.0", ["dog"], questions_of([["dog"]]))
    assert totals_v2(exact, f1, questions_of([["dog"]])) == {
        "exact": 100.0,
        "f1": 100.0,
        "total": 1,
        "HasAns_exact": 100.0,
        "HasAns_f1": 100.0,
        "HasAns_total": 1,
    }


# ------------------------------------------------------------------------------------------ thresholds


def value_at(threshold, scores, null_scores, is_impossible):
    return 100.0 * np.where(null_scores <= threshold, scores, is_impossible).sum() / len(scores)


ROWS = st.lists(
    st.tuples(st.sampled_from([0, 0.25, 0.5, 1]), st.integers(-3, 3), st.booleans()), min_size=1, max_size=12
)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(ROWS)
def test_the_best_threshold_equals_brute_force(rows):
    scores, null_scores, is_impossible = map(np.array, zip(*rows, strict=True))
    choices = [null_scores.min() - 1, *np.unique(null_scores)]
    values = [value_at(choice, scores, null_scores, is_impossible) for choice in choices]
    assert best_threshold(scores, null_scores, is_impossible) == (max(values), choices[np.argmax(values)])


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.data(), st.integers(1, 12))
def test_no_number_is_a_better_threshold(data, count):
    numbers = st.floats(-1e6, 1e6, width=32)
    null_scores = np.array(data.draw(st.lists(numbers, min_size=count, max_size=count)), np.float32)
    scores = np.array(data.draw(st.lists(st.floats(0, 1), min_size=count, max_size=count)))
    is_impossible = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    value, threshold = best_threshold(scores, null_scores, is_impossible)
    assert value == pytest.approx(value_at(threshold, scores, null_scores, is_impossible), abs=1e-9)
    for other in (data.draw(st.floats(-1e7, 1e7)), -1e9, 1e9):
        assert value >= value_at(other, scores, null_scores, is_impossible) - 1e-9


def test_both_constant_answers_are_among_the_thresholds():
    null_scores = np.array([-5.0, -3.0, -4.0])
    impossible = np.array([True, True, False])
    assert best_threshold(np.array([0, 0, 0.5]), null_scores, impossible) == (pytest.approx(200 / 3), -6.0)
    assert best_threshold(np.array([1, 1, 1]), null_scores, impossible & False) == (100.0, -3.0)
    huge = np.array([1e20, 1e20])
    assert best_threshold(np.zeros(2), huge, np.array([True, True]))[1] < 1e20


def test_the_value_is_the_total_of_the_texts_that_the_threshold_leaves():
    questions = questions_of([["Denver Broncos"], [], ["dog"], [], ["cat"]])
    predictions = ["Broncos", "Denver", "dog", "dog", "dog"]
    null_scores = np.array([-2.5, 0.5, -7.0, -3.0, 1.5])
    exact, f1 = question_scores("2.0", predictions, questions)
    for name, scores in (("exact", exact), ("f1", f1)):
        value, threshold = best_threshold(scores, null_scores, questions.is_impossible)
        left = apply_threshold(predictions, null_scores, threshold)
        assert totals_of("2.0", questions, left)[name] == pytest.approx(value, abs=1e-12)
    assert apply_threshold(predictions, null_scores, -2.5) == ["Broncos", "", "dog", "dog", ""]


@pytest.mark.parametrize("golden", GOLDENS["squad_eval"]["find_best_thresh"])
def test_the_originals_threshold_equals_its_goldens(golden):
    columns = [list(golden[key].values()) for key in ("preds", "scores", "na")]
    is_impossible = ~np.array(list(golden["has"].values()))
    value, threshold = original_best_threshold(columns[0], *map(np.array, columns[1:]), is_impossible)
    assert [value, threshold] == golden["out"]


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "x"]), st.floats(0, 1), st.sampled_from([-2.5, 0, 0.1, 3]), st.booleans()
        ),
        min_size=1,
        max_size=12,
    )
)
def test_the_originals_threshold_equals_the_official_sweep(official, rows):
    texts, scores, null_scores, is_impossible = zip(*rows, strict=True)
    expected = official["2.0"]._find_best_thresh(
        dict(enumerate(texts)),
        dict(enumerate(scores)),
        dict(enumerate(null_scores)),
        {i: not impossible for i, impossible in enumerate(is_impossible)},
    )
    arrays = map(np.array, (scores, null_scores, is_impossible))
    assert original_best_threshold(texts, *arrays) == expected


# ------------------------------------------------------------------------------------ the published files


def spans_near_the_answers(questions, rng):
    """What a middling model may predict: pieces of the context about as good as the answers, or nothing."""
    predictions = []
    for context, starts, answers in zip(
        questions.context_of, questions.answer_starts, questions.answers, strict=True
    ):
        text = questions.contexts[context]
        begin = max(0, (starts[0] if starts else 0) + int(rng.integers(-15, 6)))
        end = begin + int(rng.integers(0, 30))
        predictions.append(
            ["", answers[0] if answers else "", text[begin:end]][rng.choice(3, p=[0.2, 0.2, 0.6])]
        )
    return predictions


@pytest.mark.parametrize("version", ["1.1", "2.0"])
def test_scores_on_the_published_files_equal_the_official_ones(shared_data, version):
    questions = read_squad(str(shared_data / f"squad/dev-v{version}.json"))
    predictions = spans_near_the_answers(questions, np.random.default_rng(0))
    assert totals_of(version, questions, predictions) == official_totals(version, questions, predictions)


def test_scores_on_cmrcs_files_equal_its_own_evaluation(shared_data):
    # Made with CMRC 2018's rules over NLTK's words, for the same predictions.
    questions = read_squad(str(shared_data / "chinese/cmrc2018_dev.squad.json"))
    predictions = spans_near_the_answers(questions, np.random.default_rng(0))
    totals = totals_of("1.1", questions, predictions)
    assert totals == {"exact_match": 20.378999689344518, "f1": 40.24928614611619}
