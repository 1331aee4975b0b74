"""Data sets by name, as the files that Hugging Face `datasets` and TensorFlow Datasets keep of them."""

import contextlib
import io
import os
from collections.abc import Sequence
from typing import Any

from albert_tf.errors import InputError
from albert_tf.files import matching_files
from data_prep.tables import is_table

_FORM = "hf:NAME:SPLIT, hf:NAME:CONFIG:SPLIT or tfds:NAME:SPLIT"


def matching_text_files(names: Sequence[str]) -> list[str]:
    """The files that names, globs and data sets (as hf:NAME:SPLIT, tfds:NAME:SPLIT) stand for, each once.

    What is not there yet is downloaded by the library of the data set, to where it keeps such.

    Raises:
      InputError: there is no such file or data set, or its library is not installed.
    """
    found: dict[str, None] = {}
    for name in names:
        kind, _, source = name.partition(":")
        if kind in _KINDS and not source.startswith("//"):
            found |= dict.fromkeys(_files_of(name, kind, source))
        else:
            found |= dict.fromkeys(matching_files([name]))
    return list(found)


def _files_of(name: str, kind: str, source: str) -> list[str]:
    *words, split = source.split(":")
    if not 1 <= len(words) <= 2 or not all(words) or not split.isidentifier():
        raise InputError(f"--input_file={name}: a data set is named {_FORM}")
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # progress of downloads is on standard error
            files = _KINDS[kind](*words, split=split)
    except ImportError as error:
        raise InputError(f"{name}: {error}; pip install 'albert-tf[datasets]' brings it") from None
    except Exception as error:  # each library, and each script of a data set, has its own
        raise InputError(f"{name} cannot be had: {type(error).__name__}: {error}") from None
    other = next((file for file in files if not is_table(file)), None)
    if other or not files:
        what = f"has files of a kind that is not read ({other})" if other else "has no files"
        raise InputError(f"{name}: the data set {what}")
    return files


def _hugging_face(name: str, config: str | None = None, *, split: str) -> list[str]:
    import datasets

    if os.path.exists(os.path.join(name, "dataset_dict.json")):
        dataset: Any = datasets.load_from_disk(os.path.join(name, split))
    elif os.path.exists(os.path.join(name, "state.json")):
        dataset = datasets.load_from_disk(name)
    else:
        dataset = datasets.load_dataset(name, config, split=split)
    return [file["filename"] for file in dataset.cache_files]


def _tensorflow(name: str, *, split: str) -> list[str]:
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(name) if os.path.isdir(name) else tfds.builder(name)
    builder.download_and_prepare()
    return [os.fspath(path) for path in builder.info.splits[split].filepaths]


_KINDS = {"hf": _hugging_face, "tfds": _tensorflow}
