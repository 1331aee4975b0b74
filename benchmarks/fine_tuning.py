"""Measures the examples per second of fine-tuning, with length-bucketed and with padded batches in turn.

Run: python -m benchmarks.fine_tuning --data_dir=glue --spm_model_file=30k-clean.model
"""

import dataclasses
import pathlib
import statistics
import sys
import time

if not __package__:  # run by its path
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from albert_tf.cli import flags
from albert_tf.cli.flags import option
from albert_tf.cli.script import script


@dataclasses.dataclass(frozen=True)
class BenchmarkOptions(flags.ScriptOptions):
    """Times the training steps of GLUE tasks on their real files."""

    data_dir: str = option(help="folder with a sub-folder for each task")
    spm_model_file: str = option(help="SentencePiece model")
    preset: str = option("base_v2", help="name of a released size")
    task_name: tuple[str, ...] = option(("sst-2", "mnli"), help="tasks")
    max_seq_length: tuple[str, ...] = option(("128", "512"), help="lengths")
    batch_size: int = option(16, at_least=1, help="examples in a step")
    bucketed_steps: int = option(32, at_least=1, help="timed steps of a round of bucketed batches")
    padded_steps: int = option(2, at_least=1, help="timed steps of a round of padded batches")
    rounds: int = option(3, at_least=1, help="how often to measure both, in turn")


@script(BenchmarkOptions)
def main(options: BenchmarkOptions) -> None:
    """Measures every task and length."""
    from albert_tf.data.features import text_features
    from albert_tf.tasks.classification import glue
    from albert_tf.tokenization import load_tokenizer

    tokenizer = load_tokenizer(options.spm_model_file)
    print("| task | max_seq_length | padded, examples/s | bucketed, examples/s | ratio |")
    print("|---|---|---|---|---|")
    for name in options.task_name:
        text_task = glue.find_task(name)
        examples = glue.read_split(text_task, options.data_dir, "train")
        for length in map(int, options.max_seq_length):
            features = text_features(tokenizer, examples.texts, examples.labels, length)
            padded, bucketed = _measure(options, text_task, features, length)
            ratio = bucketed / padded
            print(f"| {name} | {length} | {padded:.1f} | {bucketed:.1f} | {ratio:.1f} |", flush=True)


def _measure(options: BenchmarkOptions, text_task, features, length: int) -> tuple[float, float]:
    """Returns the examples a second with padding to the length, and with batches of similar lengths."""
    padded = _trainer(options, text_task, features, length, pad=True)
    bucketed = _trainer(options, text_task, features, length, pad=False)
    padded.train(1)
    bucketed.train(options.bucketed_steps)
    rates = []
    for _ in range(options.rounds):
        pair = []
        for trainer, steps in [(padded, options.padded_steps), (bucketed, options.bucketed_steps)]:
            start = time.perf_counter()
            trainer.train(steps)
            pair.append(steps * options.batch_size / (time.perf_counter() - start))
        rates.append(pair)
    return tuple(statistics.median(column) for column in zip(*rates, strict=True))


def _trainer(options: BenchmarkOptions, text_task, features, length: int, pad: bool):
    import tensorflow as tf

    from albert_tf.config import AlbertConfig
    from albert_tf.tasks.classification.classification_task import ClassificationTask
    from albert_tf.training.optimization import AdamW
    from benchmarks.training_step import build_trainer

    config = AlbertConfig.from_preset(options.preset)
    task = ClassificationTask(
        text_task,
        {},
        {"train": features},
        config=config,
        max_seq_length=length,
        pad_to=(length,) if pad else (),
    )
    return build_trainer(
        task,
        AdamW(1e-5),
        "float32",
        make_batches=lambda: task.train_dataset(
            options.batch_size, seed=1, first_step=0, context=tf.distribute.InputContext()
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
