#!/usr/bin/env python3
"""Fine-tunes ALBERT on SQuAD 1.1 or 2.0: questions answered by a span of a text."""

import dataclasses
import sys

from albert_tf.cli.flags import UsageError, former_option, option
from albert_tf.cli.hyperparameters import Hyperparameters
from albert_tf.cli.options import FineTuningOptions
from albert_tf.cli.script import script
from albert_tf.cli.settings import SquadSettings, kept_option, settings_from

_EPOCHS = 3.0
_WARMUP_PROPORTION = 0.1


@dataclasses.dataclass(frozen=True)
class SquadOptions(FineTuningOptions):
    """Fine-tunes ALBERT on SQuAD 1.1 or 2.0: questions answered by a span of a text.

    Defaults, if --hparams is not given: learning rate 5e-5, batches of 32, 3 rounds over the questions,
    warm-up in the first tenth of the steps, at most 384 pieces, dropout 0.1 before the answerability head of
    version 2.0.

    A default "as trained" applies if weights are used but not trained; with --do_train the number applies.

    Running the same command again continues from the newest checkpoint in --output_dir.
    """

    DEFAULTS = Hyperparameters(5e-5, 32, None, 0.1, 1, 0, 384)  # in the order of its fields

    version: str | None = option(
        None, choices=("1.1", "2.0"), help="SQuAD's version (default: as the weights say, else the files)"
    )
    train_file: str | None = option(None, help="SQuAD's JSON to train on")
    predict_file: str | None = option(None, help="SQuAD's JSON to evaluate on and to predict")
    do_eval: bool = option(
        False,
        help="evaluate on --predict_file; with --do_train, at every checkpoint. --do_train with --do_predict "
        "evaluates too, if the file has answers",
    )
    do_predict: bool = option(
        False, help="write the answers to --predict_file, and their scores if the file has answers"
    )
    train_feature_file: str | None = option(
        None,
        help="features of --train_file are kept here; a key is added to the name (default: --cached_dir)",
    )
    predict_feature_file: str | None = option(None, help="the same for --predict_file")
    predict_feature_left_file: str | None = former_option("predict_feature_left_file")
    use_einsum: bool | None = former_option("use_einsum")
    doc_stride: int | None = kept_option(SquadSettings, "doc_stride")
    eval_batch_size: int | None = option(
        None, at_least=1, help="windows in an evaluation step, all devices (default: --predict_batch_size)"
    )
    max_query_length: int | None = kept_option(SquadSettings, "max_query_length")
    n_best_size: int | None = kept_option(SquadSettings, "n_best_size")
    max_answer_length: int | None = kept_option(SquadSettings, "max_answer_length")
    start_n_top: int | None = kept_option(SquadSettings, "start_n_top")
    end_n_top: int | None = kept_option(SquadSettings, "end_n_top")
    null_score_diff_threshold: float | None = option(
        None,
        help="version 2.0: questions with a higher null score get no answer (default: the threshold with "
        "the best F1 on --predict_file; if the file has no answers, the threshold of the last evaluation of "
        "these weights, else 0)",
    )
    threshold_sweep: str = option(
        "scores",
        choices=("scores", "original"),
        help="version 2.0: how the best threshold is found; 'original': by the original's search, in which "
        "the threshold for answering nothing is 0",
    )
    answer_segmentation: str = option(
        "auto",
        choices=("space", "character", "auto"),
        help="the words by which answers are compared: 'space' as SQuAD's scripts, 'character' as the script "
        "of CMRC 2018: a Chinese character is a word; 'auto': as most letters of the contexts ask for",
    )
    skip_misplaced_answers: bool = option(
        False, help="leave out questions of --train_file whose answer is not at its answer_start"
    )

    def __post_init__(self):
        super().__post_init__()
        if self.eval_batch_size is None:
            object.__setattr__(self, "eval_batch_size", self.predict_batch_size)
        if self.do_train and not self.train_file:
            raise UsageError("--do_train needs --train_file")
        if (self.do_eval or self.do_predict) and not self.predict_file:
            raise UsageError(f"--{'do_eval' if self.do_eval else 'do_predict'} needs --predict_file")

    @property
    def needed_paths(self) -> tuple[str, ...]:
        """See `ScriptOptions`."""
        files = {"train_file": self.do_train, "predict_file": self.do_eval or self.do_predict}
        return (*super().needed_paths, *(name for name, is_read in files.items() if is_read))

    def hyperparameters(self, task_name: str, num_examples: int) -> Hyperparameters:
        """See `FineTuningOptions.hyperparameters`; the defaults are in rounds over the questions."""
        chosen = {}
        if not self.hparams and self.train_step is None and self.num_train_epochs is None:
            chosen["num_train_epochs"] = _EPOCHS
        if not self.hparams and self.warmup_step is None and self.warmup_proportion is None:
            chosen["warmup_proportion"] = _WARMUP_PROPORTION
        options = dataclasses.replace(self, **chosen)
        return super(SquadOptions, options).hyperparameters(task_name, num_examples)


@script(SquadOptions)
def main(options: SquadOptions) -> None:
    """Reads the files that are needed, and runs the task."""
    from albert_tf.checkpoints.assets import folder_of
    from albert_tf.fine_tuning import question_prompt
    from albert_tf.fine_tuning.fine_tune import fine_tune
    from albert_tf.fine_tuning.starting_point import StartingPoint
    from albert_tf.tasks.squad.squad_task import VERSIONS, SquadBenchmark

    def squad(start: StartingPoint) -> SquadBenchmark:
        kept, weights = start.kept, start.options.init_checkpoint
        return SquadBenchmark(
            version=options.version or VERSIONS.get(kept.get("task_name")),
            train_file=options.train_file,
            predict_file=options.predict_file,
            squad_settings=settings_from(SquadSettings, options, kept),
            skip_misplaced_answers=options.skip_misplaced_answers,
            null_score_diff_threshold=options.null_score_diff_threshold,
            threshold_sweep=options.threshold_sweep,
            answer_segmentation=options.answer_segmentation,
            weights_folder=weights and folder_of(weights),
            feature_files=dict.fromkeys(("dev", "test"), options.predict_feature_file)
            | {"train": options.train_feature_file},
        )

    if options.interactive:
        question_prompt.answer_questions(options, squad)
    else:
        fine_tune(options, squad)


if __name__ == "__main__":
    sys.exit(main())
