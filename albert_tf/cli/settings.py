"""The numbers that a task keeps with its weights: how texts are cut, and how answers are chosen.

Flags, tasks, models and exports take the defaults from here.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, TypeVar

from albert_tf.cli.flags import ScriptOptions, UsageError, option

MASK_GUESSES = 5  # for each [MASK], by an export of a pretrained model


@dataclasses.dataclass(frozen=True)
class SquadSettings:
    """How contexts of SQuAD are cut into windows, and how the answer to a question is chosen."""

    doc_stride: int = option(128, at_least=1, help="pieces from one window of a long context to the next")
    max_query_length: int = option(64, at_least=1, help="the most pieces of a question; its start is kept")
    n_best_size: int = option(
        20,
        at_least=1,
        help="answers to each question in nbest_predictions.json; in version 1.1 also the number of starts "
        "and of ends that are considered in a window",
    )
    max_answer_length: int = option(30, at_least=1, help="the most pieces of an answer")
    start_n_top: int = option(5, at_least=1, help="version 2.0: starts in the beam")
    end_n_top: int = option(5, at_least=1, help="version 2.0: ends in the beam for each start")


@dataclasses.dataclass(frozen=True)
class RaceSettings:
    """How questions of RACE are cut."""

    max_qa_length: int = option(128, at_least=1, help="the most pieces of question and option; ends are kept")


@dataclasses.dataclass(frozen=True)
class ExitRule:
    """When a model with a head behind each layer is sure of its answer, and computes no further layer.

    Attributes:
      kind: "patience": the answers of `value` layers in a row equal that of the layer before, scores but for
        `tolerance` (Zhou et al. 2020). "entropy": the entropy of the probabilities, as a share of the largest
        possible one, is at most `value` (Xin et al. 2020). "budget": by entropy, with the threshold by which
        the examples of the dev split use this share of all layers.
    """

    kind: str
    value: float
    tolerance: float = 0.0

    @classmethod
    def parse(cls, text: str, has_classes: bool) -> "ExitRule":
        """Reads `patience:3`, `entropy:0.2` or `budget:0.5`, for scores `patience:3:0.1`; else UsageError."""
        kind, *words = text.split(":")
        try:
            value, tolerance = (*map(float, words), 0.0)[:2]
        except ValueError:
            value = tolerance = math.nan
        smallest, largest = {"patience": (1, math.inf), "entropy": (0, 1), "budget": (0, 1)}.get(kind, (1, 0))
        is_right = smallest <= value <= largest and (kind != "patience" or value == int(value))
        if not is_right or len(words) > (1 if has_classes else 2):
            raise UsageError(f"--exit must be {_RULES[has_classes]}, not {text}")
        if not has_classes and not (kind == "patience" and len(words) == 2 and 0 <= tolerance < math.inf):
            raise UsageError(f"--exit of a model for scores must be {_RULES[False]}, not {text}")
        return cls(kind, value, tolerance)

    def __str__(self) -> str:
        return f"{self.kind}:{self.value:g}" + (f":{self.tolerance:g}" if self.tolerance else "")


_RULES = {
    True: "patience:N, entropy:SHARE or budget:SHARE, such as patience:3, entropy:0.2 or budget:0.5",
    False: "patience:N:TOLERANCE, such as patience:3:0.1",
}


_Settings = TypeVar("_Settings", SquadSettings, RaceSettings)


def kept_option(settings: type[SquadSettings] | type[RaceSettings], name: str, prefix: str = "") -> Any:
    """The flag of a setting; its default, None, stands for what the weights keep.

    `prefix` begins the help text, for example "race: ".
    """
    [field] = [field for field in dataclasses.fields(settings) if field.name == name]
    text = f"{prefix}{field.metadata['help']} (default: as trained, else {field.default})"
    return option(None, at_least=field.metadata["at_least"], help=text)


def settings_from(kind: type[_Settings], options: ScriptOptions, kept: Mapping[str, Any] | None) -> _Settings:
    """The settings: flags override what the weights keep, and that overrides the defaults.

    `kept` is what the weights tell of their task; None if they tell nothing or are trained further.
    """
    names = [field.name for field in dataclasses.fields(kind)]
    known = {name: kept[name] for name in names if name in kept} if kept else {}
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    return kind(**known | given)
