"""Command-line flags as the fields of frozen dataclasses.

A script's flags are one dataclass: the name of a field is the flag, its annotation the type, and `option`
gives default and help. The library takes the same object. Nothing here imports TensorFlow.
"""

import dataclasses
import inspect
import math
import os
import types
import typing
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags as absl_flags

from albert_tf.errors import InputWarning

_LARGEST = 2**31 - 1  # the largest whole number: TensorFlow often counts in int32


class UsageError(Exception):
    """A flag that is unknown, missing or out of range."""


@dataclasses.dataclass(frozen=True)
class FormerFlag:
    """A flag of the original release, or of an earlier version, that does nothing.

    Attributes:
      reason: why it does nothing.
      is_accepted: whether scripts accept it with a warning; if not, an error gives the reason.
      replaced_by: the flag that does its work; only scripts with that flag mention the reason.
    """

    reason: str
    is_accepted: bool = False
    replaced_by: str | None = None


FORMER_FLAGS = {
    "best": FormerFlag("the folder of a run means its best checkpoint", is_accepted=True),
    "input_file_mode": FormerFlag("text is always read as UTF-8", is_accepted=True),
    "predict_feature_left_file": FormerFlag("the features hold what the file held", is_accepted=True),
    "use_einsum": FormerFlag("every projection is a plain matrix product", is_accepted=True),
    "masked_lm_budget": FormerFlag("it never worked"),
    "max_temp_gb": FormerFlag(
        "temporary files have no limit; put them on a larger disk by --temp_dir", replaced_by="temp_dir"
    ),
    "master": FormerFlag("use --tpu_name with the address", replaced_by="tpu_name"),
    "num_tpu_cores": FormerFlag("all cores of the TPU are used", replaced_by="tpu_name"),
    "use_tpu": FormerFlag("use --distribution_strategy=tpu with --tpu_name", replaced_by="tpu_name"),
}


class HelpRequested(Exception):
    """`--help` was given; the text is the message."""


def option(
    default: Any = dataclasses.MISSING,
    *,
    help: str,
    choices: Sequence[str] | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    commas: bool = True,
    alias: str | None = None,
    is_weights: bool = False,
) -> Any:
    """A dataclass field that is also a flag; without a default the flag is required.

    `at_least` is the smallest allowed number, `at_most` the largest, `commas` says whether commas separate
    the values of a flag that takes several, and `alias` is another name of the flag. `is_weights` says that
    names of published weights are taken, too.
    """
    bounds = {"at_least": at_least, "at_most": at_most}
    metadata = {"help": help, "choices": choices, "commas": commas, "alias": alias, **bounds}
    metadata["is_weights"] = is_weights
    return dataclasses.field(default=default, metadata=metadata, kw_only=True)


def former_option(name: str, *, choices: Sequence[str] | None = None) -> Any:
    """The field of an accepted flag of `FORMER_FLAGS`; its default is None."""
    return option(None, help=f"does nothing: {FORMER_FLAGS[name].reason}", choices=choices)


@dataclasses.dataclass(frozen=True)
class ScriptOptions:
    """The flags of every script."""

    verbosity: str = option(
        "error",
        help="what to log beside the progress: errors only, warnings too, or everything",
        choices=("error", "warning", "info"),
    )
    command: str | None = dataclasses.field(default=None, kw_only=True, compare=False)  # as it was typed

    def __post_init__(self):
        for field in dataclasses.fields(self):
            _check_range(field, getattr(self, field.name))

    @property
    def needed_paths(self) -> tuple[str, ...]:
        """The names of the flags whose files and folders the script will read, if they are given."""
        return ()


def flags_of(options: ScriptOptions) -> dict[str, Any]:
    """The values of the flags by name."""
    return {f.name: getattr(options, f.name) for f in dataclasses.fields(options) if f.metadata}


def warn_of_former_flags(options: ScriptOptions) -> None:
    """Warns of each given flag that does nothing."""
    for name, value in flags_of(options).items():
        if name in FORMER_FLAGS and value is not None:
            reason = FORMER_FLAGS[name].reason
            warnings.warn(f"--{name} does nothing: {reason}", InputWarning, stacklevel=2)


def parse(options_class: type[ScriptOptions], argv: Sequence[str]) -> Any:
    """The options that `argv` (program name first) asks for.

    Raises:
      UsageError: a flag is unknown, missing or out of range, or an argument is not a flag.
      HelpRequested: `--help` is among the arguments.
    """
    program = os.path.basename(argv[0])
    values = absl_flags.FlagValues()
    fields = {f.name: f for f in dataclasses.fields(options_class) if f.metadata}
    annotations = typing.get_type_hints(options_class, include_extras=True)
    where = {"flag_values": values, "module_name": program}
    for name, field in fields.items():
        _define(where, name, annotations[name], field)
    absl_flags.DEFINE_boolean("help", False, "show this text", short_name="h", **where)
    try:
        rest = values(list(argv))
    except absl_flags.Error as error:
        raise UsageError(_explain(str(error).removeprefix("ERROR:: "), options_class)) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"a file of --flagfile is not UTF-8 ({error.reason})") from None
    if values.help:
        raise HelpRequested(f"{inspect.getdoc(options_class)}\n{values.get_help()}")
    if len(rest) > 1:
        raise UsageError(f"'{rest[1]}' is not a flag: flags are written --name=value")
    missing = [f"--{n}" for n, f in fields.items() if _is_required(f) and not values[n].present]
    if missing:
        raise UsageError(f"missing required flag {', '.join(missing)}")
    given = {name: values[name].value for name in fields}
    for name, value in given.items():
        if isinstance(value, list):  # of a flag with several values; each element may itself be a comma list
            words = ",".join(value).split(",") if value and fields[name].metadata["commas"] else value
            is_int = int in typing.get_args(_without_none(annotations[name]))
            given[name] = _whole_numbers(name, words) if is_int else tuple(words)
    return options_class(**given)


def with_flags(options: Any, given: Mapping[str, str]) -> Any:
    """The options with other values of some flags, spelled as on a command line; else UsageError."""
    values = absl_flags.FlagValues()
    fields = {f.name: f for f in dataclasses.fields(options) if f.name in given}
    annotations = typing.get_type_hints(type(options))
    for name, field in fields.items():
        _define({"flag_values": values, "module_name": ""}, name, annotations[name], field)
    try:
        values(["", *(f"--{name}={value}" for name, value in given.items())])
    except absl_flags.Error as error:
        raise UsageError(str(error)) from None
    return dataclasses.replace(options, **{name: values[name].value for name in fields})


def _without_none(annotation: Any) -> Any:
    """The annotation of a flag that is given: `str` for `str | None`, `int` for `Annotated[int, ...]`."""
    if typing.get_origin(annotation) is typing.Annotated:
        return typing.get_args(annotation)[0]
    if isinstance(annotation, types.UnionType):
        return next(kind for kind in typing.get_args(annotation) if kind is not type(None))
    return annotation


def _whole_numbers(name: str, words: Sequence[str]) -> tuple[int, ...]:
    wrong = next((word for word in words if not word.strip().lstrip("-").isdecimal()), None)
    if wrong is not None:
        raise UsageError(f"--{name} must be whole numbers, not {wrong or 'empty'}")
    return tuple(map(int, words))


def _define(where: dict[str, Any], name: str, annotation: Any, field: dataclasses.Field) -> None:
    kind = _without_none(annotation)
    required = _is_required(field)
    default: Any = None if required else field.default
    text = field.metadata["help"] + (" (required)" if required else "")
    if typing.get_origin(kind) is tuple:
        default = default and list(map(str, default))
        how = "comma-separated, or repeated" if field.metadata["commas"] else "may be repeated"
        absl_flags.DEFINE_multi_string(name, default, f"{text} ({how})", **where)
    elif words := _words_of(annotation):
        is_int = int in typing.get_args(annotation)
        numbers = absl_flags.IntegerParser() if is_int else absl_flags.FloatParser()
        parser, serializer = _NumberOrWord(numbers, words), absl_flags.ArgumentSerializer()
        absl_flags.DEFINE(parser, name, default, text, serializer=serializer, **where)
    elif field.metadata["choices"]:
        absl_flags.DEFINE_enum(name, default, field.metadata["choices"], text, **where)
    else:
        kinds = {str: "string", int: "integer", float: "float", bool: "boolean"}
        getattr(absl_flags, f"DEFINE_{kinds[kind]}")(name, default, text, **where)
    if field.metadata["alias"]:
        absl_flags.DEFINE_alias(field.metadata["alias"], name, **where)


def _words_of(annotation: Any) -> tuple[str, ...]:
    """The words that may stand for a number, from a `Literal` in a union or in `Annotated`."""
    parts = typing.get_args(annotation)
    return next((typing.get_args(p) for p in parts if typing.get_origin(p) is typing.Literal), ())


class _NumberOrWord(absl_flags.ArgumentParser):
    def __init__(self, numbers: absl_flags.ArgumentParser, words: Sequence[str]):
        self._numbers, self._words = numbers, words
        self.syntactic_help = f"{numbers.syntactic_help} or {', '.join(words)}"

    def parse(self, argument):
        if argument in self._words:
            return argument
        try:
            return self._numbers.parse(argument)
        except ValueError:
            raise ValueError(f"must be {self.syntactic_help}, not {argument}") from None


def _is_required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING


def _check_range(field: dataclasses.Field, value: Any) -> None:
    at_least, choices = field.metadata.get("at_least"), field.metadata.get("choices")
    if value is None:
        return
    if isinstance(value, tuple):
        for element in value:
            _check_range(field, element)
        return
    if value == "":
        raise UsageError(f"--{field.name} is empty")
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"--{field.name} must be a finite number, not {value}")
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise UsageError(f"--{field.name} must be at most {_LARGEST}, not {value}")
    if at_least is not None and not isinstance(value, str) and not value >= at_least:
        raise UsageError(f"--{field.name} must be at least {at_least}, not {value}")
    at_most = field.metadata.get("at_most")
    if at_most is not None and not isinstance(value, str) and not value <= at_most:
        raise UsageError(f"--{field.name} must be at most {at_most}, not {value}")
    if choices and value not in choices:
        raise UsageError(f"--{field.name} must be one of {', '.join(choices)}, not {value}")


def _explain(message: str, options_class: type[ScriptOptions]) -> str:
    """The message of absl, or the reason why a flag is gone."""
    names = {None, *(field.name for field in dataclasses.fields(options_class))}
    for name, flag in FORMER_FLAGS.items():
        is_meant = f"'{name}'" in message or f"'no{name}'" in message
        if is_meant and not flag.is_accepted and flag.replaced_by in names:
            return f"--{name} is gone: {flag.reason}"
    return message
