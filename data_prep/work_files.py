"""The files of unfinished work, by which the same command continues after an interruption."""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import filelock

from albert_tf.errors import InputError
from albert_tf.files import files_that_begin_with, has_scheme, read_json, write_json

_KEY = "made_for"


class WorkFiles:
    """The names of the files of unfinished work.

    Tokenized text and dealt pairs lie in `temp_dir` (default: beside the first shard). The parts of a shard
    lie beside the shard, because they become it.
    """

    def __init__(self, shards: Sequence[str], temp_dir: str | None = None):
        first = shards[0]
        remote = has_scheme(first)
        mark = hashlib.sha256((first if remote else os.path.realpath(first)).encode()).hexdigest()[:8]
        name = f".{os.path.basename(first)}.{mark}.work"
        home = tempfile.gettempdir() if remote else os.path.dirname(first)
        temporary = os.path.join(temp_dir or home, name)
        self._tokens = os.path.join(temporary, "tokens")
        self._dealt = os.path.join(temporary, "dealt")
        self.dealt_totals = os.path.join(self._dealt, "totals")  # the name by which they are saved
        self.all_dealt_pairs = os.path.join(self._dealt, "pairs")  # a folder
        self._shard_folders = [
            temporary if has_scheme(shard) else os.path.join(os.path.dirname(shard), name) for shard in shards
        ]
        self._folders = {temporary: temporary} | dict(zip(self._shard_folders, shards, strict=True))

    def tokenized_group(self, group: int) -> str:
        """The beginning of the names of all files of a group of text."""
        return os.path.join(self._tokens, f"{group:06}")

    def tokenized(self, group: int, corpus: int) -> str:
        """The file of a corpus of a group."""
        return f"{self.tokenized_group(group)}-{corpus:04}.npz"

    def dealt_pairs(self, unit: int) -> str:
        """The file of a unit's pairs."""
        return os.path.join(self.all_dealt_pairs, f"{unit:06}")

    def part(self, shard: int, part: int) -> str:
        """A part of a shard; all parts are added to the first part, which becomes the shard."""
        return os.path.join(self._shard_folders[shard], "parts", f"{shard:05}-{part:05}")

    def completed(self, shard: int) -> str:
        """The name by which the result of a complete shard is saved."""
        return f"{self.part(shard, 0)}.complete"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other runs from the files, or raises InputError if another run uses them.

        At the end, removes the files if no group of text is finished.
        """
        for folder, wanted in self._folders.items():
            try:
                os.makedirs(folder, exist_ok=True)
            except OSError as error:
                raise InputError(f"{wanted} cannot be written: {error.strerror}") from None
        lock = filelock.FileLock(os.path.join(self._shard_folders[0], "lock"))
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            raise InputError(f"another run is at work in {self._shard_folders[0]}") from None
        try:
            yield
        finally:
            if not files_that_begin_with(os.path.join(self._tokens, ""), "[0-9]*.json"):
                self.remove()
            lock.release()

    def keep_only(self, tokens_key: Mapping[str, Any], key: Mapping[str, Any]) -> None:
        """Removes tokenized text, and all that follows, if it was made for another key."""
        parts = [os.path.join(folder, "parts") for folder in self._shard_folders]
        for folder in (self._tokens, self._dealt, *parts):
            wanted = tokens_key if folder == self._tokens else key
            made_for = os.path.join(folder, _KEY)
            if load_result(made_for) != wanted:
                shutil.rmtree(folder, ignore_errors=True)
                os.makedirs(folder)
                save_result(made_for, wanted)

    def are_for(self, key: Mapping[str, Any]) -> bool:
        """Whether there is unfinished work of a run with the same key."""
        return all(load_result(os.path.join(f, "parts", _KEY)) == key for f in set(self._shard_folders))

    def remove(self) -> None:
        """Removes all files."""
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)


def save_result(path: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """Writes the result of finished work into the file `path`.json; returns the result."""
    write_json(f"{path}.json", result)
    return dict(result)


def load_result(path: str) -> dict[str, Any] | None:
    """What `save_result` has written; None if there is no such file."""
    path = f"{path}.json"
    return read_json(path, dict[str, Any]) if os.path.exists(path) else None
