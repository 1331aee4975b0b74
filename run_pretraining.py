#!/usr/bin/env python3
"""Pretrains ALBERT on the TFRecords of data_prep.create_pretraining_data."""

import dataclasses
import os
import sys
from typing import Literal

from albert_tf.cli.flags import UsageError, option
from albert_tf.cli.options import PRETRAINING_BATCH, PRETRAINING_RATE, TrainingOptions, scaled_learning_rate
from albert_tf.cli.script import script

_OF_UNMASKED = "(of unmasked records; default: what they were made with)"
_MASKING_FLAGS = (
    "max_predictions_per_seq",
    "masked_lm_prob",
    "ngram",
    "favor_shorter_ngram",
    "do_whole_word_mask",
)


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
    max_predictions_per_seq: int | None = option(
        None,
        at_least=1,
        help="the most pieces to predict in a record; masked ones have room for them (default: 20, or what "
        "unmasked ones were made with)",
    )
    masked_lm_prob: float | None = option(
        None, at_least=0, help=f"share of the pieces that is to be predicted {_OF_UNMASKED}"
    )
    ngram: int | None = option(
        None, at_least=1, help=f"the most words that are chosen together {_OF_UNMASKED}"
    )
    favor_shorter_ngram: bool | None = option(
        None,
        help="n words are chosen together with probability proportional to 1/n; if not, in reverse "
        + _OF_UNMASKED,
    )
    do_whole_word_mask: bool | None = option(
        None, help=f"choose whole words, not single pieces {_OF_UNMASKED}"
    )
    train_batch_size: int = option(
        PRETRAINING_BATCH, at_least=1, help="records in a training step, over all devices"
    )
    eval_batch_size: int = option(64, at_least=1, help="records in an evaluation step, over all devices")
    optimizer: str = option("lamb", choices=("adamw", "lamb"), help="the optimizer")
    learning_rate: float | Literal["auto"] = option(
        PRETRAINING_RATE,
        at_least=0,
        help=f"peak learning rate; auto: {PRETRAINING_RATE} * sqrt(train_batch_size / {PRETRAINING_BATCH})",
    )
    num_train_steps: int = option(
        125_000, at_least=1, help="training steps, also where the learning rate's decay ends"
    )
    num_warmup_steps: int = option(3125, at_least=0, help="steps over which the learning rate rises from 0")
    save_checkpoints_steps: int = option(5000, at_least=1, help="steps between checkpoints")

    def __post_init__(self):
        super().__post_init__()
        if self.learning_rate == "auto" and self.optimizer != "lamb":
            raise UsageError("--learning_rate=auto is a rate for --optimizer=lamb")


@script(PretrainingOptions)
def main(options: PretrainingOptions) -> None:
    """Builds the task that the flags describe and runs it."""
    from albert_tf.checkpoints.run_folder import RECORD_INDEX_FILE
    from albert_tf.cli.text import say
    from albert_tf.config import AlbertConfig
    from albert_tf.data.records import record_files
    from albert_tf.tasks.pretraining import PretrainingTask, masking_of
    from albert_tf.training import loop

    if options.learning_rate == "auto":
        options = dataclasses.replace(options, learning_rate=scaled_learning_rate(options.train_batch_size))
        say(
            f"learning rate {options.learning_rate:.4g}: the paper's {PRETRAINING_RATE} times the root of "
            f"{options.train_batch_size}/{PRETRAINING_BATCH}"
        )
    input_files = record_files(options.input_file)
    eval_files = input_files
    if options.eval_input_file:
        eval_files = record_files(options.eval_input_file)
    config = AlbertConfig.from_json_file(options.albert_config_file)
    given = {name: getattr(options, name) for name in _MASKING_FLAGS}
    task = PretrainingTask(
        config,
        input_files,
        eval_files,
        max_seq_length=options.max_seq_length,
        masking=masking_of(
            input_files + eval_files, {name: value for name, value in given.items() if value is not None}
        ),
        index_file=None if options.dry_run else os.path.join(options.output_dir, RECORD_INDEX_FILE),
    )
    loop.run(task, options)


if __name__ == "__main__":
    sys.exit(main())
