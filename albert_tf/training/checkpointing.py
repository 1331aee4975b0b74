"""`Checkpoints`: the checkpoints of a run and the best one, each written whole or not at all."""

import functools
import os

import tensorflow as tf

from albert_tf.checkpoints.run_folder import BEST_CHECKPOINT, CHECKPOINT_NAME, FILES_OF_A_RUN, Saved
from albert_tf.errors import InputError
from albert_tf.files import files_that_begin_with, remove_folder


class Checkpoints:
    """Saves and restores a model with its optimizer as `<folder>/model.ckpt-<step>`.

    It keeps `keep` checkpoints besides the best one. A checkpoint without a `loss_scale` does not change it.
    """

    def __init__(
        self,
        folder: str,
        model: tf.Module,
        optimizer: tf.Module,
        strategy: tf.distribute.Strategy,
        keep: int,
        loss_scale: tf.Module | None = None,
    ):
        self._folder = folder
        self._strategy = strategy
        self._keep = keep
        self._parts = {"model": model, "optimizer": optimizer}
        if loss_scale:
            self._parts["loss_scale"] = loss_scale

    @functools.cached_property
    def _manager(self) -> tf.train.CheckpointManager:  # it reads the list, which may be damaged in a dry run
        parts = tf.train.Checkpoint(**self._parts)
        return tf.train.CheckpointManager(parts, self._folder, self._keep, checkpoint_name=CHECKPOINT_NAME)

    def kept(self) -> list[Saved]:
        """The checkpoints, oldest first."""
        steps = {path: path.rpartition("-")[2] for path in self._manager.checkpoints}
        return [Saved(path, int(step)) for path, step in steps.items() if step.isdecimal()]

    def newest(self) -> str | None:
        """Prefix of the newest checkpoint."""
        return self._manager.latest_checkpoint

    def save(self, step: int) -> str:
        """Saves the state and returns the prefix; on `InputError` the earlier checkpoints are unchanged."""
        path = os.path.join(self._folder, f"{CHECKPOINT_NAME}-{step}")
        before = self.newest()
        try:
            path = self._manager.save(step)
            _flush(path)
        except (tf.errors.OpError, OSError) as error:
            remove_unfinished(self._folder)
            kept = f"the newest checkpoint is {before}" if before else "there is none before it"
            raise InputError(f"{path} could not be saved ({_reason(error)}); {kept}") from error
        return path

    def save_best(self) -> None:
        """Saves the state as `model.ckpt-best`; on `InputError` the earlier best one is unchanged."""
        path = os.path.join(self._folder, BEST_CHECKPOINT)
        new = f"{path}_temp/new"
        try:
            tf.train.Checkpoint(**self._parts).write(new)
            for written in files_that_begin_with(new, ".*"):  # the data, then the index
                os.replace(written, path + written.removeprefix(new))
        except (tf.errors.OpError, OSError) as error:
            raise InputError(f"{path} could not be saved ({_reason(error)})") from error
        finally:
            remove_unfinished(self._folder)

    def restore(self, path: str) -> None:
        """Restores the state; raises `InputError` if the checkpoint belongs to another model."""
        try:
            has_scale = any(name.startswith("loss_scale/") for name, _ in tf.train.list_variables(path))
            parts = {name: part for name, part in self._parts.items() if has_scale or name != "loss_scale"}
            # Not the manager's checkpoint: that has a counter, which the best checkpoint lacks.
            with self._strategy.scope():
                tf.train.Checkpoint(**parts).read(path).assert_existing_objects_matched()
        except (tf.errors.OpError, AssertionError, ValueError, IndexError) as error:
            raise InputError(f"{path} cannot be restored ({str(error).splitlines()[0]})") from error


def remove_unfinished(folder: str) -> None:
    """Removes checkpoints, lists of checkpoints and other files that a killed process left unfinished."""
    for name in files_that_begin_with(os.path.join(folder, f"{CHECKPOINT_NAME}-"), "*_temp"):
        if os.path.islink(name):  # whose target is not ours
            os.remove(name)
        else:
            remove_folder(name)
    unfinished = files_that_begin_with(os.path.join(folder, "checkpoint.tmp"))
    for start in FILES_OF_A_RUN:
        unfinished += files_that_begin_with(os.path.join(folder, f".{start}"), "*.incomplete")
    for name in unfinished:
        tf.io.gfile.remove(name)


def _flush(path: str) -> None:
    """Makes the system write a checkpoint to the disk, so that it survives a power failure."""
    for name in [*files_that_begin_with(path, ".*"), os.path.dirname(path) or "."]:
        descriptor = os.open(name, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _reason(error: tf.errors.OpError | OSError) -> str:
    message = error.message if isinstance(error, tf.errors.OpError) else str(error)
    return message.splitlines()[0].rpartition("; ")[2]
