"""`Examples`: what a benchmark's files contain, before it becomes ids; `TextTask`: classes and metrics."""

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from albert_tf.data.tables import digest_of
from albert_tf.errors import InputError

SPLITS = ("train", "dev", "test")


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Examples:
    """The examples of one split, column by column, in file order.

    Attributes:
      names: how a submission names each example: its index or id column, else its running number.
      texts: one or two columns.
      labels: int32 class numbers or float32 scores `[examples]`; None if the split has no labels.
      parts: the split's files by name, such as "matched" and "mismatched"; a single file has the name "".
      digest: of the files' content and of how they were read.
    """

    names: Sequence[str]
    texts: tuple[Sequence[str], ...]
    labels: np.ndarray | None
    parts: Mapping[str, slice]
    digest: str

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: np.ndarray) -> "Examples":
        """The examples with these numbers, as one part."""
        return Examples(
            names=[self.names[row] for row in rows],
            texts=tuple([column[row] for row in rows] for column in self.texts),
            labels=None if self.labels is None else self.labels[rows],
            parts={"": slice(0, len(rows))},
            digest=digest_of(self.digest, rows.tolist()),
        )


def fold_numbers(examples: Examples, label_names: Sequence[str], folds: int) -> np.ndarray:
    """int64 [examples]: the fold of each example; every label is spread evenly over the folds.

    Of several labels of a text the rarest counts; scores are spread by their order. InputError if a label has
    fewer examples than there are folds.
    """
    labels = examples.labels
    if labels is None:
        raise ValueError("labels are needed")
    keys = labels
    if label_names:
        is_set = labels if labels.ndim == 2 else np.eye(len(label_names), dtype=np.int8)[labels]
        counts = is_set.sum(axis=0, dtype=np.int64)
        for name, count in zip(label_names, counts.tolist(), strict=True):
            if 0 < count < folds:
                raise InputError(f"{folds} folds: the label {name!r} has only {count} examples")
        keys = np.where(is_set > 0, counts, len(labels) + 1).argmin(axis=1)
        keys = np.where(is_set.any(axis=1), keys, -1)
    if len(labels) < 2 * folds:
        raise InputError(f"{folds} folds: there are only {len(labels)} examples")
    order = np.lexsort((np.random.default_rng(0).random(len(labels)), keys))
    fold_of = np.empty(len(labels), np.int64)
    fold_of[order] = np.arange(len(labels)) % folds
    return fold_of


def join_parts(parts: Mapping[str, Examples], digest: str) -> Examples:
    """The examples of several files, one after the other."""
    several = list(parts.values())
    ends = np.cumsum([len(examples) for examples in several]).tolist()
    columns = zip(*(examples.texts for examples in several), strict=True)
    return Examples(
        names=[name for examples in several for name in examples.names],
        texts=tuple([text for texts in column for text in texts] for column in columns),
        labels=None if several[0].labels is None else np.concatenate([e.labels for e in several]),
        parts={part: slice(*ends) for part, ends in zip(parts, pairwise([0, *ends]), strict=True)},
        digest=digest,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextTask:
    """Classes or a score for a text or a pair of texts.

    Attributes:
      name: in lower case.
      label_names: by class number; empty if the label is a score.
      metrics: names of the results; by the first, higher is better, the best checkpoint is chosen.
      submission_files: part of the test split -> the file that the benchmark's server wants for it.
      submits_json: whether these files are JSON lines of id and label, instead of a table.
      label_separator: stands between the labels of a text that may have several; None if it has one.
    """

    name: str
    label_names: tuple[str, ...]
    metrics: tuple[str, ...]
    text_columns: tuple[str, ...]
    label_column: str = "label"
    submission_files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    submits_json: bool = False
    label_separator: str | None = None

    @property
    def is_score(self) -> bool:
        """Whether the label is a number instead of a class."""
        return not self.label_names


@dataclasses.dataclass(frozen=True, kw_only=True)
class GlueTask(TextTask):
    """A task of GLUE.

    Attributes:
      folders: the names that its folder may have.
      id_column: the column of the test split by which the server identifies an example.
      train_header: the columns of the train and dev files, if these have no header line.
      splits: split -> part -> file; a split of one file has the part "".
      has_gaps: whether the published files have rows with missing values, which are not errors.
    """

    folders: tuple[str, ...]
    id_column: str = "index"
    train_header: tuple[str, ...] | None = None
    splits: Mapping[str, Mapping[str, str]] = dataclasses.field(
        default_factory=lambda: {split: {"": f"{split}.tsv"} for split in SPLITS}
    )
    has_gaps: bool = False

    def parts_of(self, split: str) -> Mapping[str, str]:
        """Part -> file of a split; InputError if the task lacks the split."""
        if split not in self.splits:
            raise InputError(f"{self.name} has no {split} split, only {', '.join(self.splits)}")
        return self.splits[split]
