"""What the user sees of training: the progress line, how long it will take, the result files."""

import contextlib
import datetime
import io
import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from albert_tf.checkpoints.run_folder import RESULTS
from albert_tf.cli.progress import progress_bar
from albert_tf.cli.text import duration, format_results, per_second
from albert_tf.files import appear_when_complete

REFRESH_SECONDS = 0.5
# tqdm puts a comma before the postfix.
_LINE = "step {n_fmt}/{total_fmt}{postfix}, {remaining} left"
_BAR = "{percentage:3.0f}% {bar:10} " + _LINE


class TrainingProgress:
    """The progress line of training.

    Args:
      first_step: where this run starts.
      last_step: where it ends.
      examples_per_step: examples in a global batch.
      tokens_per_example: their positions; None where they differ, so that the rate is in examples.
      metrics: result names with the short names to show.
      results: gives the current means; called only when the line is due.
    """

    def __init__(
        self,
        *,
        first_step: int,
        last_step: int,
        examples_per_step: int,
        tokens_per_example: int | None,
        metrics: Mapping[str, str],
        results: Callable[[], Mapping[str, tf.Tensor]],
    ):
        self._unit = "tokens" if tokens_per_example else "examples"
        self._units_per_step = examples_per_step * (tokens_per_example or 1)
        self._metrics = metrics
        self._results = results
        self._bar = progress_bar(
            initial=first_step, total=last_step, bar_format=_BAR if sys.stderr.isatty() else _LINE
        )
        self._pending = 0
        self._shown = time.monotonic()

    def advance(self, steps: int) -> bool:
        """Counts steps that were done; returns whether the line was due."""
        self._pending += steps
        due = time.monotonic() - self._shown >= REFRESH_SECONDS
        if due:
            results = {name: float(value) for name, value in self._results().items()}
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
    """Orbit prints each of its loops to standard output; our progress line says the same."""
    if verbosity == "info":
        return contextlib.nullcontext()
    return contextlib.redirect_stdout(io.StringIO())


def write_results(folder: str, results: Mapping[str, Any], name: str = RESULTS) -> None:
    """Writes `<name>.txt` and the same as `<name>.json`, each whole or not at all."""
    paths = [os.path.join(folder, f"{name}{suffix}") for suffix in (".txt", ".json")]
    texts = [format_results(results), json.dumps(results, indent=2, sort_keys=True) + "\n"]
    with appear_when_complete(paths) as temporary:
        for path, text in zip(temporary, texts, strict=True):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)


_MOST_STEPS, _LEAST_STEPS, _SHARE = 100, 10, 0.01  # by which the rate is measured


class Forecast:
    """Says once how long the rest of a run takes: after 100 steps, or 1 % of a short run.

    The first call of `advance` starts the clock, because the first step is slow: it is traced.

    Args:
      steps: of this run.
      seconds: gives the time.
      now: gives date and time.
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
        """Counts steps that were done; returns the line when it is due and worth it."""
        self._left -= steps
        if self._started is None:
            self._started = self._seconds()
            return None
        before, self._counted = self._counted, self._counted + steps
        if not before < self._measured <= self._counted or self._left < self._counted:
            return None
        rate = self._counted / max(self._seconds() - self._started, 1e-9)
        seconds = self._left / rate
        now = self._now()
        end = now + datetime.timedelta(seconds=seconds)
        shown = f"{end:%H:%M}" if end.date() == now.date() else f"{end:%Y-%m-%d %H:%M}"
        return (
            f"by the first {self._counted:,} steps, {per_second(rate)}, "
            f"the {self._left:,} left take {duration(seconds)}, until {shown}"
        )
