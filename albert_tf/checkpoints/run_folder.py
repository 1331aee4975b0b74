"""The folder of a run: the names of its files, and which of its checkpoints it means."""

import os
import re
import warnings
from typing import Any, NamedTuple

import tensorflow as tf

from albert_tf.errors import InputError, InputWarning
from albert_tf.files import files_that_begin_with, problem_for_tensorflow, read_json

CHECKPOINT_NAME = "model.ckpt"  # with "-<step>" behind it
BEST_CHECKPOINT = "model.ckpt-best"
TASK_FILE = "task.json"
TRAINING_FILE = "training.json"  # the command, and the flags of the training loop
HISTORY_FILE = "history.json"
ROLLBACKS_FILE = "rollbacks.json"
RESULTS, PREDICTION_RESULTS = "eval_results", "predict_results"  # each is a .txt and a .json
RESULTS_FILE = f"{RESULTS}.json"
SEEDS_FILE = "seeds.json"
REPORT = "report"  # .html
RECORD_INDEX_FILE = "record_index.npz"
LOCK_FILE = ".lock"
# How the names of small files begin that a run writes while it holds the lock.
FILES_OF_A_RUN = (
    HISTORY_FILE,
    ROLLBACKS_FILE,
    TASK_FILE,
    TRAINING_FILE,
    RESULTS,
    PREDICTION_RESULTS,
    REPORT,
    RECORD_INDEX_FILE,
)

STEP = "optimizer/_iterations/.ATTRIBUTES/VARIABLE_VALUE"  # the tensor of a checkpoint that holds its step
_UNREADABLE = (tf.errors.OpError, ValueError, IndexError)  # what TensorFlow raises for damaged files


def worker_folder(output_dir: str, index: int) -> str:
    """Where a worker of a cluster, not the chief, keeps what it needs while it runs."""
    return os.path.join(output_dir, f"worker-{index}")


def worker_log(output_dir: str, index: int) -> str:
    """The file to which a worker of a cluster, not the chief, writes what it says."""
    return os.path.join(output_dir, f"worker-{index}.log")


class Saved(NamedTuple):
    """A checkpoint: the prefix of its files, and its step."""

    path: str
    step: int

    def __str__(self) -> str:
        return f"{self.path}, step {self.step:,}"


def meant_checkpoint(folder: str) -> Saved | None:
    """The checkpoint that a folder means: the best, else the newest whole one; None if there is neither.

    A best one that is later than the newest does not count: the user went back to an older checkpoint.

    Raises:
      InputError: there are checkpoints, but none can be read, or the best cannot.
    """
    found = find_checkpoints(folder)
    newest_step = re.search(r"-(\d+)$", found[-1]) if found else None
    if tf.io.gfile.exists(os.path.join(folder, f"{BEST_CHECKPOINT}.index")):
        path = os.path.join(folder, BEST_CHECKPOINT)
        best = Saved(path, _read_step(path) or 0)
        if not newest_step or best.step <= int(newest_step[1]):
            return best
    return newest_whole_checkpoint(folder, repair=False)


def results_of(folder: str, step: int | None) -> dict[str, Any] | None:
    """The results of an evaluation of the weights of a step, as far as the folder holds them.

    Args:
      folder: the run's.
      step: of the weights; None if they do not say it: then the results of the last evaluation count.
    """
    results = _read_if_there(os.path.join(folder, RESULTS_FILE))
    if results is None or step in (None, results.get("global_step")):
        return results
    past = (_read_if_there(os.path.join(folder, HISTORY_FILE)) or {}).get("evaluations", [])
    return next((dict(row) for row in past if row.get("global_step") == step), None)


def _read_if_there(path: str) -> dict[str, Any] | None:
    return read_json(path, dict[str, Any]) if os.path.exists(path) else None


def find_checkpoints(folder: str) -> list[str]:
    """The prefixes of a run's checkpoints, the one that it continues from last, as far as they are there.

    Where the file that lists them is lost or damaged they are taken in the order of their steps.
    """
    return _listed(folder) or _by_step(folder)


def newest_whole_checkpoint(folder: str, repair: bool) -> Saved | None:
    """The checkpoint that a run in this folder continues from, None if there is none.

    Args:
      folder: the run's.
      repair: whether newer ones that cannot be read are renamed, and the list of checkpoints is made anew if
        it is lost or damaged; with a warning.

    Raises:
      InputError: there are checkpoints, but none can be read.
    """
    listed = _listed(folder)
    found = listed or [path for path in _by_step(folder) if not _is_unfinished(path)]
    torn = []
    while found and not _is_whole(found[-1]):
        torn.append(found.pop())
    if torn and not found:
        raise InputError(f"{torn[0]} cannot be read, and there is no other checkpoint in {folder}")
    if repair and found and (torn or not listed):
        names = [os.path.basename(path) for path in found]
        times = [os.path.getmtime(f"{path}.index") for path in found]
        tf.compat.v1.train.update_checkpoint_state(
            os.path.abspath(folder), names[-1], names, all_model_checkpoint_timestamps=times
        )
    if repair:
        what_follows = f"the run continues from {found[-1]}" if found else "the run begins anew"
        for path in torn if listed else [*torn, *filter(_is_unfinished, _by_step(folder))]:
            _set_aside(path, what_follows)
        if found and not listed:
            warnings.warn(
                f"{folder} lacks its list of checkpoints: {what_follows}", InputWarning, stacklevel=2
            )
    return Saved(found[-1], _read_step(found[-1]) or 0) if found else None


def _listed(folder: str) -> list[str]:
    """What the file `checkpoint` lists up to the one that it names as the newest, as far as it is there.

    Of each path the last part counts, because folders move.
    """
    try:
        state = tf.train.get_checkpoint_state(folder)
    except (UnicodeDecodeError, ValueError):
        return []
    if state is None:
        return []
    newest, listed = state.model_checkpoint_path, list(state.all_model_checkpoint_paths)
    listed = [*listed[: listed.index(newest) if newest in listed else None], newest]
    prefixes = [os.path.join(folder, os.path.basename(path)) for path in listed]
    return [prefix for prefix in prefixes if tf.io.gfile.exists(f"{prefix}.index")]


def _by_step(folder: str) -> list[str]:
    found = files_that_begin_with(os.path.join(folder, f"{CHECKPOINT_NAME}-"), "[0-9]*.index")
    prefixes = [name.removesuffix(".index") for name in found]
    prefixes = [prefix for prefix in prefixes if prefix.rpartition("-")[2].isdecimal()]
    return sorted(prefixes, key=lambda prefix: int(prefix.rpartition("-")[2]))


def _is_unfinished(path: str) -> bool:
    """Whether a checkpoint that is not listed was not written to its end: the index is what comes last."""
    return tf.io.gfile.stat(f"{path}.index").length == 0


def best_checkpoint(folder: str, repair: bool = False) -> Saved | None:
    """The best checkpoint that a run of this package left in the folder, None if there is none.

    Args:
      folder: the run's.
      repair: whether one that cannot be read, beside others, is renamed, with a warning, and taken for none.

    Raises:
      InputError: it cannot be read.
    """
    path = os.path.join(folder, BEST_CHECKPOINT)
    if not tf.io.gfile.exists(f"{path}.index"):
        return None
    if repair and not _is_whole(path):
        if not find_checkpoints(folder):
            raise InputError(f"{path} cannot be read, and there is no other checkpoint in {folder}")
        _set_aside(path, "it is written again by the next evaluation that is better than all before")
        return None
    step = _read_step(path)
    return None if step is None else Saved(path, step)


def _is_whole(path: str) -> bool:
    """Whether all of a checkpoint can be read; TensorFlow verifies the checksums."""
    try:
        reader = _open(path)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except _UNREADABLE:
        return False
    return True


def _read_step(path: str) -> int | None:
    """The step of a checkpoint, None if it was not written by a run; InputError if it cannot be read."""
    try:
        reader = _open(path)
        return int(reader.get_tensor(STEP)) if reader.has_tensor(STEP) else None
    except _UNREADABLE as error:
        raise InputError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None


def _open(path: str) -> Any:
    if problem := problem_for_tensorflow(path, to_write=False):
        raise InputError(problem)
    return tf.train.load_checkpoint(path)


def _set_aside(path: str, what_follows: str) -> None:
    for name in [f"{path}.index", *files_that_begin_with(path, ".data-*[0-9]")]:
        tf.io.gfile.rename(name, f"{name}.torn", overwrite=True)
    warnings.warn(
        f"{path} is torn and was set aside as {path}.*.torn: {what_follows}", InputWarning, stacklevel=3
    )
