"""The Chinese benchmark CLUE: its tasks of classes, and their JSON lines as CLUE distributes them."""

import dataclasses
import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from albert_tf.data.tables import Table, has_column, read_jsonl
from albert_tf.errors import InputError, InputWarning
from albert_tf.tasks.classification.text_examples import SPLITS, Examples, GlueTask

_YES_OR_NO = ("0", "1")
_PAIR = ("sentence1", "sentence2")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClueTask(GlueTask):
    """A task of CLUE, whose files are JSON lines.

    Attributes:
      list_columns: those text columns that hold lists of words, which become words with spaces between them.
      has_spans: whether a noun and a pronoun are marked in the text, as `target` says: _noun_ and [pronoun].
      no_label: the label of examples that nobody agreed on, which are left out.
    """

    id_column: str = "id"
    list_columns: tuple[str, ...] = ()
    has_spans: bool = False
    no_label: str | None = None


def _task(name: str, label_names: tuple[str, ...], text_columns: tuple[str, ...], **others: Any) -> ClueTask:
    """A task with the folder and the files of CLUE; a second test file is that of CLUE 1.0."""
    folder = others.pop("folder", name)
    versions = others.pop("versions", {"": name})
    test = {version: "test1.0.json" if version == "1.0" else "test.json" for version in versions}
    return ClueTask(
        name=f"clue/{name}",
        label_names=label_names,
        metrics=("eval_accuracy",),
        text_columns=text_columns,
        folders=(f"{folder}_public", folder, name),
        splits={split: {"": f"{split}.json"} for split in SPLITS} | {"test": test},
        submission_files={version: f"{stem}_predict.json" for version, stem in versions.items()},
        submits_json=True,
        **others,
    )


ALL = (
    _task("afqmc", _YES_OR_NO, _PAIR),
    _task(
        "tnews",
        tuple(str(number) for number in range(100, 117) if number not in (105, 111)),
        ("sentence",),
        versions={"1.1": "tnews11", "1.0": "tnews10"},
    ),
    _task("iflytek", tuple(map(str, range(119))), ("sentence",)),
    _task("cmnli", ("contradiction", "entailment", "neutral"), _PAIR, no_label="-"),
    _task("csl", _YES_OR_NO, ("keyword", "abst"), list_columns=("keyword",)),
    _task(
        "wsc",
        ("true", "false"),
        ("text",),
        folder="cluewsc2020",
        versions={"1.1": "cluewsc11", "1.0": "cluewsc10"},
        has_spans=True,
    ),
)


def read_file(task: ClueTask, path: str, split: str) -> Examples:
    """Reads a file of a split; without ids, examples to predict have running numbers from 0.

    Raises:
      InputError: the file is not as CLUE has it; names file and line.
    """
    is_test = split == "test"
    wanted = [] if is_test else [task.label_column]
    if is_test and has_column(path, task.id_column):
        wanted = [task.id_column]
    spans = ["target"] if task.has_spans else []
    table = read_jsonl(
        path, [*task.text_columns, *wanted, *spans], scalars=wanted, lists=task.list_columns, objects=spans
    )
    if task.no_label is not None and not is_test:
        table = _without_label(table, task.label_column, task.no_label)
    texts = {c: table.columns[c] if is_test else table.texts(c) for c in task.text_columns}
    for column in task.list_columns:
        texts[column] = [_words(table, column, row) for row in range(len(table))]
    if task.has_spans:
        [column] = texts
        texts[column] = [_marked(table, row, text) for row, text in enumerate(texts[column])]
    rows = [str(row) for row in range(len(table))]
    return Examples(
        names=table.texts(task.id_column) if is_test and wanted else rows,
        texts=tuple(texts.values()),
        labels=None if is_test else table.labels(task.label_column, task.label_names),
        parts={"": slice(0, len(table))},
        digest=table.digest,
    )


def _without_label(table: Table, column: str, no_label: str) -> Table:
    kept = [row for row, label in enumerate(table.columns[column]) if label.strip() != no_label]
    if not kept:
        raise InputError(f"{table.path} holds no example with a label")
    if left := len(table) - len(kept):
        text = f"{table.path}: {left} of {len(table)} examples have the label {no_label!r} and are left out"
        warnings.warn(text, InputWarning, stacklevel=2)
    return table.select(kept)


def _words(table: Table, column: str, row: int) -> str:
    """The words of a list, with spaces between them; a text stays."""
    text = table.columns[column][row]
    if not text.startswith("["):
        return text
    words: Sequence[Any] = json.loads(text)
    if not words or not all(isinstance(word, str) for word in words):
        raise table.problem(column, row, "is not a list of words")
    return " ".join(words)


def _marked(table: Table, row: int, text: str) -> str:
    """The text with _ around the noun and [ ] around the pronoun."""
    target: Mapping[str, Any] = json.loads(table.columns["target"][row])
    places = []
    for name, marks in (("span1", "__"), ("span2", "[]")):
        begin, span = target.get(f"{name}_index"), target.get(f"{name}_text")
        if (
            type(begin) is not int
            or not isinstance(span, str)
            or not text.startswith(span, begin)
            or begin < 0
        ):
            raise table.problem("target", row, f"puts {name} where the text does not have it")
        places += [(begin, 1, marks[0]), (begin + len(span), 0, marks[1])]
    for place, _, mark in sorted(places, reverse=True):
        text = text[:place] + mark + text[place:]
    return text
