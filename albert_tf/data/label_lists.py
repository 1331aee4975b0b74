"""Any number of labels in a cell of a table: a JSON list, or names between separators."""

import json
import re
from collections.abc import Sequence

import numpy as np

from albert_tf.data.tables import Table, is_scalar, listed

MULTI_LABEL = "multi_label_classification"  # the `problem_type` of such a task, in Hugging Face's words


def label_lists(table: Table, column: str, separator: str) -> list[list[str]]:
    """The labels of each row; a blank cell holds none. Blanks around a label do not count.

    `InputError` if a label is empty, holds the separator, a tab or a line end, or if a list is broken.
    """
    lists = []
    for row, value in enumerate(table.columns[column]):
        try:
            lists.append(_labels_in(value.strip(), separator))
        except ValueError as error:
            raise table.problem(column, row, str(error)) from None
    return lists


def label_sets(table: Table, column: str, label_names: Sequence[str], separator: str) -> np.ndarray:
    """Which labels each row has: int8 [rows, labels] of 0 and 1; `InputError` names an unknown label."""
    numbers = {name: number for number, name in enumerate(label_names)}
    found = np.zeros([len(table), len(numbers)], np.int8)
    for row, names in enumerate(label_lists(table, column, separator)):
        for name in names:
            if name not in numbers:
                what = f"names {listed([name])!r}, not one of the labels {listed(label_names)}"
                raise table.problem(column, row, what)
            found[row, numbers[name]] = 1
    return found


def _labels_in(text: str, separator: str) -> list[str]:
    """The labels in a cell; `ValueError` says what is wrong with them."""
    if not text.startswith("["):
        names = text.split(separator) if text else []
    else:
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, list) or not all(map(is_scalar, values)):
            raise ValueError("is not a JSON list of labels")
        names = [value if isinstance(value, str) else json.dumps(value) for value in values]
    names = [name.strip() for name in names]
    for name in names:
        if not name or re.search(r"[\t\r\n]", name):
            raise ValueError("holds a tab or a line end" if name else "holds an empty label")
        if separator in name:
            what = f"holds the separator {separator!r} in the label {listed([name])!r}"
            raise ValueError(f"{what}: give another --label_separator")
    return list(dict.fromkeys(names))
