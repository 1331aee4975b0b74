"""Command-line flags as the fields of frozen dataclasses, and the groups that several scripts share.

A script's flags are one dataclass: the field's name is the flag, its annotation the type, `option` gives
default and help. The same object is what the library takes, so a script and a Python caller pass the
same thing. Nothing here imports TensorFlow.
"""

import dataclasses
import inspect
import os
import types
import typing
from collections.abc import Sequence
from typing import Any

from absl import flags as absl_flags


class UsageError(Exception):
    """A flag that is unknown, missing or out of range."""


class HelpRequested(Exception):
    """`--help` was given; the text is the message."""


def option(
    default: Any = dataclasses.MISSING,
    *,
    help: str,
    choices: Sequence[str] | None = None,
    at_least: float | None = None,
    below: float | None = None,
) -> Any:
    """A dataclass field that is also a flag; without a default the flag is required."""
    metadata = {"help": help, "choices": choices, "at_least": at_least, "below": below}
    return dataclasses.field(default=default, metadata=metadata, kw_only=True)


@dataclasses.dataclass(frozen=True)
class ScriptOptions:
    """What every script understands."""

    verbosity: str = option(
        "error",
        help="what is logged besides the progress: errors, also warnings, or everything",
        choices=("error", "warning", "info"),
    )

    def __post_init__(self):
        for field in dataclasses.fields(self):
            _check_range(field, getattr(self, field.name))


def parse(options_class: type[ScriptOptions], argv: Sequence[str]) -> Any:
    """The options that `argv` (program name first) asks for.

    Raises:
      UsageError: a flag is unknown, missing or out of range, or an argument is not a flag.
      HelpRequested: `--help` is among the arguments.
    """
    program = os.path.basename(argv[0])
    values = absl_flags.FlagValues()
    fields = {f.name: f for f in dataclasses.fields(options_class) if f.metadata}
    annotations = typing.get_type_hints(options_class)
    for name, field in fields.items():
        _define(values, name, annotations[name], field, program)
    absl_flags.DEFINE_boolean("help", False, "show this text", flag_values=values, module_name=program)
    try:
        rest = values(list(argv))
    except absl_flags.Error as error:
        raise UsageError(_explain(str(error), options_class)) from None
    if values.help:
        raise HelpRequested(f"{inspect.getdoc(options_class)}\n{values.get_help()}")
    if len(rest) > 1:
        raise UsageError(f"'{rest[1]}' is not a flag: flags are written --name=value")
    missing = [f"--{n}" for n, f in fields.items() if _is_required(f) and not values[n].present]
    if missing:
        raise UsageError(f"missing required flag {', '.join(missing)}")
    given = {name: values[name].value for name in fields}
    return options_class(**{n: tuple(v) if isinstance(v, list) else v for n, v in given.items()})


def _define(values, name: str, annotation: Any, field: dataclasses.Field, program: str) -> None:
    kind = annotation
    if isinstance(annotation, types.UnionType):
        kind = next(a for a in typing.get_args(annotation) if a is not type(None))
    required = _is_required(field)
    default = None if required else field.default
    text = field.metadata["help"] + (" (required)" if required else "")
    where = {"flag_values": values, "module_name": program}
    if typing.get_origin(kind) is tuple:
        absl_flags.DEFINE_list(name, default, text, **where)
    elif field.metadata["choices"]:
        absl_flags.DEFINE_enum(name, default, field.metadata["choices"], text, **where)
    else:
        define = {
            str: absl_flags.DEFINE_string,
            int: absl_flags.DEFINE_integer,
            float: absl_flags.DEFINE_float,
            bool: absl_flags.DEFINE_boolean,
        }[kind]
        define(name, default, text, **where)


def _is_required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING


def _check_range(field: dataclasses.Field, value: Any) -> None:
    at_least, below = field.metadata.get("at_least"), field.metadata.get("below")
    if value is None:
        return
    if at_least is not None and not value >= at_least:
        raise UsageError(f"--{field.name} must be at least {at_least}, not {value}")
    if below is not None and not value < below:
        raise UsageError(f"--{field.name} must be below {below}, not {value}")
    choices = field.metadata.get("choices")
    if choices and value not in choices:
        raise UsageError(f"--{field.name} must be one of {', '.join(choices)}, not {value}")


def _explain(message: str, options_class: type[ScriptOptions]) -> str:
    """Adds what took the place of a flag of the original release that is gone."""
    for old, advice in getattr(options_class, "REPLACED_FLAGS", {}).items():
        if f"'{old}'" in message or f"'no{old}'" in message:
            return f"--{old} of the original release is gone: {advice}"
    return message
