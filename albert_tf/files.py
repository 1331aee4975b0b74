"""Input files by glob, and output files that appear only when they are complete."""

import contextlib
import glob
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence

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


@contextlib.contextmanager
def folder_appears_when_complete(path: str, overwrite: bool = False) -> Iterator[str]:
    """Yields a temporary empty folder beside a path; it becomes the path when the block ends without error.

    When the block fails the temporary folder vanishes and whatever the path held before stays.

    Args:
      path: a folder that does not exist or is empty.
      overwrite: whether it may also hold something, which is then replaced.

    Raises:
      InputError: it holds something, is a file, or cannot be written.
    """
    path = os.path.abspath(path)
    if os.path.isfile(path):
        raise InputError(f"{path} is a file; the output is a folder")
    if not overwrite and os.path.isdir(path) and os.listdir(path):
        raise InputError(f"{path} exists; --overwrite replaces it")
    parent, name = os.path.split(path)
    temporary, before = (os.path.join(parent, f".{name}.{os.getpid()}.{w}") for w in ("incomplete", "before"))
    try:
        os.makedirs(parent, exist_ok=True)
        os.mkdir(temporary)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from None
    try:
        yield temporary
        if os.path.isdir(path):
            os.rename(path, before)
        os.rename(temporary, path)
        shutil.rmtree(before, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
