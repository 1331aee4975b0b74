"""Columns of a TSV, CSV or JSON-lines file, with the place of every value for error messages.

The readers raise `InputError` with file and line if a file cannot be read, holds no rows or lacks a value.
"""

import codecs
import contextlib
import csv
import dataclasses
import hashlib
import itertools
import json
import math
import os
import re
import sys
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from albert_tf.errors import InputError, escaped
from albert_tf.files import open_file

_LARGEST = float(np.finfo(np.float32).max)
_DECIMAL = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
# Rows of cells as in RFC 4180, with tabs: a quote is the border of a quoted cell, or doubled inside of one.
_QUOTED = re.compile(r'(?:(?:"(?:[^"]|"")*+"|[^"\t\n]*+)(?:[\t\n]|\Z))*+')


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Table:
    """Some columns of a file, as text, with the number of each row's line (from 1) and the file's digest."""

    path: str
    columns: Mapping[str, Sequence[str]]
    lines: Sequence[int]
    digest: str

    def __len__(self) -> int:
        return len(self.lines)

    def select(self, rows: Sequence[int]) -> "Table":
        """A table of some rows only."""
        columns = {name: [values[row] for row in rows] for name, values in self.columns.items()}
        return dataclasses.replace(self, columns=columns, lines=[self.lines[row] for row in rows])

    def texts(self, column: str) -> Sequence[str]:
        """A column in which no value may be blank."""
        values = self.columns[column]
        self._refuse(column, np.array([not value.strip() for value in values]), "is empty")
        return values

    def names(self, column: str) -> list[str]:
        """A column of names of examples or classes, without the blanks around them.

        None may be blank, or hold a tab or a line end.
        """
        names = [value.strip() for value in self.texts(column)]
        broken = np.array([bool(re.search(r"[\t\r\n]", name)) for name in names])
        self._refuse(column, broken, "holds a tab or a line end")
        return names

    def class_names(self, column: str, rows: Sequence[Sequence[str]] | None = None) -> list[str]:
        """The different labels of a column; `InputError` names two that look alike.

        They differ in blanks, in characters that cannot be seen, or in how an accent is encoded. `rows` are
        the labels of each row; by default each has one.
        """
        rows = [[name] for name in self.names(column)] if rows is None else rows
        first: dict[str, int] = {}
        for names, line in zip(rows, self.lines, strict=True):
            for name in names:
                first.setdefault(name, line)
        alike: dict[str, str] = {}
        for name, line in first.items():
            other = alike.setdefault(as_seen(name), name)
            if other is not name:
                found = f"{listed([column])} {name!a} looks like {other!a} in line {first[other]}"
                raise InputError(f"{self.path}:{line}: {found}, but is another label")
        return list(first)

    def labels(self, column: str, label_names: Sequence[str]) -> np.ndarray:
        """A column's class numbers, int32 [rows]; without label names its scores, float32 [rows].

        Blanks around a label do not count.
        """
        values = [value.strip() for value in self.columns[column]]
        if not label_names:
            scores = np.array([_number(value) for value in values], np.float32)
            self._refuse(column, np.isnan(scores), "is not a finite number")
            return scores
        numbers = {name.strip(): number for number, name in enumerate(label_names)}
        if len(numbers) < len(label_names):
            raise InputError(
                f"labels of the task differ in blanks alone: {', '.join(map(repr, label_names))}"
            )
        classes = np.array([numbers.get(value, -1) for value in values], np.int32)
        self._refuse(column, classes < 0, f"is not one of the labels {listed(label_names)}")
        return classes

    def _refuse(self, column: str, bad: np.ndarray, what: str) -> None:
        """Raises `InputError` about the first bad value of a column, if there is one."""
        if bad.any():
            raise self.problem(column, int(np.argmax(bad)), what)

    def problem(self, column: str, row: int, what: str) -> InputError:
        """The error about a value: its place, the value, and what is wrong with it."""
        value = _short(self.columns[column][row])
        quoted = repr(value) if unicodedata.is_normalized("NFC", value) else ascii(value)
        shown = f"{listed([column])} {quoted}" if value else listed([column])
        return InputError(f"{self.path}:{self.lines[row]}: {shown} {what}")


def read_table(
    path: str, columns: Sequence[str], *, scalars: Collection[str] = (), lists: Collection[str] = ()
) -> Table:
    """Reads columns of a `.csv` or `.tsv` file with a header, or keys of a `.jsonl` or `.json` file.

    A `.csv` file is as RFC 4180 says, with commas; with semicolons if its first line has those and no comma.
    In a `.tsv` file a quote is a character like any other, unless all quotes fit that rule: each is the
    border of a whole cell, or doubled inside such a cell. `InputError` if both readings are possible and give
    other rows. For `scalars` and `lists` see `read_jsonl`.
    """
    columns = list(dict.fromkeys(columns))
    if _kind(path) in (".jsonl", ".json"):
        return read_jsonl(path, columns, scalars=scalars, lists=lists)
    digest = hashlib.sha256()
    return _columns(path, columns, _rows_with_header(path, digest), digest)


def has_column(path: str, column: str) -> bool:
    """Whether `read_table` would find a column: in the header, or as a key of an object of a JSON file.

    A file that cannot be read has none; `read_table` says why.
    """
    try:
        if _kind(path) not in (".jsonl", ".json"):
            return column in next(_rows_with_header(path), (1, []))[1]
        for line in text_lines(path):
            with contextlib.suppress(ValueError, RecursionError):
                record = json.loads(line)
                if isinstance(record, dict) and column in record:
                    return True
    except InputError:
        pass
    return False


def read_tsv(
    path: str, columns: Sequence[str], *, header: Sequence[str] | None = None, pad_short_rows: bool = False
) -> Table:
    r"""Reads columns of tab-separated values, without quoting: a quote is a character like any other.

    The file is UTF-8, with or without a byte-order mark; lines end with \n or \r\n only.

    Args:
      path: the file.
      columns: the names of the columns to read.
      header: names of the file's columns; by default the first line holds them.
      pad_short_rows: whether a row with too few values gets empty ones; by default that is an error.
    """
    digest = hashlib.sha256()
    rows = _rows(path, "\t", is_quoted=False, digest=digest)
    if header is not None:
        rows = itertools.chain([(0, list(header))], rows)
    return _columns(path, columns, rows, digest, pad_short_rows)


def read_jsonl(
    path: str,
    columns: Sequence[str],
    *,
    scalars: Collection[str] = (),
    lists: Collection[str] = (),
    objects: Collection[str] = (),
) -> Table:
    r"""Reads some keys of JSON objects, one a line; blank lines are skipped.

    Args:
      path: the file: UTF-8, lines end with \n or \r\n.
      columns: the keys to read. Their values are strings.
      scalars: those keys whose values may also be finite numbers and booleans, which stay as JSON has them.
      lists: those keys whose values may also be lists, which stay as JSON has them.
      objects: those keys whose values are objects, which stay as JSON has them.
    """
    digest = hashlib.sha256()
    numbers, rows = [], []
    for number, line in enumerate(text_lines(path, digest), 1):
        if not line.strip():
            continue
        try:
            rows.append(_json_values(line, columns, scalars, lists, objects))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}:{number}: {error}") from None
        numbers.append(number)
    return _table(path, columns, rows, numbers, digest.hexdigest())


def problem_of_characters(text: str) -> str:
    """What is wrong with the characters of a text from JSON; empty if nothing is."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds half of a surrogate pair, which is no character"
    return ""


def digest_of(*values: Any) -> str:
    """A digest of the `repr` of values: of text, numbers, and containers of these."""
    return hashlib.sha256(repr(values).encode()).hexdigest()


def as_seen(text: str, form: Literal["NFC", "NFKC"] = "NFC") -> str:
    """What texts that look alike have in common: their visible characters, in a Unicode normal form."""
    composed = unicodedata.normalize(form, text)
    visible = "".join(c for c in composed if c.isspace() or unicodedata.category(c) not in ("Cc", "Cf"))
    return " ".join(visible.split())


def _kind(path: str) -> str:
    """The ending of a table's name, in lower case."""
    ending = os.path.splitext(path)[1].lower()
    if ending not in (".csv", ".tsv", ".jsonl", ".json"):
        raise InputError(f"{path}: expected a file name that ends in .csv, .tsv, .jsonl or .json")
    return ending


def text_lines(path: str, digest: Any = None) -> Iterator[str]:
    """The lines of a file, without empty ones at its end; its bytes also update the `hashlib` object."""
    empty = 0
    try:
        with open_file(path) as file:
            for number, line in enumerate(file, 1):
                if digest:
                    digest.update(line)
                if number == 1:
                    line = line.removeprefix(codecs.BOM_UTF8)
                try:
                    text = line.removesuffix(b"\n").removesuffix(b"\r").decode()
                except UnicodeDecodeError as error:
                    raise InputError(f"{path}:{number}: not UTF-8 ({error.reason})") from None
                if text:
                    yield from [""] * empty
                    yield text
                empty = 0 if text else empty + 1
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def _rows_with_header(path: str, digest: Any = None) -> Iterator[tuple[int, list[str]]]:
    """See `_rows`; the file's name and content tell the delimiter, and what quotes are."""
    if _kind(path) == ".tsv":
        return _rows(path, "\t", _has_quoted_cells(path), digest)
    first = next(text_lines(path), "")
    return _rows(path, ";" if ";" in first and "," not in first else ",", True, digest)


def _has_quoted_cells(path: str) -> bool:
    """Whether the quotes of a `.tsv` file are those of CSV; see `read_table`."""
    if not any('"' in line for line in text_lines(path)):
        return False
    lines = list(text_lines(path))
    if all(map(_QUOTED.fullmatch, lines)):
        return True
    if not _QUOTED.fullmatch("\n".join(lines)):
        return False
    if len({line.count("\t") for line in lines}) == 1:
        number = next(i for i, line in enumerate(lines, 1) if not _QUOTED.fullmatch(line))
        text = "the quotes may join lines, or be characters of the text: write the file as .csv or .jsonl"
        raise InputError(f"{path}:{number}: {text}")
    return True


def _rows(path: str, delimiter: str, is_quoted: bool, digest: Any) -> Iterator[tuple[int, list[str]]]:
    """The cells of each row, with the number of its first line."""
    lines = text_lines(path, digest)
    if not is_quoted:
        yield from ((number, line.split(delimiter)) for number, line in enumerate(lines, 1))
        return
    if digest:
        digest.update(b"quoted")  # the same bytes without quoting are other examples
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, strict=True)
    number = 1
    try:
        for cells in reader:
            yield number, cells or [""]
            number = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}:{number}: not CSV ({error})") from None


def _columns(
    path: str,
    columns: Sequence[str],
    rows: Iterator[tuple[int, list[str]]],
    digest: Any,
    pad_short_rows: bool = False,
) -> Table:
    """Some columns of rows, of which the first is the header."""
    header = next(rows, None)
    if header is None:
        raise InputError(f"{path} is empty")
    names = header[1]
    indices = [_find_column(name, names, path) for name in columns]
    numbers, found = [], []
    for number, cells in rows:
        if len(cells) < len(names) and pad_short_rows:
            cells += [""] * (len(names) - len(cells))
        if len(cells) != len(names):
            raise InputError(f"{path}:{number}: expected {len(names)} columns, found {len(cells)}")
        numbers.append(number)
        found.append([cells[i] for i in indices])
    return _table(path, columns, found, numbers, digest.hexdigest())


def _find_column(name: str, header: Sequence[str], path: str) -> int:
    if name not in header:
        raise InputError(f"{path}:1: no column {name!r}, found {listed(header)}")
    if header.count(name) > 1:
        raise InputError(f"{path}:1: {header.count(name)} columns are named {name!r}")
    return header.index(name)


def is_scalar(value: Any) -> bool:
    """Whether a value from JSON is a string, a finite number or a boolean."""
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _json_values(
    line: str,
    columns: Sequence[str],
    scalars: Collection[str],
    lists: Collection[str],
    objects: Collection[str],
) -> list[str]:
    """The values of some keys; `ValueError` says what is wrong with them."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg} at column {error.colno})") from None
    if not isinstance(record, dict):
        raise ValueError(f"expected a JSON object, found {listed([line])}")
    values = []
    for name in columns:
        if name not in record:
            raise ValueError(f"no key {name!r}, found {listed(record)}")
        value = record[name]
        if name in objects and not isinstance(value, dict):
            raise ValueError(f"{name!r} must be an object, not {_short(json.dumps(value))}")
        if (name in scalars and is_scalar(value) and not isinstance(value, str)) or (
            isinstance(value, list) if name in lists else name in objects
        ):
            value = json.dumps(value, ensure_ascii=False)
        if not isinstance(value, str):
            wanted = "a string or a finite number" if name in scalars else "a string"
            raise ValueError(f"{name!r} must be {wanted}, not {_short(json.dumps(value))}")
        if problem := problem_of_characters(value):
            raise ValueError(f"{name!r} {problem}")
        values.append(value)
    return values


def _table(
    path: str, columns: Sequence[str], rows: Sequence[Sequence[str]], lines: Sequence[int], digest: str
) -> Table:
    if not rows:
        raise InputError(f"{path} holds no examples")
    by_name = {name: [row[i] for row in rows] for i, name in enumerate(columns)}
    return Table(path=path, columns=by_name, lines=lines, digest=digest)


def _number(text: str) -> float:
    """The number that a text spells; not-a-number if it spells none that float32 can hold."""
    number = float(text) if _DECIMAL.fullmatch(text) else math.nan
    return number if abs(number) <= _LARGEST else math.nan


def listed(names: Iterable[str]) -> str:
    """Names with commas, not too long; characters that cannot be seen are escaped."""
    return _short(", ".join(map(escaped, names)))


def _short(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:100]}..."
