"""Speed of pretraining's input: python -m benchmarks.input_pipeline --input_file=... --spm_model_file=...

The same text as masked and as unmasked records, read, shuffled, batched and parsed as in training, on one
core; of the unmasked ones also the order of the texts and the masks are drawn. The two kinds take turns.
Pieces are those of the records, without padding.
"""

import contextlib
import dataclasses
import io
import os
import statistics
import sys
import tempfile
import time

from albert_tf import flags
from albert_tf.script import script


@dataclasses.dataclass(frozen=True)
class Options(flags.ScriptOptions):
    """Measures pieces per second that reach the model."""

    input_file: tuple[str, ...] = flags.option(help="text files: names and globs, comma-separated")
    spm_model_file: str = flags.option(help="SentencePiece model")
    rounds: int = flags.option(3, at_least=1, help="measurements of each kind; the median counts")
    seconds: float = flags.option(5.0, at_least=0, help="time of one measurement")


def write_records(options: Options, path: str, masking: str, max_seq_length: int, predictions: int) -> None:
    from data_prep.create_pretraining_data import Options as DataOptions
    from data_prep.create_pretraining_data import create_pretraining_data

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


def measure(path: str, max_seq_length: int, predictions: int, batch_size: int, seconds: float) -> float:
    """Pieces per second of processor time."""
    import tensorflow as tf

    from albert_tf.config import AlbertConfig
    from albert_tf.tasks.pretraining import PretrainingTask, masking_of

    config = AlbertConfig.from_preset("base_v2")
    task = PretrainingTask(
        config, [path], [path], max_seq_length, masking_of([path], {"max_predictions_per_seq": predictions})
    )
    batches = iter(task.train_dataset(batch_size, 1, 0, tf.distribute.InputContext()))
    for _ in range(3):
        next(batches)
    pieces, started = 0, time.process_time()
    while time.process_time() - started < seconds:
        pieces += int(tf.reduce_sum(next(batches)["input_mask"]))
    return pieces / (time.process_time() - started)


@script(Options)
def main(options: Options) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    columns = ("masked, pieces/s", "unmasked, pieces/s", "ratio")
    print(f"{'length, predictions, batch':>28}" + "".join(f"{column:>20}" for column in columns))
    with tempfile.TemporaryDirectory() as folder:
        for length, predictions in ((512, 20), (512, 77), (128, 20)):
            paths = [os.path.join(folder, f"{kind}-{length}-{predictions}") for kind in ("static", "dynamic")]
            for path, masking in zip(paths, ("static", "dynamic"), strict=True):
                write_records(options, path, masking, length, predictions)
            for batch_size in (8, 64, 512):
                measured = [
                    [measure(path, length, predictions, batch_size, options.seconds) for path in paths]
                    for _ in range(options.rounds)
                ]
                masked, unmasked = (statistics.median(kind) for kind in zip(*measured, strict=True))
                name = f"{length}, {predictions}, {batch_size}"
                print(f"{name:>28}{masked:>20,.0f}{unmasked:>20,.0f}{unmasked / masked:>20.2f}")


if __name__ == "__main__":
    sys.exit(main())
