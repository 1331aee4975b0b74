#!/usr/bin/env python3
"""Finds the texts that mean what you ask: makes an index of a folder of texts, and answers at a prompt."""

import dataclasses
import itertools
import os
import pathlib
import sys
from collections.abc import Iterator

if not __package__:  # run by its path
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

import numpy as np

from albert_tf.cli import flags
from albert_tf.cli.flags import UsageError, option
from albert_tf.cli.script import script
from albert_tf.cli.text import progress_bar
from albert_tf.data.tables import text_lines
from albert_tf.errors import InputError, escaped
from albert_tf.files import folder_appears_when_complete

_VECTORS, _TEXTS = "vectors.npy", "texts.txt"
_AT_ONCE = 4096  # texts that are in memory while the index is made


@dataclasses.dataclass(frozen=True)
class SearchOptions(flags.ScriptOptions):
    """Makes an index of --texts if they are given, then finds texts for each line of standard input."""

    model: str = option(help="a model of run_similarity.py: the folder of the run, or an export")
    index: str = option(help="folder of the index: vectors, which are not read into memory, and texts")
    texts: str | None = option(None, help="folder of .txt files with a text on each line")
    overwrite: bool = option(False, help="replace an index that exists")
    count: int = option(5, at_least=1, help="texts to show for a question")

    def __post_init__(self):
        super().__post_init__()
        if self.overwrite and not self.texts:
            raise UsageError("--overwrite needs --texts")

    @property
    def needed_paths(self) -> tuple[str, ...]:
        """See `ScriptOptions`."""
        return ("model", "texts") if self.texts else ("model", "index")


def texts_in(folder: str) -> Iterator[str]:
    """The lines of all .txt files of a folder that are not blank, in the order of the names."""
    for path in sorted(pathlib.Path(folder).glob("*.txt")):
        yield from (" ".join(line.split()) for line in text_lines(str(path)) if line.strip())


def make_index(model, folder: str, total: int, index: str, overwrite: bool) -> None:
    """Writes the vectors and all `total` texts of a folder; the index appears when it is complete."""
    texts, size = texts_in(folder), model.encode([]).shape[1]
    with (
        folder_appears_when_complete(index, overwrite) as target,
        open(os.path.join(target, _TEXTS), "w", encoding="utf-8") as lines,
        progress_bar(total=total, desc="encoding", unit=" texts") as bar,
    ):
        path = os.path.join(target, _VECTORS)
        vectors = np.lib.format.open_memmap(path, "w+", np.float32, (total, size))
        done = 0
        while some := list(itertools.islice(texts, _AT_ONCE)):
            vectors[done : done + len(some)] = model.encode(some)
            lines.writelines(f"{text}\n" for text in some)
            done += len(some)
            bar.update(len(some))
        vectors.flush()


@script(SearchOptions)
def main(options: SearchOptions) -> None:
    """Makes the index if asked, and answers."""
    from albert_tf import open_model
    from albert_tf.tasks.similarity.judging import best_first

    total = sum(1 for _ in texts_in(options.texts)) if options.texts else 0
    if options.texts and not total:
        raise InputError(f"--texts={options.texts} has no .txt file with text")
    model = open_model(options.model)
    if options.texts:
        make_index(model, options.texts, total, options.index, options.overwrite)
    paths = [os.path.join(options.index, name) for name in (_VECTORS, _TEXTS)]
    if not all(map(os.path.isfile, paths)):
        raise InputError(f"--index={options.index} holds no index: --texts makes one")
    vectors, texts = np.load(paths[0], mmap_mode="r"), list(text_lines(paths[1]))
    for line in filter(str.strip, sys.stdin):
        [asked] = model.encode(line.strip())
        if (len(texts), len(asked)) != vectors.shape:
            raise InputError(f"--index={options.index} was made by another model, or is damaged")
        scores = vectors @ asked
        for place in best_first(scores, options.count):
            print(f"{scores[place]:7.4f}  {escaped(texts[place])}")
        print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
