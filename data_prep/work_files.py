"""The files of unfinished work, by which the same command continues after an interruption.

The result of each finished task is saved with the digests of the files that the task wrote. So these files
need not reach the disk before the command goes on, and what was damaged since is made again.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypedDict

import filelock

from albert_tf.cli.text import progress_bar
from albert_tf.errors import InputError, InputWarning
from albert_tf.files import file_digest, file_exists, files_that_begin_with, has_scheme, parse_json

_KEY = "made_for"
_SILENT_SECONDS = 3  # before a progress line is shown


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
        self._shards = list(shards)
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
        """Removes what was made for another key, and what does not fit its digest, with a warning."""
        parts = [os.path.join(folder, "parts") for folder in self._shard_folders]
        for folder in (self._tokens, self._dealt, *parts):
            wanted = tokens_key if folder == self._tokens else key
            made_for = os.path.join(folder, _KEY)
            found = load_result(made_for)
            if found != wanted:
                if found is None and os.path.exists(f"{made_for}.json"):
                    _warn_of_damage(made_for)
                shutil.rmtree(folder, ignore_errors=True)
                os.makedirs(folder)
                save_result(made_for, wanted)
        with progress_bar(
            desc="checking what is done", unit="B", unit_scale=True, delay=_SILENT_SECONDS
        ) as bar:
            self._remove_damaged(bar.update)

    def _remove_damaged(self, on_progress: Callable[[int], None]) -> None:
        """Removes the results of tasks whose files are damaged, so that the tasks are done again."""
        for folder in (self._tokens, self._dealt, self.all_dealt_pairs):
            for path in _results_in(os.path.join(folder, "")):
                saved = _load(path)
                pairs = saved["files"].items() if saved else ()
                are_whole = (_is_whole(os.path.join(folder, n), file, on_progress) for n, file in pairs)
                if not (saved and all(are_whole)):
                    _warn_of_damage(path)
                    os.remove(f"{path}.json")
        for shard in range(len(self._shards)):
            if not self._shard_is_whole(shard, on_progress):
                _warn_of_damage(self.part(shard, 0))
                for path in [self.completed(shard), *self._results_of_parts(shard)]:
                    with contextlib.suppress(FileNotFoundError):
                        os.remove(f"{path}.json")

    def _results_of_parts(self, shard: int) -> list[str]:
        return _results_in(self.part(shard, 0).removesuffix("00000"), "*[0-9].json")

    def _shard_is_whole(self, shard: int, on_progress: Callable[[int], None]) -> bool:
        """Whether all finished parts are: a part may have been added to the first, the first renamed."""
        first, at = self.part(shard, 0), 0
        if completed := load_result(self.completed(shard)):
            path = first if os.path.exists(first) else self._shards[shard]
            return file_exists(path) and file_digest(path, on_progress) == completed["sha256"]
        if os.path.exists(f"{self.completed(shard)}.json"):
            return False
        for path in self._results_of_parts(shard):
            saved = _load(path)
            if not saved:
                return False
            [file] = saved["files"].values()
            where, begin = (path, 0) if os.path.exists(path) else (first, at)
            if not _is_whole(where, file, on_progress, begin):
                return False
            at += file["bytes"]
        return True

    def are_for(self, key: Mapping[str, Any]) -> bool:
        """Whether there is unfinished work of a run with the same key."""
        return all(load_result(os.path.join(f, "parts", _KEY)) == key for f in set(self._shard_folders))

    def remove(self) -> None:
        """Removes all files."""
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)


class _File(TypedDict):
    bytes: int
    sha256: str


class _Saved(TypedDict):
    """What `save_result` writes: also the files of the task, by name, and a digest of both."""

    result: dict[str, Any]
    files: dict[str, _File]
    sha256: str


def save_result(path: str, result: Mapping[str, Any], files: Sequence[str] = ()) -> dict[str, Any]:
    """Writes the result of finished work into the file `path`.json; returns the result.

    `files` are those that the work wrote; they lie beside the result.
    """
    digests = {
        os.path.basename(name): {"bytes": os.path.getsize(name), "sha256": file_digest(name)}
        for name in files
    }
    saved = {"result": result, "files": digests, "sha256": _digest(result, digests)}
    with open(f"{path}.json.new", "w", encoding="utf-8") as file:
        json.dump(saved, file, indent=2)
    os.replace(f"{path}.json.new", f"{path}.json")
    return dict(result)


def load_result(path: str) -> dict[str, Any] | None:
    """What `save_result` has written; None if there is no such file, or if it is damaged."""
    saved = _load(path)
    return saved["result"] if saved else None


def _load(path: str) -> _Saved | None:
    with contextlib.suppress(OSError, InputError), open(f"{path}.json", "rb") as file:
        saved = parse_json(file.read(), path, _Saved)
        if saved["sha256"] == _digest(saved["result"], saved["files"]):
            return saved
    return None


def _digest(result: Mapping[str, Any], files: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps([result, files], sort_keys=True).encode()).hexdigest()


def _results_in(prefix: str, rest: str = "*.json") -> list[str]:
    """The sorted names by which results were saved that begin with `prefix` and go on as `rest` says."""
    return [name.removesuffix(".json") for name in files_that_begin_with(prefix, rest)]


def _is_whole(path: str, file: _File, on_progress: Callable[[int], None], begin: int = 0) -> bool:
    """Whether a file of a task is at `path`, from the byte `begin` on."""
    found = os.path.exists(path) and file_digest(path, on_progress, begin, file["bytes"])
    return found == file["sha256"]


def _warn_of_damage(path: str) -> None:
    text = f"{path}: unfinished work is damaged, it does not fit its digest; it is done again"
    warnings.warn(text, InputWarning, stacklevel=2)
