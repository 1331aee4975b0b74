"""Speed of the data preparation: python -m benchmarks.data_prep --input_file=... --spm_model_file=...

Everything runs on one core in one process; the text is encoded alone first, for comparison. Pieces are those
of the examples written, without padding. The time is the whole run's: reading, encoding, planning, masking,
serializing and writing.
"""

import contextlib
import dataclasses
import io
import os
import resource
import sys
import tempfile
import time

from albert_tf import flags
from albert_tf.files import matching_files
from albert_tf.script import script
from albert_tf.tokenization import load_tokenizer
from data_prep.corpus import read_corpus
from data_prep.create_pretraining_data import Options as DataOptions
from data_prep.create_pretraining_data import create_pretraining_data


@dataclasses.dataclass(frozen=True)
class Options(flags.ScriptOptions):
    """Measures pieces per second of create_pretraining_data."""

    input_file: tuple[str, ...] = flags.option(help="text files: names and globs, comma-separated")
    spm_model_file: str = flags.option(help="SentencePiece model")


def encoding_speed(options: Options) -> float:
    tokenizer = load_tokenizer(options.spm_model_file)
    started = time.perf_counter()
    corpus = read_corpus(matching_files(options.input_file), tokenizer)
    return corpus.ids.size / (time.perf_counter() - started)


def run(options: Options, folder: str, max_seq_length: int, dupe_factor: int) -> dict:
    with contextlib.redirect_stderr(io.StringIO()):
        return create_pretraining_data(
            DataOptions(
                input_file=options.input_file,
                output_file=(os.path.join(folder, "out.tfrecord"),),
                spm_model_file=options.spm_model_file,
                max_seq_length=max_seq_length,
                dupe_factor=dupe_factor,
            )
        )


@script(Options)
def main(options: Options) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    encoding = encoding_speed(options)
    print(f"{'':>32}{'pieces/s':>14}{'to encoding':>14}{'seconds':>10}{'peak MB':>10}")
    print(f"{'reading and encoding alone':>32}{encoding:>14,.0f}{1:>14.2f}{'':>10}{_peak():>10,.0f}")
    with tempfile.TemporaryDirectory() as folder:
        for max_seq_length in (512, 128):
            for dupe_factor in (1, 10):
                summary = run(options, folder, max_seq_length, dupe_factor)
                speed, seconds = summary["pieces_per_second"], summary["seconds"]
                name = f"length {max_seq_length}, dupe_factor {dupe_factor}"
                print(f"{name:>32}{speed:>14,}{speed / encoding:>14.2f}{seconds:>10.1f}{_peak():>10,.0f}")


def _peak() -> float:
    """The most memory the process has had so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
