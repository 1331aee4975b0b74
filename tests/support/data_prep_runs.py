"""Text of words that the tiny vocabulary knows, and runs of create_pretraining_data over it."""

import dataclasses

import numpy as np

from albert_tf import testing
from albert_tf.cli.script import script
from data_prep.create_pretraining_data import run
from data_prep.options import Options
from tests.support.script_runs import run_script

# Words of one piece in the tiny WordPiece vocabulary.
WORDS = ["about", "baker", "boats", "bread", "bridge", "cattle", "daughter", "farmers", "fish", "heron"]

SMALL = {"group_bytes": (1 << 14, 1 << 14), "unit_pieces": 10_000, "small_bucket_pieces": 2000}


def write_text(path, documents=40, segments=40, words=15, seed=0):
    """Documents of equal lines of random words; returns the name of the file."""
    rng = np.random.default_rng(seed)
    lines = [" ".join(rng.choice(WORDS, words)) for _ in range(documents * segments)]
    texts = ["\n".join(lines[i : i + segments]) for i in range(0, len(lines), segments)]
    path.write_text("\n\n".join(texts) + "\n")
    return str(path)


@script(Options)
def main(options):
    run(dataclasses.replace(options, **SMALL))


def prepare(folder, *more, **flags):
    """Runs the command on `text.txt` of a folder, which it makes if needed; returns the exit status.

    What is worked on together is small: the text is 5 groups, 3 units, 12 buckets.
    """
    text = folder / "text.txt"
    if "input_file" not in flags and not text.exists():
        write_text(text, documents=20)
    given = {
        "input_file": text,
        "output_file": folder / "out",
        "vocab_file": testing.VOCAB_FILE,
        "max_seq_length": 128,
        "dupe_factor": 2,
        "num_workers": 1,
    }
    return run_script(main, given | flags, *more)


def output(folder, name="out"):
    """The bytes of the record files of a run."""
    shards = [path for path in sorted(folder.glob(f"{name}*")) if path.suffix != ".json"]
    return [path.read_bytes() for path in shards]


def leftovers(folder):
    """Names of temporary files and folders."""
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]
