"""One loop for every task: train, evaluate, keep the best, continue where it stopped; or a dry run."""

import contextlib
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from albert_tf.cli.flags import flags_of
from albert_tf.cli.options import TrainingOptions
from albert_tf.cli.text import aligned, duration, format_results, say
from albert_tf.errors import InputError
from albert_tf.tasks.task import Task
from albert_tf.training.distribution import check_batch_size, make_strategy
from albert_tf.training.session import Session
from albert_tf.training.workers import Workers, workers_of

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

    Weights come from the folder `output_dir`: training continues from the newest checkpoint, an evaluation
    takes the best one, else the newest. If there is none they come from `init_checkpoint`, or are fresh.
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
    workers = workers_of(strategy)
    with (
        workers.words(options.output_dir, options.dry_run),
        open_session(task, options, strategy, workers) as session,
    ):
        session.find_weights()
        if options.dry_run:
            say(aligned(try_steps(session)))
            return {}
        if options.do_train:
            session.train()
        if options.do_eval and (session.suffix or not options.do_train):
            session.evaluate_saved()
        elif options.do_eval and not session.results:
            session.evaluate()
        session.say_where_all_is()
        if session.results:
            print(format_results(session.results), end="")
    return session.results


@contextlib.contextmanager
def open_session(
    task: Task, options: TrainingOptions, strategy: tf.distribute.Strategy, workers: Workers
) -> Iterator[Session]:
    """Checks flags and folder, and gives the `Session`; errors of TensorFlow in the block get one line."""
    if options.do_train:
        check_batch_size(
            "train_batch_size", options.train_batch_size, strategy, options.gradient_accumulation_steps
        )
    if options.do_eval:
        check_batch_size("eval_batch_size", options.eval_batch_size, strategy)
    try:
        with (
            workers.watched(),
            workers.interruptible() as check_interrupted,
            workers.run_folder(options.output_dir, options.dry_run) as folder,
        ):
            settings = task.training_settings() if options.do_train else {}
            workers.check_same_flags(flags_of(options) | settings)
            with contextlib.closing(
                Session(task, options, strategy, workers, folder, check_interrupted)
            ) as session:
                yield session
                workers.check_same_weights(session.variables)
                check_interrupted()
    except tf.errors.OpError as error:
        is_of_reading = isinstance(error, _READING_ERRORS)
        lost = "" if is_of_reading else workers.lost()
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


def try_steps(session: Session, others: Mapping[str, Callable[[], Any]] | None = None) -> dict[str, str]:
    """Runs the steps that a run would run, each kind on the largest batch that it can come to.

    Args:
      session: made with `dry_run`, with its weights; those in memory change, nothing is written.
      others: what else is to be tried, by name.

    Returns:
      What the steps took, by name.
    """
    options, facts = session.options, {"dry run": f"nothing is written to {session.folder}"}
    left = options.num_train_steps - session.step
    if (trainer := session.trainer) and left > 0:
        first, second = (_seconds(lambda: trainer.train(tf.constant(1))) for _ in range(2))
        facts["training step"] = f"{duration(second)}, the first one {duration(first)}"
        without = ", without evaluations" if options.do_eval else ""
        facts["training"] = f"at most {duration(left * second)} for {left:,} steps{without}"
    if session.evaluator:
        facts["evaluation step"] = duration(_seconds(session.evaluator.try_one_batch))
    for name, step in (others or {}).items():
        facts[name] = duration(_seconds(step))
    return facts | _peak_memory()


def _seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _peak_memory() -> dict[str, str]:
    process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    shown = [f"{process / 1e9:.2f} GB of this process"]
    for device in tf.config.list_logical_devices():
        if device.device_type in ("GPU", "TPU"):
            peak = tf.config.experimental.get_memory_info(device.name)["peak"]
            shown.append(f"{peak / 1e9:.2f} GB of {device.device_type}:{device.name.rpartition(':')[2]}")
    return {"peak memory": ", ".join(shown)}
