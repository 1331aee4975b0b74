"""The numbers that a task keeps with its weights: how texts are cut, and how answers are chosen.

Each number has its default here, and nowhere else: flags, tasks, models and exports take it from here.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from albert_tf.cli.flags import ScriptOptions, option

MASK_GUESSES = 5  # for each [MASK], by an export of a pretrained model


@dataclasses.dataclass(frozen=True)
class SquadSettings:
    """How SQuAD's contexts are cut into windows, and how the answer to a question is chosen."""

    doc_stride: int = option(128, at_least=1, help="pieces from one window of a long context to the next")
    max_query_length: int = option(64, at_least=1, help="pieces of a question at most; its beginning is kept")
    n_best_size: int = option(
        20,
        at_least=1,
        help="answers to each question in nbest_predictions.json; in version 1.1 also the number of starts "
        "and of ends that are considered in a window",
    )
    max_answer_length: int = option(30, at_least=1, help="pieces of an answer at most")
    start_n_top: int = option(5, at_least=1, help="version 2.0: starts in the beam")
    end_n_top: int = option(5, at_least=1, help="version 2.0: ends in the beam for each start")


@dataclasses.dataclass(frozen=True)
class RaceSettings:
    """How RACE's questions are cut."""

    max_qa_length: int = option(
        128, at_least=1, help="pieces of question and option together at most; their end is kept"
    )


_Settings = TypeVar("_Settings", SquadSettings, RaceSettings)


def kept_option(settings: type[SquadSettings] | type[RaceSettings], name: str, prefix: str = "") -> Any:
    """The flag for a setting; None, its default, stands for what the weights keep.

    Args:
      settings: the class of the setting.
      name: of the setting.
      prefix: stands before the help text, such as "race: ".
    """
    [field] = [field for field in dataclasses.fields(settings) if field.name == name]
    text = f"{prefix}{field.metadata['help']} (default: as trained, else {field.default})"
    return option(None, at_least=field.metadata["at_least"], help=text)


def settings_from(kind: type[_Settings], options: ScriptOptions, kept: Mapping[str, Any] | None) -> _Settings:
    """Each setting as its flag says, else as it was kept with the weights, else its default.

    Args:
      kind: the class of the settings.
      options: with a flag for each setting.
      kept: what the weights say of their task; None if they say nothing or are trained further.
    """
    names = [field.name for field in dataclasses.fields(kind)]
    known = {name: kept[name] for name in names if name in kept} if kept else {}
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    return kind(**known | given)
