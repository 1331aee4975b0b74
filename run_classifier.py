#!/usr/bin/env python3
"""Fine-tunes ALBERT on a task of GLUE or CLUE, or on a classification or scoring task of your own."""

import dataclasses
import sys
from typing import Any

from albert_tf.cli.flags import UsageError, option
from albert_tf.cli.hyperparameters import Hyperparameters
from albert_tf.cli.options import FineTuningOptions, Series
from albert_tf.cli.script import script
from albert_tf.cli.settings import ExitRule


@dataclasses.dataclass(frozen=True)
class CustomTaskOptions(FineTuningOptions):
    """The flags of a task of the user's own."""

    train_file: str | None = option(
        None,
        help="custom task: file to train on: .csv or .tsv with a header, or .jsonl with an object on a line",
    )
    dev_file: str | None = option(None, help="custom task: file to evaluate on")
    test_file: str | None = option(
        None, help="custom task: file to predict; it is also scored if it has the column of the label"
    )
    text_columns: tuple[str, ...] | None = option(
        None, help="custom task: the column of the text, or two for a pair (default: as trained, else text)"
    )
    label_column: str | None = option(
        None, help="custom task: the column of the label (default: as trained, else label)"
    )
    id_column: str | None = option(None, help="custom task: the column that names an example in predictions")
    labels: tuple[str, ...] | None = option(
        None, help="custom task: the classes (default: as trained; in training, all labels in --train_file)"
    )
    is_score: bool | None = option(
        None, help="custom task: labels are numbers to predict, not classes (default: as trained)"
    )
    multi_label: bool | None = option(
        None,
        help="custom task: a text may have any number of labels: a JSON list, or labels between separators "
        "(default: as trained)",
    )
    label_separator: str | None = option(
        None, help="custom task: what stands between the labels of a text (default: as trained, else a comma)"
    )


@dataclasses.dataclass(frozen=True)
class ClassifierOptions(CustomTaskOptions):
    """Fine-tunes ALBERT on a task of GLUE or CLUE, or on a classification or scoring task of your own.

    Defaults, if --hparams is not given: learning rate 5e-5, batches of 32, 1000 steps without warm-up,
    dropout 0.1 before the head, at most 512 pieces.

    Running the same command again continues from the newest checkpoint in --output_dir.
    """

    DEFAULTS = Hyperparameters(5e-5, 32, None, 0.1, 1000, 0, 512)  # in the order of its fields

    task_name: str = option(
        help="cola, sst-2, mrpc, sts-b, qqp, mnli, mismnli, qnli, rte, wnli, ax; clue/afqmc, clue/tnews, "
        "clue/iflytek, clue/cmnli, clue/csl, clue/wsc; or custom for your own files"
    )
    data_dir: str | None = option(
        None, help="folder with a sub-folder for each task (CoLA, SST-2, afqmc_public, ...)"
    )
    tfds_name: str | None = option(
        None, help="TensorFlow data set to read instead of --data_dir, for example glue/mrpc"
    )
    loss: str = option(
        "cross_entropy", choices=("cross_entropy", "focal"), help="what training minimizes for classes"
    )
    label_smoothing: float = option(
        0.0, at_least=0, at_most=0.99, help="share of each label that the loss spreads over all classes"
    )
    class_weights: str | None = option(
        None,
        help="weights in the loss: balanced (rare classes count as much as others), or a JSON file of "
        "an object with a number for each label",
    )
    max_train_samples: int | None = option(
        None, at_least=1, help="train on a random sample of so many examples, the same for every seed"
    )
    cross_validation: int | None = option(
        None,
        at_least=2,
        help="divide the training data into so many folds; for each of them, train on the others, and "
        "evaluate and predict it",
    )
    fold: int | None = dataclasses.field(default=None, kw_only=True)  # of --cross_validation, from 0
    early_exit: bool = option(
        False, help="train a head behind each layer, so that sure answers need fewer layers; see --exit"
    )
    exit_distillation: float = option(
        0.0,
        at_least=0,
        at_most=1,
        help="share of the last layer's answer in what the other heads of --early_exit learn",
    )
    exit: str | None = option(
        None,
        help="when a model of --early_exit is sure: patience:3 (3 layers in a row confirm the layer before), "
        "entropy:0.2 (of the largest possible), budget:0.5 (of the layers, by entropy as found on the dev "
        "split); for scores patience:3:0.1 (with a tolerance)",
    )
    threshold_to_export: float | None = option(
        None, help="a constant; the model in --export_dir returns it with serialized_examples"
    )

    def __post_init__(self):
        super().__post_init__()
        if self.threshold_to_export is not None and not self.export_dir:
            raise UsageError("--threshold_to_export needs --export_dir")
        if self.cross_validation:
            if not (self.do_train and self.do_eval):
                raise UsageError("--cross_validation needs --do_train and --do_eval")
            for name in ("sweep", "export_dir", "dev_file", "test_file", "discard_failed"):
                if getattr(self, name):
                    raise UsageError(f"--cross_validation excludes --{name}")
            if self.num_seeds > 1:
                raise UsageError("--cross_validation excludes --num_seeds")
        if self.exit is not None:
            ExitRule.parse(self.exit, has_classes=self.exit.count(":") < 2)  # the task knows if it has
            if self.do_train and not self.early_exit:
                raise UsageError("--exit needs --early_exit")
            if self.ensemble:
                raise UsageError("--ensemble excludes --exit")
        if self.exit_distillation and not self.early_exit:
            raise UsageError("--exit_distillation needs --early_exit")
        for name in ("loss", "label_smoothing", "class_weights", "max_train_samples", "early_exit"):
            if getattr(self, name) != type(self).__dataclass_fields__[name].default and not self.do_train:
                raise UsageError(f"--{name} needs --do_train")
        if self.task_name.lower() != "custom":
            for name in CustomTaskOptions.__annotations__:
                if getattr(self, name) is not None:
                    raise UsageError(f"--{name} belongs to --task_name=custom, not to {self.task_name}")
            if bool(self.data_dir) == bool(self.tfds_name) and not self.interactive:
                raise UsageError("one of --data_dir and --tfds_name is needed")
            return
        if self.data_dir or self.tfds_name:
            raise UsageError("--task_name=custom reads --train_file, --dev_file and --test_file")
        for split in self.needed_splits:
            if not getattr(self, f"{split}_file"):
                raise UsageError(f"--{split}_file is needed: the flags ask for the {split} split")
        columns = [*(self.text_columns or ["text"]), self.label_column or "label"]
        if len(columns) > 3 or len(set(columns)) < len(columns):
            raise UsageError("--text_columns names one or two columns, and neither of them is --label_column")
        for name in ("labels", "multi_label"):
            if getattr(self, name) and self.is_score:
                raise UsageError(f"--{name} and --is_score exclude each other")
        if self.labels and (len(self.labels) < 2 or len(set(self.labels)) < len(self.labels)):
            raise UsageError(f"--labels needs at least two different classes, not {','.join(self.labels)}")

    @property
    def needed_splits(self) -> tuple[str, ...]:
        """The splits whose files are read."""
        return ("train",) if self.cross_validation else self.splits

    def series(self) -> Series:
        """See `FineTuningOptions`; and the folds of a cross-validation."""
        if not self.cross_validation:
            return super().series()
        folds = range(self.cross_validation)
        runs = {f"fold-{fold}": self.in_folder(f"fold-{fold}", fold=fold, do_predict=True) for fold in folds}
        return Series(runs, are_alike=True)

    @property
    def needed_paths(self) -> tuple[str, ...]:
        """See `ScriptOptions`."""
        weights = ("class_weights",) if self.class_weights != "balanced" else ()
        return (*super().needed_paths, *(f"{split}_file" for split in self.needed_splits), *weights)

    @property
    def export_settings(self) -> dict[str, Any]:
        """See `FineTuningOptions`."""
        given = {"threshold_to_export": self.threshold_to_export, "exit": self.exit}
        return {name: value for name, value in given.items() if value is not None}


@script(ClassifierOptions)
def main(options: ClassifierOptions) -> None:
    """Reads the files of the splits that are needed, and runs the task."""
    from albert_tf.tasks.classification.custom import choose_task
    from albert_tf.tasks.classification.glue import find_files, find_task

    glue_task = None if options.task_name.lower() == "custom" else find_task(options.task_name)
    if glue_task and options.data_dir:
        for split in options.needed_splits:
            find_files(glue_task, options.data_dir, split)  # before TensorFlow is imported

    from albert_tf.fine_tuning.fine_tune import fine_tune
    from albert_tf.fine_tuning.starting_point import StartingPoint
    from albert_tf.tasks.class_loss import LossSettings
    from albert_tf.tasks.classification.benchmarks import CustomBenchmark, GlueBenchmark

    def benchmark(start: StartingPoint) -> CustomBenchmark | GlueBenchmark:
        here: Any = start.options  # those of one run of a series
        training: dict[str, Any] = {
            "loss": LossSettings(here.loss, here.label_smoothing, here.class_weights),
            "max_train_samples": here.max_train_samples,
            "fold": here.fold,
            "folds": here.cross_validation or 1,
            "early_exit": here.early_exit or bool(start.kept.get("early_exit")),
            "exit_distillation": here.exit_distillation,
            "exit_rule": here.exit,
        }
        if glue_task:
            return GlueBenchmark(glue_task, options.data_dir, options.tfds_name, **training)
        train_file = options.train_file if options.do_train else None
        names = ("text_columns", "label_column", "labels", "is_score", "multi_label", "label_separator")
        given = {name: getattr(options, name) for name in names}
        task = choose_task(start.kept, train_file=train_file, **given)
        files = {"train": options.train_file, "dev": options.dev_file, "test": options.test_file}
        return CustomBenchmark(task, files, options.id_column, **training)

    fine_tune(options, benchmark)


if __name__ == "__main__":
    sys.exit(main())
