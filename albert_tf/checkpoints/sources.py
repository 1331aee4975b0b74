"""Opens weights of any kind: tells the kind by content, reads hub modules, trusts no archive."""

import bz2
import contextlib
import dataclasses
import gzip
import lzma
import os
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from albert_tf.checkpoints import huggingface
from albert_tf.checkpoints.assets import Assets
from albert_tf.checkpoints.run_folder import meant_checkpoint
from albert_tf.checkpoints.tensorflow import read_checkpoint
from albert_tf.checkpoints.weight_source import HUB_TF1, HUB_TF2, ORIGINAL, WeightSource
from albert_tf.errors import InputError
from albert_tf.files import files_that_begin_with, open_file
from albert_tf.models.heads import head_of_task
from albert_tf.published import forget, local_weights

_SAVED_MODEL = "saved_model.pb"


def is_module(folder: str) -> bool:
    """Whether a folder is a SavedModel."""
    return tf.io.gfile.exists(os.path.join(folder, _SAVED_MODEL))


def read_module(folder: str, path: str) -> WeightSource:
    """The weights and the casing of a module in TF1 or TF2 format; `path` is what the user gave."""
    prefix = os.path.join(folder, "variables", "variables")
    if not tf.io.gfile.exists(f"{prefix}.index"):
        raise InputError(f"{path} has no variables/variables.index, which a hub module keeps its weights in")
    source = read_checkpoint(prefix, path)
    if source.kind == ORIGINAL:
        assets = Assets(do_lower_case=_casing_in_graph(folder))
        return dataclasses.replace(source, kind=HUB_TF1, assets=assets)
    return dataclasses.replace(source, kind=HUB_TF2)


def _casing_in_graph(folder: str) -> bool | None:
    """`do_lower_case` of the signature `tokenization_info` of a TF1 module, if it is a constant."""
    path = os.path.join(folder, _SAVED_MODEL)
    with tf.io.gfile.GFile(path, "rb") as file:
        try:
            saved = saved_model_pb2.SavedModel.FromString(file.read())
        except DecodeError:
            raise InputError(f"{path} is no SavedModel, or a damaged one") from None
    for variant in saved.meta_graphs:
        output = variant.signature_def["tokenization_info"].outputs["do_lower_case"].name.partition(":")[0]
        for node in variant.graph_def.node:
            if node.name == output and node.op == "Const":
                value = node.attr["value"].tensor
                with contextlib.suppress(ValueError):
                    if value.dtype == tf.bool.as_datatype_enum and not value.tensor_shape.dim:
                        return bool(tf.make_ndarray(value))
                raise InputError(f"{path} is damaged: its do_lower_case is not one truth value")
    return None


_CHECKPOINT_FILE = re.compile(r"\.(index|meta|data-\d+-of-\d+)$")


@contextlib.contextmanager
def open_source(path: str) -> Iterator[WeightSource]:
    """Opens the weights at a path until the block ends; path and errors as for `albert_tf.load_weights`."""
    path = local_weights(path)
    with contextlib.ExitStack() as stack:
        try:
            source = _open(path, stack)
        except tf.errors.OpError as error:  # of a file system
            raise InputError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
        yield source


def _open(path: str, stack: contextlib.ExitStack) -> WeightSource:
    if is_archive(path):
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="albert_tf_"))
        extract(path, folder)
        return _open_folder(folder, path)
    if tf.io.gfile.isdir(path):
        return _open_folder(path.rstrip("/") or path, path)
    return _open_file(path)


def _open_folder(folder: str, path: str, depth: int = 0) -> WeightSource:
    if is_module(folder):
        return _with_sidecars(read_module(folder, path), folder)
    if huggingface.is_folder(folder):
        return huggingface.read_folder(folder, path)
    if checkpoint := _checkpoint_in(folder, path):
        shown = checkpoint if tf.io.gfile.isdir(path) else path  # not the temporary folder of an archive
        return _with_sidecars(read_checkpoint(checkpoint, shown), folder)
    inside = [os.path.join(folder, name) for name in _visible(folder)]
    folders = [name for name in inside if tf.io.gfile.isdir(name)]
    if len(folders) == 1 and depth < _DEEPEST:  # as in the released archives
        return _open_folder(folders[0], path, depth + 1)
    raise InputError(
        f"{path} holds no weights: neither a checkpoint (*.index), nor saved_model.pb, nor model.safetensors"
    )


def _open_file(path: str) -> WeightSource:
    prefix = _CHECKPOINT_FILE.sub("", path)
    if tf.io.gfile.exists(f"{prefix}.index"):
        return _with_sidecars(read_checkpoint(prefix, path), os.path.dirname(prefix) or ".")
    if files_that_begin_with(prefix, ".data-*"):
        raise InputError(f"{prefix} has data files but no {prefix}.index: half of the checkpoint is missing")
    if not tf.io.gfile.exists(path):
        raise InputError(f"{path} does not exist (nor does {prefix}.index): no weights to load")
    if huggingface.is_safetensors(path):
        return huggingface.read_folder(os.path.dirname(path) or ".", path)
    forget(path)
    raise InputError(f"{path} is neither a checkpoint, an archive nor safetensors")


def _checkpoint_in(folder: str, path: str) -> str | None:
    """The prefix of the checkpoint that a run's folder means, or of the only checkpoint in the folder."""
    if checkpoint := meant_checkpoint(folder):
        return checkpoint.path
    names = [name.removesuffix(".index") for name in _visible(folder) if name.endswith(".index")]
    if len(names) > 1:
        raise InputError(f"{path} has several checkpoints; name one of {', '.join(names)}")
    if names:
        return os.path.join(folder, names[0])
    if any(re.search(r"\.data-\d+-of-\d+$", name) for name in _visible(folder)):
        raise InputError(f"{path} has data files of a checkpoint but no .index: half of it is missing")
    return None


def _with_sidecars(source: WeightSource, folder: str) -> WeightSource:
    beside = Assets.read(folder, source.path)
    of_task = head_of_task(beside.task.get("task_name", ""))
    head = source.head or (of_task.name if of_task else None)
    return dataclasses.replace(source, assets=beside.or_else(source.assets), head=head)


def _visible(folder: str) -> list[str]:
    """The names in a folder that are UTF-8, as TensorFlow needs them, without hidden ones."""
    names = map(os.path.basename, files_that_begin_with(os.path.join(folder, ""), "[!.]*"))
    return [name for name in names if name.encode(errors="ignore").decode() == name]


# How a compressed file begins, and what reads it and verifies its checksums.
_READERS: Mapping[bytes, Callable[[str], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_BROKEN = (tarfile.TarError, EOFError, OSError, ValueError, OverflowError, zlib.error, lzma.LZMAError)
_DEEPEST = 16  # folders inside each other
_SHOWN = 200  # characters of a name in messages
_MOST_MEMBERS = 1000
_LARGEST = 1 << 30  # bytes; an archive that unpacks to more must not be much smaller itself
_LARGEST_RATIO = 100  # of the unpacked size to that of the archive; weights can hardly be compressed


def _start_of(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(512)


def is_archive(path: str) -> bool:
    """Whether a file is compressed or a tar archive, told by its first bytes."""
    start = _start_of(path) if os.path.isfile(path) else b""
    return start.startswith(tuple(_READERS)) or start[257:262] == b"ustar"


def extract(path: str, folder: str, largest: int = _LARGEST) -> None:
    """Extracts an archive into a folder; `InputError` if it is damaged, too large or dangerous.

    The archive is read to its end, so that its checksums are verified. If it unpacks to more than `largest`
    bytes, it must be at least a hundredth of that size itself.
    """
    start = _start_of(path)
    reader = next((read for magic, read in _READERS.items() if start.startswith(magic)), open_file)
    size, free = os.path.getsize(path), shutil.disk_usage(folder).free
    room = min(free, max(largest, _LARGEST_RATIO * size))
    reason = f"the room in {folder}" if room == free else f"though it has {size:,}"
    try:
        with reader(path) as file:
            stream: Any = _Bounded(
                file, room, f"{path} is refused: it unpacks to more than {room:,} bytes, {reason}"
            )
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for number, member in enumerate(archive):
                    if problem := _danger_of(member):
                        shown = ascii(member.name)[:_SHOWN]
                        raise InputError(f"{path} is refused: its member {shown} {problem}")
                    if number >= _MOST_MEMBERS:
                        raise InputError(f"{path} is refused: it has more than {_MOST_MEMBERS:,} members")
                    archive.extract(member, folder, filter="data")
                while rest := archive.fileobj.read(1 << 20):
                    if rest.strip(b"\0"):  # `tarfile` ends without an error at a damaged header
                        raise tarfile.ReadError("something follows its end")
            while stream.read(1 << 20):
                pass
    except InputError:
        raise
    except _BROKEN as error:
        if getattr(error, "errno", None) is None:  # not of the disk
            forget(path)
        raise InputError(f"{path} is no tar archive or a damaged one: {error}") from None


class _Bounded:
    """A file of which `room` bytes can be read; then `read` raises `InputError` with the `problem`."""

    def __init__(self, file: IO[bytes], room: int, problem: str):
        self._file, self._left, self._problem = file, room, problem

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise InputError(self._problem)
        return data


def _danger_of(member: tarfile.TarInfo) -> str | None:
    """Why a member of an archive is not extracted; None if it is."""
    parts = member.name.split("/")
    if os.path.isabs(member.name) or ".." in parts:
        return "would be outside the folder"
    if member.issparse() or not (member.isfile() or member.isdir()):
        return "is a link, a device or a sparse file"
    if len(parts) > _DEEPEST:
        return f"lies in more than {_DEEPEST} folders"
    return None if member.name.isprintable() else "has a name that cannot be shown"
