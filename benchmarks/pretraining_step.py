"""Measures a training step, with oneDNN or XLA on and off in turn, against the fastest matmul of the machine.

Run: python -m benchmarks.pretraining_step --preset=base_v2 --batch_size=8 --max_seq_length=128
"""

import dataclasses
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time

if not __package__:  # run by its path
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from albert_tf.cli.flags import option
from albert_tf.cli.script import script
from benchmarks.training_step import StepOptions, make_trainer, step_flops


@dataclasses.dataclass(frozen=True)
class BenchmarkOptions(StepOptions):
    """Times the training step of a preset on random examples."""

    steps: int = option(8, at_least=1, help="timed steps, after two untimed steps")
    rounds: int = option(2, at_least=1, help="how often to measure each setting, in turn")
    compare: str = option("oneDNN", choices=("oneDNN", "XLA"), help="what is on and off in turn")
    jit_compile: bool = option(False, help="compile the step with XLA")
    measure_one: bool = option(False, help="measure in this process and print JSON")


@script(BenchmarkOptions)
def main(options: BenchmarkOptions) -> None:
    """Measures each setting in a process of its own."""
    if options.measure_one:
        print(json.dumps(_measure(options)))
        return
    settings = {"oneDNN on": ("1", ()), "oneDNN off": ("0", ())}
    if options.compare == "XLA":
        settings = {"XLA off": ("1", ()), "XLA on": ("1", ("--jit_compile",))}
    rows = {name: [] for name in settings}
    for _ in range(options.rounds):
        for name, (one_dnn, more) in settings.items():
            command = [sys.executable, "-m", "benchmarks.pretraining_step", "--measure_one"]
            environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": one_dnn}
            output = subprocess.run(
                [*command, *sys.argv[1:], *more], env=environment, check=True, stdout=subprocess.PIPE
            )
            rows[name].append(json.loads(output.stdout.splitlines()[-1]))
    print("| setting | step ms | tokens/s | GFLOP/s | of a large matmul | first step s | peak memory MB |")
    print("|---|---|---|---|---|---|---|")
    tokens = options.batch_size * options.max_seq_length
    for name, runs in rows.items():
        median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        print(
            f"| {name} | {median['step_ms']:.1f} | {1000 * tokens / median['step_ms']:,.0f} "
            f"| {median['gflops']:.0f} | {median['of_peak']:.0%} | {median['first_s']:.1f} "
            f"| {median['memory_mb']:.0f} |"
        )


def _measure(options: BenchmarkOptions) -> dict[str, float]:
    import tensorflow as tf

    peak = _matmul_peak(options.mixed_precision)
    trainer, _ = make_trainer(options, options.jit_compile)
    seconds, cpu_seconds = [], []
    for _ in range(options.steps + 2):
        start, cpu_start = time.perf_counter(), time.process_time()
        trainer.train(1)
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
    step = statistics.median(seconds[2:])
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if tf.config.list_physical_devices("GPU"):
        memory_mb = tf.config.experimental.get_memory_info("GPU:0")["peak"] / 1e6
    return {
        "step_ms": 1000 * step,
        "cpu_ms": 1000 * statistics.median(cpu_seconds[2:]),
        "gflops": step_flops(options) / step / 1e9,
        "of_peak": step_flops(options) / step / max(peak, _matmul_peak(options.mixed_precision)),
        "first_s": seconds[0],
        "memory_mb": memory_mb,
    }


def _matmul_peak(precision: str) -> float:
    """Measures the floating-point operations a second of a large matmul in this process."""
    import tensorflow as tf

    n = 8192 if tf.config.list_physical_devices("GPU") else 2048
    a = tf.cast(tf.random.normal([n, n]), precision)
    multiply = tf.function(lambda: tf.matmul(a, a)[0, 0])
    multiply()
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        multiply().numpy()
        seconds.append(time.perf_counter() - start)
    return 2 * n**3 / min(seconds)


if __name__ == "__main__":
    sys.exit(main())
