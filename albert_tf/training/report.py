"""What the user sees of training: the progress line, a forecast of its end, and the result files."""

import contextlib
import datetime
import io
import json
import math
import os
import pathlib
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from albert_tf.checkpoints.run_folder import RESULTS
from albert_tf.cli.options import TrainingOptions
from albert_tf.cli.text import duration, format_results, per_second, progress_bar
from albert_tf.files import appear_when_complete
from albert_tf.tasks.task import Task

REFRESH_SECONDS = 0.5
_LINE = "step {n_fmt}/{total_fmt}{postfix}, {remaining} left"  # tqdm puts a comma before the postfix
_BAR = "{percentage:3.0f}% {bar:10} " + _LINE
_Results = Mapping[str, tf.Tensor]


class TrainingProgress:
    """The progress line of training from step `first`; `means` gives the current results if it is due."""

    def __init__(self, task: Task, options: TrainingOptions, first: int, means: Callable[[], _Results]):
        self._unit = "tokens" if task.tokens_per_example else "examples"
        self._units_per_step = options.train_batch_size * (task.tokens_per_example or 1)
        self._metrics = task.progress_metrics
        self._means = means
        form = _BAR if sys.stderr.isatty() else _LINE
        self._bar = progress_bar(initial=first, total=options.num_train_steps, bar_format=form)
        self._pending = 0
        self._shown = time.monotonic()

    def advance(self, steps: int) -> bool:
        """Counts steps; returns whether the line was due."""
        self._pending += steps
        due = time.monotonic() - self._shown >= REFRESH_SECONDS
        if due:
            results = {name: float(value) for name, value in self._means().items()}
            shown = [f"loss {results['loss']:.4f}"]
            shown += [f"{short} {results[name]:.3f}" for name, short in self._metrics.items()]
            shown.append(f"lr {results['learning_rate']:.2e}")
            if steps_per_second := self._bar.format_dict["rate"]:
                shown.append(f"{steps_per_second * self._units_per_step:,.0f} {self._unit}/s")
            self._bar.set_postfix_str(" ".join(shown), refresh=False)
            self._bar.update(self._pending)
            self._pending, self._shown = 0, time.monotonic()
        return due

    def close(self) -> None:
        """Shows the last state and ends the line."""
        self._bar.update(self._pending)
        self._bar.close()


def without_orbits_prints(verbosity: str) -> contextlib.AbstractContextManager:
    """Hides what orbit prints to standard output about each loop, which the progress line says too."""
    if verbosity == "info":
        return contextlib.nullcontext()
    return contextlib.redirect_stdout(io.StringIO())


def write_results(folder: str, results: Mapping[str, Any], name: str = RESULTS) -> None:
    """Writes the same results to `<name>.txt` and `<name>.json`, each whole or not at all."""
    path = os.path.join(folder, name)
    with appear_when_complete([f"{path}.txt", f"{path}.json"]) as [as_text, as_json]:
        pathlib.Path(as_text).write_text(format_results(results), encoding="utf-8")
        pathlib.Path(as_json).write_text(
            json.dumps(results, indent=2, sort_keys=True) + "\n", encoding="utf-8"
        )


_MOST_STEPS, _LEAST_STEPS, _SHARE = 100, 10, 0.01  # of a run, to measure the rate


class Forecast:
    """Says once how long the rest of a run takes: after 100 steps, or after 1 % of a short run.

    The first call of `advance` starts the clock, because TensorFlow traces the first step, which takes long.
    `steps` is the length of the run; `seconds` and `now` are the clocks.
    """

    def __init__(
        self,
        steps: int,
        seconds: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime.datetime] = datetime.datetime.now,
    ):
        self._left = steps
        self._measured = min(_MOST_STEPS, max(_LEAST_STEPS, math.ceil(steps * _SHARE)))
        self._seconds = seconds
        self._now = now
        self._started: float | None = None
        self._counted = 0

    def advance(self, steps: int) -> str | None:
        """Counts steps; returns the line once, when the rate is known, if most of the run is left."""
        self._left -= steps
        if self._started is None:
            self._started = self._seconds()
            return None
        before, self._counted = self._counted, self._counted + steps
        if not before < self._measured <= self._counted or self._left < self._counted:
            return None
        rate = self._counted / max(self._seconds() - self._started, 1e-9)
        seconds, now = self._left / rate, self._now()
        end = now + datetime.timedelta(seconds=seconds)
        shown = f"{end:%H:%M}" if end.date() == now.date() else f"{end:%Y-%m-%d %H:%M}"
        return (
            f"by the first {self._counted:,} steps, {per_second(rate)}, "
            f"the {self._left:,} left take {duration(seconds)}, until {shown}"
        )
