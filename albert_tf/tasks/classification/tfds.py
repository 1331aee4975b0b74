"""The examples of GLUE out of TensorFlow Datasets, in the numbering of the original's files."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from albert_tf.data.tables import digest_of
from albert_tf.errors import InputError
from albert_tf.tasks.classification.text_examples import Examples, GlueTask, join_parts

_TEXT_KEYS = (
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("premise", "hypothesis"),
    ("sentence",),
)
_SPLITS = {"train": "train", "dev": "validation", "test": "test"}
_NO_LABEL = -1
_OWN_CONFIGS = {"mismnli": "mnli"}  # names in TFDS that differ from the name of the task without dashes
_DOWNLOADS = "https://dl.fbaipublicfiles.com/glue/"  # where the data sets of GLUE come from
_SECONDS = 20  # to wait for an answer


def read_tfds(task: GlueTask, tfds_name: str, split: str) -> Examples:
    """Reads the split "train", "dev" or "test" of a data set such as "glue/mrpc", downloading it if needed.

    The data are in the folder of TensorFlow Datasets: `$TFDS_DATA_DIR`, else `~/tensorflow_datasets`.
    Examples come in the order of their "idx", which is the order of GLUE's files.

    Raises:
      InputError: there is no such data set, it cannot be had, or it does not fit the task.
    """
    split_parts = task.parts_of(split)
    builder = _builder(tfds_name)
    text_keys = _text_keys(task, builder)
    class_numbers = _class_numbers(task, builder)
    own = _OWN_CONFIGS.get(task.name, task.name.replace("-", ""))
    if builder.name == "glue" and builder.builder_config.name != own:
        raise InputError(f"--tfds_name={tfds_name} is not the task {task.name}: glue/{own} is")
    _prepare(builder)
    parts = {}
    for part in split_parts:
        columns = _columns(builder, f"{_SPLITS[split]}_{part}" if part else _SPLITS[split])
        texts = tuple([text.decode() for text in columns[key]] for key in text_keys)
        labels, numbers = None, columns["label"]
        if not (numbers == _NO_LABEL).any():
            labels = numbers.astype(np.float32) if class_numbers is None else class_numbers[numbers]
        names = [str(index) for index in columns["idx"]]
        digest = digest_of(names, texts, None if labels is None else labels.tolist())
        where = {"": slice(0, len(names))}
        parts[part] = Examples(names=names, texts=texts, labels=labels, parts=where, digest=digest)
    return join_parts(parts, digest_of({name: part.digest for name, part in parts.items()}))


def _builder(tfds_name: str) -> Any:
    """The `tfds.core.DatasetBuilder` of that name, whose data may not be there yet."""
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(tfds_name)
    except Exception as error:  # what it raises depends on where it looked
        raise InputError(f"no data set {tfds_name} in TensorFlow Datasets ({_first_line(error)})") from None


def _prepare(builder: Any) -> None:
    import requests

    if builder.is_prepared():
        return
    try:
        # By itself the download would try for minutes.
        requests.head(_DOWNLOADS, timeout=_SECONDS)
        builder.download_and_prepare()
    except requests.RequestException:
        reason = f"{_DOWNLOADS} cannot be reached"
    except Exception as error:  # of the disk or the data set's own code
        reason = _first_line(error)
    else:
        return
    raise InputError(
        f"{_name(builder)} is not in the folder {builder.data_dir} and could not be downloaded ({reason}); "
        "GLUE's own files can be given with --data_dir"
    )


def _text_keys(task: GlueTask, builder: Any) -> Sequence[str]:
    found = set(builder.info.features)
    for keys in _TEXT_KEYS:
        if len(keys) == len(task.text_columns) and found >= {*keys, "label", "idx"}:
            return keys
    names = ", ".join(sorted(found))
    raise InputError(f"{_name(builder)} does not fit the task {task.name}: its features are {names}")


def _class_numbers(task: GlueTask, builder: Any) -> np.ndarray | None:
    """int32: the task's class number for each of the data set's; None for scores."""
    names = getattr(builder.info.features["label"], "names", None)
    if names is None and task.is_score:
        return None
    if names is not None and set(names) == set(task.label_names):
        return np.array([task.label_names.index(name) for name in names], np.int32)
    if names is not None and task.label_names == ("0", "1") and len(names) == 2:
        return np.arange(2, dtype=np.int32)
    its, own = (", ".join(labels) if labels else "scores" for labels in (names, task.label_names))
    raise InputError(
        f"{_name(builder)} does not fit the task {task.name}: its labels are {its}, the task's are {own}"
    )


def _columns(builder: Any, split: str) -> dict[str, np.ndarray]:
    """Every feature of a split, each [examples], in the order of "idx"."""
    import tensorflow_datasets as tfds

    if split not in builder.info.splits:
        raise InputError(f"{_name(builder)} has no split {split}, only {', '.join(builder.info.splits)}")
    columns = tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1))
    order = np.argsort(columns["idx"], kind="stable")
    return {name: values[order] for name, values in columns.items()}


def _name(builder: Any) -> str:
    return f"{builder.name}/{builder.builder_config.name}" if builder.builder_config else builder.name


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
