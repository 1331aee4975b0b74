"""One loop for every task: train, evaluate, keep the best, continue where it stopped."""

import contextlib
from collections.abc import Iterator

import tensorflow as tf

from albert_tf.errors import InputError
from albert_tf.options import TrainingOptions
from albert_tf.tasks.task import Task
from albert_tf.training.distribution import check_batch_size, make_strategy, worker_folder
from albert_tf.training.folder import own_folder
from albert_tf.training.report import format_results, say
from albert_tf.training.run import Run

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
    with open_run(task, options, strategy) as this_run:
        this_run.find_weights()
        if options.do_train:
            this_run.train()
        if options.do_eval and not this_run.results:
            this_run.evaluate()
        say(f"checkpoints, results and TensorBoard scalars are in {this_run.folder}")
    if this_run.results:
        print(format_results(this_run.results), end="")
    return this_run.results


@contextlib.contextmanager
def open_run(
    task: Task, options: TrainingOptions, strategy: tf.distribute.Strategy | None = None
) -> Iterator[Run]:
    """Checks flags, data and folder, and gives the `Run`; errors of TensorFlow in the block get one line."""
    task.check_inputs()
    strategy = strategy or make_strategy(options)
    if options.do_train:
        check_batch_size(
            "train_batch_size", options.train_batch_size, strategy, options.gradient_accumulation_steps
        )
    if options.do_eval:
        check_batch_size("eval_batch_size", options.eval_batch_size, strategy)
    folder = worker_folder(options.output_dir, strategy)
    try:
        with own_folder(folder):
            yield Run(task, options, strategy, folder)
    except tf.errors.OpError as error:
        if options.verbosity == "info":
            raise
        problem = None
        if isinstance(error, _READING_ERRORS):
            problem = task.explain_bad_record()
        raise InputError(problem or f"TensorFlow: {_reason(error)}") from error


def _reason(error: tf.errors.OpError) -> str:
    """The line of TensorFlow's message that says what is wrong, without where it came about."""
    context = ("Graph execution error", "Detected at", "File ", "[[", "(", "Stack trace")
    lines = [line.strip() for line in error.message.splitlines()]
    told = [line for line in lines if line and not line.startswith(context)]
    return told[-1] if told else error.message
