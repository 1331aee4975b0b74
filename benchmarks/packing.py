"""Measures training steps of the same examples: a row for each, batches of similar length, and packed rows.

Run: python -m benchmarks.packing --input_file=wiki.txt --spm_model_file=30k-clean.model --max_seq_length=512

Each way trains in a process of its own, on the examples of the same steps. For batches of similar length, the
examples of all steps are sorted by length; each part is then a batch, and as long as its longest example.
"""

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

if not __package__:  # run by its path
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from albert_tf.cli import flags
from albert_tf.cli.flags import option
from albert_tf.cli.script import script

_INPUT_STEPS = 20
WAYS = ("padded", "similar length", "packed")


@dataclasses.dataclass(frozen=True)
class Options(flags.ScriptOptions):
    """Times the training steps of a released size on records that it makes of a text."""

    input_file: tuple[str, ...] = option(help="text files: names and globs, comma-separated")
    spm_model_file: str = option(help="SentencePiece model")
    preset: str = option("base_v2", help="name of a released size")
    max_seq_length: int = option(512, at_least=8, help="length of the records")
    max_predictions_per_seq: int | Literal["auto"] = option(
        20, at_least=1, help="the most pieces to predict in an example"
    )
    batch_size: int = option(32, at_least=1, help="examples in a step")
    gradient_accumulation_steps: int = option(8, at_least=1, help="number of parts of the batch")
    steps: int = option(2, at_least=1, help="timed steps, after an untimed, small one")
    records: str | None = option(None, help="measure on these records in this process and print JSON")
    way: str | None = option(None, choices=WAYS, help="what to measure there")


@script(Options)
def main(options: Options) -> None:
    """Makes the records, measures each way in a process of its own, and prints a table."""
    if options.records and options.way:
        print(json.dumps(_measure(options, options.records, options.way)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "records")
        make_records(options, path)
        runs = {way: _in_own_process(path, way) for way in WAYS}
    print("| rows | positions | of them pieces | step CPU s | of padded | step s | input | memory MB |")
    print("|---|---|---|---|---|---|---|---|")
    for way, run in runs.items():
        ratio = runs["padded"]["cpu_s"] / run["cpu_s"]
        print(
            f"| {way} | {run['positions']:,.0f} | {run['pieces']:.1%} | {run['cpu_s']:.2f} | {ratio:.2f} "
            f"| {run['seconds']:.2f} | {run['input_s'] / run['cpu_s']:.3%} | {run['memory_mb']:.0f} |"
        )


def make_records(options: Options, path: str) -> None:
    """Writes the text as unmasked records."""
    from data_prep.options import Options as DataOptions
    from data_prep.pipeline import create_pretraining_data

    names = ("input_file", "spm_model_file", "max_seq_length", "max_predictions_per_seq")
    settings = {name: getattr(options, name) for name in names}
    with contextlib.redirect_stderr(io.StringIO()):
        create_pretraining_data(DataOptions(output_file=(path,), masking="dynamic", **settings))


def _in_own_process(path: str, way: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.packing", *sys.argv[1:], f"--records={path}", f"--way={way}"]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return json.loads(output.stdout.splitlines()[-1])


def _measure(options: Options, path: str, way: str) -> dict[str, float]:
    import tensorflow as tf

    from albert_tf.config import AlbertConfig
    from albert_tf.tasks.pretraining import PretrainingTask, masking_of
    from albert_tf.training.optimization import LAMB
    from benchmarks.training_step import build_trainer

    config, length = AlbertConfig.from_preset(options.preset), options.max_seq_length
    parts = options.gradient_accumulation_steps
    masking = masking_of([path], {})
    task = PretrainingTask(config, [path], [], length, masking, packing=way == "packed", parts=parts)
    dataset = iter(task.train_dataset(options.batch_size, 1, 0, tf.distribute.InputContext()))
    batches = [{name: values.numpy() for name, values in next(dataset).items()} for _ in range(options.steps)]
    started = time.process_time()
    for _ in range(_INPUT_STEPS):
        next(dataset)
    input_s = (time.process_time() - started) / _INPUT_STEPS
    runs = options.steps
    if way == "similar length":  # each part is a batch, because it has a length of its own
        runs, parts = options.steps * parts, 1
        batches = _by_length(batches, runs)
    kinds = {name: tf.TensorSpec([None] * values.ndim, values.dtype) for name, values in batches[0].items()}
    small = {name: values[:parts] for name, values in batches[0].items()}
    made = tf.data.Dataset.from_generator(lambda: [small, *batches], output_signature=kinds)
    trainer = build_trainer(task, LAMB(1e-3), "float32", make_batches=lambda: made, micro_batches=parts)
    trainer.train(tf.constant(1))
    started, cpu_started = time.perf_counter(), time.process_time()
    trainer.train(tf.constant(runs))
    masks = [batch["input_mask"] for batch in batches]
    masks = [mask[mask.any(axis=1)] for mask in masks]
    return {
        "seconds": (time.perf_counter() - started) / options.steps,
        "cpu_s": (time.process_time() - cpu_started) / options.steps,
        "input_s": input_s,
        "positions": sum(mask.size for mask in masks) / options.steps,
        "pieces": sum(mask.sum() for mask in masks) / sum(mask.size for mask in masks),
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _by_length(batches: Sequence[Mapping[str, np.ndarray]], count: int) -> list[dict[str, np.ndarray]]:
    """The same examples in `count` batches, sorted by length and cut at the longest of each."""
    examples = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    order = np.argsort(examples["input_mask"].sum(axis=1), kind="stable")
    result = []
    for chosen in np.array_split(order, count):
        longest = -(-examples["input_mask"][chosen].sum(axis=1).max() // 8) * 8
        batch = {name: values[chosen] for name, values in examples.items()}
        for name in ("input_ids", "input_mask", "segment_ids"):
            batch[name] = batch[name][:, :longest]
        result.append(batch)
    return result


if __name__ == "__main__":
    sys.exit(main())
