"""What a run reads, and whether it may write."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from albert_tf import records
from albert_tf.errors import InputError
from albert_tf.files import check_output_names, file_digest, file_exists, file_size
from albert_tf.progress import progress_bar
from data_prep import manifest as manifests
from data_prep.data_sets import matching_text_files
from data_prep.options import Options

_SILENT_SECONDS = 3


def input_files(options: Options) -> list[str]:
    """The files that --input_file names, without the output of an earlier run that a glob finds.

    Raises:
      InputError: a file is missing, an output would replace an input, or outputs cannot have their names.
    """
    options.require_input()
    check_output_names(options.shards)
    output = options.output_file[0]
    outputs = [*options.shards, *map(records.metadata_path, options.shards), records.manifest_path(output)]
    written = set(map(os.path.realpath, outputs))
    finished = manifests.read_manifest(output) is not None
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
    with (
        progress_bar(
            total=sum(sizes), desc="checksums", unit="B", unit_scale=True, delay=_SILENT_SECONDS
        ) as bar,
        ThreadPoolExecutor(threads) as pool,
    ):
        digests = list(pool.map(lambda path: file_digest(path, bar.update), paths))
    columns = zip(paths, sizes, digests, strict=True)
    return [{"path": path, "bytes": size, "sha256": digest} for path, size, digest in columns]


def finished_manifest(key: Mapping[str, Any], continues: bool, options: Options) -> dict[str, Any] | None:
    """The manifest of the output if the same command made it; None if it is to be made.

    Args:
      key: what decides the output.
      continues: whether there is unfinished work for it.
      options: of the run.

    Raises:
      InputError: there is other output, and no --overwrite.
    """
    if options.overwrite:
        return None
    output = options.output_file[0]
    manifest = manifests.read_manifest(output)
    if manifest and manifest["key"] == key and manifests.is_complete(output, manifest):
        return manifest
    there = next(filter(file_exists, options.shards), None)
    if there is None or continues:
        return None
    if manifest and manifest["key"] != key:
        how = f"was made with {manifests.differences(key, manifest['key'])}"
    else:
        how = "is not the complete output of this command"
    raise InputError(f"{there} is there already and {how}; --overwrite replaces it")
