"""The page of a run: well-formed, self-contained, escaped, and with the right figures in it."""

import html.parser
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_tf import html_report as report
from albert_tf.errors import InputError

VOID = {"meta", "br", "img"}
HOSTILE = """<script>alert("1")</script> & 'quotes' </section> {title} %s \x00\x1b[31m\x85 \u202e 中文 😀"""


class Page(html.parser.HTMLParser):
    """Checks that tags are balanced, and gathers what a page consists of."""

    def __init__(self, text):
        super().__init__()
        self.text, self.tags, self.attributes, self.open = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *attribute) for attribute in attributes]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        assert "svg" in self.open, "only in SVG do tags close themselves"
        self.handle_starttag(tag, attributes)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)


def words(section):
    return " ".join(" ".join(Page(section.html).text).split())


def all_sections(name="entailment", text="A sentence."):
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 3, (2, 50))
    names = [name, "neutral", "contradiction"]
    history = [{"step": step, name: 1 / step, "loss": 2 / step} for step in (10, 20, 30)]
    texts = {name: [text] * 50}
    return [
        report.facts({name: text, "seed": 1}, name),
        report.results({name: {name: 0.5}}),
        report.results({name: {name: 0.5}, "b": {"f1": 1}}, (name, {"": {"f1": 0.5}}), [text]),
        report.precision_and_recall(labels, predicted, names),
        report.curves([*history, {"step": 40, "f1": 0.5}], [name, "loss", "f1"], best_step=20),
        report.confusion_matrix(labels, predicted, names),
        report.confusion_matrix(labels, predicted, names * 5),
        report.confusion_matrix(labels, predicted, names * 11),
        report.accuracy_by_part(labels == predicted, {name: slice(0, 20), "b": slice(20, 50)}),
        report.scatter(labels.astype(np.float32), rng.random(50)),
        report.wrong_examples(
            [names[i] for i in labels], [names[i] for i in predicted], rng.random(50), texts
        ),
        report.largest_errors(labels, rng.random(50), texts),
        report.breakdown(name, {name: {name: 1, "f1": 50.0}}, bar="f1"),
        report.threshold_curve(np.arange(5.0), {name: np.arange(5.0), "f1": np.arange(5.0)}, 2.0),
        report.answers_in_context(
            [report.AnswerExample(text, text, ((0, 5), text), (3, 8), 0, 0.5, {name: text})], np.zeros(1)
        ),
        report.Section(name, ""),
    ]


def written(tmp_path, *arguments, **named):
    path = tmp_path / "report.html"
    report.write_report(str(path), "A title", all_sections(*arguments, **named))
    return path.read_text(encoding="utf-8")


def test_the_page_is_balanced_and_needs_nothing_from_elsewhere(tmp_path):
    text = written(tmp_path)
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>")
    assert "://" not in text
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)
    for tag, name, value in page.attributes:
        assert not name.startswith("on")
        if name in ("src", "href", "xlink:href"):
            assert value.startswith(("#", "data:image/png;base64,")), (tag, name)
    assert not re.search(r"@import|url\((?!#)", text)


def test_ids_are_unique_and_references_lead_somewhere(tmp_path):
    text = written(tmp_path)
    ids = [value for _, name, value in Page(text).attributes if name == "id"]
    assert len(ids) == len(set(ids))
    links = [value for _, name, value in Page(text).attributes if name in ("href", "xlink:href")]
    used = {value[1:] for value in links if value[0] == "#"}
    assert used | set(re.findall(r"url\(#([^)]*)\)", text)) <= set(ids)


def test_hostile_text_is_shown_not_obeyed(tmp_path):
    plain, hostile = Page(written(tmp_path)), Page(written(tmp_path, HOSTILE, HOSTILE))
    assert hostile.tags == plain.tags
    assert "".join(hostile.text).count("<script>alert(") > 10
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "".join(hostile.text))


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=500))
def test_any_text_is_in_the_page_whole(text):
    section = report.wrong_examples(["a"], ["b"], np.ones(1), {text: [text]})
    page = Page(section.html)
    assert text in "".join(page.text)
    plain = Page(report.wrong_examples(["a"], ["b"], np.ones(1), {"": ["-" * len(text)]}).html)
    assert page.tags == plain.tags


def test_a_whole_page_is_small_and_the_same_each_time(tmp_path):
    first = written(tmp_path)
    assert written(tmp_path) == first
    assert len(first) < 300_000


def test_large_splits_and_long_histories_stay_small():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(2, 100_000))
    history = [{"step": step, "loss": rng.random()} for step in range(20_000)]
    assert len(report.scatter(*scores).html) + len(report.curves(history, ["loss"]).html) < 200_000


def test_nothing_is_left_of_a_page_that_fails(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("before")
    with pytest.raises(AttributeError):
        report.write_report(str(path), "title", [None])
    with pytest.raises(UnicodeEncodeError):
        report.write_report(str(path), "title", [report.Section("half a character", "\ud800")])
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    assert path.read_text() == "before"


def test_a_folder_is_no_place_for_a_page(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        report.write_report(str(tmp_path), "title", [])


def test_a_flag_of_the_command_stays_in_one_piece():
    [flag] = re.findall(r"<span>(.*?)</span>", report.facts({"command": "run.py --a=b well-known 3e-5"}).html)
    assert flag == "--a=b"


def test_one_result_is_figures_and_several_are_a_table():
    one = report.results({"": {"accuracy": 0.86124, "examples": 9815}})
    assert words(one) == "accuracy 0.8612 examples 9,815"
    assert "<table" not in one.html
    several = report.results({"matched": {"accuracy": 0.5}, "mismatched": {"loss": 0.25}})
    assert words(several) == "accuracy loss matched 0.5000 – mismatched – 0.2500"


def test_the_page_begins_with_a_link_to_each_section(tmp_path):
    path = tmp_path / "report.html"
    report.write_report(
        str(path), "title", [report.Section("One & two", "<p>x</p>"), report.Section("Three", "")]
    )
    page = path.read_text()
    assert re.findall(r'<a href="#(.*?)">(.*?)</a>', page) == [
        ("section-0", "One &amp; two"),
        ("section-1", "Three"),
    ]
    assert re.findall(r'<section id="(.*?)">\s*<h2>(.*?)</h2>', page) == [
        ("section-0", "One &amp; two"),
        ("section-1", "Three"),
    ]


def test_the_baseline_stands_beside_each_result():
    baseline = ("always 1", {"": {"accuracy": 0.75}})
    one = report.results({"": {"accuracy": 0.5, "loss": 2.0}}, baseline)
    assert words(one) == "accuracy 0.5000 always 1: 0.7500 loss 2.0000"
    parts = {"a": {"accuracy": 0.5}, "b": {"accuracy": 0.25}}
    assert words(report.results(parts, baseline)) == "accuracy a 0.5000 b 0.2500 always 1 0.7500"
    assert words(report.results(parts, ("always 1", parts))).endswith("a: always 1 0.5000 b: always 1 0.2500")


def test_what_must_not_be_missed_stands_first():
    section = report.results({"": {"accuracy": 0.5}}, notes=["all 4 are predicted 1"])
    assert words(section) == "All 4 are predicted 1. accuracy 0.5000"


def test_each_class_has_its_precision_and_recall():
    section = report.precision_and_recall(np.array([0, 0, 0, 1]), np.array([0, 1, 1, 1]), ["no", "yes", "?"])
    assert words(section) == (
        "class examples predicted precision recall F1 no 3 1 1.0000 0.3333 0.5000 "
        "yes 1 3 0.3333 1.0000 0.5000 ? 0 0 0.0000 0.0000 0.0000"
    )
    labels = np.arange(100) % 40
    many = report.precision_and_recall(labels, labels, [f"c{i}" for i in range(40)])
    assert re.findall(r'"row">c(\d+)', many.html) == [str(i) for i in range(30)]


def test_accuracy_is_that_of_each_part_and_of_all():
    correct = np.array([True, True, False, True])
    section = report.accuracy_by_part(
        correct, {"middle": slice(0, 1), "high": slice(1, 4), "none": slice(4, 4)}
    )
    assert words(section) == (
        "examples right accuracy middle 1 1 1.0000 high 3 2 0.6667 none 0 0 0.0000 all 4 3 0.7500"
    )
    assert re.findall(r"width:(\S+)%", section.html) == ["100.0", "66.7", "0.0", "75.0"]


def test_the_confusion_matrix_counts_rows_of_truth():
    section = report.confusion_matrix(
        np.array([0, 0, 0, 0, 1]), np.array([0, 0, 0, 1, 1]), ["no", "yes", "?"]
    )
    assert words(section).split("predicted no yes ? ")[1].replace("\N{NO-BREAK SPACE}", " ") == (
        "no 3 75.0 % 1 25.0 % 0 0.0 % yes 0 0.0 % 1 100.0 % 0 0.0 % ? 0 0.0 % 0 0.0 % 0 0.0 %"
    )
    assert section.html.count('class="right"') == 3


def test_a_long_text_without_spaces_folds_to_its_beginning():
    texts = {"text": ["好 " + "中文" * 400]}
    html = report.wrong_examples(["a"], ["b"], np.array([0.9]), texts).html
    assert f"<span>好 {'中文' * 199} …" in html


def test_of_many_classes_the_most_confused_pairs_are_named():
    labels, predicted = np.array([0, 0, 0, 5, 7]), np.array([31, 31, 0, 5, 8])
    section = report.confusion_matrix(labels, predicted, [f"c{i}" for i in range(32)])
    assert section.heading == "Most confused classes"
    assert (
        words(section)
        .replace("\N{NO-BREAK SPACE}", " ")
        .endswith("share of the true class c0 c31 2 66.7 % c7 c8 1 100.0 %")
    )
    right = report.confusion_matrix(labels, labels, [f"c{i}" for i in range(32)])
    assert words(right) == "No example is wrong."


def test_curves_mark_the_best_step_and_a_single_measurement_is_a_row():
    history = [
        {"step": 1000, "loss": 0.5, "f1": 0.25},
        {"step": 2000, "loss": 0.75},
        {"step": 3000, "x": 1.0},
    ]
    section = report.curves(history, ["loss", "f1", "never"], best_step=2000)
    page = Page(section.html)
    assert page.tags.count("svg") == 1
    assert ("svg", "aria-label", "Line chart of loss from step 1,000 to step 2,000") in page.attributes
    assert "step 2,000;" in words(section)
    assert "loss 0.7500" in words(section)
    assert words(section).endswith("step value f1 1,000 0.2500")
    assert "svg" not in report.curves(history, ["f1"]).html


def test_a_constant_has_a_row_and_no_curve():
    history = [{"step": step, "rate": 0.5 + step * 1e-10, "loss": 1 / step} for step in (10, 20, 30)]
    section = report.curves(history, ["rate", "loss"])
    assert section.html.count("<svg") == 1
    assert words(section).endswith("step value rate 10 to 30 0.5000")


@pytest.mark.parametrize(("difference", "span"), [(1e-3, 0.3), (100, 100)])
def test_an_axis_does_not_magnify_what_rounding_makes(difference, span):
    history = [{"step": step, "loss": 500 + step * difference} for step in (0, 1)]
    shown = words(report.curves(history, ["loss"])).replace("\N{MINUS SIGN}", "-").split()
    ticks = [float(word) for word in shown if re.fullmatch(r"[456]\d\d(\.\d+)?", word)]
    assert max(ticks) - min(ticks) == pytest.approx(span, rel=0.4)


def test_measurements_that_are_no_numbers_leave_a_gap():
    history = [{"step": i, "loss": value} for i, value in enumerate([1.0, float("nan"), float("inf"), 2.0])]
    assert "svg" in report.curves(history, ["loss"], best_step=1).html


def test_charts_take_the_colours_of_the_page():
    for section in (
        report.scatter(np.arange(5.0), np.arange(5.0)),
        report.curves([{"step": 1, "a": 1}, {"step": 2, "a": 2}], ["a"]),
        report.threshold_curve(np.arange(5.0), {"a": np.arange(5.0)}, 2.0),
    ):
        assert "var(--soft)" in section.html
        assert not re.search(r"#[0-9a-f]{6}\b", re.sub('data:[^"]*', "", section.html))


def test_a_matplotlibrc_changes_nothing():
    import matplotlib

    plain = report.curves([{"step": 1, "a": 1}, {"step": 2, "a": 2}], ["a"])
    with matplotlib.rc_context({"lines.linewidth": 9, "svg.fonttype": "path", "axes.facecolor": "red"}):
        assert report.curves([{"step": 1, "a": 1}, {"step": 2, "a": 2}], ["a"]) == plain
        assert matplotlib.rcParams["lines.linewidth"] == 9


def test_wrong_examples_come_surest_first_and_twenty_at_most():
    confidence = np.linspace(0, 1, 50)
    texts = {"text": [f"number {i}." for i in range(50)]}
    section = report.wrong_examples(["a"] * 50, ["a", "b"] * 25, confidence, texts)
    assert words(section).startswith(
        "25 of 50 examples are wrong; these are the 20 that the model was surest of."
    )
    assert re.findall(r"number (\d+)\.", section.html) == [str(i) for i in range(49, 9, -2)]
    assert words(report.wrong_examples(["a"], ["a"], confidence, texts)) == "No example is wrong."


def test_largest_errors_come_first():
    labels, scores = np.array([1.0, 2.0, 3.0]), np.array([1.5, 0.0, 3.0])
    section = report.largest_errors(labels, scores, {"text": ["one", "two", "three"]})
    assert words(section).split("true score. ")[1] == (
        "true 2.00 predicted 0.00 error -2.00 text two true 1.00 predicted 1.50 error +0.50 text one "
        "true 3.00 predicted 3.00 error +0.00 text three"
    )


def test_a_long_text_folds_and_is_there_whole():
    text = "word " * 300 + "end"
    section = report.wrong_examples(["a"], ["b"], np.ones(1), {"text": [text]})
    assert "<details>" in section.html
    assert text in section.html
    assert "word … <u>more</u>" in section.html
    unbroken = report.wrong_examples(["a"], ["b"], np.ones(1), {"text": ["字" * 1000, ""]})
    assert "字" * 400 + " … " in unbroken.html
    Page(report.wrong_examples(["a"], ["b"], np.ones(1), {"text": [" " * 1000]}).html)


def test_no_matplotlib_is_imported_before_a_chart_is_drawn():
    code = "import sys, albert_tf.html_report; assert not {'tensorflow', 'matplotlib'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)
