"""Where the texts of a task come from: GLUE's files, TensorFlow Datasets, or the user's files."""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from albert_tf.data.features import Features, text_features
from albert_tf.data.tables import has_column
from albert_tf.errors import InputError
from albert_tf.tasks.benchmark import Benchmark
from albert_tf.tasks.class_loss import LossSettings
from albert_tf.tasks.classification import custom, glue
from albert_tf.tasks.classification.classification_task import ClassificationTask
from albert_tf.tasks.classification.early_exit_task import EarlyExitTask
from albert_tf.tasks.classification.multi_label import MultiLabelTask
from albert_tf.tasks.classification.text_examples import Examples, GlueTask, TextTask, fold_numbers
from albert_tf.tasks.classification.tfds import read_tfds
from albert_tf.tokenization import Tokenizer


@dataclasses.dataclass(frozen=True)
class TextBenchmark(Benchmark[Examples], abc.ABC):
    """Texts or pairs of texts with a class, several labels or a score."""

    text_task: TextTask
    loss: LossSettings = dataclasses.field(default=LossSettings(), kw_only=True)
    max_train_samples: int | None = dataclasses.field(default=None, kw_only=True)
    fold: int | None = dataclasses.field(default=None, kw_only=True)
    folds: int = dataclasses.field(default=1, kw_only=True)
    early_exit: bool = dataclasses.field(default=False, kw_only=True)
    exit_distillation: float = dataclasses.field(default=0.0, kw_only=True)
    exit_rule: str | None = dataclasses.field(default=None, kw_only=True)

    def read(self, splits: Sequence[str]) -> dict[str, Examples]:
        """The examples of each split; of "train" a random sample of `max_train_samples`.

        A larger sample contains every smaller one, whatever the seed of a run. In a fold of a
        cross-validation, that part of "train" is "dev" and "test", and the other parts are "train".
        """
        if self.fold is None:
            examples = {split: self.read_split(split) for split in splits}
        else:
            whole = self.read_split("train")
            is_out = fold_numbers(whole, self.text_task.label_names, self.folds) == self.fold
            examples = {"train": whole.take(np.flatnonzero(~is_out))}
            examples["dev"] = examples["test"] = whole.take(np.flatnonzero(is_out))
        train, most = examples.get("train"), self.max_train_samples
        if train is not None and most is not None and most < len(train):
            sample = np.random.default_rng(0).permutation(len(train))[:most]
            examples["train"] = train.take(np.sort(sample))
        return examples

    @abc.abstractmethod
    def read_split(self, split: str) -> Examples:
        """All examples of a split."""

    def task_name(self, examples: Mapping[str, Examples]) -> str:
        """The name of `text_task`."""
        return self.text_task.name

    def features(self, tokenizer: Tokenizer, examples: Examples, **settings: Any) -> Features:
        """See `text_features`."""
        return text_features(tokenizer, examples.texts, examples.labels, **settings)

    def task(
        self, examples: Mapping[str, Examples], features: Mapping[str, Features], **arguments: Any
    ) -> ClassificationTask:
        """See `ClassificationTask`, `MultiLabelTask` and `EarlyExitTask`."""
        kind: type[ClassificationTask] = ClassificationTask
        if self.text_task.label_separator is not None:
            kind = MultiLabelTask
            if self.early_exit:
                raise InputError("--early_exit is for one class or score of a text, not for several labels")
        elif self.early_exit:
            kind = EarlyExitTask
            arguments |= {"distillation": self.exit_distillation, "exit_rule": self.exit_rule}
        elif self.exit_rule:
            raise InputError(f"--exit={self.exit_rule} needs a model that was trained with --early_exit")
        return kind(self.text_task, examples, features, loss=self.loss, **arguments)


@dataclasses.dataclass(frozen=True)
class GlueBenchmark(TextBenchmark):
    """A task of GLUE, from the folder `data_dir` or from the TensorFlow data set `tfds_name`."""

    text_task: GlueTask
    data_dir: str | None = None
    tfds_name: str | None = None

    def read_split(self, split: str) -> Examples:
        """See `read_split` in `glue`, and `read_tfds`."""
        if self.tfds_name is not None:
            return read_tfds(self.text_task, self.tfds_name, split)
        return glue.read_split(self.text_task, self.data_dir or "", split)


@dataclasses.dataclass(frozen=True)
class CustomBenchmark(TextBenchmark):
    """A task of the user's own, from a file for each split; only "test" may have ids or lack labels."""

    files: Mapping[str, str | None]
    id_column: str | None

    @property
    def eval_file(self) -> str | None:
        """The file of the split "dev"."""
        return self.files["dev"]

    def read_split(self, split: str) -> Examples:
        """See `read_custom`."""
        path, is_test = self.files[split] or "", split == "test"
        # A file to predict is also scored if it has labels.
        return custom.read_custom(
            path,
            self.text_task,
            has_labels=not is_test or has_column(path, self.text_task.label_column),
            id_column=self.id_column if is_test else None,
            may_be_blank=is_test,
        )
