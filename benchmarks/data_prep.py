"""Speed and memory of the data preparation: python -m benchmarks.data_prep --help.

Each run is the command itself, on as many cores as it has workers. The floor is
`SentencePieceProcessor.encode` alone, on one core, on the lines of the text as they reach it in a run. Pieces
are those of the examples written, without padding; the time is that of the process from start to end.
"""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time

from albert_tf import flags
from albert_tf.errors import InputError
from albert_tf.script import script

_ENCODE = """
import sys, time, sentencepiece
from albert_tf.files import matching_files
from albert_tf.tokenization import preprocess_text
processor = sentencepiece.SentencePieceProcessor(model_file=sys.argv[1])
pieces = seconds = cpu_seconds = 0
for path in matching_files(sys.argv[2:]):
    with open(path, encoding="utf-8") as file:
        while lines := file.readlines(1 << 20):
            lines = [preprocess_text(line) for line in lines]
            begin, cpu_begin = time.perf_counter(), time.process_time()
            encoded = processor.encode(lines, out_type=int, num_threads=1)
            seconds += time.perf_counter() - begin
            cpu_seconds += time.process_time() - cpu_begin
            pieces += sum(map(len, encoded))
print(pieces, seconds, cpu_seconds)
"""


@dataclasses.dataclass(frozen=True)
class Options(flags.ScriptOptions):
    """Measures create_pretraining_data: speed against encoding alone, memory, and what more workers bring."""

    input_file: tuple[str, ...] = flags.option(help="plain text files: names and globs")
    spm_model_file: str = flags.option(help="SentencePiece model")
    max_seq_length: tuple[str, ...] = flags.option(("512", "128"), help="lengths to measure")
    dupe_factor: tuple[str, ...] = flags.option(("1", "10"), help="numbers of passes to measure")
    num_workers: tuple[str, ...] = flags.option(("1", "2"), help="numbers of workers to measure")
    temp_dir: str | None = flags.option(None, help="folder for what is written, and removed at the end")


@dataclasses.dataclass(frozen=True)
class Process:
    """What a process printed and took.

    Attributes:
      seconds: from start to end.
      cpu_seconds: of it and those that it started.
      megabytes: of the largest of them.
    """

    printed: str
    seconds: float
    cpu_seconds: float
    megabytes: float


def on_cores(cores: int, command: list[str]) -> Process:
    """Runs Python on so many cores."""
    available = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(available)[:cores])
    begin = time.perf_counter()
    try:
        process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
    finally:
        os.sched_setaffinity(0, available)
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise InputError(f"{command[1]} ended with exit status {process.returncode}")
    seconds = time.perf_counter() - begin
    return Process(printed, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def summary_of_run(options: Options, workers: str, length: str, passes: str) -> tuple[dict, Process]:
    with tempfile.TemporaryDirectory(dir=options.temp_dir) as folder:
        output = os.path.join(folder, "out.tfrecord")
        process = on_cores(int(workers), [
            *("-m", "data_prep.create_pretraining_data", f"--output_file={output}"),
            *(f"--input_file={','.join(options.input_file)}", f"--spm_model_file={options.spm_model_file}"),
            *(f"--max_seq_length={length}", f"--dupe_factor={passes}", f"--num_workers={workers}"),
        ])  # fmt: skip
        with open(f"{output}.json", encoding="utf-8") as file:
            return json.load(file)["summary"], process


@script(Options)
def main(options: Options) -> None:
    encoding = on_cores(1, ["-c", _ENCODE, options.spm_model_file, *options.input_file])
    pieces, seconds, cpu_seconds = map(float, encoding.printed.split())
    floor = pieces / seconds
    columns = ("pieces/s", "to encoding", "seconds", "CPU seconds", "largest MB")
    print(f"{'':>40}{''.join(f'{column:>13}' for column in columns)}")
    figures = f"{floor:>13,.0f}{1:>13.2f}{seconds:>13.2f}{cpu_seconds:>13.2f}"
    print(f"{'encoding alone':>40}{figures}{encoding.megabytes:>13,.0f}", flush=True)
    for length in options.max_seq_length:
        for passes in options.dupe_factor:
            for workers in options.num_workers:
                summary, process = summary_of_run(options, workers, length, passes)
                speed = summary["pieces"] / process.seconds
                name = f"length {length}, dupe_factor {passes}, {workers} workers"
                figures = f"{speed:>13,.0f}{speed / floor:>13.2f}"
                figures += f"{process.seconds:>13.2f}{process.cpu_seconds:>13.2f}"
                print(f"{name:>40}{figures}{process.megabytes:>13,.0f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
