"""Measures whole pretraining runs, from text to weights: in the original's way, and in ours.

Run: python -m benchmarks.pretraining_run --input_file=wiki.txt --spm_model_file=30k-clean.model

A run makes records of the text, trains, evaluates and saves checkpoints. In the original's way records are
masked, a row holds one example, and the last layer computes all positions. In our way masks are drawn while
training, a row holds several examples, and the last layer computes the positions that are read. Everything
else is the same code. Each run has a process of its own.
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
from typing import Any

if not __package__:  # run by its path
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from albert_tf.cli import flags
from albert_tf.cli.flags import option
from albert_tf.cli.script import script

# For each way: `--max_predictions_per_seq`, and whether it is ours.
WAYS = {
    "original's, 20 predictions": (20, False),
    "ours, 20 predictions": (20, True),
    "ours, auto": ("auto", True),
}


@dataclasses.dataclass(frozen=True)
class Options(flags.ScriptOptions):
    """Times a short run of pretraining on a text in each way."""

    input_file: tuple[str, ...] = option(help="text files: names and globs, comma-separated")
    spm_model_file: str = option(help="SentencePiece model")
    albert_config_file: str = option("benchmarks/small_albert_config.json", help="the shape of the model")
    max_seq_length: int = option(512, at_least=8, help="length of the records")
    train_batch_size: int = option(32, at_least=1, help="examples in a step")
    num_train_steps: int = option(40, at_least=1, help="steps of a run; it evaluates and saves twice")
    way: str | None = option(
        None, choices=tuple(WAYS), help="measure this way in this process and print JSON"
    )


@script(Options)
def main(options: Options) -> None:
    """Measures each way in a process of its own, and prints a table."""
    if options.way:
        print(json.dumps(_measure(options, *WAYS[options.way])))
        return
    print("| way | data CPU s | run CPU s | pieces | predictions | pieces/CPU s | pieces/s | memory MB |")
    print("|---|---|---|---|---|---|---|---|")
    for way in WAYS:
        command = [sys.executable, "-m", "benchmarks.pretraining_run", *sys.argv[1:], f"--way={way}"]
        started = time.perf_counter()
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE)
        seconds = time.perf_counter() - started
        run = json.loads(output.stdout.splitlines()[-1])
        print(
            f"| {way} | {run['data_s']:.1f} | {run['run_s']:.1f} | {run['pieces']:,.0f} "
            f"| {run['predictions']:,.0f} | {run['pieces'] / (run['data_s'] + run['run_s']):,.0f} "
            f"| {run['pieces'] / seconds:,.0f} | {run['memory_mb']:.0f} |",
            flush=True,
        )


def _measure(options: Options, predictions: int | str, is_ours: bool) -> dict[str, float]:
    """Makes the records and trains; counts the pieces and predictions of all training steps."""
    import tensorflow as tf

    from albert_tf.cli.options import TrainingOptions
    from albert_tf.training import loop

    with tempfile.TemporaryDirectory() as folder:
        records = os.path.join(folder, "records")
        _make_records(options, records, predictions, "dynamic" if is_ours else "static")
        data_s = _cpu_seconds()
        task, steps, size = (
            _task(options, records, is_ours),
            options.num_train_steps,
            options.train_batch_size,
        )
        training = TrainingOptions(
            output_dir=os.path.join(folder, "model"),
            optimizer="lamb",
            do_eval=True,
            max_eval_steps=2,
            eval_batch_size=size,
            train_batch_size=size,
            num_train_steps=steps,
            save_checkpoints_steps=-(-steps // 2),
        )
        with contextlib.redirect_stdout(io.StringIO()):
            loop.run(task, training)
        run_s = _cpu_seconds() - data_s
        memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        batches = task.train_dataset(size, training.seed, 0, tf.distribute.InputContext()).take(steps)
        counts = [
            (int(tf.reduce_sum(b["input_mask"])), int(tf.reduce_sum(b["masked_lm_weights"]))) for b in batches
        ]
    pieces, predicted = (sum(column) for column in zip(*counts, strict=True))
    return {
        "data_s": data_s,
        "run_s": run_s,
        "pieces": pieces,
        "predictions": predicted,
        "memory_mb": memory_mb,
    }


def _make_records(options: Options, path: str, predictions: int | str, masking: str) -> None:
    from data_prep.options import Options as DataOptions
    from data_prep.pipeline import create_pretraining_data

    names = ("input_file", "spm_model_file", "max_seq_length")
    settings = {name: getattr(options, name) for name in names}
    settings |= {"max_predictions_per_seq": predictions, "masking": masking, "dupe_factor": 1}
    with contextlib.redirect_stderr(io.StringIO()):
        create_pretraining_data(DataOptions(output_file=(path,), **settings))


def _task(options: Options, records: str, is_ours: bool) -> Any:
    import tensorflow as tf

    from albert_tf.config import AlbertConfig
    from albert_tf.models.pretraining import AlbertForPreTraining
    from albert_tf.tasks.pretraining import PretrainingTask, masking_of

    class AllPositions(AlbertForPreTraining):
        """It computes the last layer at all positions, and then takes those to predict."""

        def encode(self, inputs, output_positions, example_starts, **arguments):
            encoded = super().encode(inputs, **arguments)
            picked = tf.gather(encoded["sequence_output"], output_positions, batch_dims=1)
            return encoded | {"sequence_output": picked}

    class OriginalsWay(PretrainingTask):
        def build_model(self, dtype="float32"):
            return AllPositions(self.config, dtype=dtype)

    config, length = AlbertConfig.from_json_file(options.albert_config_file), options.max_seq_length
    kind = PretrainingTask if is_ours else OriginalsWay
    return kind(config, [records], [records], length, masking_of([records], {}), packing=is_ours)


def _cpu_seconds() -> float:
    """The processor time of this process and of those that it started and that have ended."""
    return sum(os.times()[:4])


if __name__ == "__main__":
    sys.exit(main())
