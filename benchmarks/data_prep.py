"""Measures speed, memory and scaling of the data preparation: python -m benchmarks.data_prep --help.

Each run is the command itself. Each worker stays on a core of its own, because Linux sometimes runs two
workers on one core. The table compares each run with encoding alone: as many processes each encode the whole
text by `SentencePieceProcessor.encode`, after the same preprocessing as in a run. Workers cannot be faster
than that. The pieces are counted in the examples, without padding; the time is from start to end of the
process.
"""

import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

if not __package__:  # run by its path
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from albert_tf.cli import flags
from albert_tf.cli.script import script
from albert_tf.errors import InputError

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
    """Measures create_pretraining_data: its speed against encoding alone, its memory, and its scaling.

    The numbers of workers take turns in several rounds; the table shows the fastest round of each.
    """

    input_file: tuple[str, ...] = flags.option(help="plain text files: names and globs")
    spm_model_file: str = flags.option(help="SentencePiece model")
    max_seq_length: tuple[str, ...] = flags.option(("512", "128"), help="lengths to measure")
    dupe_factor: tuple[str, ...] = flags.option(("1", "10"), help="numbers of passes to measure")
    num_workers: tuple[str, ...] = flags.option(
        ("1", "2"), help="numbers of workers to measure; the table compares all with the first"
    )
    rounds: int = flags.option(3, at_least=1, help="how often to measure everything")
    temp_dir: str | None = flags.option(None, help="folder for temporary files")


class Figures(NamedTuple):
    """The work of some processes, and the time and memory that it took.

    Attributes:
      pieces: number of pieces.
      seconds: seconds from start to end.
      cpu_seconds: CPU seconds of all processes.
      megabytes: peak memory of the largest process.
    """

    pieces: float
    seconds: float
    cpu_seconds: float
    megabytes: float

    @property
    def rate(self) -> float:
        """Pieces a second."""
        return self.pieces / self.seconds


def started_on(cores: Sequence[int], command: list[str]) -> subprocess.Popen:
    """Starts Python on some cores."""
    available = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        return subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
    finally:
        os.sched_setaffinity(0, available)


def keep_workers_apart(process: subprocess.Popen, cores: Sequence[int]) -> None:
    """Waits until a process has started all its workers, and gives each worker a core of its own."""
    workers: list[int] = []
    has_ended = functools.partial(os.waitid, os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    while len(workers) < len(cores) and not has_ended():
        time.sleep(0.01)
        with contextlib.suppress(OSError):
            children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            commands = [pathlib.Path(f"/proc/{child}/cmdline").read_text() for child in children]
            workers = [int(c) for c, of in zip(children, commands, strict=True) if "spawn_main" in of]
    for worker, core in zip(workers, cores, strict=False):
        os.sched_setaffinity(worker, {core})


def ended(process: subprocess.Popen) -> tuple[str, float, float]:
    """Waits for a process; returns its output, and CPU seconds and megabytes with its own processes."""
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise InputError(f"{process.args[2]} ended with exit status {process.returncode}")
    return printed, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def encode(options: Options, cores: Sequence[int]) -> Figures:
    """Measures encoding alone, by a process on each core; all start together."""
    command = ["-c", _ENCODE, options.spm_model_file, *options.input_file]
    all_started = [started_on([core], command) for core in cores]
    printed, _, megabytes = zip(*map(ended, all_started), strict=True)
    pieces, seconds, cpu_seconds = zip(*(map(float, line.split()) for line in printed), strict=True)
    return Figures(sum(pieces), max(seconds), sum(cpu_seconds), max(megabytes))


def prepare(options: Options, cores: Sequence[int], length: str, passes: str) -> Figures:
    """Measures the command, with a worker on each core."""
    with tempfile.TemporaryDirectory(dir=options.temp_dir) as folder:
        output = os.path.join(folder, "out.tfrecord")
        begin = time.perf_counter()
        process = started_on(cores, [
            *("-m", "data_prep.create_pretraining_data", f"--output_file={output}"),
            *(f"--input_file={','.join(options.input_file)}", f"--spm_model_file={options.spm_model_file}"),
            *(f"--max_seq_length={length}", f"--dupe_factor={passes}", f"--num_workers={len(cores)}"),
        ])  # fmt: skip
        if len(cores) > 1:
            keep_workers_apart(process, cores)
        _, cpu_seconds, megabytes = ended(process)
        seconds = time.perf_counter() - begin
        with open(f"{output}.json", encoding="utf-8") as file:
            return Figures(json.load(file)["summary"]["pieces"], seconds, cpu_seconds, megabytes)


def measure(
    options: Options, name: str, run: Callable[[Sequence[int]], Figures], floor: float | None
) -> float:
    """Prints the fastest round of each number of workers; returns the pieces a second of the first number."""
    counts = list(map(int, options.num_workers))
    cores = sorted(os.sched_getaffinity(0))
    rounds = [[run(cores[:count]) for count in counts] for _ in range(options.rounds)]
    fastest = [max(of, key=lambda figures: figures.rate) for of in zip(*rounds, strict=True)]
    first = fastest[0].rate
    for count, figures in zip(counts, fastest, strict=True):
        row = f"{figures.rate:>12,.0f}{figures.rate / (floor or first):>13.2f}{figures.rate / first:>10.2f}"
        row += f"{figures.seconds:>9.2f}{figures.cpu_seconds:>13.2f}{figures.megabytes:>12,.0f}"
        print(f"{name:>28}{count:>9}{row}", flush=True)
    return first


@script(Options)
def main(options: Options) -> None:
    columns = ("workers", "pieces/s", "to encoding", "scaling", "seconds", "CPU seconds", "largest MB")
    widths = (9, 12, 13, 10, 9, 13, 12)
    print(f"{'':>28}{''.join(f'{c:>{w}}' for c, w in zip(columns, widths, strict=True))}", flush=True)
    floor = measure(options, "encoding alone", lambda cores: encode(options, cores), None)
    for length in options.max_seq_length:
        for passes in options.dupe_factor:
            measure(
                options,
                f"length {length}, dupe_factor {passes}",
                lambda cores, length=length, passes=passes: prepare(options, cores, length, passes),
                floor,
            )


if __name__ == "__main__":
    sys.exit(main())
