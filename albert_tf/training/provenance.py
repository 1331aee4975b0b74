"""What a run was started with: written into its folder, and compared when it continues."""

import os
from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from albert_tf.checkpoints.assets import CONFIG_FILE, Assets, differences
from albert_tf.checkpoints.run_folder import TRAINING_FILE
from albert_tf.cli.flags import flags_of
from albert_tf.cli.options import TrainingOptions
from albert_tf.cli.text import say, without_secrets
from albert_tf.config import AlbertConfig
from albert_tf.errors import InputError
from albert_tf.files import read_json, write_json
from albert_tf.tasks.task import Task

# The flags that decide which weights a run ends with. Devices and paths may change, since a run may continue
# elsewhere; so may the steps at which it evaluates, saves and stops.
_DECISIVE = (
    "seed",
    "train_batch_size",
    "optimizer",
    "learning_rate",
    "layer_decay",
    "freeze_layers",
    "num_train_steps",
    "num_warmup_steps",
    "start_warmup_step",
    "poly_power",
    "mixed_precision",
    "gradient_accumulation_steps",
    "jit_compile",
)
_STEPS, _WARMUP = ("--num_train_steps", "--train_step"), ("--num_warmup_steps", "--warmup_step")
_NAMES_IN_FINE_TUNING = {"num_train_steps": "train_step", "num_warmup_steps": "warmup_step"}

_Changes = dict[str, tuple[Any, Any]]  # name -> (old value, new value)


class _Flags(TypedDict, total=False):
    """The flags with which a later run calculates; others it only compares."""

    num_train_steps: int


class _Started(TypedDict):
    """The fields of `training.json` that a later run reads."""

    flags: _Flags
    settings: NotRequired[dict[str, Any]]


def describe(folder: str, task: Task, options: TrainingOptions, step: int = 0) -> None:
    """Writes config, vocabulary, task, command and flags, without secrets, into the run's folder.

    `step` is not 0 if a run continues with changed flags; the old description is then kept in the new one.
    """
    task.assets().write(folder)
    settings = task.training_settings()
    started: dict[str, Any] = {"command": options.command, "flags": flags_of(options), "settings": settings}
    if step:
        started |= {"since_step": step, "before": _read(folder)}
    write_json(os.path.join(folder, TRAINING_FILE), without_secrets(started))


def command_of(folder: str) -> str | None:
    """The command of the last training in a folder; None if it is not known."""
    return _read(folder).get("command")


def check(folder: str, task: Task, options: TrainingOptions, step: int) -> None:
    """Raises `InputError` if a folder's checkpoints belong to another task or, in training, another training.

    A run may become longer, and with `allow_changed_flags` all flags may change; the new flags are then
    written into the folder.
    """
    _check_task(folder, task)
    changed = _changed_config(folder, task, options.do_train)
    if not options.do_train:
        if changed:
            raise InputError(f"the run in {folder} has {_listed(changed)}")
        return
    settings = _changed_settings(folder, task, options)
    longer: _Changes = {}
    old_steps, new_steps = next((settings[name] for name in _STEPS if name in settings), (0, 0))
    if old_steps < new_steps:
        longer = {name: settings.pop(name) for name in _STEPS + _WARMUP if name in settings}
    changed |= settings
    if changed and not options.allow_changed_flags:
        advice = "give those, --allow_changed_flags or another --output_dir"
        raise InputError(f"the run in {folder} has {_listed(changed)}: {advice}")
    if changed:
        say(f"going on from step {step} with other flags: the run had {_listed(changed)}")
    if longer:
        say(f"the run is now longer: it had {_listed(longer)}; the learning rate follows the longer run")
    if (changed or longer) and not options.dry_run:
        describe(folder, task, options, step)


def _check_task(folder: str, task: Task) -> None:
    ours, saved = task.assets(), Assets.read(folder)
    if bool(ours.task) != bool(saved.task):
        kinds = ("a benchmark's task", "pretraining")
        raise InputError(
            f"the checkpoints in {folder} are of {kinds[not saved.task]}, not of {kinds[not ours.task]}: "
            "choose another --output_dir"
        )
    if differing := differences(saved, ours):
        raise InputError(f"the checkpoints in {folder} are of another task: {', '.join(differing)}")


def _changed_config(folder: str, task: Task, do_train: bool) -> _Changes:
    """Fields of the config; those of dropout count only in training."""
    path = os.path.join(folder, CONFIG_FILE)
    if not os.path.exists(path):
        return {}
    changed = _changes(AlbertConfig.from_json_file(path).to_dict(), task.config.to_dict())
    return {key: both for key, both in changed.items() if do_train or not key.endswith("dropout_prob")}


def _changed_settings(folder: str, task: Task, options: TrainingOptions) -> _Changes:
    """Flags and the task's settings, by the names of flags."""
    started, now = _read(folder), flags_of(options)
    flags = _changes(started.get("flags", {}), {name: now[name] for name in _DECISIVE})
    names = _NAMES_IN_FINE_TUNING if task.describe() else {}
    changed = {names.get(name, name): both for name, both in flags.items()}
    changed |= _changes(started.get("settings", {}), task.training_settings())
    return {f"--{name}": both for name, both in changed.items()}


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> _Changes:
    return {key: (old[key], new[key]) for key in old if key in new and old[key] != new[key]}


def _read(folder: str) -> dict[str, Any]:
    """The content of `training.json`; empty if there is none, as in runs of earlier versions."""
    path = os.path.join(folder, TRAINING_FILE)
    return dict(read_json(path, _Started)) if os.path.exists(path) else {}


def _listed(changed: _Changes) -> str:
    return ", ".join(f"{name} {old}, not {new}" for name, (old, new) in changed.items())
