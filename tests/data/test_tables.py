"""Tables: every line where it is, every mistake with its file and line."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_tf.data.tables import read_jsonl, read_tsv
from albert_tf.errors import InputError

NAMES = ("a", "b", "c")


def saved(tmp_path, content, name="t.tsv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def mistake(read, *arguments, **keywords):
    with pytest.raises(InputError) as caught:
        read(*arguments, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_columns_are_found_by_name(tmp_path):
    path = saved(tmp_path, "a\tb\tc\n1\t2\t3\n4\t5\t6\n")
    table = read_tsv(path, ("c", "a"))
    assert table.columns == {"c": ["3", "6"], "a": ["1", "4"]}
    assert list(table.lines) == [2, 3]
    assert len(table) == 2


def test_a_file_without_header_starts_at_line_1(tmp_path):
    table = read_tsv(saved(tmp_path, "1\t2\t3\n"), ("b",), header=NAMES)
    assert table.columns == {"b": ["2"]}
    assert list(table.lines) == [1]


def test_quotes_and_odd_line_separators_are_characters(tmp_path):
    odd = "\"x\u2028y\x0cz\x85'"
    table = read_tsv(saved(tmp_path, f'a\tb\n{odd}\t"\n'), ("a", "b"))
    assert table.columns == {"a": [odd], "b": ['"']}


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbfa\tb\nx\ty\n", b"a\tb\r\nx\ty\r\n", b"a\tb\nx\ty", b"a\tb\nx\ty\n\n\r\n"]
)
def test_marks_carriage_returns_and_the_last_lines_end_do_not_matter(tmp_path, content):
    assert read_tsv(saved(tmp_path, content), ("a", "b")).columns == {"a": ["x"], "b": ["y"]}


def test_the_digest_is_of_the_content(tmp_path):
    path = saved(tmp_path, "a\nx\n")
    assert read_tsv(path, ("a",)).digest == hashlib.sha256(b"a\nx\n").hexdigest()


@settings(deadline=None, derandomize=True, max_examples=50)
@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_characters="\t\r\n", codec="utf-8")), min_size=3, max_size=3),
        min_size=1,
        max_size=5,
    )
)
def test_any_text_comes_back(tmp_path_factory, rows):
    rows = [*rows, ["the", "last", "row"]]
    content = "".join("\t".join(row) + "\n" for row in [NAMES, *rows])
    table = read_tsv(saved(tmp_path_factory.mktemp("t"), content), NAMES)
    assert [list(row) for row in zip(*table.columns.values(), strict=True)] == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", " is empty"),
        (b"\r\n\n", " is empty"),
        (b"a\tb\n", " holds no examples"),
        (b"x\ty\n1\t2\n", ":1: no column 'a', found x, y"),
        (b"a\tb\ta\n1\t2\t3\n", ":1: 2 columns are named 'a'"),
        (b"a\tb\n1\t2\n3\n", ":3: expected 2 columns, found 1"),
        (b"a\tb\n1\t2\t3\n", ":2: expected 2 columns, found 3"),
        (b"a\tb\n\n1\t2\n", ":2: expected 2 columns, found 1"),
        (b"a\tb\n1\t2\n3\t\xe9t\xe9\n", ":3: not UTF-8 (invalid continuation byte)"),
        ("a\tb\n".encode("utf-16"), ":1: not UTF-8 (invalid start byte)"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path, content, message):
    path = saved(tmp_path, content)
    assert mistake(read_tsv, path, ("a", "b")) == path + message


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    path = str(tmp_path / "none.tsv")
    assert mistake(read_tsv, path, ("a",)) == f"{path} cannot be read: No such file or directory"
    assert mistake(read_jsonl, str(tmp_path), ("a",)) == f"{tmp_path} cannot be read: Is a directory"


def test_short_rows_are_padded_where_that_is_asked_for(tmp_path):
    path = saved(tmp_path, "a\tb\n1\n\n1\t2\n")
    assert read_tsv(path, ("b",), pad_short_rows=True).columns == {"b": ["", "", "2"]}


def test_a_selection_keeps_its_lines(tmp_path):
    table = read_tsv(saved(tmp_path, "a\n1\n2\n\x20\n"), ("a",))
    assert table.select([0, 2]).lines == [2, 4]
    assert mistake(table.select([2, 0]).texts, "a") == f"{table.path}:4: a ' ' is empty"


def test_empty_text_is_named_with_its_line(tmp_path):
    table = read_tsv(saved(tmp_path, "a\tb\nx\t1\n\t1\n"), ("a", "b"))
    assert table.texts("b") == ["1", "1"]
    assert mistake(table.texts, "a") == f"{table.path}:3: a is empty"


def test_labels_are_numbered_by_their_names(tmp_path):
    table = read_tsv(saved(tmp_path, "a\nyes\nno\nyes\n"), ("a",))
    labels = table.labels("a", ("no", "yes"))
    assert labels.dtype == np.int32
    assert labels.tolist() == [1, 0, 1]
    assert mistake(table.labels, "a", ("yes", "-")) == (
        f"{table.path}:3: a 'no' is not one of the labels yes, -"
    )


def test_labels_without_names_are_scores(tmp_path):
    table = read_tsv(saved(tmp_path, "a\n4.5\n-1e3\n0\n"), ("a",))
    scores = table.labels("a", ())
    assert scores.dtype == np.float32
    assert scores.tolist() == [4.5, -1000, 0]


@pytest.mark.parametrize("score", ["nan", "inf", "-inf", "1e39", "four", "1,5", ""])
def test_a_score_that_is_no_finite_number_is_named(tmp_path, score):
    table = read_tsv(saved(tmp_path, f"a\tb\n1\tx\n{score}\tx\n"), ("a",))
    shown = f"a {score!r}" if score else "a"
    assert mistake(table.labels, "a", ()) == f"{table.path}:3: {shown} is not a finite number"


def test_json_lines_are_read_by_key(tmp_path):
    lines = ['{"a": "x\\ty", "b": 3, "c": true}', "", '{"c": "é", "b": 0.5, "a": "z"}']
    table = read_jsonl(saved(tmp_path, "\r\n".join(lines)), NAMES, scalars=("b", "c"))
    assert table.columns == {"a": ["x\ty", "z"], "b": ["3", "0.5"], "c": ["true", "é"]}
    assert table.lines == [1, 3]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"a": "x"', "not JSON (Expecting ',' delimiter at column 10)"),
        ('[{"a": "x", "b": 1}]', """expected a JSON object, found [{"a": "x", "b": 1}]"""),
        ('{"a": "x"}', "no key 'b', found a"),
        ('{"a": 1, "b": 1}', "'a' must be a string, not 1"),
        ('{"a": "x", "b": null}', "'b' must be a string, not null"),
        ('{"a": "x", "b": ["y"]}', """'b' must be a string, not ["y"]"""),
        ('{"a": "x", "b": "1\\n2"}', r"'b' must not hold tabs or line ends, but is '1\n2'"),
        ('{"a": "\\ud800", "b": 1}', "'a' holds half of a surrogate pair, which is no character"),
    ],
)
def test_what_is_wrong_with_a_json_line_is_named(tmp_path, line, message):
    path = saved(tmp_path, json.dumps({"a": "x", "b": 1}) + "\n" + line)
    assert mistake(read_jsonl, path, ("a", "b"), scalars=("b",)) == f"{path}:2: {message}"


@pytest.mark.parametrize("line", ["[" * 100_000, '{"a": ' + "1" * 5000 + "}"])
def test_json_that_python_gives_up_on_is_named(tmp_path, line):
    path = saved(tmp_path, line)
    assert mistake(read_jsonl, path, ("a",)).startswith(f"{path}:1: ")


def test_a_json_file_without_objects_says_so(tmp_path):
    path = saved(tmp_path, " \n\n")
    assert mistake(read_jsonl, path, ("a",)) == f"{path} holds no examples"
