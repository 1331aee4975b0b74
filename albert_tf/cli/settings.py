"""The numbers that a task keeps with its weights: how texts are cut, and how answers are chosen.

Flags, tasks, models and exports take the defaults from here.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from albert_tf.cli.flags import ScriptOptions, option

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
