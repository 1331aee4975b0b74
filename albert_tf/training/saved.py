"""Finding the checkpoints of a run's folder."""

import os
from typing import NamedTuple

import tensorflow as tf

from albert_tf.checkpoints.opening import BEST_CHECKPOINT
from albert_tf.errors import InputError

CHECKPOINT_NAME = "model.ckpt"
_STEP = "optimizer/_iterations/.ATTRIBUTES/VARIABLE_VALUE"


class Saved(NamedTuple):
    """A checkpoint: the prefix of its files, and its step."""

    path: str
    step: int


def newest_checkpoint(folder: str) -> str | None:
    """The prefix of the checkpoint that a run in this folder continues from, None if there is none.

    Raises:
      InputError: there are checkpoints, but the file that lists them is damaged or missing.
    """
    state = os.path.join(folder, "checkpoint")
    try:
        newest = tf.train.latest_checkpoint(folder)
    except (UnicodeDecodeError, ValueError):
        raise InputError(f"{state} is no list of checkpoints") from None
    if newest is None and tf.io.gfile.glob(os.path.join(folder, f"{CHECKPOINT_NAME}-[0-9]*.index")):
        raise InputError(f"{folder} holds checkpoints, but its state file 'checkpoint' is missing or damaged")
    return newest


def best_checkpoint(folder: str) -> Saved | None:
    """The best checkpoint that a run of this package left in the folder, None if there is none."""
    path = os.path.join(folder, BEST_CHECKPOINT)
    if not tf.io.gfile.exists(f"{path}.index"):
        return None
    try:
        reader = tf.train.load_checkpoint(path)
        return Saved(path, int(reader.get_tensor(_STEP))) if reader.has_tensor(_STEP) else None
    except (tf.errors.OpError, ValueError, IndexError) as error:
        raise InputError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
