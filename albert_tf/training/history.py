"""`History`: the results of a run's evaluations, kept in its folder, and which of them is the best."""

import hashlib
import math
import os
from collections.abc import Mapping
from typing import TypedDict

from albert_tf.checkpoints.run_folder import HISTORY_FILE
from albert_tf.errors import InputError
from albert_tf.files import file_exists, read_json, write_json

_LOWER_IS_BETTER = ("loss", "MSE")  # ends of the names of such metrics
_LONGEST_NAME = 60  # characters: file systems limit the length of a name


class _Stored(TypedDict):
    """The content of `history.json`."""

    data: str
    evaluations: list[dict[str, float]]


def loss_of(results: Mapping[str, float]) -> float:
    """The loss of an evaluation; 0 if it has none, as SQuAD's."""
    return results.get("loss", results.get("eval_loss", 0.0))


def rank(results: Mapping[str, float], metric: str) -> tuple[float, ...]:
    """The rank of results; the best have the largest.

    The metric decides, then the lower loss, then the later step. NaN is the worst value. A loss is better if
    it is lower; so is MSE.
    """
    value, loss = results[metric], loss_of(results)
    if metric.endswith(_LOWER_IS_BETTER):
        value = -value
    return (
        -math.inf if math.isnan(value) else value,
        -math.inf if math.isnan(loss) else -loss,
        results.get("global_step", 0),
    )


class History:
    """The evaluations of a run, in `<folder>/history.json`.

    Args:
      metric: the name of the result that decides which evaluation is the best; see `rank`.
      data: identifies the data of the evaluation; evaluations on other data are left out. Early versions of
        pretraining did not write it; their evaluations count.

    Attributes:
      evaluations: results in order of `global_step`.
      is_of_other_data: whether the folder holds evaluations, and they are on other data.
    """

    def __init__(self, folder: str, metric: str, data: str):
        self._path = os.path.join(folder, HISTORY_FILE)
        self._metric = metric
        self._data = data
        self.evaluations: list[dict[str, float]] = []
        self.is_of_other_data = False
        if file_exists(self._path):
            stored = read_json(self._path, _Stored)
            for number, results in enumerate(stored["evaluations"]):
                for key in ("global_step", metric):
                    if key not in results:
                        raise InputError(f"{self._path}: evaluations[{number}] lacks {key}")
                if not 0 <= (step := results["global_step"]) < math.inf:
                    raise InputError(f"{self._path}: evaluations[{number}].global_step is {step}, no step")
            self.is_of_other_data = bool(stored["evaluations"]) and stored["data"] not in ("", data)
            self.evaluations = [] if self.is_of_other_data else stored["evaluations"]

    def best(self) -> dict[str, float] | None:
        """The best evaluation; None if there was none."""
        return max(self.evaluations, key=lambda results: rank(results, self._metric), default=None)

    def of(self, step: int) -> dict[str, float] | None:
        """The evaluation of the weights of that step; None if there was none."""
        return next((results for results in self.evaluations if results["global_step"] == step), None)

    def is_before(self, step: int) -> bool:
        """Whether all evaluations are of earlier steps."""
        return all(results["global_step"] < step for results in self.evaluations)

    def evaluations_since_best(self) -> int:
        """The number of evaluations after the best one; a later step alone makes none better."""
        ranks = [rank(results, self._metric)[:2] for results in self.evaluations]
        return len(ranks) - 1 - ranks.index(max(ranks)) if ranks else 0

    def would_be_best(self, results: dict[str, float]) -> bool:
        """Whether these results are better than those of all other steps; NaN never is."""
        if math.isnan(results[self._metric]):
            return False
        others = [old for old in self.evaluations if old["global_step"] != results["global_step"]]
        ours = rank(results, self._metric)
        return all(ours > rank(old, self._metric) for old in others)

    def forget_after(self, step: int) -> None:
        """Drops the evaluations of later weights, which are lost."""
        self.evaluations = [results for results in self.evaluations if results["global_step"] <= step]

    def forget(self, step: int) -> None:
        """Drops the evaluation of a step whose weights are lost."""
        self.evaluations = [results for results in self.evaluations if results["global_step"] != step]

    def add(self, results: dict[str, float]) -> None:
        """Adds an evaluation, or replaces that of its step, and writes the file."""
        self.forget(int(results["global_step"]))
        self.evaluations = sorted([*self.evaluations, results], key=lambda old: old["global_step"])
        write_json(self._path, {"data": self._data, "evaluations": self.evaluations})

    def name_of_data(self, name: str) -> str:
        """Ends the names of files of an evaluation on other data: `-<name>-<8 digits of a digest>`."""
        return f"-{name[:_LONGEST_NAME]}-{hashlib.sha256(self._data.encode()).hexdigest()[:8]}"
