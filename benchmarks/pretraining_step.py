"""Measures a pretraining step, with oneDNN on and off in turn, against the fastest matmul of the machine.

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

from albert_tf.cli import flags
from albert_tf.cli.flags import option
from albert_tf.cli.script import script


@dataclasses.dataclass(frozen=True)
class BenchmarkOptions(flags.ScriptOptions):
    """Times the pretraining step of a preset on random records."""

    preset: str = option("base_v2", help="name of a released size")
    batch_size: int = option(8, at_least=1, help="records in a step")
    max_seq_length: int = option(128, at_least=8, help="length of the records")
    max_predictions_per_seq: int = option(20, at_least=1, help="predictions of a record")
    steps: int = option(8, at_least=1, help="timed steps, after two untimed steps")
    rounds: int = option(2, at_least=1, help="how often to measure each setting, in turn")
    mixed_precision: str = option(
        "float32", choices=("float32", "bfloat16", "float16"), help="precision of the layers"
    )
    gradient_accumulation_steps: int = option(1, at_least=1, help="number of parts of the batch")
    recompute: bool = option(False, help="compute each layer again in the backward pass")
    jit_compile: bool = option(False, help="compile the step with XLA")
    measure_one: bool = option(False, help="measure in this process and print JSON")


@script(BenchmarkOptions)
def main(options: BenchmarkOptions) -> None:
    """Measures each setting in a process of its own."""
    if options.measure_one:
        print(json.dumps(_measure(options)))
        return
    rows = {"oneDNN on": [], "oneDNN off": []}
    for _ in range(options.rounds):
        for name, one_dnn in (("oneDNN on", "1"), ("oneDNN off", "0")):
            command = [sys.executable, "-m", "benchmarks.pretraining_step", *sys.argv[1:], "--measure_one"]
            output = subprocess.run(
                command,
                env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": one_dnn},
                check=True,
                stdout=subprocess.PIPE,
            )
            rows[name].append(json.loads(output.stdout))
    print("| setting | step ms | GFLOP/s | of a large matmul | first step s | peak memory MB |")
    print("|---|---|---|---|---|---|")
    for name, runs in rows.items():
        median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        print(
            f"| {name} | {median['step_ms']:.0f} | {median['gflops']:.0f} | {median['of_peak']:.0%} "
            f"| {median['first_s']:.1f} "
            f"| {median['memory_mb']:.0f} |"
        )


def _measure(options: BenchmarkOptions) -> dict[str, float]:
    import tensorflow as tf

    from albert_tf.config import AlbertConfig
    from albert_tf.tasks.pretraining import PretrainingTask
    from albert_tf.training.gradients import LossScale
    from albert_tf.training.optimization import LAMB
    from albert_tf.training.train_step import Trainer

    config = AlbertConfig.from_preset(options.preset)
    length, predictions = options.max_seq_length, options.max_predictions_per_seq
    task = PretrainingTask(config, [], [], length)
    peak = _matmul_peak()
    precision = options.mixed_precision
    model = task.build_model(precision if precision == "float32" else f"mixed_{precision}")
    model.encoder.recompute = options.recompute
    optimizer = LAMB(1e-4)
    optimizer.build(model.trainable_variables)
    shape = [options.batch_size, length]
    ids = tf.random.uniform(shape, maxval=config.vocab_size, dtype=tf.int32)
    batch = {
        "input_ids": ids,
        "input_mask": tf.ones(shape, tf.int32),
        "segment_ids": tf.zeros(shape, tf.int32),
        "masked_lm_positions": tf.random.uniform([shape[0], predictions], maxval=length, dtype=tf.int32),
        "masked_lm_ids": ids[:, :predictions],
        "masked_lm_weights": tf.ones([shape[0], predictions]),
        "next_sentence_labels": tf.zeros([shape[0]], tf.int32),
    }
    trainer = Trainer(
        task=task,
        model=model,
        optimizer=optimizer,
        strategy=tf.distribute.get_strategy(),
        make_batches=lambda: tf.data.Dataset.from_tensors(batch).repeat(),
        seed=1,
        after_step=lambda steps: None,
        micro_batches=options.gradient_accumulation_steps,
        loss_scale=LossScale() if precision == "float16" else None,
        jit_compile=options.jit_compile,
    )
    seconds, cpu_seconds = [], []
    for _ in range(options.steps + 2):
        start, cpu_start = time.perf_counter(), time.process_time()
        trainer.train(1)
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
    step = statistics.median(seconds[2:])
    return {
        "step_ms": 1000 * step,
        "cpu_ms": 1000 * statistics.median(cpu_seconds[2:]),
        "gflops": _step_flops(config, options) / step / 1e9,
        "of_peak": _step_flops(config, options) / step / max(peak, _matmul_peak()),
        "first_s": seconds[0],
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _step_flops(config, options: BenchmarkOptions) -> float:
    """Counts the operations of the matmuls; a multiply-add counts as two, a backward pass as two forward."""
    h, f, t = config.hidden_size, config.intermediate_size, options.max_seq_length
    e, v = config.embedding_size, config.vocab_size
    per_token = e * h + config.num_hidden_layers * (4 * h * h + 2 * h * f + 2 * t * h)
    last = options.max_predictions_per_seq + 1
    saved = (t - last) / t * (2 * h * h + 2 * h * f + 2 * t * h)
    head = options.max_predictions_per_seq * (h * e + e * v)
    return 3 * 2 * options.batch_size * (t * (per_token - saved) + head)


def _matmul_peak() -> float:
    """Measures the floating-point operations a second of a large matmul in this process."""
    import tensorflow as tf

    n = 2048
    a = tf.random.normal([n, n])
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
