"""The model card of a Hugging Face folder: `README.md`, with what is known about the weights."""

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any, TypedDict

from albert_tf import __version__
from albert_tf.checkpoints.assets import Assets
from albert_tf.checkpoints.run_folder import TRAINING_FILE, read_if_there, results_of
from albert_tf.checkpoints.weight_source import WeightSource
from albert_tf.cli.text import without_secrets
from albert_tf.errors import escaped
from albert_tf.files import write_text
from albert_tf.models.heads import HEADS

CARD_FILE = "README.md"

_UNKNOWN = "The files do not tell.\n"


class _Training(TypedDict, total=False):
    """What a card tells of `training.json`."""

    command: str | None
    flags: dict[str, Any]
    settings: dict[str, Any]


def write_card(folder: str, source: WeightSource, assets: Assets, head: str) -> None:
    """Writes the card of weights that were taken from a source.

    If the source is a run, the card has its results beside those of the commonest answer, its data and its
    command. The licence is a comment: only the user knows it.
    """
    training, results = _Training(), {}
    if source.step is not None:
        run = os.path.dirname(source.path)
        training = without_secrets(read_if_there(os.path.join(run, TRAINING_FILE), _Training)) or training
        results = results_of(run, source.step) or {}
    settings = dict(training.get("settings") or {})
    start = (training.get("flags") or {}).get("init_checkpoint")
    if "max_seq_length" in assets.task:
        settings.setdefault("max_seq_length", assets.task["max_seq_length"])
    task = {
        "model": f"ALBERT, {HEADS[head].in_words}",
        "task": assets.task.get("task_name"),
        "labels": ", ".join(assets.task.get("label_names") or ()) or None,
        "texts of an example": ", ".join(assets.task.get("text_columns") or ())
        or assets.task.get("num_texts"),
        "text is lower-cased": None if assets.do_lower_case is None else ("no", "yes")[assets.do_lower_case],
        "the weights come from": source.kind,
        "training step": source.step,
        "training began with": start,
    }
    library = "sentence-transformers" if head == "similarity" else "transformers"
    front = {"library_name": library, "pipeline_tag": HEADS[head].pipeline, "tags": ["albert"]}
    parts = [
        "---",
        *(f"{key}: {json.dumps(value)}" for key, value in front.items()),
        "# license: say here under which licence the weights may be used, then remove the first two signs",
        "---\n",
        f"# ALBERT: {_shown(assets.task.get('task_name') or head.replace('_', ' '))}\n",
        "## Task\n",
        *_table(["", ""], task.items()),
        "## Data and settings\n",
        *(_table(["", ""], settings.items()) if settings else [_UNKNOWN]),
        "## Results\n",
        *_results(results),
        "## Command\n",
        f"```sh\n{escaped(command)}\n```\n" if (command := training.get("command")) else _UNKNOWN,
        f"Written by albert_tf {__version__}.\n",
    ]
    write_text(os.path.join(folder, CARD_FILE), "\n".join(parts))


def _results(results: dict[str, Any]) -> list[str]:
    numbers = {name: value for name, value in results.items() if isinstance(value, int | float)}
    metrics = [name for name in numbers if not name.startswith("baseline_") and name != "global_step"]
    rows = [
        (name, f"{numbers[name]:.4f}", f"{numbers[baseline]:.4f}" if baseline in numbers else "")
        for name, baseline in ((name, f"baseline_{name}") for name in metrics)
    ]
    if not rows:
        return [_UNKNOWN]
    table = _table(["metric", "this model", "the commonest answer"], rows)
    return ["On the evaluation data of the run:\n", *table]


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """A Markdown table of the rows without None, with an empty line behind."""
    lines = [heads, ["---"] * len(heads), *(row for row in rows if None not in row)]
    return [*("| " + " | ".join(map(_shown, line)) + " |" for line in lines), ""]


def _shown(value: Any) -> str:
    return escaped(str(value)).replace("|", "\\|")
