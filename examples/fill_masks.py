#!/usr/bin/env python3
"""Fills [MASK] in sentences with a pretrained model."""

import dataclasses
import pathlib
import sys

if not __package__:  # run by its path
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from albert_tf.cli import flags
from albert_tf.cli.flags import option
from albert_tf.cli.script import script
from albert_tf.errors import InputError


@dataclasses.dataclass(frozen=True)
class FillOptions(flags.ScriptOptions):
    """Prints the most probable pieces for every [MASK] in each line of standard input."""

    input: str = option(help="a pretrained model: the folder of a run, weights of any kind, or an export")


@script(FillOptions)
def main(options: FillOptions) -> None:
    """Reads sentences, asks the model, and prints the answers."""
    from albert_tf import open_model

    model = open_model(options.input)
    if model.task_name != "pretraining":
        raise InputError(f"--input={options.input} is no pretrained model: it is for {model.task_name}")

    for line in sys.stdin:
        text = line.strip()
        if not text:
            continue
        if "[MASK]" not in text:
            raise InputError(f"no [MASK] in: {text}")
        [answer] = model.predict(text)
        print(text)
        for pieces, probabilities in zip(answer["pieces"], answer["probabilities"], strict=True):
            guesses = zip(pieces, probabilities, strict=True)
            print("   " + "  ".join(f"{piece.replace('▁', '')} {p:.0%}" for piece, p in guesses))


if __name__ == "__main__":
    sys.exit(main())
