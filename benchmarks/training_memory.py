"""Measures peak memory and step time of pretraining with each way to save them; each has its own process.

Run: python -m benchmarks.training_memory --preset=base_v2 --batch_size=8 --max_seq_length=512
"""

import dataclasses
import json
import pathlib
import statistics
import subprocess
import sys

if not __package__:  # run by its path
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from albert_tf.cli.flags import ScriptOptions, option
from albert_tf.cli.script import script
from albert_tf.cli.text import progress_bar

_WAYS = (
    (),
    ("--gradient_accumulation_steps=2",),
    ("--gradient_accumulation_steps=4",),
    ("--gradient_accumulation_steps=8",),
    ("--recompute",),
    ("--recompute", "--gradient_accumulation_steps=4"),
    ("--jit_compile",),
    ("--jit_compile", "--recompute"),
    ("--mixed_precision=bfloat16",),
    ("--mixed_precision=bfloat16", "--recompute", "--gradient_accumulation_steps=4"),
    ("--mixed_precision=float16",),
)


@dataclasses.dataclass(frozen=True)
class MemoryOptions(ScriptOptions):
    """Measures the pretraining step of a preset on random records with each way to save memory or time."""

    preset: str = option("base_v2", help="name of a released size")
    batch_size: int = option(8, at_least=8, help="records in a step, divisible by 8")
    max_seq_length: int = option(512, at_least=8, help="length of the records")
    steps: int = option(3, at_least=1, help="timed steps, after two untimed steps")
    rounds: int = option(1, at_least=1, help="how often to measure each way, in turn")
    only: str | None = option(None, help="measure only the plain step and ways whose flags contain this text")


@script(MemoryOptions)
def main(options: MemoryOptions) -> None:
    """Prints a Markdown table."""
    shape = [
        f"--{name}={getattr(options, name)}" for name in ("preset", "batch_size", "max_seq_length", "steps")
    ]
    ways = [way for way in _WAYS if not way or (options.only or "") in " ".join(way)]
    runs = {way: [] for way in ways}
    for way in progress_bar(iterable=ways * options.rounds, desc="measuring", unit="run"):
        command = [sys.executable, "-m", "benchmarks.pretraining_step", *shape, *way, "--measure_one"]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        runs[way].append(json.loads(output.splitlines()[-1]))
    print("| flags | peak memory MB | of plain | step s | of plain | CPU s | first step s |")
    print("|---|---|---|---|---|---|---|")
    plain = _medians(runs[()])
    for way, measured in runs.items():
        median = _medians(measured)
        print(
            f"| {' '.join(f'`{flag}`' for flag in way) or 'none'} "
            f"| {median['memory_mb']:.0f} | {median['memory_mb'] / plain['memory_mb']:.2f} "
            f"| {median['step_ms'] / 1000:.2f} | {median['step_ms'] / plain['step_ms']:.2f} "
            f"| {median['cpu_ms'] / 1000:.2f} | {median['first_s']:.1f} |"
        )


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


if __name__ == "__main__":
    sys.exit(main())
