"""TFRecord files, without TensorFlow: records with their lengths and checksums, and what is in them.

Readers verify the checksums. They raise `InputError` if a file is cut short or damaged, and name the record,
counted from 1.
"""

import functools
import io
import mmap
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

import google_crc32c
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from albert_tf.errors import InputError
from albert_tf.files import file_size, open_file

_HEADER = struct.Struct("<QI")  # a record's length, and the checksum of the length
_CHECKSUM = struct.Struct("<I")
# The messages of `tf.train.Example`: names and kinds of the fields 1, 2, ..., and whether they are repeated.
# An entry of the map of features is a message of its own, as on the wire.
_EXAMPLE = {
    "BytesList": [("value", "BYTES", True)],
    "FloatList": [("value", "FLOAT", True)],
    "Int64List": [("value", "INT64", True)],
    "Feature": [("bytes", "BytesList", False), ("floats", "FloatList", False), ("ints", "Int64List", False)],
    "Entry": [("key", "STRING", False), ("value", "Feature", False)],
    "Features": [("feature", "Entry", True)],
    "Example": [("features", "Features", False)],
}


def framed(record: bytes) -> tuple[bytes, bytes, bytes]:
    """What a file holds for a record: its length with a checksum, its bytes, their checksum."""
    header = _HEADER.pack(len(record), _masked_checksum(struct.pack("<Q", len(record))))
    return header, record, _CHECKSUM.pack(_masked_checksum(record))


def read_records(path: str) -> Iterator[bytes]:
    """The records of a file."""
    with open_file(path) as file:
        yield from _read(file, file_size(path), path, 1)


def parse_example(record: bytes, place: str) -> dict[str, Sequence[Any]]:
    """The values of each feature of a `tf.train.Example`; InputError with the place if the record is none."""
    try:
        features = _example_class().FromString(record).features.feature
    except DecodeError:
        raise InputError(f"{place} is not a tf.train.Example") from None
    return {entry.key: next((kept.value for _, kept in entry.value.ListFields()), ()) for entry in features}


@functools.cache
def _example_class() -> Any:
    """A message that is read as `tf.train.Example` is."""
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="example", syntax="proto3")
    for message, fields in _EXAMPLE.items():
        added = file.message_type.add(name=message)
        for number, (name, kind, is_repeated) in enumerate(fields, 1):
            field = added.field.add(name=name, number=number, label=3 if is_repeated else 1)
            if kind in _EXAMPLE:
                field.type_name = f".example.{kind}"
            else:
                field.type = descriptor_pb2.FieldDescriptorProto.Type.Value(f"TYPE_{kind}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("example.Example"))


def read_block(path: str, begin: int, end: int, first: int) -> list[bytes]:
    """The records of a block, whose bounds `find_blocks` gave and whose first record has that number."""
    with open(path, "rb", buffering=0) as file:
        data = os.pread(file.fileno(), end - begin, begin)
    return list(_read(io.BytesIO(data), len(data), path, first))


def find_blocks(
    path: str, records_of_a_block: int, advance: Callable[[int], Any], mapped_bytes: int = 1 << 26
) -> tuple[np.ndarray, np.ndarray]:
    """Finds where blocks of records begin; of the records only the lengths are read and checked.

    Args:
      path: the file.
      records_of_a_block: the last block may have fewer.
      advance: called with the number of bytes of each block.
      mapped_bytes: how much of the file stays in memory.

    Returns:
      int64 [blocks + 1]: the first byte of each block, and the end of the file; int32 [blocks]: records.
    """
    size = os.path.getsize(path)
    bounds, records, position, mapped = [0], 0, 0, 0
    if size:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            while position < size:
                records += 1
                header = data[position : position + _HEADER.size]
                position += _size(header, size - position, path, records)
                if records % records_of_a_block == 0 or position == size:
                    advance(position - bounds[-1])
                    bounds.append(position)
                    if position - mapped > mapped_bytes:
                        data.madvise(mmap.MADV_DONTNEED, mapped, position - mapped)
                        mapped = position // mmap.PAGESIZE * mmap.PAGESIZE
    counts = np.minimum(records - np.arange(0, records, records_of_a_block), records_of_a_block)
    return np.array(bounds, np.int64), counts.astype(np.int32)


def _read(file: IO[bytes], left: int, path: str, number: int) -> Iterator[bytes]:
    while left:
        header = file.read(_HEADER.size)
        size = _size(header, left, path, number)
        left -= size
        record = file.read(size - _HEADER.size - _CHECKSUM.size)
        if _CHECKSUM.unpack(file.read(_CHECKSUM.size))[0] != _masked_checksum(record):
            raise InputError(f"{path}, record {number} is damaged (wrong checksum of its bytes)")
        yield record
        number += 1


def _size(header: bytes, left: int, path: str, number: int) -> int:
    """The bytes of a record with header and checksum; InputError if they are more than the bytes left."""
    length, checksum = _HEADER.unpack(header) if len(header) == _HEADER.size else (0, None)
    if checksum is not None and checksum != _masked_checksum(header[:8]):
        damage = "is damaged" if number > 1 else "is damaged, or the file is no TFRecord"
        raise InputError(f"{path}, record {number} {damage} (wrong checksum of its length)")
    size = _HEADER.size + length + _CHECKSUM.size
    if size > left:
        raise InputError(f"{path}, record {number}: the file ends inside the record (cut short?)")
    return size


def _masked_checksum(data: bytes) -> int:
    checksum = google_crc32c.value(data)
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF
