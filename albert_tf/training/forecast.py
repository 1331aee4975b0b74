"""How long training will take, by the rate of its first steps."""

import datetime
import math
import time
from collections.abc import Callable

from albert_tf.text import duration, per_second

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
