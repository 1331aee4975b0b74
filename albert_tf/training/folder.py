"""The folder of a run: there, writable, and of one process at a time."""

import contextlib
import fcntl
import os
import warnings
from collections.abc import Iterator

import tensorflow as tf

from albert_tf.errors import InputError, InputWarning
from albert_tf.training.checkpointing import remove_unfinished

LOCK_FILE = ".lock"


@contextlib.contextmanager
def own_folder(folder: str) -> Iterator[None]:
    """Makes a folder and keeps other runs out of it until the block ends.

    The system gives the lock back when a process ends, however it does.

    Raises:
      InputError: the folder cannot be written, or another process is at work in it.
    """
    try:
        tf.io.gfile.makedirs(folder)
        lock = open(os.path.join(folder, LOCK_FILE), "a+", encoding="utf-8")  # noqa: SIM115
    except (tf.errors.OpError, OSError) as error:
        reason = error.message if isinstance(error, tf.errors.OpError) else error.strerror
        raise InputError(f"--output_dir={folder} cannot be written: {reason}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise InputError(f"process {lock.read().strip()} is at work in {folder}") from None
        except OSError as error:  # some network file systems have no locks
            warnings.warn(f"{folder} is not locked against other runs: {error}", InputWarning, stacklevel=3)
        lock.truncate(0)
        lock.write(f"{os.getpid()} on {os.uname().nodename}")
        lock.flush()
        remove_unfinished(folder)
        yield
