#!/usr/bin/env python3
"""Trains ALBERT to give vectors of texts, of which near ones mean similar texts."""

import dataclasses
import sys

from albert_tf.cli.flags import UsageError, option
from albert_tf.cli.hyperparameters import Hyperparameters
from albert_tf.cli.options import FineTuningOptions
from albert_tf.cli.script import script

_OF_TRAINING = ("objective", "temperature", "dimensions")


@dataclasses.dataclass(frozen=True)
class SimilarityOptions(FineTuningOptions):
    """Trains ALBERT to give vectors of texts, of which near ones mean similar texts.

    Defaults, if --hparams is not given: learning rate 5e-5, batches of 64, 1000 steps, of which 100 are
    warm-up, no dropout before the projection, at most 128 pieces.

    A stage of training begins with the weights of the stage before: --init_checkpoint is then the folder of
    its run. A default "as trained" is what those weights say.

    Running the same command again continues from the newest checkpoint in --output_dir.
    """

    DEFAULTS = Hyperparameters(5e-5, 64, None, 0.0, 1000, 100, 128)  # in the order of its fields

    objective: str | None = option(
        None,
        choices=("cosine", "contrastive", "unsupervised"),
        help="what to train by: scores of pairs; pairs that are alike (perhaps with a hard negative each), "
        "against all others of the batch; or single texts, which are read twice with other dropout",
    )
    pooling: str | None = option(
        None,
        choices=("mean", "cls", "pooled"),
        help="what makes the vector: the mean over the pieces, the output for [CLS], or the pooled output "
        "(default: as trained, else mean)",
    )
    projection_size: int | None = option(
        None, at_least=1, help="size of a linear projection of the vector (default: as trained, else none)"
    )
    normalize: bool | None = option(None, help="give vectors the length 1 (default: as trained, else yes)")
    dimensions: tuple[str, ...] = option(
        (), help="train vectors whose first so many values are vectors, too, such as 256,64"
    )
    temperature: float = option(
        0.05, at_least=0.001, help="divides the cosines of contrastive and unsupervised training"
    )
    train_task: str | None = option(None, help="task of GLUE to train on: sts-b, mrpc, qqp or mnli")
    eval_task: str | None = option(
        None, help="task of GLUE to evaluate on and to predict: sts-b, mrpc or qqp (default: --train_task)"
    )
    data_dir: str | None = option(None, help="folder with a sub-folder for each GLUE task (STS-B, MNLI, ...)")
    train_file: str | None = option(
        None,
        help="file to train on: .csv or .tsv with a header, .jsonl with an object on a line, or for "
        "--objective=unsupervised .txt with a text on a line",
    )
    dev_file: str | None = option(None, help="file of scored pairs to evaluate on")
    test_file: str | None = option(
        None, help="file of pairs to predict; it is also scored if it has the column of the score"
    )
    text_columns: tuple[str, ...] = option(
        ("sentence1", "sentence2"),
        help="columns of the texts of --train_file: of a pair, of a text, its partner and a hard negative, "
        "or for --objective=unsupervised any",
    )
    eval_columns: tuple[str, ...] = option(
        ("sentence1", "sentence2"), help="columns of the texts of --dev_file and --test_file"
    )
    score_column: str = option("score", help="column of the score of a pair")
    lowest_score: float = option(0.0, help="score of texts that have nothing in common")
    highest_score: float = option(5.0, help="score of texts that mean the same")
    corpus_file: str | None = option(
        None, help="file of texts to find while evaluating, with the columns id and text"
    )
    queries_file: str | None = option(
        None, help="file of queries, with the columns text and relevant: ids of --corpus_file"
    )

    def __post_init__(self):
        super().__post_init__()
        if self.ensemble:
            raise UsageError("--ensemble: vectors of several models have no average")
        if self.do_train and not self.objective:
            raise UsageError("--do_train needs --objective")
        for name in _OF_TRAINING:
            if getattr(self, name) != type(self).__dataclass_fields__[name].default and not self.do_train:
                raise UsageError(f"--{name} needs --do_train")
        if self.train_batch_size == 1 and self.objective in ("contrastive", "unsupervised"):
            raise UsageError(
                f"--objective={self.objective} compares the examples of a batch: --train_batch_size=1 has "
                "nothing to compare"
            )
        if not all(number.isdecimal() for number in self.dimensions):
            raise UsageError(f"--dimensions={','.join(self.dimensions)}: whole numbers are needed")
        if not self.lowest_score < self.highest_score:
            raise UsageError("--lowest_score must be below --highest_score")
        if bool(self.corpus_file) != bool(self.queries_file):
            raise UsageError("--corpus_file and --queries_file belong together")
        for split, name, number in (("train", "text_columns", 3), ("eval", "eval_columns", 2)):
            columns = getattr(self, name)
            is_right = 2 <= len(columns) <= number and not (self.objective == "cosine" and len(columns) > 2)
            if not (is_right or (split == "train" and self.objective == "unsupervised")):
                raise UsageError(f"--{name}={','.join(columns)}: columns of a pair are needed")
            if len({*columns, self.score_column}) <= len(columns):
                raise UsageError(f"--{name} names a column twice, or that of the score")
        for split in self.splits:
            task, path = self.source_of(split)
            if task and not path and not self.data_dir:
                raise UsageError(f"--data_dir is needed: it has the {split} split of {task}")
            if not (task or path or (split == "dev" and self.corpus_file)):
                flag = "train_task" if split == "train" else "eval_task"
                raise UsageError(f"--{split}_file or --{flag} is needed: the flags ask for the {split} split")

    def source_of(self, split: str) -> tuple[str | None, str | None]:
        """The task of GLUE and the file that have a split; the file counts first."""
        task = self.train_task if split == "train" else self.eval_task or self.train_task
        return task, getattr(self, f"{split}_file")

    @property
    def needed_paths(self) -> tuple[str, ...]:
        """See `ScriptOptions`."""
        files = (f"{split}_file" for split in self.splits)
        return (*super().needed_paths, "data_dir", "corpus_file", "queries_file", *files)


@script(SimilarityOptions)
def main(options: SimilarityOptions) -> None:
    """Reads the files of the splits that are needed, and runs the task."""
    from albert_tf.fine_tuning.fine_tune import fine_tune
    from albert_tf.fine_tuning.starting_point import StartingPoint
    from albert_tf.tasks.similarity.similarity_task import SimilarityBenchmark, chosen_vectors

    def similarity(start: StartingPoint) -> SimilarityBenchmark:
        names = ("pooling", "projection_size", "normalize")
        vectors = chosen_vectors(
            start.assets.task,
            {name: getattr(options, name) for name in names},
            objective=options.objective,
            dimensions=tuple(map(int, options.dimensions)),
            temperature=options.temperature,
        )
        sources = {split: options.source_of(split) for split in ("train", "dev", "test")}
        return SimilarityBenchmark(
            tasks={split: task for split, (task, _) in sources.items()},
            files={split: path for split, (_, path) in sources.items()},
            columns={
                "train": options.text_columns,
                "dev": options.eval_columns,
                "test": options.eval_columns,
            },
            vectors=vectors,
            data_dir=options.data_dir,
            score_column=options.score_column,
            score_range=(options.lowest_score, options.highest_score),
            corpus_file=options.corpus_file,
            queries_file=options.queries_file,
        )

    fine_tune(options, similarity)


if __name__ == "__main__":
    sys.exit(main())
