"""A task of the user's own: columns of a CSV or TSV file with a header, or keys of a JSON-lines file."""

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from albert_tf.data.tables import digest_of, read_table
from albert_tf.errors import InputError, InputWarning
from albert_tf.tasks.classification.text_examples import Examples, TextTask

_MOST_LABELS = 1000


def custom_task(
    label_names: Sequence[str], text_columns: Sequence[str] = ("text",), label_column: str = "label"
) -> TextTask:
    """The task of telling these classes; without names of classes, of predicting a score."""
    f1 = "eval_f1" if len(label_names) == 2 else "macro_f1"
    metrics = ("eval_accuracy", f1, "matthew_corr") if label_names else ("pearson", "spearman", "MSE")
    names, columns = tuple(label_names), tuple(text_columns)
    return TextTask(
        name="custom", label_names=names, metrics=metrics, text_columns=columns, label_column=label_column
    )


def choose_task(
    known: Mapping[str, Any],
    *,
    train_file: str | None = None,
    text_columns: tuple[str, ...] | None = None,
    label_column: str | None = None,
    labels: tuple[str, ...] | None = None,
    is_score: bool | None = None,
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
        labels = find_labels(train_file, label_column)
    else:
        labels = kept
    if labels is None:
        raise InputError("--labels is needed: no weights say which classes they know")
    return custom_task(labels, columns, label_column)


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


def find_labels(path: str, label_column: str) -> tuple[str, ...]:
    """The 2 to 1000 different labels of a file, sorted, as numbers if all are; else InputError."""
    labels = read_table(path, (label_column,), scalars=(label_column,)).class_names(label_column)
    if not 2 <= len(labels) <= _MOST_LABELS:
        found = f"{len(labels)} different values" if len(labels) > 1 else f"only the value {labels[0]!r}"
        raise InputError(
            f"{path}: classes need 2 to {_MOST_LABELS} different labels, but {label_column} has {found}; "
            "if it is a number to predict, ask for a score"
        )
    if all(re.fullmatch(r"[-+]?\d+(\.\d+)?", label) for label in labels):
        return tuple(sorted(labels, key=lambda label: (float(label), label)))
    return tuple(sorted(labels))


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
    table = read_table(path, (*task.text_columns, *scalars), scalars=scalars)
    texts = tuple(table.columns[c] if may_be_blank else table.texts(c) for c in task.text_columns)
    if blank := sum(not text.strip() for column in texts for text in column):
        count = f"{blank} of {len(texts) * len(table)} texts"
        warnings.warn(f"{path}: {count} are blank and are read as they are", InputWarning, stacklevel=2)
    return Examples(
        names=table.names(id_column) if id_column else [str(row) for row in range(len(table))],
        texts=texts,
        labels=table.labels(task.label_column, classes) if has_labels else None,
        parts={"": slice(0, len(table))},
        digest=digest_of(table.digest, list(task.text_columns), label_column, id_column, classes),
    )
