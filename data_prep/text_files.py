"""Text files of lines, of JSON documents or of rows, plain or compressed, read as blocks of lines."""

import codecs
import contextlib
import dataclasses
import functools
import importlib
import io
import itertools
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, NamedTuple

import numpy as np

from albert_tf.cli import flags
from albert_tf.data.tables import problem_of_characters
from albert_tf.errors import InputError
from albert_tf.files import open_file
from data_prep.data_sets import is_table, read_rows

_COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".xz": "lzma", ".zst": "backports.zstd"}  # modules
_JSON = (".jsonl", ".json", ".ndjson")

_BLOCK = 1 << 20  # bytes
# It takes the number of a line in its range (from 0), and what is wrong with the line.
OnBadLine = Callable[[int, str], None]


@dataclasses.dataclass(frozen=True)
class TextOptions(flags.ScriptOptions):
    """Where the text is and how it is read."""

    input_file: tuple[str, ...] = flags.option(
        (),
        help="names and globs of text files in UTF-8. A line is a sentence (or another unit), a blank line "
        "ends a document. In .jsonl, .json and .ndjson files each line is a document, in .parquet and .arrow "
        "files each row. Files may be compressed: .gz, .bz2, .xz, .zst. hf:NAME:SPLIT and tfds:NAME:SPLIT "
        "are data sets of Hugging Face and TensorFlow (required)",
    )
    text_field: str = flags.option(
        "text", help="the field of a JSON document, or the column of a table, that holds the text"
    )
    sentence_language: str = flags.option(
        "en", help="the language whose rules divide the text of JSON documents into sentences"
    )
    on_error: str = flags.option(
        "fail",
        choices=("fail", "skip"),
        help="what to do with a line that is not UTF-8, has a NUL byte or is no JSON document, and with a "
        "document whose text is null: end the run, or leave it out and count it",
    )

    def require_input(self) -> None:
        """Raises UsageError if no input is named."""
        if not self.input_file:
            raise flags.UsageError("missing required flag --input_file")


class TextRange(NamedTuple):
    """The bytes of a file from `begin` to before `end`; no document crosses a border."""

    path: str
    begin: int
    end: int


class LineBlock(NamedTuple):
    """Consecutive lines.

    Attributes:
      lines: a blank one ends a document.
      numbers: int64 [lines]. The number of each line in its range, counted from 0.
      continues: whether the first line continues the last one of the block before.
      next_number: the number of the line with which the next block begins.
      size: bytes of the file that were read for the block.
    """

    lines: list[str]
    numbers: np.ndarray
    continues: bool
    next_number: int
    size: int


def lines_before(text_range: TextRange) -> int:
    """The number of lines of the file before the range."""
    before = text_range._replace(begin=0, end=text_range.begin)
    return sum(data.count(b"\n") for data, _ in _blocks(before)) if text_range.begin else 0


def read_lines(
    text_range: TextRange, options: TextOptions, on_bad_line: OnBadLine, block: int = _BLOCK
) -> Iterator[LineBlock]:
    """The lines of a range, or the sentences of its JSON documents or rows, without unusable lines.

    `block` bytes are read together; a longer line comes in parts, which end at white space if possible.
    `on_bad_line` is called with each line that is left out; it may raise instead. Raises InputError if a
    compressed file or a table is damaged, or if a table has no such column.
    """
    if is_json(text_range.path) or is_table(text_range.path):
        yield from _read_documents(text_range, options, on_bad_line, block)
    else:
        yield from _read_text(text_range, on_bad_line, block)


def _read_text(text_range: TextRange, on_bad_line: OnBadLine, block: int) -> Iterator[LineBlock]:
    number = 0
    kept = -1  # the line of the last part that was kept
    for data, size in _blocks(text_range, block, divides_lines=True):
        lines, numbers = _decode(data.removesuffix(b"\n"), number, on_bad_line)
        continues = bool(lines) and numbers[0] == kept
        number += data.count(b"\n")
        kept = numbers[-1] if lines else kept
        yield LineBlock(lines, numbers, continues, number, size)


def _decode(data: bytes, first: int, on_bad_line: OnBadLine) -> tuple[list[str], np.ndarray]:
    """The lines of a block that are text, and their numbers."""
    text, reason = _text_of_row(data)
    if not reason:
        lines = text.split("\n")
        return lines, np.arange(first, first + len(lines))
    lines, numbers = [], []
    for number, line in enumerate(data.split(b"\n"), first):
        text, reason = _text_of_row(line)
        if reason:
            on_bad_line(number, reason)
        else:
            lines.append(text)
            numbers.append(number)
    return lines, np.array(numbers, np.int64)


def _read_documents(
    text_range: TextRange, options: TextOptions, on_bad_line: OnBadLine, block: int
) -> Iterator[LineBlock]:
    """The sentences of JSON documents or rows of a table, with a blank line after each document."""
    number = 0
    field = options.text_field
    documents: Iterator[tuple[Any, int]]
    if is_table(text_range.path):
        documents, text_of = read_rows(text_range.path, field), _text_of_row
    else:
        documents = ((io.BytesIO(data), size) for data, size in _blocks(text_range, block))
        text_of = functools.partial(_text_of_json, field=field)
    for together, size in documents:
        lines: list[str] = []
        numbers: list[int] = []
        characters = 0
        for document in together:
            text, reason = text_of(document)
            if reason:
                on_bad_line(number, reason)
            for sentence in itertools.chain(_sentences(text, options.sentence_language, block), [""]):
                lines.append(sentence)
                numbers.append(number)
                characters += len(sentence)
                if characters >= block:
                    yield LineBlock(lines, np.array(numbers), False, number, size)
                    lines, numbers, characters, size = [], [], 0, 0
            number += 1
        yield LineBlock(lines, np.array(numbers, np.int64), False, number, size)


def _text_of_row(row: str | bytes | None) -> tuple[str, str]:
    """The text of a row or a line, or "" and the reason why it has none."""
    if row is None:
        return "", "null, which is no text"
    try:
        text = row.decode() if isinstance(row, bytes) else row
    except UnicodeDecodeError as error:
        return "", f"not UTF-8 ({error.reason})"
    return ("", "a NUL byte, which is no text") if "\0" in text else (text, "")


def _text_of_json(line: bytes, field: str) -> tuple[str, str]:
    """The text of a JSON document, or "" and the reason why it has none."""
    if line.isspace():
        return "", ""
    try:
        document = json.loads(line.decode())
    except UnicodeDecodeError as error:
        return "", f"not UTF-8 ({error.reason})"
    except (json.JSONDecodeError, RecursionError) as error:
        return "", f"not JSON ({getattr(error, 'msg', error)})"
    except ValueError as error:  # a number has thousands of digits
        return "", str(error)
    if isinstance(document, dict) and field in document and document[field] is None:
        return _text_of_row(None)
    text = document.get(field) if isinstance(document, dict) else None
    if not isinstance(text, str):
        return "", f'no JSON object with a text in its field "{field}" (--text_field)'
    if problem := problem_of_characters(text):
        return "", f'field "{field}" {problem}'
    return _text_of_row(text)


def _sentences(text: str, language: str, longest: int) -> Iterator[str]:
    """The sentences of each line of a text; a line is divided after each `longest` characters first."""
    import sentencex

    for line in text.split("\n"):
        for begin in range(0, len(line), longest):
            for sentence in sentencex.segment(language, line[begin : begin + longest]):
                if not sentence.isspace():
                    yield sentence


def _blocks(
    text_range: TextRange, block: int = _BLOCK, divides_lines: bool = False
) -> Iterator[tuple[bytes, int]]:
    """The bytes of a range in blocks of whole lines, each with the bytes read of the (compressed) file.

    The last block may lack a line end; so does one that ends inside a line of more than `block` bytes, if
    lines may be divided.
    """
    path, begin, end = text_range
    with open_file(path) as raw, _decompressed(path, raw) as file:
        if begin:
            file.seek(begin)
        done, rest = begin, bytearray()
        for data in _read(path, file, math.inf if is_compressed(path) else end - begin, block):
            if not done and not rest:
                data = data.removeprefix(codecs.BOM_UTF8)
            cut = data.rfind(b"\n") + 1
            if cut:
                whole, rest = bytes(rest) + data[:cut], bytearray(data[cut:])
            else:
                rest += data
                if not divides_lines or len(rest) < block:
                    continue
                cut = _end_of_word(rest)
                whole, rest = bytes(rest[:cut]), rest[cut:]
            position = raw.tell()
            yield whole, position - done
            done = position
        if rest:
            yield bytes(rest), raw.tell() - done


def _decompressed(path: str, raw: IO[bytes]) -> contextlib.AbstractContextManager[IO[bytes]]:
    module = _COMPRESSIONS.get(os.path.splitext(path)[1].lower())
    return importlib.import_module(module).open(raw) if module else contextlib.nullcontext(raw)


def _read(path: str, file: IO[bytes], left: float, block: int) -> Iterator[bytes]:
    """The next `left` bytes of a file in blocks."""
    while left:
        try:
            data = file.read(int(min(block, left)))
        except Exception as error:  # each compression has its own errors
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise InputError(f"{path} cannot be decompressed ({error}): damaged, or cut short") from None
        if not data:
            return
        left -= len(data)
        yield data


def _end_of_word(data: bytearray) -> int:
    """The place after the last white space, or before the last character if there is no white space."""
    cut = max(data.rfind(white) for white in (b" ", b"\t")) + 1
    if not cut:
        cut = len(data) - 1
        while cut and data[cut] & 0xC0 == 0x80:
            cut -= 1
    return cut or len(data)


def is_compressed(path: str) -> bool:
    """Whether a file is compressed, by its name."""
    return os.path.splitext(path)[1].lower() in _COMPRESSIONS


def is_json(path: str) -> bool:
    """Whether each line of a file is a JSON document, by its name."""
    return _suffix(path) in _JSON


def check_formats(paths: Sequence[str]) -> None:
    """Raises InputError if a file named .json is an array or has a document of several lines."""
    for path in paths:
        if _suffix(path) != ".json":
            continue
        with open_file(path) as raw, _decompressed(path, raw) as file:
            start = b"".join(_read(path, file, _BLOCK, _BLOCK)).removeprefix(codecs.BOM_UTF8).lstrip()
        line, is_whole, _ = start.partition(b"\n")
        is_lines = not start or line.startswith(b"{")
        if is_lines and is_whole:
            try:
                json.loads(line)
            except (ValueError, RecursionError):
                is_lines = False
        if not is_lines:
            made = f"jq -c {'.[]' if start.startswith(b'[') else '.'}"
            raise InputError(f"{path} is not JSON with a document in each line, as `{made}` makes it")


def _suffix(path: str) -> str:
    """The end of the name of a file, in lower case and without that of a compression."""
    stem, suffix = os.path.splitext(path.lower())
    return os.path.splitext(stem)[1] if suffix in _COMPRESSIONS else suffix
