"""Tables: every line where it is, every mistake with its file and line."""

import contextlib
import csv
import hashlib
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_tf.data.tables import has_column, read_jsonl, read_table, read_tsv
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
    table = read_tsv(saved(tmp_path, "a\n4.5\n-1e3\n0\n .5\n+2. \n"), ("a",))
    scores = table.labels("a", ())
    assert scores.dtype == np.float32
    assert scores.tolist() == [4.5, -1000, 0, 0.5, 2]


def test_blanks_around_labels_do_not_count(tmp_path):
    table = read_tsv(saved(tmp_path, "a\nyes \n no\nyes\u3000\n"), ("a",))
    assert table.class_names("a") == ["yes", "no"]
    assert table.labels("a", ("no", "yes")).tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("label", "shown", "others"),
    [
        ("New\xa0York", r"'New\xa0York'", "'New York'"),
        ("New  York", "'New  York'", "'New York'"),
        ("New York\u200b", r"'New York\u200b'", "'New York'"),
        ("cafe\u0301", r"'cafe\u0301'", r"'caf\xe9'"),
    ],
)
def test_labels_that_look_alike_are_shown_apart(tmp_path, label, shown, others):
    table = read_tsv(saved(tmp_path, f"a\nNew York\ncaf\xe9\n{label}\n"), ("a",))
    line = 3 if "caf" in others else 2
    message = f"{table.path}:4: a {shown} looks like {others} in line {line}, but is another label"
    assert mistake(table.class_names, "a") == message


def test_a_label_that_looks_like_a_known_one_is_escaped(tmp_path):
    table = read_tsv(saved(tmp_path, "a\ncafe\u0301\n"), ("a",))
    assert mistake(table.labels, "a", ("caf\xe9", "\x1b[2J")) == (
        rf"{table.path}:2: a 'cafe\u0301' is not one of the labels café, \x1b[2J"
    )


@pytest.mark.parametrize("name", ["x\ty", "x\ny", "x\ry"])
def test_names_hold_neither_tabs_nor_line_ends(tmp_path, name):
    path = saved(tmp_path, f'a,b\nx,"y\n"\n"{name}",z\n', "t.csv")
    table = read_table(path, ("a", "b"))
    assert table.names("b") == ["y", "z"]
    assert mistake(table.names, "a") == f"{path}:4: a {name!r} holds a tab or a line end"


@pytest.mark.parametrize(
    "score", ["nan", "inf", "-inf", "1e39", "four", "1,5", "", "1_0", "١", "0x10", "+", "."]
)
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
        ('{"a": null, "b": 1}', "'a' must be a string, not null"),
        ('{"a": "x", "b": null}', "'b' must be a string or a finite number, not null"),
        ('{"a": "x", "b": NaN}', "'b' must be a string or a finite number, not NaN"),
        ('{"a": "x", "b": -1e999}', "'b' must be a string or a finite number, not -Infinity"),
        ('{"a": "x", "b": ["y"]}', """'b' must be a string or a finite number, not ["y"]"""),
        ('{"\\u001b": "x"}', r"no key 'a', found \x1b"),
        ('{"a": "\\ud800", "b": 1}', "'a' holds half of a surrogate pair, which is no character"),
    ],
)
def test_what_is_wrong_with_a_json_line_is_named(tmp_path, line, message):
    path = saved(tmp_path, json.dumps({"a": "x", "b": 1}) + "\n" + line)
    assert mistake(read_jsonl, path, ("a", "b"), scalars=("b",)) == f"{path}:2: {message}"


def test_a_byte_order_mark_is_no_part_of_any_table(tmp_path):
    for name, content in (("t.csv", "a\nx\n"), ("t.tsv", '"a"\nx\n'), ("t.jsonl", '{"a": "x"}')):
        path = saved(tmp_path, b"\xef\xbb\xbf" + content.encode(), name)
        assert read_table(path, ("a",)).columns == {"a": ["x"]}
        assert has_column(path, "a")
        assert not has_column(path, "x")


@pytest.mark.parametrize("line", ["[" * 100_000, '{"a": ' + "1" * 5000 + "}"])
def test_json_that_python_gives_up_on_is_named(tmp_path, line):
    path = saved(tmp_path, line)
    assert mistake(read_jsonl, path, ("a",)).startswith(f"{path}:1: ")


def test_a_json_file_without_objects_says_so(tmp_path):
    path = saved(tmp_path, " \n\n")
    assert mistake(read_jsonl, path, ("a",)) == f"{path} holds no examples"


# --------------------------------------------------------------------------------------- CSV and quoted TSV


def test_cells_of_csv_may_hold_delimiters_quotes_and_line_ends(tmp_path):
    content = 'a,"b, c",d\r\n"x, ""y""\r\n\r\nz",1,5" disk\r\n"",2,\r\n'
    table = read_table(saved(tmp_path, content, "t.CSV"), ("a", "b, c", "d"))
    assert table.columns == {"a": ['x, "y"\n\nz', ""], "b, c": ["1", "2"], "d": ['5" disk', ""]}
    assert table.lines == [2, 5]
    assert mistake(table.texts, "a") == f"{table.path}:5: a is empty"


def test_csv_of_spreadsheets_may_have_semicolons(tmp_path):
    table = read_table(saved(tmp_path, 'a;b\n"x;y";1,5\n', "t.csv"), ("b", "a"))
    assert table.columns == {"b": ["1,5"], "a": ["x;y"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", " is empty"),
        ("a,b\n", " holds no examples"),
        ('a,b\n"x\ny",1\nz\n', ":4: expected 2 columns, found 1"),
        ('a,b\n"x",1\n"y,2\nz,3\n', ":3: not CSV (unexpected end of data)"),
        ('a,b\n"x"y,1\n', ":2: not CSV (',' expected after '\"')"),
        ("a\tb\nx\ty\n", r":1: no column 'a', found a\tb"),
    ],
)
def test_what_is_wrong_with_a_csv_file_is_named(tmp_path, content, message):
    path = saved(tmp_path, content, "t.csv")
    assert mistake(read_table, path, ("a", "b")) == path + message


def test_a_long_cell_of_csv_is_read(tmp_path):
    text = "word " * 50_000
    assert read_table(saved(tmp_path, f'a\n"{text}"\n', "t.csv"), ("a",)).columns == {"a": [text]}


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ('"a"\tb\n"neg"\t"say ""hi"""\n', [("neg", 'say "hi"')]),
        ('a\tb\n"x\ny"\t1\nz\t2\n', [("x\ny", "1"), ("z", "2")]),
        ('a\tb\n"x\ty"\t1\n', [("x\ty", "1")]),
        ('a\tb\n"Hi," he said\t"1"\n', [('"Hi," he said', '"1"')]),
        ('a\tb\n5" disk\t"1"\n"x\t2\n', [('5" disk', '"1"'), ('"x', "2")]),
    ],
)
def test_quotes_of_a_tsv_file_are_those_of_csv_if_all_of_them_can_be(tmp_path, content, rows):
    table = read_table(saved(tmp_path, content), ("a", "b"))
    assert list(zip(*table.columns.values(), strict=True)) == rows


@pytest.mark.parametrize("content", ['a\tb\nz\t0\n"x\t1\ny"\t2\n', 'a\nz\n"x\ny"\n'])
def test_quotes_that_may_join_lines_or_not_are_refused(tmp_path, content):
    path = saved(tmp_path, content)
    assert mistake(read_table, path, ("a",)) == (
        f"{path}:3: the quotes may join lines, or be characters of the text: write the file as .csv or .jsonl"
    )


def test_the_same_bytes_with_and_without_quoting_have_different_digests(tmp_path):
    path = saved(tmp_path, 'a\n"x"\n')
    assert read_table(path, ("a",)).digest != read_tsv(path, ("a",)).digest
    path = saved(tmp_path, "a\nx\n")
    assert read_table(path, ("a",)).digest == read_tsv(path, ("a",)).digest


@settings(deadline=None, derandomize=True, max_examples=50)
@given(
    st.lists(
        st.lists(st.text(st.sampled_from('ab"\t\n,; \u2028')), min_size=3, max_size=3), min_size=1, max_size=4
    ),
    st.sampled_from([(".csv", ","), (".csv", ";"), (".tsv", "\t")]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_what_csv_writes_comes_back_or_is_refused(tmp_path_factory, rows, kind, quoting):
    text = io.StringIO()
    rows = [*rows, ["the", "last", "row"]]
    csv.writer(text, delimiter=kind[1], quoting=quoting, lineterminator="\n").writerows([NAMES, *rows])
    path = saved(tmp_path_factory.mktemp("t"), text.getvalue(), f"t{kind[0]}")
    # By chance, each line may be a row, too.
    is_unclear = kind[0] == ".tsv" and {line.count("\t") for line in text.getvalue()[:-1].split("\n")} == {2}
    with contextlib.suppress(InputError) if is_unclear else contextlib.nullcontext():
        table = read_table(path, NAMES)
        assert [list(row) for row in zip(*table.columns.values(), strict=True)] == rows
