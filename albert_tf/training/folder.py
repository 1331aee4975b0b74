"""Locks the folder of a run, where one process at a time writes, and opens its files through no link."""

import contextlib
import errno
import os
import stat
import tempfile
import warnings
from collections.abc import Iterator
from typing import TextIO

import filelock
import tensorflow as tf

from albert_tf.checkpoints.run_folder import LOCK_FILE
from albert_tf.errors import InputError, InputWarning
from albert_tf.training.checkpointing import remove_unfinished


@contextlib.contextmanager
def own_folder(folder: str) -> Iterator[None]:
    """Makes a folder and locks it until the block or this process ends; raises `InputError` if it cannot."""
    try:
        tf.io.gfile.makedirs(folder)
        lock = open(os.path.join(folder, LOCK_FILE), "a+", encoding="utf-8", opener=no_link)  # noqa: SIM115
    except (tf.errors.OpError, OSError) as error:
        raise _cannot_be_written(folder, error) from None
    with lock:
        _take(lock, folder)
        lock.truncate(0)
        lock.write(f"{os.getpid()} on {os.uname().nodename}")
        lock.flush()
        remove_unfinished(folder)
        yield


@contextlib.contextmanager
def folder_of_others(folder: str) -> Iterator[None]:
    """Refuses what `own_folder` refuses, but changes nothing; locks a folder only if a run was in it."""
    there = os.path.abspath(folder)
    while not os.path.exists(there):
        there = os.path.dirname(there)
    with contextlib.ExitStack() as stack:
        try:
            with tempfile.TemporaryFile(dir=there):
                pass
            if os.path.exists(path := os.path.join(folder, LOCK_FILE)):
                lock = stack.enter_context(open(path, encoding="utf-8", opener=no_link))
                _take(lock, folder)
        except OSError as error:
            raise _cannot_be_written(folder, error) from None
        yield


def no_link(path: str, flags: int) -> int:
    """An `opener` for `open`, for a file of a known name that is written; `InputError` if it is no file.

    Through a symbolic link, a folder from elsewhere would have other files overwritten.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise InputError(f"{path} is a link, which is not followed: remove it") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError(f"{path} is no regular file: remove it")
    return descriptor


def _take(lock: TextIO, folder: str) -> None:
    """Locks an open file until it is closed; its text names the process that holds it."""
    try:
        is_ours = filelock.lock_descriptor(lock.fileno(), blocking=False)
    except OSError as error:  # some network file systems have no locks
        warnings.warn(f"{folder} is not locked against other runs: {error}", InputWarning, stacklevel=4)
        return
    if not is_ours:
        lock.seek(0)
        raise InputError(f"process {lock.read(200).strip()} is at work in {folder}")


def _cannot_be_written(folder: str, error: tf.errors.OpError | OSError) -> InputError:
    reason = error.message if isinstance(error, tf.errors.OpError) else error.strerror
    return InputError(f"--output_dir={folder} cannot be written: {reason}")
