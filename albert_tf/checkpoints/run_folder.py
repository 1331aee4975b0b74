"""The folder of a run: the names of its files, and which of its checkpoints it means."""

import os
import re
import warnings
from typing import Any, NamedTuple, TypedDict, TypeVar

import tensorflow as tf

from albert_tf.errors import InputError, InputWarning
from albert_tf.files import files_that_begin_with, problem_for_tensorflow, read_json

_T = TypeVar("_T")
CHECKPOINT_NAME = "model.ckpt"  # followed by "-<step>"
BEST_CHECKPOINT = "model.ckpt-best"
TASK_FILE = "task.json"
TRAINING_FILE = "training.json"  # the command, and the flags of the training loop
HISTORY_FILE = "history.json"
ROLLBACKS_FILE = "rollbacks.json"
RESULTS, PREDICTION_RESULTS = "eval_results", "predict_results"  # each is a .txt and a .json
RESULTS_FILE = f"{RESULTS}.json"
START_FILE = "start_results.json"  # of the weights that the training began with, for tasks that ask for it
SEEDS_FILE = "seeds.json"
SERIES_FILE = "runs.json"  # of a sweep or of folds
PREDICTIONS_FILE = "predictions.tsv"
REPORT = "report"  # .html
RECORD_INDEX_FILE = "record_index.npz"
LOCK_FILE = ".lock"
WORKER_FOLDER = "worker-{}"  # with the number of a worker that is not the chief; its messages are in a .log
_REPORTS = (RESULTS, PREDICTION_RESULTS, REPORT)
# A run writes small files while it holds the lock; their names begin with these.
FILES_OF_A_RUN = (
    HISTORY_FILE,
    ROLLBACKS_FILE,
    TASK_FILE,
    TRAINING_FILE,
    RECORD_INDEX_FILE,
    START_FILE,
    *_REPORTS,
)

_LIST = "checkpoint"  # TensorFlow's list of checkpoints
STEP = "optimizer/_iterations/.ATTRIBUTES/VARIABLE_VALUE"  # the tensor of a checkpoint that holds its step
# What is raised for damaged files.
_UNREADABLE = (tf.errors.OpError, ValueError, IndexError, TypeError, OverflowError)


class Saved(NamedTuple):
    """A checkpoint: the prefix of its files, and its step."""

    path: str
    step: int

    def __str__(self) -> str:
        return f"{self.path}, step {self.step:,}"


def meant_checkpoint(folder: str) -> Saved | None:
    """The checkpoint that a folder means: the best, else the newest whole one; None if there is neither.

    A best one later than the newest does not count: the user went back to an older checkpoint. Raises
    `InputError` if the best cannot be read, or none can.
    """
    found = find_checkpoints(folder)
    newest_step = re.search(r"-(\d+)$", found[-1]) if found else None
    path = os.path.join(folder, BEST_CHECKPOINT)
    if tf.io.gfile.exists(f"{path}.index"):
        best = Saved(path, _read_step(path) or 0)
        if not newest_step or best.step <= int(newest_step[1]):
            return best
    return newest_whole_checkpoint(folder, repair=False)


def results_of(folder: str, step: int | None) -> dict[str, Any] | None:
    """The results of the evaluation of a step (None: of the last one), if the folder holds them."""
    results = read_if_there(os.path.join(folder, RESULTS_FILE), _Results)
    if results is None or step in (None, results.get("global_step")):
        return dict(results) if results else None
    past = read_if_there(os.path.join(folder, HISTORY_FILE), _Evaluations) or {"evaluations": []}
    return next((dict(row) for row in past["evaluations"] if row.get("global_step") == step), None)


class _Results(TypedDict, total=False):
    """The results of an evaluation that have a meaning for later programs."""

    global_step: float
    null_score_diff_threshold: float


class _Evaluations(TypedDict):
    """What `history.json` holds."""

    evaluations: list[_Results]


def read_if_there(path: str, kind: type[_T]) -> _T | None:
    """The content of a JSON file of a run, see `read_json`; None if there is no such file."""
    return read_json(path, kind) if os.path.exists(path) else None


def find_checkpoints(folder: str) -> list[str]:
    """The prefixes of a run's checkpoints, as listed, else by step; the run continues from the last."""
    return _listed(folder) or _by_step(folder)


def newest_whole_checkpoint(folder: str, repair: bool) -> Saved | None:
    """The checkpoint that a run in this folder continues from; None if there is none.

    With `repair`, newer ones that cannot be read are renamed, and a lost or damaged list of checkpoints is
    written again; a warning says so. Raises `InputError` if there are checkpoints, but none can be read.
    """
    listed = _listed(folder)
    by_step = [] if listed else _by_step(folder)
    # TensorFlow writes the index last: if it is empty, the checkpoint was never finished.
    unfinished = [path for path in by_step if tf.io.gfile.stat(f"{path}.index").length == 0]
    found = listed or [path for path in by_step if path not in unfinished]
    torn = []
    while found and not _is_whole(found[-1]):
        torn.append(found.pop())
    if torn and not found:
        raise InputError(f"{torn[0]} cannot be read, and there is no other checkpoint in {folder}")
    if repair:
        what_follows = f"the run continues from {found[-1]}" if found else "the run begins anew"
        path = os.path.join(folder, _LIST)
        if not found and os.path.exists(path) and _lists_others(folder):
            os.replace(path, f"{path}.torn")
            text = f"{path} lists nothing in its folder, and was set aside as {path}.torn: {what_follows}"
            warnings.warn(text, InputWarning, stacklevel=2)
        if found and (torn or not listed or _lists_others(folder)):
            names = [os.path.basename(path) for path in found]
            times = [os.path.getmtime(f"{path}.index") for path in found]
            tf.compat.v1.train.update_checkpoint_state(
                os.path.abspath(folder), names[-1], names, all_model_checkpoint_timestamps=times
            )
        for path in torn + unfinished:
            _set_aside(path, what_follows)
        if found and not listed:
            text = f"{folder} lacks its list of checkpoints: {what_follows}"
            warnings.warn(text, InputWarning, stacklevel=2)
    return Saved(found[-1], _read_step(found[-1]) or 0) if found else None


def _listed(folder: str) -> list[str]:
    """The checkpoints that are there and that the file `checkpoint` lists, up to the one it calls newest."""
    newest, listed = _list_of(folder)
    listed = [*listed[: listed.index(newest) if newest in listed else None], newest]
    # Folders may move, and only names inside a folder count.
    prefixes = [os.path.join(folder, name) for path in listed if (name := os.path.basename(path))]
    return [prefix for prefix in prefixes if tf.io.gfile.exists(f"{prefix}.index")]


def _list_of(folder: str) -> tuple[str, list[str]]:
    """The newest and all paths in the file `checkpoint`; empty if it is missing or damaged."""
    try:
        state = tf.train.get_checkpoint_state(folder)
    except (UnicodeDecodeError, ValueError):
        state = None
    return (state.model_checkpoint_path, list(state.all_model_checkpoint_paths)) if state else ("", [])


def _lists_others(folder: str) -> bool:
    """Whether the file `checkpoint` is damaged or lists other paths than names inside the folder.

    TensorFlow removes what it lists, and takes it for patterns.
    """
    newest, listed = _list_of(folder)
    names = [os.path.relpath(path or folder, folder) for path in (newest, *listed)]
    return any(not re.fullmatch(r"\w[\w.-]*", name) for name in names)


def _by_step(folder: str) -> list[str]:
    found = files_that_begin_with(os.path.join(folder, f"{CHECKPOINT_NAME}-"), "[0-9]*.index")
    steps = {path: path.rpartition("-")[2] for path in (name.removesuffix(".index") for name in found)}
    return sorted((path for path in steps if steps[path].isdecimal()), key=lambda path: int(steps[path]))


def best_checkpoint(folder: str, repair: bool = False) -> Saved | None:
    """The best checkpoint of a run; None if there is none; raises `InputError` if it cannot be read.

    With `repair` it is then renamed, with a warning, if the folder has other checkpoints.
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
    """Whether every tensor can be read; TensorFlow verifies the checksums."""
    try:
        reader = _open(path)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except _UNREADABLE:
        return False
    return True


def _read_step(path: str) -> int | None:
    """The step of a checkpoint; None if no run wrote it; raises `InputError` if it cannot be read."""
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
