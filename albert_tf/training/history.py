"""`History`: what the evaluations of a run gave, kept in its folder."""

import math
import os
from typing import TypedDict

from albert_tf.errors import InputError
from albert_tf.files import file_exists, read_json, write_json

HISTORY_FILE = "history.json"


class _Stored(TypedDict):
    """What the file holds: what was evaluated on, and the results."""

    data: str
    evaluations: list[dict[str, float]]


class History:
    """The evaluations of a run by step, in `<folder>/history.json`.

    Args:
      folder: the run's.
      metric: the result, higher is better, that decides which evaluation is best.
      data: what is evaluated on; evaluations on other data are left out.

    Attributes:
      evaluations: their results in order of `global_step`.
    """

    def __init__(self, folder: str, metric: str, data: str):
        self._path = os.path.join(folder, HISTORY_FILE)
        self._metric = metric
        self._data = data
        self.evaluations: list[dict[str, float]] = []
        if file_exists(self._path):
            stored = self._read()
            self.evaluations = stored["evaluations"] if stored["data"] == data else []

    def best(self) -> dict[str, float] | None:
        """The best evaluation, the first of equals; None if there was none."""
        return max(self.evaluations, key=lambda results: results[self._metric], default=None)

    def holds(self, step: int) -> bool:
        """Whether the weights of that step were evaluated."""
        return any(results["global_step"] == step for results in self.evaluations)

    def evaluations_since_best(self) -> int:
        """How many evaluations in a row brought nothing better."""
        best = self.best()
        return len(self.evaluations) - 1 - self.evaluations.index(best) if best else 0

    def would_be_best(self, results: dict[str, float]) -> bool:
        """Whether these results are better than all before; not a number is never."""
        best = self.best()
        value = results[self._metric]
        return not math.isnan(value) and (best is None or value > best[self._metric])

    def forget_after(self, step: int) -> None:
        """Drops evaluations of weights that are lost."""
        self.evaluations = [results for results in self.evaluations if results["global_step"] <= step]

    def add(self, results: dict[str, float]) -> None:
        """Adds an evaluation and writes the file, whole or not at all."""
        others = [old for old in self.evaluations if old["global_step"] != results["global_step"]]
        self.evaluations = sorted([*others, results], key=lambda old: old["global_step"])
        write_json(self._path, {"data": self._data, "evaluations": self.evaluations})

    def _read(self) -> _Stored:
        stored = read_json(self._path, _Stored)
        for number, results in enumerate(stored["evaluations"]):
            for key in ("global_step", self._metric):
                if key not in results:
                    raise InputError(f"{self._path}: evaluations[{number}] lacks {key}")
        return stored
