"""One loop for every task: train, evaluate, keep the best, continue where it stopped."""

import contextlib
from collections.abc import Iterator

import tensorflow as tf

from albert_tf.errors import InputError
from albert_tf.flags import flags_of
from albert_tf.options import TrainingOptions
from albert_tf.tasks.task import Task
from albert_tf.text import aligned, format_results, say
from albert_tf.training.distribution import check_batch_size, make_strategy
from albert_tf.training.dry_run import try_steps
from albert_tf.training.run import Run
from albert_tf.training.workers import (
    check_same_flags,
    check_same_weights,
    interruptible,
    lost_workers,
    run_folder,
    watched,
    words,
)

# What TensorFlow raises for records that it cannot read or use.
_READING_ERRORS = (
    tf.errors.DataLossError,
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.OutOfRangeError,
)


def run(
    task: Task, options: TrainingOptions, strategy: tf.distribute.Strategy | None = None
) -> dict[str, float]:
    """Trains and evaluates a task as the options say.

    Weights come from the newest checkpoint in `output_dir`, else from `init_checkpoint`, else fresh.
    Checkpoints are `output_dir`/model.ckpt-<step>; the best by the task's metric is model.ckpt-best.

    Args:
      task: what to train.
      options: how.
      strategy: the devices; default: those the options ask for.

    Returns:
      The results of the last evaluation, empty if there was none.

    Raises:
      InputError: bad flags or data, or training that diverged.
    """
    if not (options.do_train or options.do_eval):
        raise InputError("nothing to do: neither --do_train nor --do_eval is given")
    task.check_inputs()
    strategy = strategy or make_strategy(options)
    with (
        words(options.output_dir, strategy, options.dry_run),
        open_run(task, options, strategy) as this_run,
    ):
        this_run.find_weights()
        check_same_weights(strategy, this_run.variables)
        if options.dry_run:
            say(aligned(try_steps(this_run)))
            return {}
        if options.do_train:
            this_run.train()
        if options.do_eval and not this_run.results:
            this_run.evaluate()
        this_run.say_where_all_is()
        if this_run.results:
            print(format_results(this_run.results), end="")
    return this_run.results


@contextlib.contextmanager
def open_run(task: Task, options: TrainingOptions, strategy: tf.distribute.Strategy) -> Iterator[Run]:
    """Checks flags and folder, and gives the `Run`; errors of TensorFlow in the block get one line."""
    if options.do_train:
        check_batch_size(
            "train_batch_size", options.train_batch_size, strategy, options.gradient_accumulation_steps
        )
    if options.do_eval:
        check_batch_size("eval_batch_size", options.eval_batch_size, strategy)
    try:
        with (
            watched(strategy),
            interruptible(strategy) as check_interrupted,
            run_folder(options.output_dir, strategy, options.dry_run) as folder,
        ):
            settings = task.training_settings() if options.do_train else {}
            check_same_flags(strategy, flags_of(options) | settings)
            with contextlib.closing(Run(task, options, strategy, folder, check_interrupted)) as this_run:
                yield this_run
                check_same_weights(strategy, this_run.variables)
                check_interrupted()
    except tf.errors.OpError as error:
        is_of_reading = isinstance(error, _READING_ERRORS)
        lost = "" if is_of_reading else lost_workers(strategy)
        if lost:
            raise InputError(
                f"no answer any more from {lost}; the same command for all workers continues from the last "
                "checkpoint"
            ) from error
        if options.verbosity == "info":
            raise
        problem = task.explain_bad_record() if is_of_reading else None
        raise InputError(problem or f"TensorFlow: {_reason(error)}") from error


def _reason(error: tf.errors.OpError) -> str:
    """The line of TensorFlow's message that says what is wrong, without where it came about."""
    context = (
        "Graph execution error",
        "Detected at",
        "File ",
        "[[",
        "(",
        "Stack trace",
        "The error could be from",
    )
    lines = [line.strip() for line in error.message.splitlines()]
    told = [line for line in lines if line and not line.startswith(context)]
    return told[-1] if told else error.message
