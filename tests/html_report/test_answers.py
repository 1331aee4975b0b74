"""Answers in context: both spans where they stand, nothing lost or obeyed of the text, worst first."""

import html
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_tf import html_report as report
from albert_tf.html_report import AnswerExample, TaggedExample
from albert_tf.html_report.page import escaped
from tests.html_report.test_html_report import Page, words

CONTEXT = "In 1858 Bernadette saw a lady at Lourdes."


def example(references=(), predicted=None, context=CONTEXT, f1=0.0, question="When?", **notes):
    return AnswerExample(question, context, tuple(references), predicted, float(f1 == 1), f1, notes)


def section(*examples):
    return report.answers_in_context(examples, np.zeros(len(examples)))


def context_of(shown):
    """HTML of the context in a section of one question: the excerpt, "" if there is none, and the whole."""
    _, _, shown = shown.html.partition('<dt>context</dt><dd dir="auto">')
    shown, _, _ = shown.partition("</dd>")
    excerpt, _, whole = shown.rpartition("</summary>")
    return excerpt, whole.removesuffix("</details>")


class Pieces(Page):
    """Text in pieces, each with the classes that it is marked with."""

    def __init__(self, html):
        self.pieces, self.classes = [], ""
        super().__init__(html)

    def handle_starttag(self, tag, attributes):
        super().handle_starttag(tag, attributes)
        if tag == "mark":
            assert self.open.count("mark") == 1, "marks do not nest"
            [(_, self.classes)] = attributes

    def handle_endtag(self, tag):
        super().handle_endtag(tag)
        if tag == "mark":
            self.classes = ""

    def handle_data(self, data):
        super().handle_data(data)
        self.pieces.append((data, self.classes))


def whole_in_pieces(*arguments, **named):
    return Pieces(context_of(section(example(*arguments, **named)))[1]).pieces


def test_overlapping_answers_are_cut_where_one_begins_or_ends():
    assert whole_in_pieces([(3, 7)], (0, 18)) == [
        ("In ", "predicted"),
        ("1858", "reference predicted"),
        (" Bernadette", "predicted"),
        (" saw a lady at Lourdes.", ""),
    ]
    assert whole_in_pieces([(0, 7), (3, 18)], (8, 22)) == [
        ("In ", "reference"),
        ("1858", "reference"),
        (" ", "reference"),
        ("Bernadette", "reference predicted"),
        (" saw", "predicted"),
        (" a lady at Lourdes.", ""),
    ]


def test_every_answer_is_named_once():
    shown = section(example([(3, 7), (0, 7), (3, 7), "of old", "1858"], (8, 18), score="1.50", f1=0.25))
    assert words(shown).endswith(
        "reference 1858 In 1858 of old predicted Bernadette exact no F1 25.0 % score 1.50 "
        f"question When? context {CONTEXT}"
    )


def test_no_answer_is_said_and_nothing_is_marked():
    shown = section(example(f1=1.0))
    assert "reference no answer predicted no answer exact yes F1 100.0" in words(shown)
    assert whole_in_pieces() == [(CONTEXT, "")]


def test_the_worst_come_first_then_the_surest_and_twenty_at_most():
    f1 = [0.5, 0.0, 1.0, 0.0, 0.25]
    examples = [example(f1=value, question=f"question-{i}") for i, value in enumerate(f1)]
    shown = report.answers_in_context(examples, np.array([0.1, 0.2, 0.9, 0.7, 0.3]))
    assert re.findall(r"question-(\d)", shown.html) == ["3", "1", "4", "0", "2"]
    assert report.answers_in_context(examples * 10, np.zeros(50)).html.count("<article>") == 20
    assert words(report.answers_in_context(examples * 300, np.zeros(1500))).startswith("The 20 of 1,500 ")


def test_a_long_context_folds_to_what_is_around_the_answers():
    filler = "word " * 200
    context = f"{filler}right {filler}wrong {filler}"
    begin, other = context.index("right"), context.index("wrong")
    excerpt, whole = context_of(section(example([(begin, begin + 5)], (other, other + 5), context)))
    assert re.fullmatch(
        '<details><summary><span>… (word )+<mark class="reference">right</mark>( word)+ … '
        '(word )+<mark class="predicted">wrong</mark>( word)+ … <u>more</u></span><u>less</u>',
        excerpt,
    )
    assert len(excerpt) < 1000
    assert re.sub("<[^>]*>", "", whole) == context


def test_an_excerpt_says_where_text_is_left_out():
    context = "begin " + "word " * 200 + "end"
    at_begin = section(example([(0, 5)], None, context)).html
    assert '<span><mark class="reference">begin</mark> word' in at_begin
    assert "word … <u>more" in at_begin
    at_end = section(example([], (len(context) - 3, len(context)), context)).html
    assert "<span>… word" in at_end
    assert 'word <mark class="predicted">end</mark> <u>more' in at_end
    assert "<span>begin word" in section(example(context=context)).html


def test_a_context_that_the_excerpts_cover_does_not_fold():
    context = "word " * 100
    spans = [(0, 4), (150, 154), (300, 304), (450, 454)]
    assert "<details>" not in section(example(spans, None, context)).html


def test_an_answer_longer_than_an_excerpt_is_marked_on_both_sides_of_the_gap():
    excerpt, _ = context_of(section(example([(500, 4500)], None, "字" * 5000)))
    mark = f'<mark class="reference">{"字" * 200}</mark>'
    assert f"… {'字' * 200}{mark} … {mark}{'字' * 200} …" in excerpt


def test_text_with_few_spaces_keeps_what_is_around_an_answer():
    context = "字" * 1000 + " 答え " + "字" * 1000
    excerpt, _ = context_of(section(example([(1001, 1003)], None, context)))
    assert f'{"字" * 199} <mark class="reference">答え</mark> {"字" * 199} …' in excerpt


def test_half_a_surrogate_pair_does_not_stop_the_report(tmp_path):
    path = tmp_path / "report.html"
    report.write_report(str(path), "title", [section(example([(0, 2)], (1, 3), "a\ud83d b"))])
    assert "a" in path.read_text(encoding="utf-8")


@st.composite
def contexts_with_spans(draw):
    context = draw(
        st.text(st.sampled_from("ab <&\n\u0301한😀\x00\x85\xa0\ud800") | st.characters(), max_size=80)
    )
    context = context * draw(st.sampled_from([1, 1, 7, 50]))
    span = st.tuples(*[st.integers(0, len(context))] * 2).map(sorted).map(tuple)
    return context, draw(st.lists(span, max_size=5)), draw(st.none() | span)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(contexts_with_spans())
def test_any_spans_of_any_text_mark_their_characters_and_lose_none(drawn):
    context, references, predicted = drawn
    pieces = whole_in_pieces(references, predicted, context)
    assert "".join(text for text, _ in pieces) == html.unescape(escaped(context))
    classes = [each for text, each in pieces for _ in text]
    assert len(classes) == len(context)
    for at, kinds in enumerate(classes):
        assert ("reference" in kinds) == any(begin <= at < end for begin, end in references)
        assert ("predicted" in kinds) == (predicted is not None and predicted[0] <= at < predicted[1])


def test_sentences_with_the_most_wrong_spans_come_first_and_right_ones_not_at_all():
    sentences = [
        TaggedExample("In <Wales>.", [(4, 9, "place")], [(4, 9, "place")]),
        TaggedExample("Wye", [(0, 3, "river")], []),
        TaggedExample("Bath & York", [(0, 4, "place")], [(0, 4, "<x>"), (7, 11, "place")]),
    ]
    shown = report.tagged_sentences(sentences).html
    assert "2 of 3 sentences have a span that is missing or wrong; these are the 2 with the most" in shown
    assert "Wales" not in shown
    first, second = shown.split("<article>")[1:]
    assert '<mark class="reference predicted">Bath</mark> &amp; <mark class="predicted">York</mark>' in first
    assert '<mark class="predicted">Bath</mark> &lt;x&gt;, <mark class="predicted">York</mark> place' in first
    assert '<mark class="reference">Wye</mark> river' in second
    assert "<em>none</em>" in second


def test_a_breakdown_has_a_row_and_a_bar_for_each_group():
    rows = {"what": {"questions": 1200, "f1": 62.5}, "<why>": {"questions": 1, "f1": 0.0}}
    shown = report.breakdown("By question word", rows, bar="f1")
    assert shown.heading == "By question word"
    assert words(shown) == "questions f1 what 1,200 62.5000 <why> 1 0.0000"
    assert re.findall(r"width:(\S+)%", shown.html) == ["62.5", "0.0"]


def test_the_chosen_threshold_is_marked():
    thresholds = np.array([-np.inf, -1.5, 0.25, 2.0, np.inf])
    values = {
        "exact": np.array([50.0, 55.0, 60.0, 40.0, 20.0]),
        "f1": np.array([50.0, 56.0, 62.5, 41.0, 21.0]),
    }
    shown = report.threshold_curve(thresholds, values, 0.25)
    assert Page(shown.html).tags.count("svg") == 2
    assert "the chosen threshold, 0.2500;" in words(shown)
    assert "exact 60.0000" in words(shown)
    assert "f1 62.5000" in words(shown)
    assert "Line chart of f1 from threshold -1.5000 to threshold 2.0000" in shown.html
    between = words(report.threshold_curve(thresholds, values, 0.3))
    assert "the chosen threshold, 0.3000. exact" in between
    assert "62.5" not in between


@pytest.mark.parametrize(("chosen", "answered"), [(np.inf, "every"), (-np.inf, "no")])
def test_a_constant_answer_is_told_in_words(chosen, answered):
    thresholds = np.array([-np.inf, 1.0, np.inf])
    shown = report.threshold_curve(thresholds, {"f1": np.array([50.0, 40.0, 60.0])}, chosen)
    assert words(shown).endswith(f"infinite: {answered} question gets an answer.")
