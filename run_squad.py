#!/usr/bin/env python3
"""Fine-tunes ALBERT on SQuAD 1.1 or 2.0: questions answered by a span of a text."""

import dataclasses
import sys
import warnings

from albert_tf.cli.flags import UsageError, option
from albert_tf.cli.options import FineTuningOptions, Hyperparameters
from albert_tf.cli.script import script
from albert_tf.errors import InputError, InputWarning
from albert_tf.files import file_stem

_KEPT = {
    "doc_stride": 128,
    "max_query_length": 64,
    "n_best_size": 20,
    "max_answer_length": 30,
    "start_n_top": 5,
    "end_n_top": 5,
}
_EPOCHS = 3.0
_WARMUP_PROPORTION = 0.1


@dataclasses.dataclass(frozen=True)
class SquadOptions(FineTuningOptions):
    """Fine-tunes ALBERT on SQuAD 1.1 or 2.0: questions answered by a span of a text.

    Where a hyperparameter is not given and --hparams neither: learning rate 5e-5, batch 32, 3 rounds over the
    questions, the first tenth of the steps warm-up, at most 384 pieces, dropout 0.1 in front of the
    answerability head of version 2.0.

    Where a default is "as trained", that is for weights that are only made use of; training takes the number.

    Running the same command again continues from the newest checkpoint in --output_dir.
    """

    DEFAULTS = Hyperparameters(
        learning_rate=5e-5,
        train_batch_size=32,
        encoder_dropout_prob=None,
        dropout_prob=0.1,
        train_step=1,
        warmup_step=0,
        max_seq_length=384,
    )

    version: str | None = option(
        None, choices=("1.1", "2.0"), help="of SQuAD (default: that of the weights, else of the files)"
    )
    train_file: str | None = option(None, help="SQuAD's JSON to train on")
    predict_file: str | None = option(None, help="SQuAD's JSON to evaluate on and to predict")
    do_eval: bool = option(
        False,
        help="evaluate on --predict_file, in training at every checkpoint; --do_train with --do_predict does "
        "so too where it has answers",
    )
    do_predict: bool = option(
        False, help="write the answers to --predict_file, and what they are worth where it has answers"
    )
    interactive: bool = option(False, help="type a paragraph and questions, and read the answers")
    train_feature_file: str | None = option(
        None, help="where the features of --train_file are kept, instead of --cached_dir; a key is added"
    )
    predict_feature_file: str | None = option(None, help="the same for --predict_file")
    predict_feature_left_file: str | None = option(
        None, help="accepted and not needed: the features hold what the original kept here"
    )
    use_einsum: bool = option(
        True, help="accepted and makes no difference: every projection is a plain matrix product"
    )
    doc_stride: int | None = option(
        None,
        at_least=1,
        help="pieces from one window of a long context to the next (default: as trained, else 128)",
    )
    eval_batch_size: int | None = option(
        None,
        at_least=1,
        help="windows in an evaluation step, over all devices (default: --predict_batch_size)",
    )
    max_query_length: int | None = option(
        None,
        at_least=1,
        help="pieces of a question at most; the beginning is kept (default: as trained, else 64)",
    )
    n_best_size: int | None = option(
        None,
        at_least=1,
        help="answers in nbest_predictions.json for each question (default: as trained, else 20)",
    )
    max_answer_length: int | None = option(
        None, at_least=1, help="pieces of an answer at most (default: as trained, else 30)"
    )
    start_n_top: int | None = option(
        None, at_least=1, help="version 2.0: starts in the beam (default: as trained, else 5)"
    )
    end_n_top: int | None = option(
        None, at_least=1, help="version 2.0: ends in the beam for each start (default: as trained, else 5)"
    )
    null_score_diff_threshold: float | None = option(
        None,
        help="version 2.0: questions with a higher null score get no answer (default: that with the best F1 "
        "on --predict_file; without answers there, that of the last evaluation of these weights, else 0)",
    )
    threshold_sweep: str = option(
        "scores",
        choices=("scores", "original"),
        help="version 2.0: how the best threshold is found; 'original' takes 0 for answering nothing",
    )
    skip_misplaced_answers: bool = option(
        False, help="leave out questions of --train_file whose answer does not stand at its answer_start"
    )

    def __post_init__(self):
        super().__post_init__()
        if self.eval_batch_size is None:
            object.__setattr__(self, "eval_batch_size", self.predict_batch_size)
        if self.interactive and (self.splits or self.num_seeds > 1):
            raise UsageError("--interactive excludes --do_train, --do_eval, --do_predict and --num_seeds")
        if self.do_train and not self.train_file:
            raise UsageError("--do_train needs --train_file")
        if (self.do_eval or self.do_predict) and not self.predict_file:
            raise UsageError(f"--{'do_eval' if self.do_eval else 'do_predict'} needs --predict_file")

    @property
    def _has_work(self) -> bool:
        return self.interactive or super()._has_work

    def hyperparameters(self, task_name: str, num_examples: int) -> Hyperparameters:
        """See `FineTuningOptions.hyperparameters`; the defaults are in rounds over the questions."""
        chosen = {}
        if not self.hparams and self.train_step is None and self.num_train_epochs is None:
            chosen["num_train_epochs"] = _EPOCHS
        if not self.hparams and self.warmup_step is None and self.warmup_proportion is None:
            chosen["warmup_proportion"] = _WARMUP_PROPORTION
        return super(SquadOptions, dataclasses.replace(self, **chosen)).hyperparameters(
            task_name, num_examples
        )


@script(SquadOptions)
def main(options: SquadOptions) -> None:
    """Reads the files that are needed, and runs the task."""
    from albert_tf.checkpoints.assets import folder_of
    from albert_tf.fine_tuning import question_prompt
    from albert_tf.fine_tuning.fine_tune import export, run
    from albert_tf.fine_tuning.starting_point import open_starting_point
    from albert_tf.tasks.squad.squad_task import NAMES, SquadTask
    from albert_tf.tasks.squad.windows import WindowFeatures, check_lengths, window_features
    from albert_tf.training.distribution import make_strategy

    if not (options.splits or options.interactive):
        return export(options)
    strategy = make_strategy(options)  # first: a cluster is set up before anything is computed
    with open_starting_point(options) as start:
        version, questions = _read(options, start.task)
        name, weights = NAMES[version], start.options.init_checkpoint
        chosen = start.choose(name, len(questions.get("train", ())))
        kept = _kept(options, start.task)
        check_lengths(chosen.max_seq_length, kept["max_query_length"])
        lengths = {"max_seq_length": chosen.max_seq_length}
        lengths |= {name: kept[name] for name in ("doc_stride", "max_query_length")}

        def features(split: str, file: str | None) -> WindowFeatures:
            settings = lengths | {"training": split == "train"}
            return start.features(
                file or f"{name}_{split}",
                questions[split].digest,
                settings,
                lambda: window_features(start.tokenizer, questions[split], **settings),
                WindowFeatures,
            )

        made = {}
        if "train" in questions:
            made["train"] = features("train", options.train_feature_file)
        to_answer = [split for split in ("dev", "test") if split in questions]
        if to_answer:
            made |= dict.fromkeys(to_answer, features(to_answer[0], options.predict_feature_file))
        task = SquadTask(
            version,
            questions,
            made,
            **kept,
            null_score_diff_threshold=options.null_score_diff_threshold,
            threshold_sweep=options.threshold_sweep,
            weights_folder=weights and folder_of(weights),
            **start.task_arguments(chosen),
        )
        if options.predict_file:
            task.eval_name = file_stem(options.predict_file)
        if options.interactive:
            training = start.options.training_options(chosen)
            question_prompt.run(task, start.tokenizer, lengths, training, strategy)
        else:
            todo = dataclasses.replace(start.options, do_eval="dev" in questions)
            run(task, todo, chosen, strategy)


def _kept(options: SquadOptions, earlier: dict | None) -> dict[str, int]:
    """What a task keeps of how it answers: as flags say, else as weights that are not trained say."""
    known = {} if options.do_train else earlier or {}
    given = {name: getattr(options, name) for name in _KEPT if getattr(options, name) is not None}
    return {name: known.get(name, default) for name, default in _KEPT.items()} | given


def _read(options: SquadOptions, earlier: dict | None):
    """The version, and the questions of the splits that are needed; "dev" and "test" are the same."""
    from albert_tf.tasks.squad.reading import read_squad
    from albert_tf.tasks.squad.squad_task import NAMES

    version, questions = options.version, {}
    if version is None and earlier and not options.do_train:
        version = {name: version for version, name in NAMES.items()}.get(earlier["task_name"])
    if options.do_train:
        questions["train"] = read_squad(
            options.train_file,
            version,
            training=True,
            skip_misplaced_answers=options.skip_misplaced_answers,
        )
        version = version or questions["train"].version
    if options.do_eval or options.do_predict:
        read = read_squad(options.predict_file, version)
        version = version or read.version
        if options.do_eval and not read.has_answers:
            raise InputError(f"{options.predict_file} has no answers, which --do_eval needs")
        if options.do_eval or (options.do_train and read.has_answers):
            questions["dev"] = read
        if options.do_predict:
            questions["test"] = read
    if version is None:
        raise InputError("--version is needed: there are no weights that say which version they are of")
    if version == "1.1" and options.null_score_diff_threshold is not None:
        text = "--null_score_diff_threshold is of version 2.0: in 1.1 every question is answered"
        warnings.warn(text, InputWarning, stacklevel=2)
    return version, questions


if __name__ == "__main__":
    sys.exit(main())
