"""Tasks of the user's own: any columns of CSV, TSV and JSON-lines files."""

import csv
import json

import numpy as np
import pytest

from albert_tf.errors import InputError, InputWarning
from albert_tf.tasks.classification.custom import custom_task, find_labels, read_custom

ROWS = [
    {"id": "x7", "title": "One", "body": "first", "kind": "good"},
    {"id": "x8", "title": "Two", "body": "second", "kind": "bad"},
]


def saved(tmp_path, rows, suffix):
    path = tmp_path / f"data{suffix}"
    if suffix.lower() in (".csv", ".tsv"):
        with open(path, "w", newline="") as file:
            writer = csv.writer(file, "excel" if suffix.lower() == ".csv" else "excel-tab")
            writer.writerows([rows[0], *(row.values() for row in rows)])
    else:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(path)


def read(path, *, labels=("bad", "good"), columns=("title", "body"), label_column="kind", **options):
    return read_custom(path, custom_task(labels, columns, label_column), **options)


def mistake(function, *arguments, **keywords):
    with pytest.raises(InputError) as caught:
        function(*arguments, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".TSV", ".jsonl", ".json"])
def test_columns_are_read_by_name(tmp_path, suffix):
    examples = read(saved(tmp_path, ROWS, suffix))
    assert examples.names == ["0", "1"]
    assert examples.texts == (["One", "Two"], ["first", "second"])
    assert examples.labels.dtype == np.int32
    assert examples.labels.tolist() == [1, 0]
    assert examples.parts == {"": slice(0, 2)}


def test_names_may_come_from_a_column_and_labels_may_be_missing(tmp_path):
    examples = read(saved(tmp_path, ROWS, ".jsonl"), columns=["body"], id_column="id", has_labels=False)
    assert examples.names == ["x7", "x8"]
    assert examples.texts == (["first", "second"],)
    assert examples.labels is None


def test_json_labels_and_ids_may_be_numbers_and_booleans(tmp_path):
    path = saved(tmp_path, [{"t": "A", "l": True, "i": 5}, {"t": "B", "l": False, "i": 6}], ".jsonl")
    examples = read(path, columns=["t"], label_column="l", id_column="i", labels=find_labels(path, "l"))
    assert examples.labels.tolist() == [1, 0]
    assert examples.names == ["5", "6"]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_every_kind_of_file_gives_the_same_texts_and_classes(tmp_path, suffix):
    rows = [
        {"t": 'He said "no",\nthen\tleft.', "l": " neg"},
        {"t": "“A”; b", "l": "pos"},
        {"t": "c", "l": "neg "},
    ]
    path = saved(tmp_path, rows, suffix)
    labels = find_labels(path, "l")
    assert labels == ("neg", "pos")
    examples = read(path, columns=["t"], label_column="l", labels=labels)
    assert examples.texts == ([row["t"] for row in rows],)
    assert examples.labels.tolist() == [0, 1, 0]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_blank_texts_are_answered_in_a_test_file_only(tmp_path, suffix):
    path = saved(tmp_path, [{"t": "A", "u": "x"}, {"t": "", "u": " "}, {"t": "C", "u": "y"}], suffix)
    with pytest.warns(InputWarning) as caught:
        examples = read(path, columns=["t", "u"], has_labels=False, may_be_blank=True)
    [text] = [str(warning.message) for warning in caught]
    assert text == f"{path}: 2 of 6 texts are blank and are read as they are"
    assert examples.texts == (["A", "", "C"], ["x", " ", "y"])
    line = 2 if suffix == ".jsonl" else 3
    assert mistake(read, path, columns=["t", "u"], has_labels=False) == f"{path}:{line}: t is empty"


def test_scores(tmp_path):
    path = saved(tmp_path, [{"t": "A", "s": 0.5}, {"t": "B", "s": -3}], ".jsonl")
    examples = read(path, columns=["t"], label_column="s", labels=())
    assert examples.labels.dtype == np.float32
    assert examples.labels.tolist() == [0.5, -3]


def test_mistakes_are_named(tmp_path):
    path = saved(tmp_path, ROWS, ".tsv")
    assert mistake(read, path, label_column="sort") == (
        f"{path}:1: no column 'sort', found id, title, body, kind"
    )
    assert mistake(read, path, labels=("good", "ugly")) == (
        f"{path}:3: kind 'bad' is not one of the labels good, ugly"
    )
    assert mistake(read, path, columns=()) == "one or two text columns are needed, not 0"
    assert mistake(read, "data.xlsx") == (
        "data.xlsx: expected a file name that ends in .csv, .tsv, .jsonl or .json"
    )
    path = saved(tmp_path, [{"t": 5, "kind": "bad"}], ".jsonl")
    assert mistake(read, path, columns=["t"]) == f"{path}:1: 't' must be a string, not 5"
    path = saved(tmp_path, [{"t": " ", "kind": "bad"}], ".jsonl")
    assert mistake(read, path, columns=["t"]) == f"{path}:1: t ' ' is empty"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["b", "a", "b", "c"], ("a", "b", "c")),
        (["10", "9", "-1"], ("-1", "9", "10")),
        (["10", "9", "nan"], ("10", "9", "nan")),
        (["1.5", "01", "1"], ("01", "1", "1.5")),
    ],
)
def test_labels_are_found_and_sorted(tmp_path, labels, expected):
    rows = [{"t": "A", "l": label} for label in labels]
    assert find_labels(saved(tmp_path, rows, ".tsv"), "l") == expected


@pytest.mark.parametrize(
    ("labels", "found"), [(["a", "a"], "only the value 'a'"), (range(1001), "1001 different values")]
)
def test_too_few_and_too_many_labels_are_no_classes(tmp_path, labels, found):
    path = saved(tmp_path, [{"l": label} for label in labels], ".jsonl")
    assert mistake(find_labels, path, "l") == (
        f"{path}: classes need 2 to 1000 different labels, but l has {found}; "
        "if it is a number to predict, ask for a score"
    )


def test_a_number_that_is_none_is_no_class(tmp_path):
    path = saved(tmp_path, [{"l": 1.0}, {"l": float("nan")}], ".jsonl")
    message = "'l' must be a string or a finite number, not NaN"
    assert mistake(find_labels, path, "l") == f"{path}:2: {message}"


def test_an_empty_label_is_no_class(tmp_path):
    path = saved(tmp_path, [{"t": "A", "l": "x"}, {"t": "B", "l": ""}], ".tsv")
    assert mistake(find_labels, path, "l") == f"{path}:3: l is empty"


def test_the_digest_tells_how_a_file_was_read(tmp_path):
    path = saved(tmp_path, ROWS, ".tsv")
    digests = {
        read(path).digest,
        read(path, id_column="id").digest,
        read(path, columns=["title"]).digest,
        read(path, labels=("good", "bad")).digest,
    }
    assert len(digests) == 4
    assert read(path, columns=["title", "body"], labels=["bad", "good"]).digest in digests


def test_the_task_has_the_metrics_of_its_labels():
    classes, score = custom_task(["no", "yes"]), custom_task(())
    assert classes.metrics == ("eval_accuracy", "eval_f1", "matthew_corr")
    assert classes.label_names == ("no", "yes")
    assert not classes.is_score
    assert score.metrics == ("pearson", "spearman", "MSE")
    assert score.is_score
