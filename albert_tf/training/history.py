"""`History`: what the evaluations of a run gave, kept in its folder."""

import json
import math
import os
from typing import Any

import tensorflow as tf

from albert_tf.errors import InputError
from albert_tf.files import write_text

HISTORY_FILE = "history.json"


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
        if tf.io.gfile.exists(self._path):
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
        content = {"data": self._data, "evaluations": self.evaluations}
        write_text(self._path, json.dumps(content, indent=1))

    def _read(self) -> dict[str, Any]:
        try:
            with tf.io.gfile.GFile(self._path) as file:
                stored = json.load(file)
            for results in stored["evaluations"]:
                if not all(isinstance(results[key], int | float) for key in ("global_step", self._metric)):
                    raise TypeError(results)
            return {"data": stored["data"], "evaluations": stored["evaluations"]}
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{self._path} is no history of this run's evaluations: {error!r}") from None
