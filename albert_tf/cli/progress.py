"""Progress: a bar of tqdm on a terminal, a line every few seconds in a log file."""

import sys
from typing import Any

from tqdm import tqdm

LOG_INTERVAL = 10.0  # seconds between lines if the output is not a terminal


class _Lines:
    """A stream that makes lines of tqdm's carriage returns, and writes no line twice in a row."""

    def __init__(self, stream):
        self._stream = stream
        self._last = ""

    def write(self, text: str) -> None:
        line = text.replace("\x1b[A", "").strip()
        if line and line != self._last:
            self._last = line
            self._stream.write(line + "\n")

    def flush(self) -> None:
        self._stream.flush()


def progress_bar(**arguments: Any) -> tqdm:
    """A `tqdm` bar on standard error; takes tqdm's own arguments."""
    if sys.stderr.isatty():
        return tqdm(**arguments)
    log = {"file": _Lines(sys.stderr), "mininterval": LOG_INTERVAL, "maxinterval": LOG_INTERVAL}
    return tqdm(**({"delay": 1e-6} | log | arguments))
