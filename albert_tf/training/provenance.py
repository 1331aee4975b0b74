"""What lies beside the checkpoints of a run: what they are of, written at the start and checked on resume."""

import os
from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from albert_tf.checkpoints.assets import CONFIG_FILE, Assets, differences
from albert_tf.checkpoints.run_folder import TRAINING_FILE
from albert_tf.cli.flags import flags_of
from albert_tf.cli.options import TrainingOptions
from albert_tf.cli.text import say
from albert_tf.config import AlbertConfig
from albert_tf.errors import InputError
from albert_tf.files import read_json, write_json
from albert_tf.tasks.task import Task

# The flags by which a run comes to other weights. Not among them are devices and paths, since a run may go on
# elsewhere, nor when it evaluates, saves and stops.
_DECISIVE = (
    "seed",
    "train_batch_size",
    "optimizer",
    "learning_rate",
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


class _Started(TypedDict):
    """What `training.json` holds of how a run was started."""

    flags: dict[str, Any]
    settings: NotRequired[dict[str, Any]]


def describe(folder: str, task: Task, options: TrainingOptions, step: int = 0) -> None:
    """Writes config, vocabulary, task, command and flags beside the checkpoints.

    Args:
      folder: the run's.
      task: what is trained.
      options: how.
      step: from which on; not 0 where a run goes on with changed flags. What it was before is kept.
    """
    task.assets().write(folder)
    settings = task.training_settings()
    started: dict[str, Any] = {"command": options.command, "flags": flags_of(options), "settings": settings}
    if step:
        started |= {"since_step": step, "before": _read(folder)}
    write_json(os.path.join(folder, TRAINING_FILE), started)


def check(folder: str, task: Task, options: TrainingOptions, step: int) -> None:
    """Checks that checkpoints are of this task and, if it is to be trained, of this training.

    A run that is to be longer than it was may go on, and any with `allow_changed_flags`; what changed is then
    written beside the checkpoints.

    Raises:
      InputError: they are not.
    """
    _check_task(folder, task)
    changed = _changed_config(folder, task, options.do_train)
    if not options.do_train:
        if changed:
            raise InputError(f"the run in {folder} has {_listed(changed)}")
        return
    settings = _changed_settings(folder, task, options)
    longer = _taken_out_if_longer(settings)
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
    differing = differences(saved, ours)
    if differing:
        raise InputError(f"the checkpoints in {folder} are of another task: {', '.join(differing)}")


def _changed_config(folder: str, task: Task, do_train: bool) -> dict[str, tuple[Any, Any]]:
    """Keys of the config with their old and new values, those that count only in training if there is one."""
    path = os.path.join(folder, CONFIG_FILE)
    if not os.path.exists(path):
        return {}
    changed = _differences(AlbertConfig.from_json_file(path).to_dict(), task.config.to_dict())
    return {key: both for key, both in changed.items() if do_train or not key.endswith("dropout_prob")}


def _changed_settings(folder: str, task: Task, options: TrainingOptions) -> dict[str, tuple[Any, Any]]:
    """Flags and other settings of training with their old and new values."""
    started, now = _read(folder), flags_of(options)
    flags = _differences(started.get("flags", {}), {name: now[name] for name in _DECISIVE})
    names = _NAMES_IN_FINE_TUNING if task.describe() else {}
    changed = {names.get(name, name): both for name, both in flags.items()}
    changed |= _differences(started.get("settings", {}), task.training_settings())
    return {f"--{name}": both for name, both in changed.items()}


def _taken_out_if_longer(changed: dict[str, tuple[Any, Any]]) -> dict[str, tuple[Any, Any]]:
    """Takes the number of steps, and that of warm-up, out of what changed if the run is to be longer."""
    steps = next((both for name, both in changed.items() if name in _STEPS), (0, 0))
    if steps[0] >= steps[1]:
        return {}
    return {name: changed.pop(name) for name in _STEPS + _WARMUP if name in changed}


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The keys of both whose values differ."""
    return {key: (old[key], new[key]) for key in old if key in new and old[key] != new[key]}


def _read(folder: str) -> dict[str, Any]:
    """What the run was started with; empty if it does not say, as those of earlier versions."""
    path = os.path.join(folder, TRAINING_FILE)
    if not os.path.exists(path):
        return {}
    return dict(read_json(path, _Started))


def _listed(changed: Mapping[str, tuple[Any, Any]]) -> str:
    return ", ".join(f"{name} {_shown(old)}, not {_shown(new)}" for name, (old, new) in changed.items())


def _shown(value: Any) -> str:
    return ", ".join(value) or "no classes" if isinstance(value, list) else str(value)
