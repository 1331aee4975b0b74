#!/usr/bin/env python3
"""Shows which modules a thing passes on its way: the lists of docs/architecture.md.

    python docs/trace_data_flow.py [--all] [line] [record] [sentence] [question] [weight] [folder]

Each script runs in this process on a tiny model. Every call that enters a module of `albert_tf` or
`data_prep` from another one is recorded. A list has the modules in the order in which they are entered for
the first time, and says how often each is entered. It leaves out the modules that every command uses (flags,
texts, small files, errors), unless --all is given. The script knows only the flags and the files of the
commands. So it runs in an older checkout, too: the working folder decides which.
"""

import collections
import importlib
import inspect
import json
import os
import pathlib
import sys
import tempfile
import threading
from collections.abc import Mapping

PACKAGES = {"albert_tf", "data_prep"}
OF_EVERY_COMMAND = {
    "errors",
    "files",
    "flags",
    "options",
    "progress",
    "script",
    "text",
}  # last part of the name
SPM_MODEL_FILE = "albert_tf/testing/tiny_sentencepiece.model"
CONFIG = {
    "vocab_size": 160,
    "embedding_size": 8,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}
SENTENCES = [
    "A fine film about the sea.",
    "The old house was cold.",
    "We walked for a long time.",
    "It rained.",
]
THINGS = {
    "line": "A raw line of text, to a record",
    "record": "A pretraining record, to weights and results",
    "sentence": "A GLUE sentence, to a prediction",
    "question": "A SQuAD question, to an answer",
    "weight": "A TF1 weight, to a Hugging Face folder",
    "folder": "A trained folder, to a SavedModel",
}


# What must run before a thing is there.
MADE_BY = {"record": ("line",), "weight": ("line", "record"), "folder": ("sentence",)}


class Recorder:
    """Counts the calls that enter a module from another one, in all threads."""

    def __init__(self):
        self.entered: collections.Counter[str] = collections.Counter()  # in order of the first entry

    def __enter__(self) -> "Recorder":
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)
        return self

    def __exit__(self, *exception: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def _profile(self, frame, event, argument) -> None:
        if event != "call" or not frame.f_code.co_flags & inspect.CO_OPTIMIZED:  # of a module, of a class
            return
        module = _module_of(frame)
        if not module:
            return
        caller = frame.f_back
        while caller is not None and not _module_of(caller):
            caller = caller.f_back
        if caller is None or _module_of(caller) != module:
            self.entered[module] += 1


def _module_of(frame) -> str | None:
    name = frame.f_globals.get("__name__") or ""
    return name if name.partition(".")[0] in PACKAGES else None


def commands(folder: pathlib.Path) -> dict[str, tuple[str, dict[str, object]]]:
    """The script and the flags that each thing passes through, after making what they read."""
    _write_inputs(folder)
    vocabulary = {"spm_model_file": SPM_MODEL_FILE}
    fresh = {"albert_config_file": folder / "albert_config.json"}
    sizes = {"max_seq_length": 32, "train_batch_size": 4}
    tuning = fresh | vocabulary | sizes | {"train_step": 1, "warmup_step": 0, "learning_rate": 1e-3}
    return {
        "line": (
            "data_prep.create_pretraining_data",
            vocabulary
            | {"input_file": folder / "text.txt", "output_file": folder / "records.tfrecord"}
            | {"max_seq_length": 32, "max_predictions_per_seq": 5, "num_workers": 1},
        ),
        "record": (
            "run_pretraining",
            fresh
            | sizes
            | {"input_file": folder / "records.tfrecord", "output_dir": folder / "pretrained"}
            | {"max_predictions_per_seq": 5, "num_train_steps": 1, "num_warmup_steps": 0}
            | {"eval_batch_size": 4, "do_train": True, "do_eval": True},
        ),
        "sentence": (
            "run_classifier",
            tuning
            | {"task_name": "cola", "data_dir": folder / "glue", "output_dir": folder / "classifier"}
            | {"do_train": True, "do_eval": True, "do_predict": True},
        ),
        "question": (
            "run_squad",
            tuning
            | {"train_file": folder / "squad.json", "predict_file": folder / "squad.json"}
            | {"output_dir": folder / "squad", "do_train": True, "do_predict": True, "max_query_length": 8},
        ),
        "weight": (
            "convert_checkpoint",
            vocabulary
            | {
                "input": folder / "original",
                "output_format": "huggingface",
                "output": folder / "huggingface",
            },
        ),
        "folder": ("export_saved_model", {"input": folder / "classifier", "export_dir": folder / "exported"}),
    }


def _write_inputs(folder: pathlib.Path) -> None:
    text = "\n\n".join("\n".join(SENTENCES) for _ in range(8))
    (folder / "text.txt").write_text(text, encoding="utf-8")
    (folder / "albert_config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    (folder / "glue" / "CoLA").mkdir(parents=True)
    rows = [f"source\t{i % 2}\t\t{sentence}" for i, sentence in enumerate(SENTENCES)]
    for split in ("train", "dev"):
        (folder / "glue" / "CoLA" / f"{split}.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    rows = ["index\tsentence", *(f"{i}\t{sentence}" for i, sentence in enumerate(SENTENCES))]
    (folder / "glue" / "CoLA" / "test.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    asked = [
        {"id": f"q{i}", "question": "What was it?", "answers": [{"text": sentence[:4], "answer_start": 0}]}
        for i, sentence in enumerate(SENTENCES)
    ]
    paragraphs = [{"context": s, "qas": [q]} for s, q in zip(SENTENCES, asked, strict=True)]
    squad = {"version": "1.1", "data": [{"title": "Sentences", "paragraphs": paragraphs}]}
    (folder / "squad.json").write_text(json.dumps(squad), encoding="utf-8")


def run(script: str, flags: Mapping[str, object]) -> None:
    """Runs a script, its output kept for the case that it fails."""
    main = importlib.import_module(script).main
    arguments = [
        f"--{name}={str(value).lower() if value is True else value}" for name, value in flags.items()
    ]
    if status := main([script, *arguments, "--verbosity=error"]):
        raise SystemExit(f"{script} ended with status {status}")


def listing(entered: Mapping[str, int], with_all: bool) -> str:
    """The modules in the order of their first entry, a line each, below a line with their numbers."""
    kept = {
        module: times
        for module, times in entered.items()
        if with_all or not (module.startswith("albert_tf.") and module.rpartition(".")[2] in OF_EVERY_COMMAND)
    }
    rooms = list(dict.fromkeys(module.rpartition(".")[0] or module for module in kept))
    lines = [f"{len(kept)} modules in {len(rooms)} rooms, entered {sum(kept.values()):,} times.", ""]
    lines += [f"{number}. `{module}` {times:,}" for number, (module, times) in enumerate(kept.items(), 1)]
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Prints the list of each thing that is asked for, as Markdown."""
    names = [name for name in arguments if name != "--all"] or list(THINGS)
    needed = {*names, *(source for name in names for source in MADE_BY.get(name, ()))}
    sys.path.insert(0, os.getcwd())
    output, sys.stdout = sys.stdout, sys.stderr
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for thing, (script, flags) in commands(folder).items():
            if thing not in needed:
                continue
            if thing == "weight":
                original = {"input": folder / "pretrained", "output_format": "original", "best": True}
                run("convert_checkpoint", original | {"output": folder / "original" / "model.ckpt-best"})
            with Recorder() as recorder:
                run(script, flags)
            if thing in names:
                print(f"### {THINGS[thing]}\n", file=output)
                print(listing(recorder.entered, "--all" in arguments) + "\n", file=output)


if __name__ == "__main__":
    main(sys.argv[1:])
