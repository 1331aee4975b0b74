"""Files that are damaged or confused, drawn by hypothesis from a good one, and what reads them."""

import dataclasses
import json
import pathlib
import shutil
import struct
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from albert_tf.data.tfrecord import framed
from albert_tf.errors import InputError

# What stands in place of a part of a JSON document: values of all types, and texts that JSON may not have.
RAW = (
    *("null", "true", "false", "0", "1", "-1", "7", "0.5", "1e999", "-1e308", "NaN", "Infinity", "-Infinity"),
    *("2147483648", "4294967297", "1" * 30, "1" * 5000, '""', '"a"', '"7"', '" "', '"../../x"', '"/etc"'),
    *(r'"\ud83d"', r'"\u0000"', r'"\u001b[2J"', r'"a\nb"', '"\u2028"', '"' + "a" * 3000 + '"', "[]", "{}"),
    *("[[]]", "[null]", "[{}]", '{"a": 1}', '{"a": {"a": []}}', '[1, "a"]', '["a", "a"]'),
    *("[" * 500 + "]" * 500, "[" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000, "1 1", "", "\ufeff"),
)
_MARK = "the place of what is put in"


def damaged(good: bytes) -> st.SearchStrategy[bytes]:
    """The bytes with some of them replaced, removed, put in, or without their end."""
    place = st.integers(0, len(good))
    edits = st.lists(st.tuples(place, st.integers(0, 4), st.binary(max_size=4)), min_size=1, max_size=4)
    return st.one_of(edits.map(lambda edits: _edited(good, edits)), place.map(lambda end: good[:end]))


def _edited(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for begin, count, put_in in edits:
        data = data[:begin] + put_in + data[begin + count :]
    return data


def confused(good: bytes) -> st.SearchStrategy[bytes]:
    """The JSON document with parts of other types, without keys, with keys twice and with other names."""
    document = json.loads(good)
    where = st.sampled_from(list(_places(document)))
    change = st.sampled_from(["value", "value", "value", "removed", "renamed", "twice"])
    return st.builds(lambda *drawn: _confused(document, *drawn), where, change, st.sampled_from(RAW))


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from _places(inner, (*place, key))


def _confused(document: Any, place: tuple[Any, ...], change: str, raw: str) -> bytes:
    whole = [json.loads(json.dumps(document))]
    holder, key = whole, 0
    for step in place:
        holder, key = holder[key], step
    if change == "value" or not isinstance(holder, dict):
        holder[key] = _MARK
    elif change == "renamed":
        holder[_MARK] = holder.pop(key)
        raw = '"' + "\\u001b[2J" + str(key) + '"'
    else:
        value = holder.pop(key)
        if change == "twice":
            pair = f"{json.dumps(key)}: {json.dumps(value)}, {json.dumps(key)}: {raw or 'null'}"
            holder[_MARK] = 0
            text = json.dumps(whole[0]).replace(f'"{_MARK}": 0', pair)
            return text.encode(errors="surrogatepass")
    return json.dumps(whole[0]).replace(f'"{_MARK}"', raw).encode(errors="surrogatepass")


def of_header(good: bytes) -> st.SearchStrategy[bytes]:
    """A safetensors file whose header is confused or damaged."""
    [size] = struct.unpack("<Q", good[:8])
    header, data = good[8 : 8 + size], good[8 + size :]
    headers = st.one_of(confused(header), damaged(header))
    return headers.map(lambda written: struct.pack("<Q", len(written)) + written + data)


def of_record(good: bytes) -> st.SearchStrategy[bytes]:
    """A TFRecord file with right checksums, whose last record is damaged."""
    [size] = struct.unpack("<Q", good[:8])
    first, record = good[: size + 16], good[12 : size + 12]
    return damaged(record).map(lambda other: first + b"".join(framed(other)))


Mutation = Callable[[bytes], st.SearchStrategy[bytes]]
Make = Callable[[pathlib.Path], pathlib.Path]  # writes a good folder, and says which file is damaged
Read = Callable[[pathlib.Path], object]  # reads the damaged file


@dataclasses.dataclass(frozen=True)
class Reader:
    """How a good file is made, damaged and read; `examples` is how many damaged ones are tried."""

    make: Make
    read: Read
    mutations: tuple[Mutation, ...] = (damaged,)
    errors: tuple[type[Exception], ...] = (InputError,)
    examples: int = 25


def text(name: str, content: str | bytes) -> Make:
    def make(folder: pathlib.Path) -> pathlib.Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def document(name: str, content: object) -> Make:
    return text(name, json.dumps(content))


def copy(name: str, source: str) -> Make:
    return lambda folder: pathlib.Path(shutil.copy(source, folder / name))


JSON = (damaged, confused)


def in_folder(read: Callable[[pathlib.Path], object]) -> Read:
    """Reads the folder in which the damaged file is."""
    return lambda path: read(path.parent)


def check_reader(reader: Reader, folder: pathlib.Path, examples: int = 0, derandomize: bool = True) -> None:
    """Has the reader read damaged files, in folders inside the folder; the same ones if `derandomize`."""
    pattern = folder / "good"
    pattern.mkdir()
    path = reader.make(pattern)
    inner = path.relative_to(pattern)
    good = path.read_bytes()
    reader.read(path)  # what is good is taken
    shutil.rmtree(pattern)
    pattern.mkdir()
    reader.make(pattern)
    counter = iter(range(10**9))

    @settings(
        max_examples=examples or reader.examples, deadline=None, derandomize=derandomize, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.one_of(*(mutation(good) for mutation in reader.mutations)))
    def is_taken_or_refused(data: bytes) -> None:
        own = folder / str(next(counter))
        shutil.copytree(pattern, own)
        (own / inner).write_bytes(data)
        message = ""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                reader.read(own / inner)
        except reader.errors as error:
            message = str(error)
        finally:
            shutil.rmtree(own)
        assert len(message) < 2000

    is_taken_or_refused()
