"""`--dry_run`: all but training. Two steps on the largest batches, an evaluation step, and what they took."""

import resource
import time
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from albert_tf.text import duration
from albert_tf.training.run import Run


def try_steps(run: Run, others: Mapping[str, Callable[[], Any]] | None = None) -> dict[str, str]:
    """Runs the steps that a run would run, each kind on the largest batch that it can come to.

    Args:
      run: made with `dry_run`, with its weights; those in memory change, nothing is written.
      others: what else is to be tried, by name.

    Returns:
      What the steps took, by name.
    """
    options, facts = run.options, {"dry run": f"nothing is written to {run.folder}"}
    left = options.num_train_steps - run.step
    if run.trainer and left > 0:
        first = _seconds(lambda: run.trainer.train(tf.constant(1)))
        second = _seconds(lambda: run.trainer.train(tf.constant(1)))
        facts["training step"] = f"{duration(second)}, the first one {duration(first)}"
        without = ", without evaluations" if options.do_eval else ""
        facts["training"] = f"at most {duration(left * second)} for {left:,} steps{without}"
    if run.evaluator:
        facts["evaluation step"] = duration(_seconds(run.evaluator.try_one_batch))
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
