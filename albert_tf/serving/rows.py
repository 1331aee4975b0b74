"""Rows of a request, from flags or from a file; a row maps the names of the inputs to values."""

import base64
import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TextIO

from albert_tf.errors import InputError
from albert_tf.serving.signature import Signature

STANDARD_INPUT = "-"

Row = Mapping[str, Any]


def rows_of_pairs(pairs: Iterable[str], signature: Signature) -> list[Row]:
    """Makes rows of pairs name=value: the first values of all names make the first row, and so on.

    The value for a text is taken as it is; other values are JSON.

    Raises:
      InputError: a pair has no "=", a value is not JSON, or the names do not have equally many values.
    """
    columns: dict[str, list[Any]] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"{pair!r} is not of the form name=value")
        columns.setdefault(name, []).append(_typed(value, name, signature))
    if len({len(values) for values in columns.values()}) > 1:
        counts = ", ".join(f"{name}: {len(values)}" for name, values in columns.items())
        raise InputError(f"the inputs have different numbers of values ({counts})")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def rows_of_file(file: TextIO, path: str, signature: Signature) -> Iterator[Row]:
    """Reads a row from each line of an open file: a JSON object with exactly the inputs of the signature.

    But if the signature takes one text and the name of the file does not end in .jsonl, a line is a text.

    Raises:
      InputError: a line is not such a JSON object.
    """
    [name, *others] = signature.inputs
    is_plain = not others and signature.inputs[name].is_text and not path.endswith(".jsonl")
    for number, line in enumerate(file, start=1):
        line = line.rstrip("\r\n")
        if is_plain:
            yield {name: line.encode(errors="surrogateescape")}
        elif line.strip():
            yield _row_of_json(line, f"{path}, line {number}", signature)


@contextlib.contextmanager
def opened(path: str) -> Iterator[TextIO]:
    """Opens a file, or standard input for "-"; bytes that are not UTF-8 become surrogates."""
    source = sys.stdin.fileno() if path == STANDARD_INPUT else path
    with open(
        source, encoding="utf-8", errors="surrogateescape", newline="\n", closefd=path != STANDARD_INPUT
    ) as file:
        yield file


def _typed(value: str, name: str, signature: Signature) -> Any:
    info = signature.inputs.get(name)
    if info is None or info.is_text:
        # Bytes of the command line that are not UTF-8 come as surrogates.
        return value.encode(errors="surrogateescape")
    try:
        return _parsed(value)
    except ValueError:
        raise InputError(f"{value!r} is not JSON: {name} is {info}, for all rows") from None


def _row_of_json(line: str, place: str, signature: Signature) -> Row:
    try:
        row = _parsed(line)
    except ValueError as error:
        raise InputError(f"{place} is not JSON: {error}") from None
    if not isinstance(row, dict) or set(row) != set(signature.inputs):
        raise InputError(f"{place} must be an object with {', '.join(signature.inputs)} and nothing else")
    return row


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, object_hook=_bytes_of_base64)
    except (TypeError, RecursionError) as error:  # "b64" is no text, or too many brackets
        raise ValueError(error) from None


def _bytes_of_base64(content: dict[str, Any]) -> Any:
    """Decodes {"b64": text}, TensorFlow Serving's form of bytes; other objects stay as they are."""
    return base64.b64decode(content["b64"]) if set(content) == {"b64"} else content
