"""Opens weights of any kind: tells the kind by content, reads hub modules, trusts no archive."""

import contextlib
import dataclasses
import os
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from albert_tf.checkpoints import huggingface
from albert_tf.checkpoints.assets import Assets
from albert_tf.checkpoints.run_folder import meant_checkpoint
from albert_tf.checkpoints.tensorflow import read_checkpoint
from albert_tf.checkpoints.weight_source import HUB_TF1, HUB_TF2, ORIGINAL, WeightSource
from albert_tf.errors import InputError
from albert_tf.files import files_that_begin_with
from albert_tf.models.heads import head_of_task

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
                return bool(tf.make_ndarray(node.attr["value"].tensor))
    return None


_CHECKPOINT_FILE = re.compile(r"\.(index|meta|data-\d+-of-\d+)$")


@contextlib.contextmanager
def open_source(path: str) -> Iterator[WeightSource]:
    """Opens the weights at a path until the block ends; path and errors as for `albert_tf.load_weights`."""
    if is_archive(path):
        with tempfile.TemporaryDirectory(prefix="albert_tf_") as folder:
            extract(path, folder)
            yield _open_folder(folder, path)
    elif tf.io.gfile.isdir(path):
        yield _open_folder(path.rstrip("/") or path, path)
    else:
        yield _open_file(path)


def _open_folder(folder: str, path: str) -> WeightSource:
    if is_module(folder):
        return _with_sidecars(read_module(folder, path), folder)
    if huggingface.is_folder(folder):
        return huggingface.read_folder(folder, path)
    if checkpoint := _checkpoint_in(folder, path):
        shown = checkpoint if tf.io.gfile.isdir(path) else path  # not the temporary folder of an archive
        return _with_sidecars(read_checkpoint(checkpoint, shown), folder)
    inside = [os.path.join(folder, name.rstrip("/")) for name in _visible(folder)]
    folders = [name for name in inside if tf.io.gfile.isdir(name)]
    if len(folders) == 1:  # as in the released archives
        return _open_folder(folders[0], path)
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
    return sorted(name for name in tf.io.gfile.listdir(folder) if not name.startswith("."))


_MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")
_BROKEN = (tarfile.TarError, EOFError, OSError, zlib.error)


def is_archive(path: str) -> bool:
    """Whether a file is compressed or a tar archive, told by its first bytes."""
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        start = file.read(512)
    return start.startswith(_MAGIC) or start[257:262] == b"ustar"


def extract(path: str, folder: str) -> None:
    """Extracts an archive into a folder; `InputError` if it is damaged, too large or dangerous."""
    try:
        with tarfile.open(path) as archive:
            members = archive.getmembers()
            for member in members:
                outside = os.path.isabs(member.name) or ".." in member.name.split("/")
                if outside or not (member.isfile() or member.isdir()):
                    what = "would be outside the folder" if outside else "is a link or a device"
                    raise InputError(f"{path} is refused: its member {member.name!r} {what}")
            needed, free = sum(member.size for member in members), shutil.disk_usage(folder).free
            if needed > free:
                raise InputError(f"{path} holds {needed:,} bytes, but {folder} has room for {free:,}")
            archive.extractall(folder, filter="data")
    except _BROKEN as error:
        raise InputError(f"{path} is no tar archive or a damaged one: {error}") from None
