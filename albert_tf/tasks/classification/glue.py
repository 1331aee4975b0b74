"""The tasks of GLUE and CLUE, and the files of GLUE as it distributes them."""

import os
import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from albert_tf.data.tables import Table, digest_of, read_tsv
from albert_tf.errors import InputError, InputWarning
from albert_tf.tasks.classification import clue
from albert_tf.tasks.classification.text_examples import Examples, GlueTask, join_parts

_YES_OR_NO = ("0", "1")
_TWO_WAY = ("entailment", "not_entailment")
_THREE_WAY = ("contradiction", "entailment", "neutral")
_SENTENCES = ("sentence1", "sentence2")
_ACCURACY_AND_F1 = ("eval_accuracy", "eval_f1")


def _task(
    folder: str,
    label_names: tuple[str, ...],
    text_columns: tuple[str, ...],
    metrics: tuple[str, ...] = ("eval_accuracy",),
    **others: Any,
) -> GlueTask:
    """A task with the name of its folder, if `others` has no other name."""
    named = {"name": folder.lower(), "submission_files": {"": f"{folder}.tsv"}, "folders": (folder,)}
    fields = {"label_names": label_names, "metrics": metrics, "text_columns": text_columns}
    return GlueTask(**fields | named | others)


def _mnli(name: str, submission_files: Mapping[str, str]) -> GlueTask:
    """MNLI with some of its dev and test files."""
    splits = {split: {part: f"{split}_{part}.tsv" for part in submission_files} for split in ("dev", "test")}
    return _task(
        "MNLI",
        _THREE_WAY,
        _SENTENCES,
        name=name,
        label_column="gold_label",
        submission_files=submission_files,
        splits={"train": {"": "train.tsv"}, **splits},
    )


_ALL = (
    _task(
        "CoLA",
        _YES_OR_NO,
        ("sentence",),
        metrics=("matthew_corr", "eval_accuracy"),
        train_header=("source", "label", "mark", "sentence"),
    ),
    _task("SST-2", _YES_OR_NO, ("sentence",)),
    _task("MRPC", _YES_OR_NO, ("#1 String", "#2 String"), _ACCURACY_AND_F1, label_column="Quality"),
    _task("STS-B", (), _SENTENCES, ("pearson", "spearman", "MSE"), label_column="score"),
    _task(
        "QQP",
        _YES_OR_NO,
        ("question1", "question2"),
        _ACCURACY_AND_F1,
        label_column="is_duplicate",
        id_column="id",
        has_gaps=True,
    ),
    _mnli("mnli", {"matched": "MNLI-m.tsv", "mismatched": "MNLI-mm.tsv"}),
    _mnli("mismnli", {"mismatched": "MNLI-mm.tsv"}),
    _task("QNLI", _TWO_WAY, ("question", "sentence")),
    _task("RTE", _TWO_WAY, _SENTENCES),
    _task("WNLI", _YES_OR_NO, _SENTENCES),
    _task(
        "AX", _THREE_WAY, _SENTENCES, folders=("diagnostic", "AX"), splits={"test": {"": "diagnostic.tsv"}}
    ),
)

TASKS: Mapping[str, GlueTask] = MappingProxyType({task.name: task for task in (*_ALL, *clue.ALL)})


def find_task(name: str) -> GlueTask:
    """The task of that name, in upper or lower case; InputError if there is none."""
    try:
        return TASKS[name.lower()]
    except KeyError:
        raise InputError(f"no task {name!r}; there are {', '.join(TASKS)} and custom") from None


def read_split(task: GlueTask, data_dir: str, split: str) -> Examples:
    """Reads the files of a split, "train", "dev" or "test", from the task's folder inside `data_dir`.

    If one of several files is missing, an `InputWarning` says that it is left out.

    Raises:
      InputError: the split has no file, or a file is not as the benchmark has it; names file and line.
    """
    paths = find_files(task, data_dir, split)
    folder = os.path.dirname(next(iter(paths.values())))
    files = task.parts_of(split).items()
    if missing := [os.path.join(folder, file) for part, file in files if part not in paths]:
        text = f"{' and '.join(missing)}: no such file; {split} is the part {' and '.join(paths)} alone"
        warnings.warn(text, InputWarning, stacklevel=2)
    parts = {part: _read_file(task, path, split) for part, path in paths.items()}
    return join_parts(parts, digest_of(task, split, {name: part.digest for name, part in parts.items()}))


def find_files(task: GlueTask, data_dir: str, split: str) -> dict[str, str]:
    """Part -> path of each file of a split that exists; InputError if none does, or the first one is missing.

    Only "test" may lack its first file.
    """
    folders = [os.path.join(data_dir, folder) for folder in task.folders]
    folder = next(filter(os.path.isdir, folders), folders[0])
    paths = {part: os.path.join(folder, file) for part, file in task.parts_of(split).items()}
    found = {part: path for part, path in paths.items() if os.path.exists(path)}
    missing = [path for path in paths.values() if path not in found.values()]
    if not found:
        advice = ""
        files = [file for parts in task.splits.values() for file in parts.values()]
        if any(os.path.exists(os.path.join(data_dir, file)) for file in files):
            parent = os.path.dirname(os.path.abspath(data_dir))
            advice = f"; {data_dir} seems to be the task's own folder: give its parent, {parent}"
        raise InputError(f"{' and '.join(missing)}: no such file{advice}")
    first = next(iter(paths))
    if split != "test" and first not in found:
        raise InputError(f"{paths[first]}: no such file; the part {' and '.join(found)} alone is not enough")
    return found


def _read_file(task: GlueTask, path: str, split: str) -> Examples:
    if isinstance(task, clue.ClueTask):
        return clue.read_file(task, path, split)
    is_test = split == "test"
    table = read_tsv(
        path,
        (*task.text_columns, task.id_column if is_test else task.label_column),
        header=None if is_test else task.train_header,
        pad_short_rows=task.has_gaps,
    )
    if task.has_gaps:
        table = _without_gaps(table, leave_out=not is_test)
    may_be_empty = task.has_gaps and is_test  # the server wants an answer for every row
    return Examples(
        names=table.texts(task.id_column) if is_test else [str(row) for row in range(len(table))],
        texts=tuple(table.columns[c] if may_be_empty else table.texts(c) for c in task.text_columns),
        labels=None if is_test else table.labels(task.label_column, task.label_names),
        parts={"": slice(0, len(table))},
        digest=table.digest,
    )


def _without_gaps(table: Table, leave_out: bool) -> Table:
    """Warns of rows with a blank value, and leaves them out if asked."""
    rows = zip(*table.columns.values(), strict=True)
    complete = [number for number, values in enumerate(rows) if all(map(str.strip, values))]
    if not complete:
        raise InputError(f"{table.path} holds no row without an empty column")
    if len(complete) < len(table):
        what = "are left out" if leave_out else "are read as they are"
        text = f"{table.path}: {len(table) - len(complete)} of {len(table)} rows are incomplete and {what}"
        warnings.warn(text, InputWarning, stacklevel=2)
    return table.select(complete) if leave_out else table
