"""What is said of the data before training, and of the results after: right, aligned, within 80 columns."""

import re
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_tf.cli.text import results_table
from albert_tf.data.features import Features
from albert_tf.tasks.overview import overview, with_mean_and_deviation


def features(full_lengths, labels=None, num_choices=1, max_seq_length=128):
    full_lengths = np.array(full_lengths, np.int32)
    lengths = np.minimum(full_lengths, max_seq_length)
    return Features(
        input_ids=np.zeros(lengths.sum(), np.uint16),
        lengths=lengths,
        first_lengths=lengths,
        full_lengths=full_lengths,
        labels=labels,
        num_choices=num_choices,
    )


def rows(text):
    """The name in each row of a bar -> its count."""
    found = re.findall(r"^  (.*?) +([\d,]+) +(?:< )?[\d.]+ %(?!.*--)", text, re.MULTILINE)
    return {name: int(count.replace(",", "")) for name, count in found}


def counts(text):
    found = re.findall(r" ([\d,]+) +(?:< )?[\d.]+ %(?!.*--)", text)
    return [int(count.replace(",", "")) for count in found]


def columns(text):
    """The columns of a terminal that the widest line takes."""
    return max(
        sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in line)
        for line in text.splitlines()
    )


def test_two_examples_are_described_whole():
    text = overview({"dev": features([8, 10], np.array([1, 0], np.int32))}, ["no", "yes"], 128)
    full, bar = "█" * 30, "  50.0 %  "
    assert text == "\n".join(
        [
            "dev: 2 examples",
            "  class                      examples    share",
            f"  no                                1 {bar}{full}",
            f"  yes                               1 {bar}{full}",
            "",
            "  tokens                     examples    share",
            f"  8                                 1 {bar}{full}",
            "  9                                 0    0.0 %",
            f"  10                                1 {bar}{full}",
            "  median 9, longest 10",
            "  none longer than --max_seq_length=128",
        ]
    )


def test_each_split_has_its_part_and_an_unlabelled_one_no_classes():
    made = features([5], np.array([0], np.int32))
    text = overview({"train": made, "dev": made, "test": features([5])}, ["no", "yes"], 128)
    assert text.startswith("train: 1 example\n  class")
    assert "\n\ndev: 1 example\n  class" in text
    assert "\n\ntest: 1 example, unlabelled\n  tokens" in text


def test_an_empty_split_says_so():
    assert overview({"dev": features([], np.zeros(0, np.int32))}, ["no", "yes"], 128) == "dev: 0 examples"


def test_of_many_classes_the_largest_are_shown():
    labels = np.repeat(np.arange(14), np.arange(1, 15)).astype(np.int32)
    text = overview({"train": features(np.full(len(labels), 9), labels)}, [f"c{i}" for i in range(14)], 128)
    found = rows(text)
    assert list(found)[:11] == [f"c{i}" for i in range(13, 3, -1)] + ["4 others"]
    assert found["4 others"] == 1 + 2 + 3 + 4


def test_twelve_classes_are_shown_in_their_order():
    labels = np.arange(12, dtype=np.int32)
    text = overview({"train": features(np.full(12, 9), labels)}, [f"c{i}" for i in range(12)], 128)
    assert list(rows(text))[:12] == [f"c{i}" for i in range(12)]


def test_scores_have_a_histogram_of_ten_rows_at_most():
    scores = np.array([0, 0.2, 2.5, 4.8, 5], np.float32)
    text = overview({"train": features([9] * 5, scores)}, None, 128)
    assert "lowest 0, mean 2.5, highest 5" in text
    found = rows(text)
    assert list(found)[:2] == ["0 to 0.5", "0.5 to 1"]
    assert found["0 to 0.5"] == 2
    assert found["2.5 to 3"] == 1
    assert found["4.5 to 5"] == 2


def test_equal_scores_are_one_row():
    text = overview({"train": features([9] * 3, np.full(3, 2, np.float32))}, None, 128)
    assert rows(text) == {"2": 3, "9": 3}


def test_choices_count_their_sequences():
    made = features([9, 9, 9, 9, 9, 9, 9, 9], np.array([0, 3], np.int32), num_choices=4)
    text = overview({"train": made}, list("ABCD"), 128)
    assert text.startswith("train: 2 examples of 4 choices\n  choice ")
    assert rows(text) == {"A": 1, "B": 0, "C": 0, "D": 1, "9": 8}


def test_what_was_cut_is_counted_in_full_lengths():
    text = overview({"train": features([128] * 31 + [129])}, None, 128)
    assert text.endswith("median 128, longest 129\n  3.1 % longer than --max_seq_length=128 and cut")
    text = overview({"train": features([10] * 9999 + [129])}, None, 128)
    assert text.endswith("  < 0.1 % longer than --max_seq_length=128 and cut")


def test_a_few_long_texts_share_a_row():
    text = overview({"train": features([*range(10, 60)] * 10 + [3000])}, None, 4000)
    assert list(rows(text))[-1] == "60 to 3,000"
    assert list(rows(text).values())[-1] == 1


def test_a_small_class_still_has_a_bar():
    labels = np.array([0] * 9999 + [1], np.int32)
    text = overview({"train": features([9] * 10000, labels)}, ["often", "once"], 128)
    assert "< 0.1 %  ▏" in text


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.data())
def test_anything_is_told_whole_and_in_80_columns(data):
    names = data.draw(st.lists(st.text(max_size=40), min_size=1, max_size=15))
    lengths = data.draw(st.lists(st.integers(3, 100_000), min_size=1, max_size=50))
    labels = data.draw(st.lists(st.integers(0, len(names) - 1), min_size=len(lengths), max_size=len(lengths)))
    scores = data.draw(st.lists(st.floats(-1e3, 1e3), min_size=len(lengths), max_size=len(lengths)))
    for made in (
        overview({"train": features(lengths, np.array(labels, np.int32))}, names, 128),
        overview({"train": features(lengths, np.array(scores, np.float32))}, None, 128),
    ):
        assert columns(made) <= 80
        assert made.replace("\n", "").isprintable()
        for block in made.split("\n\n"):
            assert sum(counts(block)) == len(lengths)
            assert len(counts(block)) <= max(10, len(names) * block.count("  class"))


def test_a_large_split_stays_aligned():
    lengths = np.random.default_rng(0).integers(5, 90, 400_000)
    labels = (np.arange(400_000) % 3).astype(np.int32)
    text = overview({"train": features(lengths, labels)}, ["entailment", "neutral", "contradiction"], 128)
    assert text.startswith("train: 400,000 examples\n")
    ends = {line.index(" %") for line in text.splitlines() if " %" in line}
    assert len(ends) == 1
    assert columns(text) <= 80


@pytest.mark.parametrize(
    ("results", "text"),
    [
        ({"": {"accuracy": 0.86124, "examples": 408}}, "accuracy  0.8612\nexamples     408"),
        (
            {"matched": {"accuracy": 0.5, "loss": 1e-5}, "mismatched": {"accuracy": 0.25, "n": 9832}},
            "            accuracy     loss      n\n"
            "matched       0.5000  1.0e-05      –\n"
            "mismatched    0.2500        –  9,832",
        ),
        ({"a": {"f1": float("nan")}}, "f1  nan"),
        ({}, ""),
    ],
)
def test_results_are_a_table(results, text):
    assert results_table(results) == text


def test_seeds_get_mean_and_sample_deviation():
    made = with_mean_and_deviation({"seed 1": {"f1": 0.8}, "seed 2": {"f1": 0.9, "loss": 1.0}})
    assert list(made) == ["seed 1", "seed 2", "mean", "std"]
    assert made["mean"] == pytest.approx({"f1": 0.85, "loss": 1.0})
    assert made["std"] == pytest.approx({"f1": 0.1 / 2**0.5})


def test_neither_tensorflow_nor_matplotlib_is_imported():
    code = "import sys, albert_tf.tasks.overview; assert not {'tensorflow', 'matplotlib'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)
