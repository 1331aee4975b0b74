#!/usr/bin/env python3
"""Fine-tunes ALBERT to tag words: named entities, parts of speech."""

import dataclasses
import sys

from albert_tf.cli.flags import UsageError, option
from albert_tf.cli.hyperparameters import Hyperparameters
from albert_tf.cli.options import FineTuningOptions
from albert_tf.cli.script import script


@dataclasses.dataclass(frozen=True)
class TaggerOptions(FineTuningOptions):
    """Fine-tunes ALBERT to tag words: named entities, parts of speech.

    Defaults, if --hparams is not given: learning rate 5e-5, batches of 32 windows, 1000 steps, of which 100
    are warm-up, dropout 0.1 before the head, at most 512 pieces. Longer sentences are read in windows.

    A default "as trained" applies if weights are used but not trained; with --do_train the other one applies.

    Running the same command again continues from the newest checkpoint in --output_dir.
    """

    DEFAULTS = Hyperparameters(5e-5, 32, None, 0.1, 1000, 100, 512)  # in the order of its fields

    train_file: str | None = option(
        None,
        help="file to train on: columns of words and tags, blank lines between sentences; or .jsonl with an "
        'object on a line: "tokens" and "tags", or "text" and "spans" ("begin", "end", "type")',
    )
    dev_file: str | None = option(None, help="file to evaluate on")
    test_file: str | None = option(None, help="file to predict; it is also scored if it has tags")
    tag_column: int | None = option(
        None, help="the column of the tag, from 1, or from -1 backwards (default: as trained, else the last)"
    )
    labels: tuple[str, ...] | None = option(
        None, help="the tags in their order (default: as trained; in training, all that --train_file needs)"
    )
    context: str | None = option(
        None,
        choices=("sentence", "document"),
        help="what the model reads at once; documents begin at lines -DOCSTART- (default: as trained, else "
        "sentence)",
    )
    loss: str | None = option(
        None,
        choices=("softmax", "crf"),
        help="softmax for each word, or a linear-chain CRF (default: as trained, else softmax)",
    )
    casing_feature: bool | None = option(
        None, help="show the head capitals and digits of each word (default: as trained, else no)"
    )

    def __post_init__(self):
        super().__post_init__()
        for split in self.splits:
            if not getattr(self, f"{split}_file"):
                raise UsageError(f"--{split}_file is needed: the flags ask for the {split} split")

    @property
    def needed_paths(self) -> tuple[str, ...]:
        """See `ScriptOptions`."""
        return (*super().needed_paths, *(f"{split}_file" for split in self.splits))


@script(TaggerOptions)
def main(options: TaggerOptions) -> None:
    """Reads the files of the splits that are needed, and runs the task."""
    from albert_tf.errors import InputError
    from albert_tf.fine_tuning.fine_tune import fine_tune
    from albert_tf.fine_tuning.starting_point import StartingPoint
    from albert_tf.tasks.tagging.tagging_task import TaggingBenchmark
    from albert_tf.tasks.tagging.tags import tag_set_of

    def tagging(start: StartingPoint) -> TaggingBenchmark:
        kept = start.kept
        names = options.labels or kept.get("label_names")
        if not (names or options.do_train):
            raise InputError("--labels is needed: no weights say which tags they know")
        chosen = {
            name: kept.get(name) if getattr(options, name) is None else getattr(options, name)
            for name in ("tag_column", "context", "loss", "casing_feature")
        }
        return TaggingBenchmark(
            files={"train": options.train_file, "dev": options.dev_file, "test": options.test_file},
            tag_set=None if options.do_train else tag_set_of(names, kept.get("tag_scheme")),
            names=options.labels or (),
            tag_column=chosen["tag_column"],
            context=chosen["context"] or "sentence",
            crf=chosen["loss"] == "crf",
            casing_feature=bool(chosen["casing_feature"]),
        )

    fine_tune(options, tagging)


if __name__ == "__main__":
    sys.exit(main())
