#!/usr/bin/env python3
"""Fine-tunes ALBERT on a GLUE task, or on a classification or scoring task of your own."""

import dataclasses
import sys

from albert_tf.cli.flags import UsageError, option
from albert_tf.cli.options import FineTuningOptions, Hyperparameters
from albert_tf.cli.script import script
from albert_tf.errors import InputError
from albert_tf.files import file_stem

_CUSTOM_FLAGS = (
    "train_file",
    "dev_file",
    "test_file",
    "text_columns",
    "label_column",
    "id_column",
    "labels",
    "is_score",
)


@dataclasses.dataclass(frozen=True)
class ClassifierOptions(FineTuningOptions):
    """Fine-tunes ALBERT on a GLUE task, or on a classification or scoring task of your own.

    Where a hyperparameter is not given and --hparams neither: learning rate 5e-5, batch 32, 1000 steps
    without warm-up, dropout 0.1 in front of the head, at most 512 pieces.

    Running the same command again continues from the newest checkpoint in --output_dir.
    """

    DEFAULTS = Hyperparameters(
        learning_rate=5e-5,
        train_batch_size=32,
        encoder_dropout_prob=None,
        dropout_prob=0.1,
        train_step=1000,
        warmup_step=0,
        max_seq_length=512,
    )

    task_name: str = option(
        help="cola, sst-2, mrpc, sts-b, qqp, mnli, mismnli, qnli, rte, wnli, ax, or custom for your own files"
    )
    data_dir: str | None = option(
        None, help="folder with a sub-folder for each GLUE task (CoLA, SST-2, MRPC, ...)"
    )
    tfds_name: str | None = option(
        None, help="TensorFlow data set to read instead of --data_dir, such as glue/mrpc"
    )
    train_file: str | None = option(
        None, help="custom task: .tsv (with a header) or .jsonl (or .json, an object a line) to train on"
    )
    dev_file: str | None = option(None, help="custom task: to evaluate on")
    test_file: str | None = option(
        None, help="custom task: to predict; also scored where it has the column of the label"
    )
    text_columns: tuple[str, ...] = option(
        ("text",), help="custom task: the column of the text, or the two of a pair"
    )
    label_column: str = option("label", help="custom task: the column of the label")
    id_column: str | None = option(None, help="custom task: the column that names an example in predictions")
    labels: tuple[str, ...] | None = option(
        None, help="custom task: the classes (default: those found in --train_file)"
    )
    is_score: bool = option(False, help="custom task: whether labels are numbers to predict, not classes")
    threshold_to_export: float | None = option(
        None, help="constant that the export of --export_dir returns with serialized_examples"
    )

    def __post_init__(self):
        super().__post_init__()
        if self.threshold_to_export is not None and not self.export_dir:
            raise UsageError("--threshold_to_export needs --export_dir")
        fields = {field.name: field for field in dataclasses.fields(self)}
        if self.task_name.lower() != "custom":
            for name in _CUSTOM_FLAGS:
                if getattr(self, name) != fields[name].default:
                    raise UsageError(f"--{name} belongs to --task_name=custom, not to {self.task_name}")
            if bool(self.data_dir) == bool(self.tfds_name):
                raise UsageError("one of --data_dir and --tfds_name is needed")
            return
        if self.data_dir or self.tfds_name:
            raise UsageError("--task_name=custom reads --train_file, --dev_file and --test_file")
        for split in self.splits:
            if not getattr(self, f"{split}_file"):
                raise UsageError(f"--{split}_file is needed for what is to be done")
        columns = [*self.text_columns, self.label_column]
        if len(self.text_columns) > 2 or len(set(columns)) < len(columns):
            raise UsageError("--text_columns names one or two columns, and neither of them is --label_column")
        if self.labels and self.is_score:
            raise UsageError("--labels and --is_score exclude each other")
        if self.labels and (len(self.labels) < 2 or len(set(self.labels)) < len(self.labels)):
            raise UsageError(f"--labels needs at least two different classes, not {','.join(self.labels)}")

    @property
    def export_settings(self) -> dict[str, float]:
        """See `FineTuningOptions`."""
        threshold = self.threshold_to_export
        return {} if threshold is None else {"threshold_to_export": threshold}


@script(ClassifierOptions)
def main(options: ClassifierOptions) -> None:
    """Reads the task's files, and runs it."""
    from albert_tf.data.features import text_features
    from albert_tf.fine_tuning.fine_tune import export, run
    from albert_tf.fine_tuning.starting_point import open_starting_point
    from albert_tf.tasks.classification.classification_task import ClassificationTask
    from albert_tf.training.distribution import make_strategy

    if not options.splits:
        return export(options)
    strategy = make_strategy(options)  # first: a cluster is set up before anything is computed
    with open_starting_point(options) as start:
        text_task, read = _source(options, start.task)
        examples = {split: read(split) for split in options.splits}
        chosen = start.choose(text_task.name, len(examples["train"]) if options.do_train else 0)
        lengths = {"max_seq_length": chosen.max_seq_length}
        features = {
            split: start.features(
                f"{text_task.name}_{split}",
                part.digest,
                lengths,
                lambda part=part: text_features(start.tokenizer, part.texts, part.labels, **lengths),
            )
            for split, part in examples.items()
        }
        task = ClassificationTask(text_task, examples, features, **start.task_arguments(chosen))
        if options.dev_file:
            task.eval_name = file_stem(options.dev_file)
        run(task, start.options, chosen, strategy)


def _source(options: ClassifierOptions, earlier: dict | None):
    """The task, and a function that reads a split of it."""
    from albert_tf.tasks.classification import glue
    from albert_tf.tasks.classification.tfds import read_tfds

    if options.task_name.lower() == "custom":
        return _custom_source(options, earlier)
    task = glue.find_task(options.task_name)
    if options.tfds_name:
        return task, lambda split: read_tfds(task, options.tfds_name, split)
    return task, lambda split: glue.read_split(task, options.data_dir, split)


def _custom_source(options: ClassifierOptions, earlier: dict | None):
    from albert_tf.tasks.classification import custom

    if options.is_score:
        names = ()
    elif options.labels:
        names = options.labels
    elif options.do_train:
        names = custom.find_labels(options.train_file, options.label_column)
    elif earlier:
        names = tuple(earlier["label_names"])
    else:
        raise InputError("--labels is needed: there are no weights that say which classes they know")
    files = {"train": options.train_file, "dev": options.dev_file, "test": options.test_file}

    def read(split: str):
        # What is predicted is also scored where it has labels.
        has_labels = split != "test" or custom.has_column(files[split], options.label_column)
        return custom.read_custom(
            files[split],
            text_columns=options.text_columns,
            label_column=options.label_column if has_labels else None,
            id_column=options.id_column if split == "test" else None,
            label_names=names,
            is_score=not names,
        )

    return custom.custom_task(names), read


if __name__ == "__main__":
    sys.exit(main())
