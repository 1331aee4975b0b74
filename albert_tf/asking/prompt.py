"""Asks a trained model what the user types, and prints the answers."""

import inspect
import io
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from albert_tf.asking.open_model import Answer, OpenModel, open_model
from albert_tf.checkpoints.assets import Assets, folder_of
from albert_tf.checkpoints.run_folder import SEEDS_FILE, meant_checkpoint
from albert_tf.cli.options import RunOptions
from albert_tf.cli.text import say
from albert_tf.errors import InputError, escaped
from albert_tf.export.trained_model import open_trained_model

_HOW = {"passage": "ended by an empty line", "options": "one a line, ended by an empty line"}


def answer_at_prompt(options: RunOptions, task_name: str | None, settings: Mapping[str, Any]) -> None:
    """Asks the model of a run, else that of --init_checkpoint, until standard input ends.

    `settings` are those of the task, see `open_model`.

    Raises:
      InputError: there is no model, or it is of another task.
    """
    task_name = task_name and task_name.lower()
    run = options.output_dir
    is_trained = meant_checkpoint(run) or os.path.exists(os.path.join(run, SEEDS_FILE))
    path = run if is_trained else options.init_checkpoint
    if path is None:
        raise InputError(f"no checkpoint in {run}: train first, or give --init_checkpoint")
    saved = Assets.read(folder_of(path)).task.get("task_name", task_name)
    if task_name not in (None, saved):
        raise InputError(f"{path} is of another task: task_name {saved}, not {task_name}")
    names = inspect.signature(open_trained_model).parameters.keys() - {"path", "task_name"}
    flags = {name: getattr(options, name) for name in names if hasattr(options, name)}
    answer_typed(open_model(path, task_name=task_name, **flags, **settings))


def answer_typed(model: OpenModel) -> None:
    """Reads the inputs of a model from standard input until it ends, and prints the answers."""
    lines = typed_lines()
    compares = model.task_name == "similarity"
    while texts := _typed(("text", "text_pair") if compares else model.inputs, lines):
        if compares:
            answer = {"similarity": float(model.similarity(*texts.values())[0])}
        else:
            [answer] = model.predict(**texts)
        print("\n".join(_shown(answer, texts)), end="\n\n", flush=True)


def typed_lines() -> Iterator[str]:
    """The lines of standard input; `InputError` if it is closed."""
    if sys.stdin is None:
        raise InputError("--interactive reads standard input, which is closed")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # do not stop at bytes that are no characters
    return iter(sys.stdin)


def paragraph(lines: Iterator[str]) -> list[str]:
    """The next lines that are not blank, up to a blank one; none if there are no more."""
    found: list[str] = []
    for line in lines:
        if line.strip():
            found.append(line.strip())
        elif found:
            break
    return found


def _typed(names: Sequence[str], lines: Iterator[str]) -> dict[str, Any]:
    """One text, or one list of options, for each input; nothing if the lines end before."""
    texts: dict[str, Any] = {}
    for name in names:
        say(f"{name}, {_HOW[name]}:" if name in _HOW else f"{name}:")
        if name in _HOW:
            found = paragraph(lines)
            texts[name] = found if name == "options" else "\n".join(found)
        else:
            texts[name] = next(filter(None, map(str.strip, lines)), "")
        if not texts[name]:
            return {}
    return texts


def _shown(answer: Answer, texts: Mapping[str, Any]) -> list[str]:
    """The answer in lines: what has probabilities is ranked by them."""
    if "pieces" in answer:
        masks = zip(answer["pieces"], answer["probabilities"], strict=True)
        return [
            "  ".join(f"{p:.1%} {escaped(piece)}" for piece, p in zip(*row, strict=True)) for row in masks
        ]
    if "tags" in answer:
        return [_marked(texts["text"], answer)]
    if "choice" in answer:
        ranked = zip(texts["options"], answer["probabilities"], strict=True)
    elif "probabilities" in answer:
        ranked = answer["probabilities"].items()
    else:
        return [f"{name}: {escaped(str(value))}" for name, value in answer.items()]
    chosen = answer.get("labels", ())  # of several labels at once, those that the text gets
    return [
        f"{p:6.1%} {'*' if name in chosen else ' '}{escaped(name)}"
        for name, p in sorted(ranked, key=lambda row: -row[1])
    ]


def _marked(text: str, answer: Answer) -> str:
    """The text with each span in brackets, its type and its score behind it."""
    shown, place = "", 0
    for begin, end, kind, score in zip(
        *(answer[key] for key in ("begin", "end", "type", "score")), strict=True
    ):
        shown += f"{text[place:begin]}[{text[begin:end]}]({kind} {score:.1%})"
        place = end
    return escaped(shown + text[place:])
