"""One progress line over all stages and workers of a run."""

import time

from albert_tf.progress import progress_bar


class RunProgress:
    """A bar in seconds of expected work, so that stages of different speed share it.

    Example:
      with RunProgress({"tokenizing": 120.0, "writing": 30.0}) as progress:
          progress.begin("tokenizing", total=size)
          progress.advance(1 << 20, pieces=250_000)

    Args:
      seconds: stage -> how long it is expected to take.
    """

    def __init__(self, seconds: dict[str, float]):
        self._seconds = {stage: max(time, 1e-3) for stage, time in seconds.items()}
        self._bar = progress_bar(
            total=sum(self._seconds.values()),
            bar_format="{desc} {percentage:3.0f}%|{bar:30}| {elapsed}, {remaining} left{postfix}",
        )
        self._end = 0.0  # of the stage, where the bar is then

    def __enter__(self) -> "RunProgress":
        return self

    def __exit__(self, *error) -> None:
        if error[0] is None:
            self._bar.update(self._bar.total - self._bar.n)
        self._bar.close()

    def begin(self, stage: str, total: float, share: float = 1.0) -> None:
        """Goes on to a stage, or to a share of it, whose work comes to `total` of some unit."""
        begin = self._end
        self._stage, self._total = share * self._seconds[stage], max(total, 1)
        self._end = begin + self._stage
        self._started, self._pieces = time.monotonic(), 0
        self._bar.set_description_str(stage, refresh=False)
        self._bar.set_postfix_str("", refresh=False)
        self._bar.update(begin - self._bar.n)

    def advance(self, work: float, pieces: int) -> None:
        """Counts some work of the stage, in which `pieces` were done."""
        self._pieces += pieces
        rate = self._pieces / max(time.monotonic() - self._started, 1e-9)
        self._bar.set_postfix_str(f"{rate:,.0f} pieces/s", refresh=False)
        self._bar.update(min(self._stage * work / self._total, self._end - self._bar.n))
