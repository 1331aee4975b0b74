"""A task of the user's own: columns of a CSV or TSV file with a header, or keys of a JSON-lines file."""

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from albert_tf.data.label_lists import MULTI_LABEL, label_lists, label_sets
from albert_tf.data.tables import Table, digest_of, read_table
from albert_tf.errors import InputError, InputWarning
from albert_tf.tasks.classification.text_examples import Examples, TextTask

_MOST_LABELS = 1000
_SEPARATORS = (",", ";", "|")
_NAMES_OF_RESULTS = ("micro", "macro")  # with a label of that name two results would have one name


def custom_task(
    label_names: Sequence[str],
    text_columns: Sequence[str] = ("text",),
    label_column: str = "label",
    label_separator: str | None = None,
) -> TextTask:
    """The task of telling these classes; without names of classes, of predicting a score.

    With a separator, a text may have any number of the labels.
    """
    f1 = "eval_f1" if len(label_names) == 2 else "macro_f1"
    metrics = ("eval_accuracy", f1, "matthew_corr") if label_names else ("pearson", "spearman", "MSE")
    if label_separator is not None:
        metrics = ("micro_f1", "macro_f1", "eval_accuracy")
        for name in label_names:
            if name in _NAMES_OF_RESULTS or label_separator in name:
                raise InputError(
                    f"a label of several cannot be called {name!r} (separator: {label_separator!r})"
                )
    names, columns = tuple(label_names), tuple(text_columns)
    return TextTask(
        name="custom",
        label_names=names,
        metrics=metrics,
        text_columns=columns,
        label_column=label_column,
        label_separator=label_separator,
    )


def choose_task(
    known: Mapping[str, Any],
    *,
    train_file: str | None = None,
    text_columns: tuple[str, ...] | None = None,
    label_column: str | None = None,
    labels: tuple[str, ...] | None = None,
    is_score: bool | None = None,
    multi_label: bool | None = None,
    label_separator: str | None = None,
) -> TextTask:
    """The task that flags describe. What they leave open (None), the weights decide, or `train_file`.

    Args:
      known: what weights that are not trained say of their task (see `Assets.task`); empty in training.

    Raises:
      InputError: a flag contradicts the weights, or nothing says which classes there are.
    """
    columns = _text_columns(text_columns, known)
    label_column = label_column or known.get("label_column", "label")
    kept = known.get("label_names")
    is_multi = known.get("problem_type") == MULTI_LABEL
    if kept is not None and multi_label not in (None, is_multi):
        number = "any number of labels" if is_multi else "one label or score"
        raise InputError(f"--multi_label={multi_label}".lower() + f": the weights give a text {number}")
    separator = None
    if is_multi if multi_label is None else multi_label:
        separator = label_separator or known.get("label_separator", ",")
    elif label_separator:
        raise InputError("--label_separator needs --multi_label")
    if is_score and kept:
        raise InputError(f"--is_score: the weights tell the classes {', '.join(kept)}")
    if (labels or is_score is False) and kept == []:
        flag = "--labels" if labels else "--is_score=false"
        raise InputError(f"{flag}: the weights predict a score, not classes")
    if is_score:
        labels = ()
    elif labels:
        labels = tuple(map(str.strip, labels))
    elif train_file:
        labels = find_labels(train_file, label_column, separator)
    else:
        labels = kept
    if labels is None:
        raise InputError("--labels is needed: no weights say which classes they know")
    return custom_task(labels, columns, label_column, separator)


def _text_columns(given: tuple[str, ...] | None, known: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns that the flag names, else those that the weights were trained on."""
    trained = tuple(known.get("text_columns", ()))
    number = known.get("num_texts", len(trained))
    columns = given or trained or ("text",)
    swapped = columns != trained and set(columns) == set(trained)
    if (number and len(columns) != number) or swapped:
        flag = f"--text_columns={','.join(columns)}" if given else "--text_columns is needed"
        names = f": {', '.join(trained)}" if trained else ""
        raise InputError(f"{flag}: the weights were trained on {number} text{'s' * (number > 1)}{names}")
    return columns


def find_labels(path: str, label_column: str, separator: str | None = None) -> tuple[str, ...]:
    """The 2 to 1000 different labels of a file, sorted, as numbers if all are; else InputError.

    Without a separator, a warning says if labels look like lists of others.
    """
    table = _read(path, (label_column,), (label_column,), separator)
    rows = None if separator is None else label_lists(table, label_column, separator)
    labels = table.class_names(label_column, rows)
    if separator is None:
        _hint_at_lists(path, labels)
    if not 2 <= len(labels) <= _MOST_LABELS:
        found = f"only the value {labels[0]!r}" if len(labels) == 1 else f"{len(labels)} different values"
        raise InputError(
            f"{path}: classes need 2 to {_MOST_LABELS} different labels, but {label_column} has {found}; "
            "if it is a number to predict, ask for a score"
        )
    if all(re.fullmatch(r"[-+]?\d+(\.\d+)?", label) for label in labels):
        return tuple(sorted(labels, key=lambda label: (float(label), label)))
    return tuple(sorted(labels))


def _hint_at_lists(path: str, labels: Sequence[str]) -> None:
    """Warns if a label consists of other labels."""
    known = set(labels)
    for label in labels:
        for separator in _SEPARATORS:
            parts = [part.strip() for part in label.split(separator)]
            if len(parts) > 1 and known.issuperset(parts):
                flag = "" if separator == "," else f" --label_separator={separator!r}"
                text = (
                    f"{path}: the label {label!r} looks like a list of the labels {parts[0]!r} and "
                    f"{parts[1]!r}: --multi_label{flag} reads it so"
                )
                return warnings.warn(text, InputWarning, stacklevel=3)


def _read(path: str, columns: Sequence[str], scalars: Sequence[str], separator: str | None) -> Table:
    lists = scalars[:1] if separator is not None else ()
    try:
        return read_table(path, columns, scalars=scalars, lists=lists)
    except InputError as error:
        hint = f"{scalars[0]!r} must be a string or a finite number, not [" if scalars else "\n"
        if hint in str(error):
            raise InputError(f"{error}; lists of labels need --multi_label") from None
        raise


def read_custom(
    path: str,
    task: TextTask,
    *,
    has_labels: bool = True,
    id_column: str | None = None,
    may_be_blank: bool = False,
) -> Examples:
    """Reads the examples of a file; see `read_table`.

    Without `id_column` examples have running numbers from 0. If texts may be blank, a warning counts those.

    Raises:
      InputError: the file cannot be read, lacks a column or has a value that does not fit.
    """
    if len(task.text_columns) not in (1, 2):
        raise InputError(f"one or two text columns are needed, not {len(task.text_columns)}")
    label_column = task.label_column if has_labels else None
    classes = list(task.label_names) if has_labels else []
    scalars = [column for column in (label_column, id_column) if column is not None]
    separator = task.label_separator if has_labels else None
    table = _read(path, (*task.text_columns, *scalars), scalars, separator)
    texts = tuple(table.columns[c] if may_be_blank else table.texts(c) for c in task.text_columns)
    if blank := sum(not text.strip() for column in texts for text in column):
        count = f"{blank} of {len(texts) * len(table)} texts"
        warnings.warn(f"{path}: {count} are blank and are read as they are", InputWarning, stacklevel=2)
    return Examples(
        names=table.names(id_column) if id_column else [str(row) for row in range(len(table))],
        texts=texts,
        labels=_labels_of(table, task) if has_labels else None,
        parts={"": slice(0, len(table))},
        digest=digest_of(
            table.digest,
            list(task.text_columns),
            label_column,
            id_column,
            classes,
            *([separator] if separator else []),
        ),
    )


def _labels_of(table: Table, task: TextTask) -> np.ndarray:
    if task.label_separator is None:
        return table.labels(task.label_column, task.label_names)
    return label_sets(table, task.label_column, task.label_names, task.label_separator)
