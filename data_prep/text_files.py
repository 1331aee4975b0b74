"""Text files of lines, of JSON documents or of rows, plain or compressed, read as blocks of lines."""

import codecs
import contextlib
import dataclasses
import importlib
import io
import itertools
import json
import os
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple

import numpy as np

from albert_tf.cli import flags
from albert_tf.errors import InputError
from albert_tf.files import open_file
from data_prep.data_sets import is_table, read_rows

_COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".xz": "lzma", ".zst": "backports.zstd"}  # modules

_BLOCK = 1 << 20  # bytes read, decoded and encoded at a time
_LONGEST_LINE = 1 << 20  # bytes of a line that are looked at together
_WHITE = b" \t\r"
_NUL = "a NUL byte, which is no text"


@dataclasses.dataclass(frozen=True)
class TextOptions(flags.ScriptOptions):
    """Where the text is and how it is read."""

    input_file: tuple[str, ...] = flags.option(
        (),
        help="text files, UTF-8: names and globs. A line is a sentence (or other unit), a blank line ends a "
        "document; in .jsonl files a line is a document, in .parquet and .arrow files a row. .gz, .bz2, .xz "
        "and .zst are read as well. hf:NAME:SPLIT and tfds:NAME:SPLIT are data sets of Hugging Face and "
        "TensorFlow (required)",
    )
    text_field: str = flags.option(
        "text", help="the field of a JSON document, or the column of a table, that has its text"
    )
    sentence_language: str = flags.option(
        "en", help="language by whose rules the text of JSON documents is divided into sentences"
    )
    on_error: str = flags.option(
        "fail",
        choices=("fail", "skip"),
        help="what to do about a line that is not UTF-8, has a NUL byte or is no JSON document: end the run, "
        "or leave the line out and count it",
    )

    def require_input(self) -> None:
        """Raises UsageError if no input is named."""
        if not self.input_file:
            raise flags.UsageError("missing required flag --input_file")


class TextRange(NamedTuple):
    """The bytes of a file from `begin` to before `end`, between documents; all of it if it is indivisible."""

    path: str
    begin: int
    end: int


class LineBlock(NamedTuple):
    """Consecutive lines.

    Attributes:
      lines: a blank one ends a document.
      numbers: int64 [lines]. The line of the range, counted from 0, that each comes from.
      continues: whether the first one continues the last one of the block before.
      next_number: the line of the range that the next block begins with.
      size: bytes of the file that were read for the block.
    """

    lines: list[str]
    numbers: np.ndarray
    continues: bool
    next_number: int
    size: int


class BadLine(NamedTuple):
    """A line that cannot be used: its number in the range, counted from 0, and what is wrong with it."""

    number: int
    reason: str


def lines_before(text_range: TextRange) -> int:
    """The lines of the file before the range."""
    before = text_range._replace(begin=0, end=text_range.begin)
    return sum(data.count(b"\n") for data, _ in _blocks(before, None)) if text_range.begin else 0


# ---------------------------------------------------------------------------------------------- reading


def read_lines(
    text_range: TextRange, options: TextOptions, on_bad_line: Callable[[BadLine], None]
) -> Iterator[LineBlock]:
    """The lines of a range, of a JSON document its sentences; those that cannot be used are left out.

    A line of text longer than 1 MB comes in parts, divided at white space where it has any.

    Args:
      on_bad_line: called with each line that is left out; may raise instead.

    Raises:
      InputError: a compressed file or a table is damaged, or has no such column.
    """
    if is_json(text_range.path) or is_table(text_range.path):
        yield from _read_documents(text_range, options, on_bad_line)
    else:
        yield from _read_text(text_range, on_bad_line)


def _read_text(text_range: TextRange, on_bad_line: Callable[[BadLine], None]) -> Iterator[LineBlock]:
    number = 0
    kept = -1  # the line of the last part that was kept
    for data, size in _blocks(text_range, _LONGEST_LINE):
        lines, numbers = _decode(data.removesuffix(b"\n"), number, on_bad_line)
        continues = bool(lines) and numbers[0] == kept
        number += data.count(b"\n")
        kept = numbers[-1] if lines else kept
        yield LineBlock(lines, numbers, continues, number, size)


def _decode(data: bytes, first: int, on_bad_line: Callable[[BadLine], None]) -> tuple[list[str], np.ndarray]:
    """The lines of a block that are text, and their numbers."""
    try:
        text = data.decode()
        if "\0" not in text:
            lines = text.split("\n")
            return lines, np.arange(first, first + len(lines))
    except UnicodeDecodeError:
        pass
    lines, numbers = [], []
    for number, line in enumerate(data.split(b"\n"), first):
        try:
            text = line.decode()
            reason = _NUL if "\0" in text else None
        except UnicodeDecodeError as error:
            reason = f"not UTF-8 ({error.reason})"
        if reason:
            on_bad_line(BadLine(number, reason))
        else:
            lines.append(text)
            numbers.append(number)
    return lines, np.array(numbers, np.int64)


def _read_documents(
    text_range: TextRange, options: TextOptions, on_bad_line: Callable[[BadLine], None]
) -> Iterator[LineBlock]:
    """The sentences of JSON documents or rows of a table, a blank line behind each document."""
    number = 0
    read = _read_table if is_table(text_range.path) else _read_json
    for texts, size in read(text_range, options.text_field):
        lines: list[str] = []
        numbers: list[int] = []
        characters = 0
        for text in texts:
            if isinstance(text, ValueError):
                on_bad_line(BadLine(number, str(text)))
                text = ""
            for sentence in itertools.chain(_sentences(text, options.sentence_language), [""]):
                lines.append(sentence)
                numbers.append(number)
                characters += len(sentence)
                if characters >= _BLOCK:
                    yield LineBlock(lines, np.array(numbers), False, number, size)
                    lines, numbers, characters, size = [], [], 0, 0
            number += 1
        yield LineBlock(lines, np.array(numbers, np.int64), False, number, size)


def _read_json(text_range: TextRange, field: str) -> Iterator[tuple[Iterator[str | ValueError], int]]:
    """The text of each line, or the reason why it has none."""
    for data, size in _blocks(text_range, None):
        yield (_text_or_error(_text_of, line, field) for line in io.BytesIO(data)), size


def _read_table(text_range: TextRange, field: str) -> Iterator[tuple[Iterator[str | ValueError], int]]:
    """The text of each row, or the reason why it has none."""
    for texts, size in read_rows(text_range.path, field):
        yield (_text_or_error(_text_of_row, text or "") for text in texts), size


def _text_or_error(function: Callable[..., str], *arguments: Any) -> str | ValueError:
    try:
        return function(*arguments)
    except ValueError as error:
        return error


def _text_of_row(row: str | bytes) -> str:
    try:
        return _without_nul(row if isinstance(row, str) else row.decode())
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 ({error.reason})") from None


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError(_NUL)
    return text


def _text_of(line: bytes, field: str) -> str:
    """The text of a JSON document; ValueError says why it has none."""
    if line.isspace():
        return ""
    try:
        document = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 ({error.reason})") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"not JSON ({getattr(error, 'msg', error)})") from None
    text = document.get(field) if isinstance(document, dict) else None
    if not isinstance(text, str):
        raise ValueError(f'no JSON object with a text in its field "{field}" (--text_field)')
    return _without_nul(text)


def _sentences(text: str, language: str) -> Iterator[str]:
    """The sentences of each line of a text; of a line of more than 1 MB, those of each 1 MB."""
    import sentencex

    for line in text.split("\n"):
        for begin in range(0, len(line), _LONGEST_LINE):
            for sentence in sentencex.segment(language, line[begin : begin + _LONGEST_LINE]):
                if not sentence.isspace():
                    yield sentence


def _blocks(text_range: TextRange, longest_line: int | None) -> Iterator[tuple[bytes, int]]:
    """The bytes of a range in blocks of whole lines, each with the bytes read of the (compressed) file.

    The last block may lack a line end; so does one that ends inside a line of more than `longest_line` bytes.
    """
    path, begin, end = text_range
    with open_file(path) as raw, _decompressed(path, raw) as file:
        if begin:
            file.seek(begin)
        done, rest = begin, bytearray()
        for data in _read(path, file, None if is_compressed(path) else end - begin):
            if not done and not rest:
                data = data.removeprefix(codecs.BOM_UTF8)
            cut = data.rfind(b"\n") + 1
            if cut:
                block, rest = bytes(rest) + data[:cut], bytearray(data[cut:])
            else:
                rest += data
                if longest_line is None or len(rest) < longest_line:
                    continue
                cut = _end_of_word(rest)
                block, rest = bytes(rest[:cut]), rest[cut:]
            position = raw.tell()
            yield block, position - done
            done = position
        if rest:
            yield bytes(rest), raw.tell() - done


def _decompressed(path: str, raw: IO[bytes]) -> contextlib.AbstractContextManager[IO[bytes]]:
    module = _COMPRESSIONS.get(os.path.splitext(path)[1])
    return importlib.import_module(module).open(raw) if module else contextlib.nullcontext(raw)


def _read(path: str, file: IO[bytes], left: int | None) -> Iterator[bytes]:
    """The next `left` bytes of a file in blocks, or all bytes."""
    while left is None or left:
        try:
            data = file.read(_BLOCK if left is None else min(_BLOCK, left))
        except Exception as error:  # each compression has its own
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise InputError(f"{path} cannot be decompressed ({error}): damaged, or cut short") from None
        if not data:
            return
        if left is not None:
            left -= len(data)
        yield data


def _end_of_word(data: bytearray) -> int:
    """The place behind the last white space, or before the last character if there is no white space."""
    cut = max(data.rfind(white) for white in (b" ", b"\t")) + 1
    if not cut:
        cut = len(data) - 1
        while cut and data[cut] & 0xC0 == 0x80:
            cut -= 1
    return cut or len(data)


def is_compressed(path: str) -> bool:
    """Whether a file is compressed, by its name."""
    return os.path.splitext(path)[1] in _COMPRESSIONS


def is_indivisible(path: str) -> bool:
    """Whether a file can only be read from its start to its end."""
    return is_compressed(path) or is_table(path)


def is_json(path: str) -> bool:
    """Whether a line of a file is a JSON document, by its name."""
    stem, suffix = os.path.splitext(path)
    return (os.path.splitext(stem)[1] if suffix in _COMPRESSIONS else suffix) == ".jsonl"
