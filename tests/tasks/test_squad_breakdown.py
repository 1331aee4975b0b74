"""Questions by their question word and by the length of their answer."""

import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from albert_tf.cli.text import results_table
from albert_tf.tasks.squad.answer_report import (
    QUESTION_WORDS,
    answer_length_group,
    answer_lengths,
    by_group,
    question_word,
)


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("What is that?", "what"),
        ("In WHAT year did it begin?", "what"),
        ("To whom did she appear?", "who"),
        ("Whose book was it, and who read it?", "who"),
        ("Who knew what he wanted?", "who"),
        ("What's that?", "what"),
        ("On which day?", "which"),
        ("When did it end?", "when"),
        ("where?", "where"),
        ("Why not?", "why"),
        ("How many were there?", "how many/much"),
        ("For how  much was it sold?", "how many/much"),
        ("How long did it take?", "how"),
        ("How did many come?", "how"),
        ("Is it true?", "other"),
        ("Name a show somewhere in Whatcom.", "other"),
        ("Whatever happens, name it.", "other"),
        ("何ですか", "other"),
        ("", "other"),
    ],
)
def test_the_first_question_word_counts(question, word):
    assert question_word(question) == word


@pytest.mark.parametrize(
    ("words", "group"),
    [
        (1, "1 word"),
        (2, "2 words"),
        (3, "3 to 5 words"),
        (5, "3 to 5 words"),
        (6, "6 to 10 words"),
        (10, "6 to 10 words"),
        (11, "over 10 words"),
        (500, "over 10 words"),
    ],
)
def test_answers_are_grouped_by_their_words(words, group):
    assert answer_length_group(["a " * words]) == group


def test_the_shortest_reference_counts():
    assert answer_length_group(["the Denver Broncos", "Denver Broncos"]) == "2 words"
    assert answer_length_group([]) == "no answer"
    assert answer_length_group(["武田信玄", "武田信玄等"], "character") == "3 to 5 characters"


def test_groups_have_counts_and_means_in_order():
    groups = ["why", "what", "why", "what", "what"]
    metrics = {"exact_match": np.array([1, 0, 0, 1, 1]), "f1": np.array([1, 0.5, 0.25, 1, 1], np.float32)}
    found = by_group(groups, QUESTION_WORDS, metrics)
    assert list(found) == ["what", "why"]
    assert found["what"] == {
        "questions": 3,
        "exact_match": pytest.approx(200 / 3),
        "f1": pytest.approx(250 / 3),
    }
    assert found["why"] == {"questions": 2, "exact_match": 50.0, "f1": 62.5}
    assert results_table(found).splitlines() == [
        "      questions  exact_match       f1",
        "what          3      66.6667  83.3333",
        "why           2      50.0000  62.5000",
    ]
    assert by_group([], QUESTION_WORDS, {"f1": np.zeros(0)}) == {}


@given(st.lists(st.tuples(st.sampled_from(answer_lengths()), st.floats(0, 1)), min_size=1))
def test_the_groups_add_up_to_all(questions):
    groups, scores = zip(*questions, strict=True)
    found = by_group(groups, answer_lengths(), {"f1": np.array(scores)})
    total = sum(row["questions"] * row["f1"] for row in found.values())
    assert total / len(questions) == pytest.approx(100 * np.mean(scores))


def test_the_questions_of_the_dev_set_fall_into_all_groups(shared_data):
    articles = json.loads((shared_data / "squad" / "dev-v2.0.json").read_text(encoding="utf-8"))["data"]
    questions = [q for article in articles for paragraph in article["paragraphs"] for q in paragraph["qas"]]
    words = Counter(question_word(question["question"]) for question in questions)
    assert set(words) == set(QUESTION_WORDS)
    assert words["other"] < 0.02 * len(questions)
    lengths = Counter(answer_length_group([a["text"] for a in q["answers"]]) for q in questions)
    assert set(lengths) == set(answer_lengths())
    assert lengths["no answer"] == 5945


def test_no_tensorflow_is_imported():
    code = "import sys, albert_tf.tasks.squad.answer_report; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
