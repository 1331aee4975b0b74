"""Finding the checkpoints of a run's folder, those that were torn in writing set aside."""

import os
import warnings
from typing import NamedTuple

import tensorflow as tf

from albert_tf.checkpoints.sources import BEST_CHECKPOINT
from albert_tf.errors import InputError, InputWarning

CHECKPOINT_NAME = "model.ckpt"
_STEP = "optimizer/_iterations/.ATTRIBUTES/VARIABLE_VALUE"
_UNREADABLE = (tf.errors.OpError, ValueError, IndexError)  # what TensorFlow raises for damaged files


class Saved(NamedTuple):
    """A checkpoint: the prefix of its files, and its step."""

    path: str
    step: int


def find_checkpoints(folder: str) -> list[str]:
    """The prefixes of a run's checkpoints, the one that it continues from last, as far as they are there.

    Where the file that lists them is lost or damaged they are taken in the order of their steps.
    """
    return _listed(folder) or _by_step(folder)


def newest_whole_checkpoint(folder: str, repair: bool) -> Saved | None:
    """The checkpoint that a run in this folder continues from, None if there is none.

    Args:
      folder: the run's.
      repair: whether newer ones that cannot be read are renamed, and the list of checkpoints is made anew if
        it is lost or damaged; with a warning.

    Raises:
      InputError: there are checkpoints, but none can be read.
    """
    listed = _listed(folder)
    found = listed or _by_step(folder)
    torn = []
    while found and not _is_whole(found[-1]):
        torn.append(found.pop())
    if torn and not found and (listed or len(torn) > 1):  # else the first one was never finished
        raise InputError(f"{torn[0]} cannot be read, and there is no other checkpoint in {folder}")
    if repair and found and (torn or not listed):
        names = [os.path.basename(path) for path in found]
        times = [os.path.getmtime(f"{path}.index") for path in found]
        tf.compat.v1.train.update_checkpoint_state(
            os.path.abspath(folder), names[-1], names, all_model_checkpoint_timestamps=times
        )
    what_follows = f"the run continues from {found[-1]}" if found else "the run begins anew"
    if repair:
        for path in torn:
            _set_aside(path, what_follows)
        if found and not listed:
            warnings.warn(
                f"{folder} lacks its list of checkpoints: {what_follows}", InputWarning, stacklevel=2
            )
    return Saved(found[-1], _step_of(found[-1])) if found else None


def _listed(folder: str) -> list[str]:
    """What the file `checkpoint` lists up to the one that it names as the newest, as far as it is there."""
    try:
        state = tf.train.get_checkpoint_state(folder)
    except (UnicodeDecodeError, ValueError):
        return []
    if state is None:
        return []
    newest, listed = state.model_checkpoint_path, list(state.all_model_checkpoint_paths)
    listed = [*listed[: listed.index(newest) if newest in listed else None], newest]
    return [prefix for prefix in listed if tf.io.gfile.exists(f"{prefix}.index")]


def _by_step(folder: str) -> list[str]:
    found = tf.io.gfile.glob(os.path.join(folder, f"{CHECKPOINT_NAME}-[0-9]*.index"))
    prefixes = [name.removesuffix(".index") for name in found]
    return sorted(prefixes, key=lambda prefix: int(prefix.rpartition("-")[2]))


def best_checkpoint(folder: str, repair: bool = False) -> Saved | None:
    """The best checkpoint that a run of this package left in the folder, None if there is none.

    Args:
      folder: the run's.
      repair: whether one that cannot be read is renamed, with a warning, and taken for none.

    Raises:
      InputError: it cannot be read.
    """
    path = os.path.join(folder, BEST_CHECKPOINT)
    if not tf.io.gfile.exists(f"{path}.index"):
        return None
    if repair and not _is_whole(path):
        _set_aside(path, "it is written again by the next evaluation that is better than all before")
        return None
    try:
        reader = tf.train.load_checkpoint(path)
        return Saved(path, int(reader.get_tensor(_STEP))) if reader.has_tensor(_STEP) else None
    except _UNREADABLE as error:
        raise InputError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None


def _is_whole(path: str) -> bool:
    """Whether all of a checkpoint can be read; TensorFlow verifies the checksums."""
    try:
        reader = tf.train.load_checkpoint(path)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except _UNREADABLE:
        return False
    return True


def _step_of(path: str) -> int:
    reader = tf.train.load_checkpoint(path)
    return int(reader.get_tensor(_STEP)) if reader.has_tensor(_STEP) else 0


def _set_aside(path: str, what_follows: str) -> None:
    for name in tf.io.gfile.glob([f"{path}.index", f"{path}.data-*"]):
        tf.io.gfile.rename(name, f"{name}.torn", overwrite=True)
    warnings.warn(
        f"{path} is torn and was set aside as {path}.*.torn: {what_follows}", InputWarning, stacklevel=2
    )
