#!/usr/bin/env python3
"""Fills [MASK] in sentences with an exported model, through the signature that a server offers."""

import dataclasses
import os
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

    export_dir: str = option(help="folder that export_saved_model.py wrote a pretrained model to")


@script(FillOptions)
def main(options: FillOptions) -> None:
    """Reads sentences, asks the model, and prints the answers."""
    import tensorflow as tf
    import tensorflow_text  # noqa: F401  it has the operations of the graph

    found = os.listdir(options.export_dir) if os.path.isdir(options.export_dir) else ()
    versions = [int(name) for name in found if name.isdecimal()]
    if not versions:
        raise InputError(f"--export_dir={options.export_dir} holds no exported version")
    export = tf.saved_model.load(os.path.join(options.export_dir, str(max(versions))))
    fill = export.signatures["serving_default"]
    if "pieces" not in fill.structured_outputs:
        raise InputError(f"--export_dir={options.export_dir} is not the export of a pretrained model")

    for line in sys.stdin:
        text = line.strip()
        if not text:
            continue
        if "[MASK]" not in text:
            raise InputError(f"no [MASK] in: {text}")
        answer = fill(text=tf.constant([text]))
        print(text)
        for row in zip(answer["pieces"][0].numpy(), answer["probabilities"][0].numpy(), strict=True):
            guesses = zip(*row, strict=True)
            print("   " + "  ".join(f"{piece.decode().replace('▁', '')} {p:.0%}" for piece, p in guesses))


if __name__ == "__main__":
    sys.exit(main())
