"""Columns of a TSV or JSON-lines file, with the place of every value for error messages.

The readers raise `InputError` with file and line if a file cannot be read, holds no rows or lacks a value.
"""

import codecs
import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from albert_tf.errors import InputError

_LARGEST = float(np.finfo(np.float32).max)


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

    def labels(self, column: str, label_names: Sequence[str]) -> np.ndarray:
        """A column's class numbers, int32 [rows]; without label names its scores, float32 [rows]."""
        if not label_names:
            scores = np.array([_number(value) for value in self.columns[column]], np.float32)
            self._refuse(column, np.isnan(scores), "is not a finite number")
            return scores
        numbers = {name: number for number, name in enumerate(label_names)}
        classes = np.array([numbers.get(value, -1) for value in self.columns[column]], np.int32)
        self._refuse(column, classes < 0, f"is not one of the labels {_short(', '.join(label_names))}")
        return classes

    def _refuse(self, column: str, bad: np.ndarray, what: str) -> None:
        """Raises `InputError` about the first bad value of a column, if there is one."""
        if bad.any():
            row = int(np.argmax(bad))
            value = self.columns[column][row]
            shown = f"{column} {_short(value)!r}" if value else column
            raise InputError(f"{self.path}:{self.lines[row]}: {shown} {what}")


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
    lines = _lines(path, digest)
    first = 1
    if header is None:
        line = next(lines, None)
        if line is None:
            raise InputError(f"{path} is empty")
        header, first = line.split("\t"), 2
    width = len(header)
    indices = [_find_column(name, header, path) for name in columns]
    rows = []
    for number, line in enumerate(lines, first):
        values = line.split("\t")
        if len(values) < width and pad_short_rows:
            values += [""] * (width - len(values))
        if len(values) != width:
            raise InputError(f"{path}:{number}: expected {width} columns, found {len(values)}")
        rows.append([values[i] for i in indices])
    return _table(path, columns, rows, range(first, first + len(rows)), digest.hexdigest())


def read_jsonl(path: str, columns: Sequence[str], *, scalars: Collection[str] = ()) -> Table:
    r"""Reads some keys of JSON objects, one a line; blank lines are skipped.

    Args:
      path: the file: UTF-8, lines end with \n or \r\n.
      columns: the keys to read. Their values are strings.
      scalars: those keys whose values may also be numbers and booleans, which stay as JSON spells them, and
        must not hold tabs or line ends.
    """
    digest = hashlib.sha256()
    numbers, rows = [], []
    for number, line in enumerate(_lines(path, digest), 1):
        if not line.strip():
            continue
        try:
            rows.append(_json_values(line, columns, scalars))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}:{number}: {error}") from None
        numbers.append(number)
    return _table(path, columns, rows, numbers, digest.hexdigest())


def digest_of(*values: Any) -> str:
    """A digest of the `repr` of values: of text, numbers, and containers of these."""
    return hashlib.sha256(repr(values).encode()).hexdigest()


def _lines(path: str, digest: Any) -> Iterator[str]:
    """The lines of a file, without empty ones at its end; its bytes also update the `hashlib` object."""
    empty = 0
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
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


def _find_column(name: str, header: Sequence[str], path: str) -> int:
    if name not in header:
        raise InputError(f"{path}:1: no column {name!r}, found {_short(', '.join(header))}")
    if header.count(name) > 1:
        raise InputError(f"{path}:1: {header.count(name)} columns are named {name!r}")
    return header.index(name)


def _json_values(line: str, columns: Sequence[str], scalars: Collection[str]) -> list[str]:
    """The values of some keys; `ValueError` says what is wrong with them."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg} at column {error.colno})") from None
    if not isinstance(record, dict):
        raise ValueError(f"expected a JSON object, found {_short(line)}")
    values = []
    for name in columns:
        if name not in record:
            raise ValueError(f"no key {name!r}, found {_short(', '.join(record))}")
        value = record[name]
        if name in scalars and isinstance(value, (bool, int, float)):
            value = json.dumps(value)
        if not isinstance(value, str):
            raise ValueError(f"{name!r} must be a string, not {_short(json.dumps(value))}")
        if name in scalars and re.search(r"[\t\r\n]", value):
            raise ValueError(f"{name!r} must not hold tabs or line ends, but is {_short(value)!r}")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{name!r} holds half of a surrogate pair, which is no character") from None
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
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if abs(number) <= _LARGEST else math.nan


def _short(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:100]}..."
