"""Speed and memory of the data preparation: python -m benchmarks.data_prep --input_file=... --spm_model_file=...

Each run is the real command, in processes of its own. The floor is `SentencePieceProcessor.encode` alone, on one
core, on the lines of the text as they reach it in a run. Pieces are those of the examples written, without
padding; the time is the whole run's, the plan and the start of processes included.
"""

import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

from albert_tf import flags
from albert_tf.errors import InputError
from albert_tf.script import script


@dataclasses.dataclass(frozen=True)
class Options(flags.ScriptOptions):
    """Measures create_pretraining_data: pieces per second, memory, and how they go with workers."""

    input_file: tuple[str, ...] = flags.option(help="text files, plain: names and globs, comma-separated")
    spm_model_file: str = flags.option(help="SentencePiece model")
    max_seq_length: tuple[str, ...] = flags.option(("512", "128"), help="lengths to measure")
    dupe_factor: tuple[str, ...] = flags.option(("1", "10"), help="passes to measure")
    num_workers: tuple[str, ...] = flags.option(("1", "2"), help="numbers of workers to measure")


@dataclasses.dataclass(frozen=True)
class Measured:
    """Of a process and the processes it started: seconds, and MB of the largest of them."""

    seconds: float
    megabytes: float


_ENCODE = """
import sys, time, sentencepiece
from albert_tf.files import matching_files
from albert_tf.tokenization import preprocess_text
processor = sentencepiece.SentencePieceProcessor(model_file=sys.argv[1])
pieces = seconds = 0
for path in matching_files(sys.argv[2:]):
    with open(path, encoding="utf-8") as file:
        while lines := file.readlines(1 << 20):
            lines = [preprocess_text(line) for line in lines]
            begin = time.perf_counter()
            encoded = processor.encode(lines, out_type=int, num_threads=1)
            seconds += time.perf_counter() - begin
            pieces += sum(map(len, encoded))
print(pieces, seconds)
"""


def encoding_alone(options: Options) -> tuple[float, float]:
    """Pieces per second and seconds of the floor."""
    command = [sys.executable, "-c", _ENCODE, options.spm_model_file, *options.input_file]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    pieces, seconds = map(float, output.split())
    return pieces / seconds, seconds


def run(options: Options, workers: str, length: str, passes: str) -> tuple[dict, float, float]:
    """The summary of a run, its seconds, and the MB of its largest process."""
    with tempfile.TemporaryDirectory() as folder:
        output = os.path.join(folder, "out.tfrecord")
        command = [
            *(sys.executable, "-m", "data_prep.create_pretraining_data", f"--output_file={output}"),
            *(f"--input_file={','.join(options.input_file)}", f"--spm_model_file={options.spm_model_file}"),
            *(f"--max_seq_length={length}", f"--dupe_factor={passes}", f"--num_workers={workers}"),
        ]
        begin = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            ...
        seconds = time.perf_counter() - begin
        with open(f"{output}.json", encoding="utf-8") as file:
            return json.load(file)["summary"], seconds, megabytes
