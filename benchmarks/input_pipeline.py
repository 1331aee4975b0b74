"""Measures the speed of the input, next to the speed of a model's training steps.

Run: python -m benchmarks.input_pipeline --input_file=... --spm_model_file=... --squad_file=dev-v1.1.json

All work runs on one core; all rates are per second of its time. The benchmark writes the same text as masked
and as unmasked records. It reads, shuffles, batches and parses them as in training; for unmasked records it
also draws the order of the texts and the masks. The two kinds take turns. Then it measures the training steps
of a model, in turn with the input, for both kinds and for windows of SQuAD. Pieces are counted without
padding.
"""

import contextlib
import dataclasses
import functools
import io
import os
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

if not __package__:  # run by its path
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from albert_tf.cli import flags
from albert_tf.cli.script import script

_SHAPES = ((512, 20), (512, 77), (128, 20))  # length and predictions of the records
_BATCH_SIZES = (8, 64, 512)
_COMPARED_BATCH = 64
_STEP_TOKENS = 1024  # tokens in a step of the model: the base model needs seconds for them


@dataclasses.dataclass(frozen=True)
class Options(flags.ScriptOptions):
    """Measures how fast the input is, and how fast the model consumes it."""

    input_file: tuple[str, ...] = flags.option(help="text files: names and globs, comma-separated")
    spm_model_file: str = flags.option(help="SentencePiece model")
    squad_file: str | None = flags.option(None, help="a JSON file of SQuAD 1.1, for its windows")
    preset: str = flags.option("base_v2", help="name of a released size, for the model")
    rounds: int = flags.option(3, at_least=1, help="measurements of each kind; the median counts")
    seconds: float = flags.option(5.0, at_least=0, help="seconds of one measurement")


@script(Options)
def main(options: Options) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    compared = []
    print("| length | predictions | batch | masked, pieces/s | unmasked, pieces/s | ratio |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for length, predictions in _SHAPES:
            tasks = [_task(options, folder, kind, length, predictions) for kind in ("static", "dynamic")]
            for batch_size in _BATCH_SIZES:
                masked, unmasked = (median["pieces"] for median in _in_turn(options, tasks, batch_size))
                print(
                    f"| {length} | {predictions} | {batch_size} | {masked:,.0f} | {unmasked:,.0f} "
                    f"| {unmasked / masked:.2f} |",
                    flush=True,
                )
            if predictions == 20:
                names = [f"{kind} records of {length}" for kind in ("masked", "unmasked")]
                compared += zip(names, tasks, [length, length], strict=True)
        if options.squad_file:
            compared.append(("windows of SQuAD 1.1", _squad_task(options), 384))
        print("\n| input | read in order, records/s | input, records/s | model, records/s | input's share |")
        print("|---|---|---|---|---|")
        for name, task, length in compared:
            _compare(options, name, task, max(1, _STEP_TOKENS // length))


def _in_turn(options: Options, tasks, batch_size: int) -> list[dict[str, float]]:
    """Measures the inputs of the tasks in turn; returns the median rates of each."""
    rounds = [[_input(task, batch_size, options.seconds) for task in tasks] for _ in range(options.rounds)]
    return [
        {key: statistics.median(one[key] for one in measured) for key in measured[0]}
        for measured in zip(*rounds, strict=True)
    ]


def _compare(options: Options, name: str, task, step_size: int) -> None:
    """Prints a row: the records per second of the input and of the model, measured in turn."""
    step = _training_step(options, task, step_size)
    inputs, models = [], []
    for _ in range(options.rounds):
        inputs.append(_input(task, _COMPARED_BATCH, options.seconds)["records"])
        models.append(step_size * _rate(step, options.seconds))
    fed, taken = statistics.median(inputs), statistics.median(models)
    in_order = _read_in_order(task, options.seconds) if hasattr(task, "input_files") else None
    shown = f"{in_order:,.0f}" if in_order else ""
    print(f"| {name} | {shown} | {fed:,.0f} | {taken:.2f} | {taken / (taken + fed):.5%} |", flush=True)


def _rate(work: Callable[[], object], seconds: float) -> float:
    """Returns how often the work is done in a second of processor time."""
    count, started = 0, time.process_time()
    while not count or time.process_time() - started < seconds:
        work()
        count += 1
    return count / (time.process_time() - started)


def _input(task, batch_size: int, seconds: float) -> dict[str, float]:
    """Returns the records and pieces of the input in a second of processor time."""
    import tensorflow as tf

    batches = iter(task.train_dataset(batch_size, 1, 0, tf.distribute.InputContext()))
    for _ in range(3):
        next(batches)
    pieces = []

    def take():
        pieces.append(int(tf.reduce_sum(next(batches)["input_mask"])))

    rate = _rate(take, seconds)
    return {"records": rate * batch_size, "pieces": rate * statistics.mean(pieces)}


def _read_in_order(task, seconds: float) -> float:
    """Returns the records a second that one thread reads, shuffles and batches."""
    import tensorflow as tf

    from albert_tf.data.record_index import index_records, shuffled_records

    records = shuffled_records(
        index_records(task.input_files),
        batch_size=_COMPARED_BATCH,
        seed=1,
        first_step=0,
        context=tf.distribute.InputContext(),
    )
    batches = iter(records.batch(_COMPARED_BATCH))
    return _COMPARED_BATCH * _rate(functools.partial(next, batches), seconds)


def _training_step(options: Options, task, batch_size: int) -> Callable[[], object]:
    """Makes a training step that is traced already."""
    import tensorflow as tf

    from albert_tf.training.optimization import LAMB
    from albert_tf.training.train_step import Trainer

    model = task.build_model("float32")
    optimizer = LAMB(1e-4)
    optimizer.build(model.trainable_variables)
    trainer = Trainer(
        task=task,
        model=model,
        optimizer=optimizer,
        strategy=tf.distribute.get_strategy(),
        make_batches=lambda: task.train_dataset(batch_size, 1, 0, tf.distribute.InputContext()),
        seed=1,
        after_step=lambda steps: None,
    )
    trainer.train(1)
    return lambda: trainer.train(1)


def _task(options: Options, folder: str, masking: str, max_seq_length: int, predictions: int):
    """Writes the text as records; returns the task of pretraining on them."""
    from albert_tf.config import AlbertConfig
    from albert_tf.tasks.pretraining import PretrainingTask, masking_of
    from data_prep.options import Options as DataOptions
    from data_prep.pipeline import create_pretraining_data

    path = os.path.join(folder, f"{masking}-{max_seq_length}-{predictions}")
    with contextlib.redirect_stderr(io.StringIO()):
        create_pretraining_data(
            DataOptions(
                input_file=options.input_file,
                output_file=(path,),
                spm_model_file=options.spm_model_file,
                max_seq_length=max_seq_length,
                max_predictions_per_seq=predictions,
                dupe_factor=1,
                masking=masking,
            )
        )
    given = {"max_predictions_per_seq": predictions}
    config = AlbertConfig.from_preset(options.preset)
    return PretrainingTask(config, [path], [path], max_seq_length, masking_of([path], given))


def _squad_task(options: Options):
    """Returns the task of fine-tuning on the windows of a file."""
    from albert_tf.config import AlbertConfig
    from albert_tf.tasks.squad.reading import read_squad
    from albert_tf.tasks.squad.squad_task import SquadTask
    from albert_tf.tasks.squad.windows import window_features
    from albert_tf.tokenization import load_tokenizer

    questions = read_squad(options.squad_file, "1.1", training=True, skip_misplaced_answers=True)
    lengths = {"max_seq_length": 384, "doc_stride": 128, "max_query_length": 64}
    features = window_features(load_tokenizer(options.spm_model_file), questions, **lengths, training=True)
    config = AlbertConfig.from_preset(options.preset)
    return SquadTask("1.1", {"train": questions}, {"train": features}, config=config, max_seq_length=384)


if __name__ == "__main__":
    sys.exit(main())
