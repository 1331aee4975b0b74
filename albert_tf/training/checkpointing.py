"""`Checkpoints`: those of a run, written whole or not at all, and the best one besides."""

import os

import tensorflow as tf

from albert_tf.checkpoints.run_folder import BEST_CHECKPOINT, CHECKPOINT_NAME, FILES_OF_A_RUN, Saved
from albert_tf.errors import InputError
from albert_tf.files import files_that_begin_with


class Checkpoints:
    """Saves and restores a model with its optimizer as `<folder>/model.ckpt-<step>`.

    Args:
      folder: the run's.
      model: in training.
      optimizer: its `iterations` is the step.
      strategy: the devices.
      keep: how many are kept, the best one besides.
      loss_scale: of float16, if it is that. A checkpoint of another precision leaves it as it is.
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
        self._parts = {"model": model, "optimizer": optimizer}
        if loss_scale:
            self._parts["loss_scale"] = loss_scale
        self._manager = tf.train.CheckpointManager(
            tf.train.Checkpoint(**self._parts), folder, keep, checkpoint_name=CHECKPOINT_NAME
        )

    def kept(self) -> list[Saved]:
        """The checkpoints in the order in which they were saved."""
        return [Saved(path, int(path.rpartition("-")[2])) for path in self._manager.checkpoints]

    def newest(self) -> str | None:
        """Prefix of the newest checkpoint."""
        return self._manager.latest_checkpoint

    def save(self, step: int) -> str:
        """Saves what is in training; returns the prefix.

        Raises:
          InputError: it cannot be written; what was saved before is as it was.
        """
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
        """Saves what is in training as `model.ckpt-best`.

        Raises:
          InputError: it cannot be written; the best one before is as it was.
        """
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
        """Restores model and optimizer.

        Raises:
          InputError: the checkpoint is of another model.
        """
        try:
            has_scale = any(name.startswith("loss_scale/") for name, _ in tf.train.list_variables(path))
            parts = {name: part for name, part in self._parts.items() if has_scale or name != "loss_scale"}
            # A checkpoint of its own, because the best one was written without the manager's counter.
            with self._strategy.scope():
                tf.train.Checkpoint(**parts).read(path).assert_existing_objects_matched()
        except (tf.errors.OpError, AssertionError, ValueError, IndexError) as error:
            raise InputError(f"{path} cannot be restored ({str(error).splitlines()[0]})") from error


def remove_unfinished(folder: str) -> None:
    """Removes what is left of checkpoints, their list, and other files that were not written to the end."""
    for name in files_that_begin_with(os.path.join(folder, f"{CHECKPOINT_NAME}-"), "*_temp"):
        tf.io.gfile.rmtree(name)
    for name in files_that_begin_with(os.path.join(folder, "checkpoint.tmp")):
        tf.io.gfile.remove(name)
    for start in FILES_OF_A_RUN:
        for name in files_that_begin_with(os.path.join(folder, f".{start}"), "*.incomplete"):
            tf.io.gfile.remove(name)


def _flush(path: str) -> None:
    """Has the system write a checkpoint to the disk, so that it outlives the machine's power."""
    for name in [*files_that_begin_with(path, ".*"), os.path.dirname(path) or "."]:
        descriptor = os.open(name, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _reason(error: tf.errors.OpError | OSError) -> str:
    message = error.message if isinstance(error, tf.errors.OpError) else str(error)
    return message.splitlines()[0].rpartition("; ")[2]
