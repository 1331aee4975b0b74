"""What a run reads, whether it may write, and the manifest beside the output.

The manifest `F.manifest.json` belongs to the output file F, or to F-00000-of-00016 and so on. It has: format,
key (what decides the bytes), versions, inputs (path, bytes, sha256), settings (the flags), shards (name,
records, bytes, sha256), summary and histograms. A later run compares the records with it.
"""

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import Annotated, Any, TypedDict

import msgspec

from albert_tf.cli.flags import flags_of
from albert_tf.cli.text import progress_bar
from albert_tf.data import records
from albert_tf.data.tfrecord import read_records
from albert_tf.errors import InputError
from albert_tf.files import (
    check_output_names,
    file_digest,
    file_exists,
    file_size,
    move_file,
    read_json,
    write_json,
)
from data_prep.data_sets import matching_text_files
from data_prep.options import Options
from data_prep.text_groups import Outcome

FORMAT = "albert_tf pretraining data 1"

_SILENT_SECONDS = 3  # before a progress line is shown
_DECIDES_TOKENS = ("do_lower_case", "keep_accents", "text_field", "sentence_language")
_DECIDES_NOTHING = (
    *("input_file", "input_file_mode", "output_file", "num_shards", "spm_model_file", "vocab_file"),
    *("verbosity", "on_error", "num_workers", "temp_dir", "overwrite", "verify", "inspect"),
    *("runner", "beam_options"),
)


def make_key(input_digests: Sequence[str], options: Options) -> dict[str, Any]:
    """What decides the bytes of the output: digests of input and vocabulary, the number of files, flags."""
    flags = {name: value for name, value in _flags(options).items() if name not in _DECIDES_NOTHING}
    return _digests(input_digests, options) | {"num_shards": len(options.shards)} | flags


def make_tokens_key(input_digests: Sequence[str], options: Options) -> dict[str, Any]:
    """What decides the tokenized text."""
    flags = {name: value for name, value in _flags(options).items() if name in _DECIDES_TOKENS}
    return _digests(input_digests, options) | flags


def _flags(options: Options) -> dict[str, Any]:
    """The flags, without `keep_accents` if it is false: what earlier versions made lacks it."""
    return {name: value for name, value in flags_of(options).items() if name != "keep_accents" or value}


def _digests(input_digests: Sequence[str], options: Options) -> dict[str, str]:
    vocabulary = options.spm_model_file or options.vocab_file
    assert vocabulary  # otherwise `load_tokenizer` raised an error
    return {
        "input_file": hashlib.sha256("".join(input_digests).encode()).hexdigest(),
        "vocabulary": file_digest(vocabulary),
    }


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that influence the output."""
    packages = {name: importlib.metadata.version(name) for name in ("numpy", "sentencepiece", "sentencex")}
    return {"python": platform.python_version(), **packages}


def differences(key: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """The flags in which two keys differ, with the values that are not digests."""
    found = []
    for name in key.keys() | other.keys():
        ours, theirs = key.get(name), other.get(name)
        if ours != theirs:
            digest = name in ("input_file", "vocabulary")
            found.append(f"another {name}" if digest else f"--{name}={theirs}, not {ours}")
    return ", ".join(sorted(found))


_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Shard(TypedDict):
    name: str
    records: _Count
    bytes: _Count
    sha256: str


class _Document(TypedDict):
    pieces: _Count
    at: str


class _Key(TypedDict):
    num_shards: int


class _Manifest(TypedDict):
    format: str
    key: _Key
    shards: list[_Shard]
    summary: dict[str, float | None]
    histograms: dict[str, dict[str, _Count]]
    longest_documents: list[_Document]
    shortest_documents: list[_Document]
    skipped: list[str]


def publish(
    outcome: Outcome, description: Mapping[str, Any], manifest: Mapping[str, Any], options: Options
) -> dict[str, Any]:
    """Gives complete files their names, descriptions and manifest, in this order; returns the manifest.

    A file that does not exist any more got its name in an interrupted run. `description` is what all files
    have in common, see `records.read_metadata`; `manifest` lacks format and shards.
    """
    path = records.manifest_path(options.output_file[0])
    folder = os.path.dirname(path) or "."
    named = []
    for name, shard, figures in zip(outcome.complete, options.shards, outcome.shards, strict=True):
        if file_exists(name):
            move_file(name, shard)
        write_json(records.metadata_path(shard), {"format": records.FORMAT, **figures, **description})
        named.append({"name": os.path.relpath(shard, folder), **figures})
    whole = {"format": FORMAT, **manifest, "shards": named}
    write_json(path, whole)
    return whole


def _readable_manifest(output_file: str) -> Any:
    """The manifest of the output; None if there is none that this version can read."""
    with contextlib.suppress(InputError):
        return read_manifest(output_file)
    return None


def read_manifest(output_file: str) -> Any:
    """The manifest of the output; InputError if there is none that this version can read."""
    path = records.manifest_path(output_file)
    if not file_exists(path):
        raise InputError(f"{path} does not exist: there is no manifest to verify the output by")
    manifest = read_json(path, _Manifest)
    if manifest["format"] != FORMAT:
        raise InputError(f"{path}: the format is {manifest['format']!r}, not {FORMAT!r}")
    names = [shard["name"] for shard in manifest["shards"]]
    wanted = manifest["key"]["num_shards"]
    if not names or len(set(names)) != wanted:
        raise InputError(f"{path}: shards: {len(set(names))} files, not the {wanted} of the key")
    return manifest


def shard_paths(output_file: str, manifest: Mapping[str, Any]) -> list[str]:
    """The record files that a manifest describes."""
    folder = os.path.dirname(output_file)
    return [os.path.join(folder, shard["name"]) for shard in manifest["shards"]]


def verify(output_file: str) -> dict[str, Any]:
    """Compares all files of the output with the manifest, and returns it; InputError names a wrong file."""
    manifest = read_manifest(output_file)
    problems = []
    size = sum(shard["bytes"] for shard in manifest["shards"])
    with progress_bar(total=size, desc="verifying", unit="B", unit_scale=True) as bar:
        for path, shard in zip(shard_paths(output_file, manifest), manifest["shards"], strict=True):
            if not file_exists(path):
                problems.append(f"{path} is not there")
            elif file_size(path) != shard["bytes"]:
                problems.append(f"{path} has {file_size(path)} bytes, not {shard['bytes']}")
            elif file_digest(path, bar.update) != shard["sha256"]:
                problems.append(f"{path} holds other bytes than were written (sha256)")
            elif (count := sum(1 for _ in read_records(path))) != shard["records"]:
                problems.append(f"{path} has {count:,} records, not {shard['records']:,}")
    if problems:
        more = f"; {len(problems) - 1} more files are wrong" if len(problems) > 1 else ""
        raise InputError(problems[0] + more)
    return manifest


def input_files(options: Options) -> list[str]:
    """The files that --input_file names, without the output of an earlier run that a glob finds.

    Raises InputError if a file is missing, or if an output would replace an input or cannot have its name.
    """
    options.require_input()
    check_output_names(options.shards)
    output = options.output_file[0]
    outputs = [*options.shards, *map(records.metadata_path, options.shards), records.manifest_path(output)]
    written = set(map(os.path.realpath, outputs))
    finished = _readable_manifest(output) is not None
    found = []
    for path in matching_text_files(options.input_file):
        if os.path.realpath(path) not in written:
            found.append(path)
        elif not finished or path in options.input_file:
            raise InputError(f"{path} is among the input files and would be overwritten")
    if not found:
        raise InputError(f"{', '.join(options.input_file)}: nothing there but the output of an earlier run")
    return found


def describe_inputs(paths: Sequence[str], threads: int) -> list[dict[str, Any]]:
    """Path, bytes and sha256 of each file."""
    sizes = list(map(file_size, paths))
    bar = progress_bar(total=sum(sizes), desc="checksums", unit="B", unit_scale=True, delay=_SILENT_SECONDS)
    is_interrupted = threading.Event()

    def advance(size: int) -> None:
        if is_interrupted.is_set():
            raise CancelledError
        bar.update(size)

    with bar, ThreadPoolExecutor(threads) as pool:
        try:
            digests = list(pool.map(lambda path: file_digest(path, advance), paths))
        except BaseException:
            is_interrupted.set()  # or the end of the block would wait for all files
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    columns = zip(paths, sizes, digests, strict=True)
    return [{"path": path, "bytes": size, "sha256": digest} for path, size, digest in columns]


def finished_manifest(key: Mapping[str, Any], continues: bool, options: Options) -> dict[str, Any] | None:
    """The manifest of the output if the command with this key made it; None if the run may write the output.

    A run may continue unfinished work of the same command. Other output is an InputError without --overwrite.
    """
    if options.overwrite:
        return None
    output = options.output_file[0]
    manifest = _readable_manifest(output)
    if manifest and manifest["key"] == key:
        pairs = zip(shard_paths(output, manifest), manifest["shards"], strict=True)
        if all(file_exists(path) and file_size(path) == shard["bytes"] for path, shard in pairs):
            return manifest
    there = next(filter(file_exists, options.shards), None)
    if there is None or continues:
        return None
    if manifest and manifest["key"] != key:
        how = f"was made with {differences(key, manifest['key'])}"
    else:
        how = "is not the complete output of this command"
    raise InputError(f"{there} is there already and {how}; --overwrite replaces it")
