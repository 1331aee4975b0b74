#!/usr/bin/env python3
"""Fine-tunes ALBERT on RACE: multiple-choice reading comprehension."""

import dataclasses
import sys

from albert_tf.cli.flags import UsageError, option
from albert_tf.cli.hyperparameters import Hyperparameters
from albert_tf.cli.options import FineTuningOptions
from albert_tf.cli.script import script
from albert_tf.cli.settings import RaceSettings, kept_option, settings_from


@dataclasses.dataclass(frozen=True)
class RaceOptions(FineTuningOptions):
    """Fine-tunes ALBERT on RACE: multiple-choice reading comprehension.

    Defaults, if --hparams is not given: learning rate 1e-5, batches of 32 questions with a sequence for each
    option, 12000 steps, of which 1000 are warm-up, dropout 0.1 before the head, at most 512 pieces. A shorter
    run has a shorter warm-up.

    Running the same command again continues from the newest checkpoint in --output_dir.
    """

    DEFAULTS = Hyperparameters(1e-5, 32, None, 0.1, 12000, 1000, 512)  # in the order of its fields

    data_dir: str | None = option(
        None, help="folder that contains RACE/ with the folders train, dev and test"
    )
    task_name: str = option("race", choices=("race",), help="always race")
    max_qa_length: int | None = kept_option(RaceSettings, "max_qa_length")
    train_file: str | None = option(
        None,
        help="features of the train split are kept here; a key is added to the name (default: --cached_dir)",
    )
    eval_file: str | None = option(None, help="the same for the dev split")
    predict_file: str | None = option(None, help="the same for the test split")
    num_keep_checkpoint: int | None = option(
        None, at_least=1, help="the original's name of --keep_checkpoint_max for RACE"
    )
    high_only: bool = option(False, help="read only the questions of high schools, in every split")
    middle_only: bool = option(False, help="read only the questions of middle schools, in every split")
    do_train: bool = option(True, help="whether to train")
    do_eval: bool = option(True, help="whether to evaluate; with --do_train, at every checkpoint")
    save_checkpoints_steps: int = option(100, at_least=1, help="steps between checkpoints")

    def __post_init__(self):
        super().__post_init__()
        if self.splits and not self.data_dir:
            raise UsageError("--data_dir is needed: the flags ask for questions")
        if self.high_only and self.middle_only:
            raise UsageError("--high_only and --middle_only exclude each other")
        if self.num_keep_checkpoint is not None:
            object.__setattr__(self, "keep_checkpoint_max", self.num_keep_checkpoint)

    @property
    def export_settings(self) -> dict[str, int]:
        """See `FineTuningOptions`."""
        return {} if self.max_qa_length is None else {"max_qa_length": self.max_qa_length}

    @property
    def needed_paths(self) -> tuple[str, ...]:
        """See `ScriptOptions`."""
        return (*super().needed_paths, *(("data_dir",) if self.splits else ()))


@script(RaceOptions)
def main(options: RaceOptions) -> None:
    """Reads the questions of the splits that are needed, and runs the task."""
    from albert_tf.fine_tuning.fine_tune import fine_tune
    from albert_tf.fine_tuning.starting_point import StartingPoint
    from albert_tf.tasks.race import LEVELS, RaceBenchmark

    levels = ("high",) if options.high_only else ("middle",) if options.middle_only else LEVELS
    files = {"train": options.train_file, "dev": options.eval_file, "test": options.predict_file}

    def race(start: StartingPoint) -> RaceBenchmark:
        lengths = settings_from(RaceSettings, options, start.kept)
        return RaceBenchmark(options.data_dir, levels, lengths, files)

    fine_tune(options, race)


if __name__ == "__main__":
    sys.exit(main())
