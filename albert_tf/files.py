"""Input files by glob, and output files and folders that appear only when they are complete."""

import contextlib
import filecmp
import glob
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence

from albert_tf.errors import InputError


def matching_files(patterns: Sequence[str]) -> list[str]:
    """The files that a list of names and globs stands for, in order, each once.

    Raises:
      InputError: a name does not exist or is a folder, or a glob matches nothing.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        # A name that exists is meant literally, brackets and all.
        names = [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern))
        if not names:
            raise InputError(f"{pattern}: no such file, and no file name matches it")
        for name in names:
            if os.path.isdir(name):
                raise InputError(f"{name} is a folder; a file is needed (for all files in it: {name}/*)")
        found.update(dict.fromkeys(names))
    if not found:
        raise InputError("no input files were named")
    return list(found)


def file_digest(path: str) -> str:
    """sha256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def appear_when_complete(paths: Sequence[str]) -> Iterator[list[str]]:
    """Yields a temporary name beside each path; they become the paths when the block ends without error.

    Missing folders are created. When the block fails the temporary files vanish and whatever the paths held
    before stays.

    Raises:
      InputError: a path is a folder, comes twice or cannot be written.
    """
    for path in paths:
        if os.path.isdir(path):
            raise InputError(f"{path} is a folder; the output is a file")
    if len({os.path.realpath(path) for path in paths}) < len(paths):
        raise InputError(f"an output file is named twice: {', '.join(paths)}")
    temporary = []
    try:
        for path in paths:
            folder, name = os.path.split(path)
            temporary.append(os.path.join(folder, f".{name}.{os.getpid()}.incomplete"))
            try:
                os.makedirs(folder or ".", exist_ok=True)
                with open(temporary[-1], "wb"):
                    pass  # says at once whether the folder can be written
            except OSError as error:
                raise InputError(f"{path} cannot be written: {error.strerror}") from None
        yield temporary
        for name, path in zip(temporary, paths, strict=True):
            os.replace(name, path)
    finally:
        for name in temporary:
            with contextlib.suppress(OSError):
                os.remove(name)


def write_folder(folder: str, write: Callable[[str], None], overwrite: bool) -> list[str]:
    """Lets `write` fill a temporary folder beside or in `folder`, then moves its files there.

    Returns:
      The paths of the files.

    Raises:
      InputError: the folder cannot be written, or a file is there with other content.
    """
    exists = os.path.isdir(folder)
    parent = folder if exists else os.path.dirname(os.path.abspath(folder))
    try:
        os.makedirs(parent, exist_ok=True)
        temporary = tempfile.mkdtemp(prefix=".incomplete_", dir=parent)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}") from None
    try:
        write(temporary)
        mask = _umask()
        for name in os.listdir(temporary):  # temporary files and folders are for their owner alone
            os.chmod(os.path.join(temporary, name), 0o666 & ~mask)
        # The index of a checkpoint last: without it there is no checkpoint.
        names = sorted(os.listdir(temporary), key=lambda name: (name.endswith(".index"), name))
        if not exists:
            os.chmod(temporary, 0o777 & ~mask)
            os.rename(temporary, folder)
            return [os.path.join(folder, name) for name in names]
        for name in names:
            target = os.path.join(folder, name)
            same = os.path.exists(target) and filecmp.cmp(
                target, os.path.join(temporary, name), shallow=False
            )
            if os.path.exists(target) and not (same or overwrite):
                raise InputError(f"{target} exists with other content; --overwrite replaces it")
        for name in names:
            os.replace(os.path.join(temporary, name), os.path.join(folder, name))
        return [os.path.join(folder, name) for name in names]
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
