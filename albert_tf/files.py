"""Input files by name and glob, JSON of known types, and output that appears only when it is complete.

A path with a scheme (gs://bucket/name) is read through TensorFlow, which is imported only then.
"""

import concurrent.futures
import contextlib
import errno
import fnmatch
import glob
import hashlib
import json
import math
import os
import re
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, TypeVar

import msgspec

from albert_tf.errors import InputError, escaped

_T = TypeVar("_T")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def within(seconds: float, ask: Callable[[], _T]) -> _T:
    """What `ask` gives; `TimeoutError` if it takes longer, however often something arrives meanwhile.

    `ask` runs in a thread. If the time is over, nobody waits for the thread, nor does the end of the process.
    """
    answer: concurrent.futures.Future[_T] = concurrent.futures.Future()

    def work() -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return answer.result(seconds)


def has_scheme(path: str) -> bool:
    """Whether a path names its file system, as gs://bucket/name does."""
    return bool(_SCHEME.match(path))


def _tensorflow_for(path: str) -> Any:
    """The module of TensorFlow if the path has a scheme, else None."""
    if not has_scheme(path):
        return None
    import tensorflow as tf

    return tf


def problem_for_tensorflow(path: str, *, to_write: bool = True) -> str | None:
    r"""The path, and why TensorFlow cannot keep checkpoints and SavedModels there; None if it can.

    TensorFlow takes the path of a checkpoint for a pattern. If the path has a `[` or a `\`, TensorFlow does
    not find the checkpoint again. If it has a `*` or a `?`, TensorFlow also removes old checkpoints of other
    folders; for reading (`to_write=False`) these two do no harm.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        return f"{escaped(path)}: the name is not UTF-8, as TensorFlow needs it"
    for character in "[\\*?" if to_write else "[\\":
        if character in path:
            problem = f"TensorFlow takes the character {character} for a pattern"
            return f"{path}: {problem}; choose a name without it"
    return None


def open_file(path: str) -> IO[bytes]:
    """Opens a file to read its bytes; `InputError` if it is a pipe or a device, which may let it wait.

    Also if the path, which another file may have told, has a character that no path can have.
    """
    tf = _tensorflow_for(path)
    if not tf:
        _require_regular(path)
    try:
        return tf.io.gfile.GFile(path, "rb") if tf else open(path, "rb")
    except ValueError:
        raise InputError(f"{escaped(path):.200} is no name that a file can have") from None


def _require_regular(path: str) -> None:
    """Raises `InputError` if there is something other than a file or a folder."""
    if os.path.isfile(path) or os.path.isdir(path) or not os.path.exists(path):
        return  # what is not there is for the caller to name
    needed = "files are read more than once; write what comes from it into a file first"
    raise InputError(f"{path} is not a regular file but a pipe, a device or a socket: {needed}")


def file_stem(path: str) -> str:
    """The name of a file without its folder and ending."""
    return os.path.splitext(os.path.basename(path))[0]


def file_exists(path: str) -> bool:
    """Whether there is a file or folder of that name."""
    tf = _tensorflow_for(path)
    return tf.io.gfile.exists(path) if tf else os.path.exists(path)


def file_size(path: str) -> int:
    """The size of a file in bytes."""
    tf = _tensorflow_for(path)
    return tf.io.gfile.stat(path).length if tf else os.path.getsize(path)


def matching_files(patterns: Sequence[str]) -> list[str]:
    """The files for a list of names and globs, in order, each once; `InputError` if one stands for none."""
    found: dict[str, None] = {}
    for pattern in patterns:
        # A name that exists is meant literally, even if it has brackets.
        tf = _tensorflow_for(pattern)
        find = tf.io.gfile.glob if tf else glob.glob
        names = [pattern] if os.path.exists(pattern) else sorted(find(pattern))
        if not names:
            raise InputError(f"{pattern}: no such file, and no file name matches it")
        for name in names:
            if os.path.isdir(name):
                raise InputError(f"{name} is a folder; a file is needed (for all files in it: {name}/*)")
            if not tf:
                _require_regular(name)
        found.update(dict.fromkeys(names))
    if not found:
        raise InputError("no input files were named")
    return list(found)


def files_that_begin_with(prefix: str, rest: str = "*") -> list[str]:
    """The sorted paths that begin with `prefix`, taken literally, and go on as the glob `rest` says."""
    folder, start = os.path.split(prefix)
    return sorted(
        os.path.join(folder, name)
        for name in _names_in(folder or ".")
        if name.startswith(start) and fnmatch.fnmatchcase(name[len(start) :], rest)
    )


def _names_in(folder: str) -> list[str]:
    """The names of what a folder holds; empty if there is no such folder."""
    if tf := _tensorflow_for(folder):
        with contextlib.suppress(tf.errors.NotFoundError):
            return [name.rstrip("/") for name in tf.io.gfile.listdir(folder)]
    else:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return os.listdir(folder)
    return []


def move_file(name: str, path: str) -> None:
    """Moves a file to `path`, replacing what is there; if `name` has a scheme, both have the same.

    The disk has the file before it gets its name.
    """
    tf = _tensorflow_for(path)
    if not tf:
        _move_flushed([name], [path])
        return
    tf.io.gfile.makedirs(os.path.dirname(path))
    if has_scheme(name):
        tf.io.gfile.rename(name, path, overwrite=True)
    else:
        tf.io.gfile.copy(name, path, overwrite=True)
        os.remove(name)


def remove_folder(path: str) -> None:
    """Removes a folder and everything in it, if it exists."""
    if tf := _tensorflow_for(path):
        with contextlib.suppress(tf.errors.NotFoundError):
            tf.io.gfile.rmtree(path)
    else:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def write_bytes(path: str) -> Iterator[IO[bytes]]:
    """Opens a file to write bytes. Its folder is created; the file appears when the block ends well."""
    if tf := _tensorflow_for(path):
        tf.io.gfile.makedirs(os.path.dirname(path))
        name = f"{path}.{uuid.uuid4().hex}.incomplete"
        with tf.io.gfile.GFile(name, "wb") as file:
            yield file
        tf.io.gfile.rename(name, path, overwrite=True)
    else:
        with appear_when_complete([path]) as [name], open(name, "wb") as file:
            yield file


def write_text(path: str, text: str) -> None:
    """Writes a small file that appears when it is complete."""
    with write_bytes(path) as file:
        file.write(text.encode())


def read_json(path: str, kind: type[_T]) -> _T:
    """Reads a JSON file; `InputError` if that fails, or if a field is missing or has another type.

    `kind` is a `TypedDict`, or a container such as `dict[str, int]`. Keys that a `TypedDict` does not name
    are kept.
    """
    try:
        with open_file(path) as file:
            data = file.read()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; a file is needed") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    return parse_json(data, path, kind)


def parse_json(data: bytes, place: str, kind: type[_T]) -> _T:
    """Does what `read_json` does, for bytes from a `place` such as "file.jsonl, line 3"."""
    try:
        content = json.loads(data.decode("utf-8-sig"))
        msgspec.convert(content, kind)
    except UnicodeDecodeError:
        raise InputError(f"{place} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{place} is not JSON: {error}") from None
    except msgspec.ValidationError as error:
        problem, _, where = str(error).partition(" - at `$")
        field = where.rstrip("`").lstrip(".")
        raise InputError(f"{place}: {field + ': ' if field else ''}{problem.lower()}") from None
    except (RecursionError, ValueError):  # nested too deeply, or a number of thousands of digits
        raise InputError(f"{place} is not JSON that can be read: too deep, or a number too long") from None
    return content


def write_json(path: str, content: Any, *, sort_keys: bool = False) -> None:
    """Writes a small JSON file that appears when it is complete."""
    write_text(path, json.dumps(content, indent=2, sort_keys=sort_keys) + "\n")


def file_digest(
    path: str,
    on_progress: Callable[[int], None] = lambda size: None,
    begin: int = 0,
    size: float = math.inf,
) -> str:
    """The hexadecimal sha256 of a file, or of up to `size` bytes of it from `begin` on.

    `on_progress` gets the number of bytes of each block.
    """
    digest = hashlib.sha256()
    with open_file(path) as file:
        file.seek(begin)
        while data := file.read(int(min(1 << 20, size))):
            digest.update(data)
            on_progress(len(data))
            size -= len(data)
    return digest.hexdigest()


def check_output_names(paths: Sequence[str]) -> None:
    """Raises `InputError` if a path is a folder or comes twice."""
    for path in paths:
        if os.path.isdir(path):
            raise InputError(f"{path} is a folder; the output is a file")
    if len({os.path.realpath(path) for path in paths}) < len(paths):
        raise InputError(f"an output file is named twice: {', '.join(paths)}")


def _hidden_name(path: str, ending: str = "incomplete") -> str:
    """A name beside a path that no other process uses, on this machine or another."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.{uuid.uuid4().hex}.{ending}")


def _flush(path: str) -> None:
    """Has the disk keep the bytes of a file, or the names in a folder; `InputError` if the disk refuses."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if os.path.isdir(path) and error.errno in (errno.EINVAL, errno.ENOTSUP):
            return  # a file system that cannot do it for folders
        raise InputError(f"{path} cannot be written: {error.strerror}") from None


def _move_flushed(names: Sequence[str], paths: Sequence[str]) -> None:
    """Gives files on disk their paths, and has the disk keep these."""
    for name in names:
        _flush(name)
    for name, path in zip(names, paths, strict=True):
        os.replace(name, path)
    for folder in {os.path.dirname(path) or "." for path in paths}:
        _flush(folder)


@contextlib.contextmanager
def appear_when_complete(paths: Sequence[str]) -> Iterator[list[str]]:
    """Yields a temporary name beside each path; the files get their paths when the block ends well.

    The disk has the files before they get their paths. Missing folders are created. If the block fails, the
    paths stay as they were. `InputError` if a path is a folder, comes twice or cannot be written.
    """
    check_output_names(paths)
    temporary = []
    try:
        for path in paths:
            temporary.append(_hidden_name(path))
            try:
                os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
                with open(temporary[-1], "xb"):
                    pass  # fails at once if the folder cannot be written
            except OSError as error:
                raise InputError(f"{path} cannot be written: {error.strerror}") from None
        yield temporary
        _move_flushed(temporary, paths)
    finally:
        for name in temporary:
            with contextlib.suppress(OSError):
                os.remove(name)


@contextlib.contextmanager
def temporary_folder(path: str, inside: bool = False) -> Iterator[str]:
    """Yields an empty folder beside a path, or inside it; the folder is removed when the block ends."""
    temporary = _hidden_name(os.path.abspath(os.path.join(path, "output") if inside else path))
    try:
        os.makedirs(os.path.dirname(temporary), exist_ok=True)
        os.mkdir(temporary)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from None
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def folder_appears_when_complete(path: str, overwrite: bool = False) -> Iterator[str]:
    """Yields a temporary empty folder beside a path; it becomes the path when the block ends well.

    If the block fails, the path stays as it was. `InputError` if the path is a file, cannot be written, is a
    pattern for TensorFlow, or holds something and `overwrite` is false; it may have come meanwhile.
    """
    if problem := problem_for_tensorflow(path):
        raise InputError(problem)
    path = os.path.abspath(path)
    if os.path.isfile(path):
        raise InputError(f"{path} is a file; the output is a folder")
    if not overwrite and os.path.isdir(path) and os.listdir(path):
        raise InputError(f"{path} exists; --overwrite replaces it")
    with temporary_folder(path) as temporary:
        yield temporary
        replaced = []
        while not move_folder(temporary, path):
            if not overwrite or os.path.isfile(path):
                raise InputError(f"{path} exists: another run has written it meanwhile")
            with contextlib.suppress(FileNotFoundError):
                os.rename(path, before := _hidden_name(path, "before"))
                replaced.append(before)
        for before in replaced:
            shutil.rmtree(before, ignore_errors=True)


def move_folder(folder: str, path: str) -> bool:
    """Moves a folder to a path, unless something is there, and says whether it did.

    An empty folder counts as nothing. Of several processes that try at once, one succeeds. The disk has the
    files before they get their path.
    """
    for inner, _, names in os.walk(folder):
        for name in [*names, ""]:
            _flush(os.path.join(inner, name))
    try:
        os.rename(folder, path)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise
        return False
    _flush(os.path.dirname(path) or ".")
    return True
