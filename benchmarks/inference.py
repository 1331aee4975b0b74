"""Measures latency, throughput and memory of our exports, next to Hugging Face and ONNX Runtime, in one run.

Run: python -m benchmarks.inference --spm_model_file=30k-clean.model

The benchmark writes one model with random weights in every form. Each contender has a process of its own for
each number of threads. Before the timing all must give the same numbers. They are timed in turn, so that
other work on the machine slows all of them equally. Hugging Face needs the extra `interop`, ONNX Runtime the
extra `export`; a contender whose packages are not installed is left out.
"""

import dataclasses
import itertools
import pathlib
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence

if not __package__:  # run by its path
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

import numpy as np

from albert_tf.cli import flags
from albert_tf.cli.flags import option
from albert_tf.cli.script import script
from albert_tf.cli.text import progress_bar
from albert_tf.errors import InputError
from benchmarks import contenders
from benchmarks.contenders import OURS, PEERS, PRODUCT, Contender

_ROUNDING = 1e-4
_ROUNDED = ("LiteRT float16", "LiteRT int8")  # their numbers may differ; the table shows by how much
_TURN_SECONDS = 0.5  # length of a contender's turn
_SLOW_SECONDS = 5.0
_LEAST_TURNS = 3


@dataclasses.dataclass(frozen=True)
class BenchmarkOptions(flags.ScriptOptions):
    """Times every contender at every batch size, length and number of threads."""

    spm_model_file: str = option(help="SentencePiece model")
    preset: str = option("base_v2", help="name of a released size, or tiny")
    head: str = option("classification", choices=contenders.HEADS, help="head of the model")
    batch_sizes: tuple[int, ...] = option((1, 32), at_least=1, help="sequences in a batch")
    max_seq_lengths: tuple[int, ...] = option((32, 128, 512), at_least=2, help="pieces of every sequence")
    num_threads: tuple[int, ...] = option((1, 2), at_least=1, help="threads that compute")
    contenders: tuple[str, ...] = option((*OURS, *PEERS), choices=(*OURS, *PEERS), help="which ways to time")
    rounds: int = option(7, at_least=1, help="most turns of every contender")
    cell_seconds: float = option(
        40.0,
        at_least=0,
        help="after this many seconds, a batch size and length gets no more than 3 turns",
    )


@dataclasses.dataclass(frozen=True)
class Cell:
    """The time and memory of one contender for one batch.

    Attributes:
      seconds: seconds of a batch in each turn.
      memory_mb: peak memory of its process.
      difference: largest difference of its numbers from those of the first contender.
    """

    seconds: list[float]
    memory_mb: float
    difference: float

    @property
    def milliseconds(self) -> float:
        """The median time."""
        return 1000 * statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half of the interquartile range, as a share of the median."""
        if len(self.seconds) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return (high - low) / 2 / statistics.median(self.seconds)


@script(BenchmarkOptions)
def main(options: BenchmarkOptions) -> None:
    """Makes the files, measures, and prints a table for every number of threads."""
    names = [name for name in options.contenders if _can_run(name, options.head)]
    shapes = list(itertools.product(options.batch_sizes, options.max_seq_lengths))
    with tempfile.TemporaryDirectory() as folder:
        _make_files(options, names, folder)
        with progress_bar(total=len(shapes) * len(options.num_threads), desc="timing", unit=" cells") as bar:
            for num_threads in options.num_threads:
                entrants = [Contender(name, folder, options.head, num_threads) for name in (*names, PRODUCT)]
                print(_header(num_threads))
                for batch_size, length in shapes:
                    batch = _sentences(options, batch_size, length)
                    cells = measure(entrants, batch, options)
                    print(*_rows(cells, batch_size, length, _flops(options, batch_size, length)), sep="\n")
                    sys.stdout.flush()
                    bar.update()
                for entrant in entrants:
                    entrant.close()


def _can_run(name: str, head: str) -> bool:
    if name == "SavedModel C++":  # It answers in text, which takes too long for a vector of every piece.
        return head == "classification" and shutil.which("g++") is not None
    needed = {
        "ONNX": ("tf2onnx", "onnx", "onnxruntime"),
        "Hugging Face": ("torch", "transformers"),
        "Hugging Face ONNX": ("torch", "transformers", "onnx", "onnxruntime"),
    }
    return contenders.are_installed(needed.get(name, ()))


def _make_files(options: BenchmarkOptions, names: Sequence[str], folder: str) -> None:
    """Makes the files in processes of their own, so that this one imports neither TensorFlow nor PyTorch."""
    with contenders.own_process() as process:
        process.submit(
            contenders.make_files,
            folder,
            names,
            options.preset,
            options.head,
            options.spm_model_file,
            options.batch_sizes,
            options.max_seq_lengths,
        ).result()
    if "Hugging Face ONNX" in names:
        with contenders.own_process() as process:
            process.submit(contenders.make_peers_onnx, folder, options.head).result()


def _sentences(options: BenchmarkOptions, batch_size: int, length: int) -> dict[str, np.ndarray]:
    """Makes a batch of English text without padding; each row starts at another place of the text."""
    from albert_tf.export.device.device_check import SENTENCES
    from albert_tf.tokenization import load_tokenizer

    tokenizer = load_tokenizer(options.spm_model_file)
    pieces = np.array(tokenizer.encode(" ".join(SENTENCES)), np.int32)
    shifts = 7 * np.arange(batch_size)[:, None]
    ids = pieces[(shifts + np.arange(length)) % len(pieces)]
    ids[:, 0], ids[:, -1] = tokenizer.cls_id, tokenizer.sep_id
    return {"input_ids": ids, "input_mask": np.ones_like(ids), "segment_ids": np.zeros_like(ids)}


def measure(
    entrants: Sequence[Contender], batch: dict[str, np.ndarray], options: BenchmarkOptions
) -> dict[str, Cell]:
    """Checks that all give the same numbers, then times all in turn."""
    expected, differences, runs, seconds = None, {}, {}, {}
    for entrant in entrants:
        outputs, first = entrant.first(batch)
        if entrant.name != PRODUCT:
            expected = expected or outputs
            differences[entrant.name] = max(
                float(np.max(np.abs(outputs[name] - expected[name]))) for name in expected
            )
        # If a run takes seconds, the first run counts: a warm-up would hardly change it.
        is_slow = first > _SLOW_SECONDS
        seconds[entrant.name] = [first] if is_slow else []
        runs[entrant.name] = 1 if is_slow else max(1, round(_TURN_SECONDS / entrant.time(1)[0]))
    for name, difference in differences.items():
        if name not in _ROUNDED and not difference <= _ROUNDING:
            raise InputError(f"{name} differs from {entrants[0].name} by {difference:.2g}: nothing is timed")
    started = time.perf_counter()
    for turn in range(options.rounds):
        if turn >= _LEAST_TURNS and time.perf_counter() - started > options.cell_seconds:
            break
        for entrant in entrants:
            if len(seconds[entrant.name]) == turn:
                seconds[entrant.name].append(statistics.median(entrant.time(runs[entrant.name])))
    return {
        entrant.name: Cell(seconds[entrant.name], entrant.memory_mb(), differences.get(entrant.name, 0.0))
        for entrant in entrants
    }


def _header(num_threads: int) -> str:
    columns = ["batch x length", "contender", "ms", "spread", "sentences/s", "of the limit", "peak memory MB"]
    columns.append("largest difference")
    return f"\nThreads: {num_threads}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}"


def _rows(cells: dict[str, Cell], batch_size: int, length: int, flops: float) -> list[str]:
    """Makes the rows, fastest first; the last is the time of the products at the machine's best rate."""
    limit = 1000 * flops * statistics.median(cells[PRODUCT].seconds) / contenders.product_flops()
    shape = f"{batch_size} x {length}"
    rows = [
        f"| {shape} | {(OURS | PEERS)[name]} | {cell.milliseconds:.1f} | {cell.spread:.0%} "
        f"| {1000 * batch_size / cell.milliseconds:.1f} | {limit / cell.milliseconds:.0%} "
        f"| {cell.memory_mb:.0f} | {cell.difference:.1e} |"
        for name, cell in sorted(cells.items(), key=lambda item: item[1].milliseconds)
        if name != PRODUCT
    ]
    spread = cells[PRODUCT].spread
    limit_row = f"| {shape} | limit: its products at the rate of one of 2048 x 2048 | {limit:.1f} "
    return [*rows, f"{limit_row}| {spread:.0%} | {1000 * batch_size / limit:.1f} | | | |"]


def _flops(options: BenchmarkOptions, batch_size: int, length: int) -> float:
    """Counts the operations of the matrix products for the outputs; a multiply-add counts as two."""
    from albert_tf import testing
    from albert_tf.config import AlbertConfig

    config = testing.tiny_config() if options.preset == "tiny" else AlbertConfig.from_preset(options.preset)
    h, f = config.hidden_size, config.intermediate_size
    keys_and_values, rest = 2 * h * h, 2 * h * h + 2 * h * f + 2 * length * h
    per_token = config.embedding_size * h + config.num_hidden_layers * (keys_and_values + rest)
    # A classifier reads the first position of the last layer.
    unread = (length - 1) * rest if options.head == "classification" else 0
    return 2 * batch_size * (length * per_token + h * h - unread)


if __name__ == "__main__":
    sys.exit(main())
