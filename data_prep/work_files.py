"""Where a run keeps its unfinished work, so that the same command continues after an interruption."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import filelock

from albert_tf.errors import InputError
from albert_tf.files import appear_when_complete, files_that_begin_with, has_scheme

_KEY = "made_for.json"


class WorkFiles:
    """The names of temporary files.

    Tokenized text and dealt pairs lie in `temp_dir` (default: beside the first shard), the parts of a shard
    beside the shard, so that they can become it.

    Attributes:
      tokens: the folder of tokenized text.
      dealt: the folder of dealt pairs.

    Args:
      shards: names of the files that are made.
      temp_dir: folder for temporary files.
    """

    def __init__(self, shards: Sequence[str], temp_dir: str | None = None):
        first = shards[0]
        remote = has_scheme(first)
        mark = hashlib.sha256((first if remote else os.path.realpath(first)).encode()).hexdigest()[:8]
        name = f".{os.path.basename(first)}.{mark}.work"
        home = tempfile.gettempdir() if remote else os.path.dirname(first)
        temporary = os.path.join(temp_dir or home, name)
        self.tokens = os.path.join(temporary, "tokens")
        self.dealt = os.path.join(temporary, "dealt")
        self._shard_folders = [
            temporary if has_scheme(shard) else os.path.join(os.path.dirname(shard), name) for shard in shards
        ]
        self._folders = {temporary: temporary} | dict(zip(self._shard_folders, shards, strict=True))

    def tokenized(self, group: int, corpus: int) -> str:
        """A file of tokenized text."""
        return os.path.join(self.tokens, f"{group:06}-{corpus:04}.npz")

    def tokenized_result(self, group: int) -> str:
        """The file of the result of a group; it exists when the whole group is tokenized."""
        return os.path.join(self.tokens, f"{group:06}.json")

    @property
    def dealt_totals(self) -> str:
        """The file of the result of dealing."""
        return os.path.join(self.dealt, "totals.json")

    @property
    def all_dealt_pairs(self) -> str:
        """The folder of the pairs of all units."""
        return os.path.join(self.dealt, "pairs")

    def dealt_pairs(self, unit: int) -> str:
        """The file of a unit's pairs."""
        return os.path.join(self.all_dealt_pairs, f"{unit:06}")

    def part(self, shard: int, part: int) -> str:
        """A part of a shard."""
        return os.path.join(self._shard_folders[shard], "parts", f"{shard:05}-{part:05}")

    def complete(self, shard: int) -> str:
        """The complete shard, not yet under its own name: its first part with all others added."""
        return self.part(shard, 0)

    def completed_result(self, shard: int) -> str:
        """The file of the result of a complete shard."""
        return f"{self.complete(shard)}.complete.json"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other runs from the files; removes the files at the end if no group of text is finished.

        Raises:
          InputError: another run uses them.
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
            if not files_that_begin_with(os.path.join(self.tokens, ""), "[0-9]*.json"):
                self.remove()
            lock.release()

    def keep_only(self, tokens_key: Mapping[str, Any], key: Mapping[str, Any]) -> None:
        """Empties the folders of tokenized text and of all that follows if they were made for another key."""
        _keep_only(self.tokens, tokens_key)
        _keep_only(self.dealt, key)
        for folder in self._shard_folders:
            _keep_only(os.path.join(folder, "parts"), key)

    def are_for(self, key: Mapping[str, Any]) -> bool:
        """Whether there is unfinished work of a run with the same key."""
        return all(load_result(os.path.join(f, "parts", _KEY)) == key for f in set(self._shard_folders))

    def remove(self) -> None:
        """Removes all temporary files."""
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)


def _keep_only(folder: str, key: Mapping[str, Any]) -> None:
    path = os.path.join(folder, _KEY)
    if load_result(path) != key:
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        save_result(path, key)


def save_result(path: str, result: Mapping[str, Any]) -> None:
    """Writes the result of finished work."""
    with appear_when_complete([path]) as [name], open(name, "r+", encoding="utf-8") as file:
        json.dump(result, file)


def load_result(path: str) -> dict[str, Any] | None:
    """What `save_result` has written; None if there is no such file."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
