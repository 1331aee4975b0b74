"""Schemes of tags, sequences that break them, and scores of spans, against seqeval and conlleval's rules."""

import numpy as np
import pytest
import seqeval.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_tf.errors import InputError
from albert_tf.tasks.tagging.tags import TagSet, recognise, span_scores

BIOES = TagSet(("O", *(f"{p}-{kind}" for kind in "xy" for p in "BIES")), "BIOES")


def flat(sentences):
    """Tags, first words and lines of sentences, as they stand in a file with blank lines between them."""
    tags = [tag for sentence in sentences for tag in sentence]
    is_first = np.array([i == 0 for sentence in sentences for i in range(len(sentence))])
    lines = [i + number for i, number in enumerate(np.cumsum(is_first).tolist())]
    return tags, is_first, lines


def spans(tag_set, sentences):
    tags, is_first, lines = flat(sentences)
    return tag_set.spans(tag_set.numbers(tags, "file", lines), is_first)


def listed(tag_set, sentence):
    """The spans of one sentence: begin, end and type."""
    found = [np.asarray(values).tolist() for values in spans(tag_set, [sentence.split()])]
    return [(b, e, tag_set.types[kind]) for b, e, kind in zip(*found, strict=True)]


@pytest.mark.parametrize(
    ("sentences", "scheme", "names"),
    [
        (["O B-x I-x B-x", "B-y"], "IOB2", "O B-x I-x B-y I-y"),
        (["O I-x I-x B-x O I-y"], "IOB1", "O B-x I-x B-y I-y"),
        (["O I-x I-x O", "I-y"], "IO", "O I-x I-y"),
        (["S-x B-x I-x E-x O"], "BIOES", "O B-x I-x E-x S-x"),
        (["B I O B"], "IOB2", "O B I"),
        (["DET NOUN", "VERB"], "plain", "DET NOUN VERB"),
    ],
)
def test_the_scheme_is_recognised_and_has_all_tags_of_each_type(sentences, scheme, names):
    tags, is_first, lines = flat([sentence.split() for sentence in sentences])
    found = recognise(tags, is_first, "file", lines)
    assert found == TagSet(tuple(names.split()), scheme)
    found.check(found.numbers(tags, "file", lines), is_first, "file", lines)


@pytest.mark.parametrize(
    ("sentences", "message"),
    [
        (["B-x I-x", "B-x O I-x O", "B-x"], "train:6: I-x cannot follow O (scheme IOB2)"),
        (["B-x B-y", "I-y"], "train:4: I-y cannot be the first tag of a sentence (scheme IOB2)"),
        (["B-x I-y B-y"], "train:2: I-y cannot follow B-x (scheme IOB2)"),
        (["I-x I-x", "I-x O B-x I-x", "I-y"], "train:6: B-x cannot follow O (scheme IOB1)"),
        (["B-x O S-x"], "train:2: O cannot follow B-x (scheme BIOES)"),
        (["B-x E-x", "B-x I-x", "O"], "train:5: I-x cannot be the last tag of a sentence (scheme BIOES)"),
        (["E-x O"], "train:1: E-x cannot be the first tag of a sentence (scheme BIOES)"),
        (["O L-x B-x"], "train:2: 'L-x' is neither O nor a tag such as B-x"),
        (["O O"], "train: 2 to 1,000 different tags are needed, not 1"),
    ],
)
def test_a_tag_that_breaks_the_scheme_is_named(sentences, message):
    tags, is_first, lines = flat([sentence.split() for sentence in sentences])

    def check():
        found = recognise(tags, is_first, "train", lines)
        found.check(found.numbers(tags, "train", lines), is_first, "train", lines)

    with pytest.raises(InputError) as caught:
        check()
    assert str(caught.value) == message


def test_an_unknown_tag_is_named():
    with pytest.raises(InputError, match=r"^dev:1: 'B-z' is none of the known tags O, B-x, I-x"):
        BIOES.numbers(["B-z"], "dev", [1])


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("B-x I-x O I-x", [(0, 2, "x"), (3, 4, "x")]),  # I after O begins a span
        ("I-x I-y B-y I-x", [(0, 1, "x"), (1, 2, "y"), (2, 3, "y"), (3, 4, "x")]),
        ("B-x B-x I-x", [(0, 1, "x"), (1, 3, "x")]),
        ("E-x E-x I-x S-x I-x", [(0, 1, "x"), (1, 2, "x"), (2, 3, "x"), (3, 4, "x"), (4, 5, "x")]),
        ("O", []),
    ],
)
def test_spans_are_those_of_conlleval(sentence, expected):
    assert listed(BIOES, sentence) == expected


def test_plain_tags_make_a_span_of_each_word():
    assert listed(TagSet(("N", "V"), "plain"), "V V") == [(0, 1, "V"), (1, 2, "V")]


sequences = st.lists(st.lists(st.sampled_from(BIOES.names), min_size=1, max_size=6), min_size=1, max_size=4)


@settings(deadline=None, max_examples=150, derandomize=True)
@given(sequences, st.randoms(use_true_random=False))
def test_scores_are_those_of_seqeval(gold, random):
    gold = [*gold, ["B-x", "S-y"]]  # seqeval warns if there are no spans
    predicted = [[random.choice([tag, tag, *BIOES.names[:5]]) for tag in row] for row in gold]
    found = span_scores(spans(BIOES, gold), spans(BIOES, predicted), BIOES.types)
    report = seqeval.metrics.classification_report(gold, predicted, output_dict=True, zero_division=0)
    names = {"precision": "precision", "recall": "recall", "f1": "f1-score"}
    for part in set(report) & {"micro avg", "x", "y"}:
        row = found["all" if part == "micro avg" else part]
        for ours, theirs in names.items():
            assert row[ours] == pytest.approx(report[part][theirs], abs=1e-12), part


def test_scores_of_a_case_by_hand():
    """conlleval says: 4 phrases; found: 4 phrases; correct: 2; precision 50.00%, recall 50.00%, FB1 50.00."""
    gold = [["B-x", "I-x", "O", "B-y"], ["B-x", "O", "B-y", "I-y"]]
    predicted = [["B-x", "I-x", "O", "I-y"], ["B-y", "O", "B-y", "O"]]
    found = span_scores(spans(BIOES, gold), spans(BIOES, predicted), BIOES.types)
    assert found["all"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5}
    assert found["x"] == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3)}
    assert found["y"] == {"precision": pytest.approx(1 / 3), "recall": 0.5, "f1": 0.4}
