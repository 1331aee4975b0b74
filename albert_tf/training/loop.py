"""One loop for every task: train, evaluate, keep the best, continue after a stop; or a dry run."""

import contextlib
import resource
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from albert_tf import html_report
from albert_tf.cli.flags import flags_of
from albert_tf.cli.options import TrainingOptions
from albert_tf.cli.text import aligned, duration, format_results, say
from albert_tf.errors import InputError
from albert_tf.tasks.task import Task
from albert_tf.training.distribution import check_batch_size, make_strategy
from albert_tf.training.memory import freed_graphs
from albert_tf.training.run_report import notes_on_loss, write_run_report
from albert_tf.training.scalars import training_losses
from albert_tf.training.session import Session
from albert_tf.training.workers import Workers, workers_of

# TensorFlow raises these for records that it cannot read or use; the last one comes if its message holds the
# bytes of a record, which are not UTF-8.
_READING_ERRORS = (
    tf.errors.DataLossError,
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.OutOfRangeError,
    UnicodeDecodeError,
)
# Lines of TensorFlow's messages that begin so say where an error arose, not what is wrong.
_CONTEXT = ("Graph execution error", "Detected at", "File ", "[[", "(", "Stack trace", "The error could be")


def run(
    task: Task, options: TrainingOptions, strategy: tf.distribute.Strategy | None = None
) -> dict[str, float]:
    """Trains and evaluates a task as the options say; returns the results of the last evaluation, if any.

    The weights are in the folder `output_dir`: training continues from its newest checkpoint, an evaluation
    takes its best one, else its newest. If there is none, they come from `init_checkpoint`, or are fresh.
    Checkpoints are `output_dir`/model.ckpt-<step>; the best by the task's metric is model.ckpt-best. By
    default the options choose the strategy. Raises `InputError` if data are bad or training diverges.
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
            try_steps(session)
            return {}
        if options.do_train:
            session.train()
        if options.do_eval and (session.suffix or not options.do_train):
            session.evaluate_saved()
        elif options.do_eval and not session.results:
            session.evaluate()
        metrics = {name: value for name, value in session.results.items() if name != "global_step"}
        losses = training_losses(session.folder)
        notes = notes_on_loss(session, losses)
        results = html_report.results({"": metrics}, notes=notes)
        session.say_where_all_is(write_run_report(session, "Report of the training", losses, results))
        for note in notes:
            say(note)
        if session.results:
            print(format_results(session.results), end="")
    return session.results


@contextlib.contextmanager
def open_session(
    task: Task, options: TrainingOptions, strategy: tf.distribute.Strategy, workers: Workers
) -> Iterator[Session]:
    """Checks flags and folder and yields the `Session`; turns TensorFlow's errors into one line."""
    if options.do_train:
        parts = options.gradient_accumulation_steps
        check_batch_size("train_batch_size", options.train_batch_size, strategy, parts)
    if options.do_eval:
        check_batch_size("eval_batch_size", options.eval_batch_size, strategy)
    try:
        with (
            freed_graphs(),
            workers.watched(),
            workers.interruptible() as check_interrupted,
            workers.run_folder(options.output_dir, options.dry_run) as folder,
        ):
            settings = task.training_settings() if options.do_train else {}
            workers.check_same_flags(flags_of(options) | settings)
            session = Session(task, options, strategy, workers, folder, check_interrupted)
            with contextlib.closing(session):
                yield session
                workers.check_same_weights(session.variables)
                check_interrupted()
    except (tf.errors.OpError, UnicodeDecodeError) as error:
        is_of_reading = isinstance(error, _READING_ERRORS)
        if lost := "" if is_of_reading else workers.lost():
            advice = "the same command for all workers continues from the last checkpoint"
            raise InputError(f"no answer any more from {lost}; {advice}") from error
        if options.verbosity == "info":
            traceback.print_exc()
        problem = task.explain_bad_record() if is_of_reading else None
        if isinstance(error, UnicodeDecodeError) and not problem:
            raise
        message = getattr(error, "message", "")
        lines = [line.strip() for line in message.splitlines()]
        told = [line for line in lines if line and not line.startswith(_CONTEXT)]
        raise InputError(problem or f"TensorFlow: {told[-1] if told else message}") from error


def try_steps(session: Session, others: dict[str, Callable[[], Any]] | None = None) -> None:
    """Runs a step of each kind, and of `others` by name, on its largest batch; shows time and memory.

    It changes the weights in memory and writes nothing.
    """
    options, facts = session.options, {"dry run": f"nothing is written to {session.folder}"}
    left = options.num_train_steps - session.step
    if (trainer := session.trainer) and left > 0:
        first, second = (_seconds(lambda: trainer.train(tf.constant(1))) for _ in range(2))
        facts["training step"] = f"{duration(second)}, the first one {duration(first)}"
        without = ", without evaluations" if options.do_eval else ""
        facts["training"] = f"at most {duration(left * second)} for {left:,} steps{without}"
    if session.evaluator:
        others = {"evaluation step": session.evaluator.try_one_batch} | (others or {})
    facts |= {name: duration(_seconds(step)) for name, step in (others or {}).items()}
    used = [f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9:.2f} GB of this process"]
    for device in tf.config.list_logical_devices():
        if device.device_type in ("GPU", "TPU"):
            peak = tf.config.experimental.get_memory_info(device.name)["peak"]
            used.append(f"{peak / 1e9:.2f} GB of {device.device_type}:{device.name.rpartition(':')[2]}")
    say(aligned(facts | {"peak memory": ", ".join(used)}))


def _seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
