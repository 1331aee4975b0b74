#!/usr/bin/env python3
"""Pretrains ALBERT on the TFRecords of data_prep.create_pretraining_data."""

import dataclasses
import os
import sys

from albert_tf.flags import option
from albert_tf.options import TrainingOptions
from albert_tf.script import script


@dataclasses.dataclass(frozen=True)
class PretrainingOptions(TrainingOptions):
    """Pretrains ALBERT: masked-LM and sentence-order prediction on TFRecords.

    Running the same command again continues from the newest checkpoint in --output_dir.
    """

    albert_config_file: str = option(help="the model's albert_config.json")
    input_file: tuple[str, ...] = option(help="globs of TFRecords to train on")
    eval_input_file: tuple[str, ...] | None = option(
        None, help="globs of held-out TFRecords; --input_file when left out"
    )
    max_seq_length: int = option(512, at_least=4, help="length of the records")
    max_predictions_per_seq: int = option(20, at_least=1, help="masked positions a record has room for")
    train_batch_size: int = option(4096, at_least=1, help="records in a training step, over all devices")
    eval_batch_size: int = option(64, at_least=1, help="records in an evaluation step, over all devices")
    optimizer: str = option("lamb", choices=("adamw", "lamb"), help="the optimizer")
    learning_rate: float = option(0.00176, at_least=0, help="peak learning rate")
    num_train_steps: int = option(
        125_000, at_least=1, help="training steps, also where the learning rate's decay ends"
    )
    num_warmup_steps: int = option(3125, at_least=0, help="steps over which the learning rate rises from 0")
    save_checkpoints_steps: int = option(5000, at_least=1, help="steps between checkpoints")


@script(PretrainingOptions)
def main(options: PretrainingOptions) -> None:
    """Builds the task that the flags describe and runs it."""
    from albert_tf.config import AlbertConfig
    from albert_tf.records import record_files
    from albert_tf.tasks.pretraining import PretrainingTask
    from albert_tf.training import loop

    input_files = record_files(options.input_file)
    eval_files = input_files
    if options.eval_input_file:
        eval_files = record_files(options.eval_input_file)
    task = PretrainingTask(
        AlbertConfig.from_json_file(options.albert_config_file),
        input_files,
        eval_files,
        max_seq_length=options.max_seq_length,
        max_predictions_per_seq=options.max_predictions_per_seq,
        index_file=os.path.join(options.output_dir, "record_index.npz"),
    )
    loop.run(task, options)


if __name__ == "__main__":
    sys.exit(main())
