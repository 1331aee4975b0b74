#!/usr/bin/env python3
"""Pretrains ALBERT on the TFRecords of data_prep.create_pretraining_data."""

import dataclasses
import os
import sys
from typing import Literal

from albert_tf.cli.flags import UsageError, option
from albert_tf.cli.hyperparameters import (
    PRETRAINING_BATCH,
    PRETRAINING_LENGTH,
    PRETRAINING_RATE,
    PRETRAINING_STEPS,
    PRETRAINING_WARMUP,
    scaled_learning_rate,
    warmup_steps,
)
from albert_tf.cli.options import TrainingOptions
from albert_tf.cli.script import script
from albert_tf.cli.text import say
from albert_tf.config import PRESETS, AlbertConfig

_OF_UNMASKED = "(for unmasked records; default: as they were made)"
_OF_THE_RECORDS = "(default: as the records were made)"
_PARTS_OF_STATIC_ROWS = 16
_TEXT_FLAGS = ("spm_model_file", "vocab_file", "do_lower_case", "keep_accents")


@dataclasses.dataclass(frozen=True)
class PretrainingOptions(TrainingOptions):
    """Pretrains ALBERT: masked-LM and sentence-order prediction on TFRecords.

    Running the same command again continues from the newest checkpoint in --output_dir.
    """

    albert_config_file: str | None = option(None, help="the model's albert_config.json")
    preset: str | None = option(
        None,
        choices=tuple(PRESETS),
        help="the shape of a released model or of BERT, instead of --albert_config_file",
    )
    vocab_size: int | None = option(
        None, at_least=1, help="pieces in the vocabulary of a --preset (default: the released model's)"
    )
    spm_model_file: str | None = option(None, help=f"SentencePiece model of the weights {_OF_THE_RECORDS}")
    vocab_file: str | None = option(None, help=f"WordPiece vocabulary of the weights {_OF_THE_RECORDS}")
    do_lower_case: bool | None = option(None, help=f"whether the text was lower-cased {_OF_THE_RECORDS}")
    keep_accents: bool | None = option(None, help=f"whether the text kept its accents {_OF_THE_RECORDS}")
    input_file: tuple[str, ...] = option(help="globs of TFRecords to train on")
    eval_input_file: tuple[str, ...] | None = option(
        None, help="globs of held-out TFRecords (default: --input_file)"
    )
    max_seq_length: int | None = option(
        None,
        at_least=4,
        help=f"length of the records (default: as the .json beside them says, else {PRETRAINING_LENGTH})",
    )
    max_predictions_per_seq: int | Literal["auto"] | None = option(
        None,
        at_least=1,
        help="the most pieces to predict in a record; masked records have room for so many; auto: so many "
        "that every record has its share (default: as the .json beside them says, else 20)",
    )
    masked_lm_prob: float | None = option(
        None, at_least=0, help=f"share of the pieces to predict {_OF_UNMASKED}"
    )
    ngram: int | None = option(None, at_least=1, help=f"the most words to choose together {_OF_UNMASKED}")
    favor_shorter_ngram: bool | None = option(
        None,
        help="choose n words together with probability proportional to 1/n; if false, the probabilities are "
        f"reversed, so that the largest n is the likeliest {_OF_UNMASKED}",
    )
    do_whole_word_mask: bool | None = option(
        None, help=f"choose whole words, not single pieces {_OF_UNMASKED}"
    )
    sentence_loss: str | None = option(
        None,
        choices=("sop", "nsp", "none"),
        help="train the order of sentences, the next sentence, or neither; an evaluation measures what its "
        "records have (default: what the records to train on have)",
    )
    packing: bool = option(
        True, help="put several examples into a row of --max_seq_length, so that little of it is padding"
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
        PRETRAINING_STEPS, at_least=1, help="training steps; the learning rate falls to 0 at the last step"
    )
    num_warmup_steps: int | None = option(
        None,
        at_least=0,
        help=f"steps over which the learning rate rises from 0 (default: {PRETRAINING_WARMUP}; in a run of "
        f"less than {PRETRAINING_STEPS} steps, the same share)",
    )
    save_checkpoints_steps: int = option(5000, at_least=1, help="steps between checkpoints")

    def __post_init__(self):
        super().__post_init__()
        if bool(self.albert_config_file) == bool(self.preset):
            raise UsageError("one of --albert_config_file and --preset is needed")
        if self.vocab_size and not self.preset:
            raise UsageError("--vocab_size belongs to --preset; --albert_config_file has its own")
        if self.learning_rate == "auto" and self.optimizer != "lamb":
            raise UsageError("--learning_rate=auto is a rate for --optimizer=lamb")

    @property
    def has_static_shapes(self) -> bool:
        """Whether XLA compiles the steps, once for each shape."""
        return self.jit_compile or self.distribution_strategy == "tpu"

    @property
    def parts(self) -> int:
        """The parts of a device's batch; packed rows of static shapes have more, of which some stay empty."""
        more = _PARTS_OF_STATIC_ROWS if self.packing and self.has_static_shapes else 1
        return more * self.gradient_accumulation_steps

    @property
    def needed_paths(self) -> tuple[str, ...]:
        """See `ScriptOptions`."""
        vocabulary = "spm_model_file" if self.spm_model_file else "vocab_file"
        return (*super().needed_paths, "albert_config_file", vocabulary)

    @property
    def config(self) -> AlbertConfig:
        """The model's shape."""
        if self.albert_config_file:
            return AlbertConfig.from_json_file(self.albert_config_file)
        changes = {} if self.vocab_size is None else {"vocab_size": self.vocab_size}
        return AlbertConfig.from_preset(self.preset or "", **changes)

    def settled(self) -> "PretrainingOptions":
        """The same with numbers for what depends on other flags, each of which a line mentions."""
        rate = self.learning_rate
        if rate == "auto":
            rate = scaled_learning_rate(self.train_batch_size)
            say(
                f"learning rate {rate:.4g}: the paper's {PRETRAINING_RATE} times the root of "
                f"{self.train_batch_size}/{PRETRAINING_BATCH}"
            )
        given, steps = self.num_warmup_steps, self.num_train_steps
        warmup = warmup_steps("num_warmup_steps", given, steps, PRETRAINING_WARMUP, PRETRAINING_STEPS)
        return dataclasses.replace(self, learning_rate=rate, num_warmup_steps=warmup)


@script(PretrainingOptions)
def main(options: PretrainingOptions) -> None:
    """Builds the task that the flags describe and runs it, or asks the model of the run to fill masks."""
    if options.interactive:
        from albert_tf.asking.prompt import answer_at_prompt

        return answer_at_prompt(options, "pretraining", {})
    from albert_tf.data.masking import MaskingOptions, predictions_for
    from albert_tf.data.records import record_files

    options = options.settled()
    input_files = record_files(options.input_file)
    eval_files = record_files(options.eval_input_file) if options.eval_input_file else input_files
    files = input_files + eval_files
    config = options.config

    # The errors above come at once: the modules below import TensorFlow.
    from albert_tf.checkpoints.assets import Assets
    from albert_tf.checkpoints.run_folder import RECORD_INDEX_FILE
    from albert_tf.tasks.pretraining import PretrainingTask, described_length, masking_of
    from albert_tf.training import loop

    length = options.max_seq_length or described_length(files, "max_seq_length", PRETRAINING_LENGTH)
    given = {name: getattr(options, name, None) for name in MaskingOptions.__annotations__}
    given = {name: value for name, value in given.items() if value not in (None, "auto")}
    masking = masking_of(files, given)
    if options.max_predictions_per_seq == "auto":
        most = predictions_for(length, masking.masked_lm_prob)
        masking = dataclasses.replace(masking, max_predictions_per_seq=most)
    kept = options.spm_model_file or options.vocab_file or Assets.read(options.output_dir).vocabulary
    text = Assets.of_records(files, needs_vocabulary=not kept)
    text = text.overridden(**{name: getattr(options, name) for name in _TEXT_FLAGS})
    task = PretrainingTask(
        config,
        input_files,
        eval_files,
        max_seq_length=length,
        masking=masking,
        index_file=None if options.dry_run else os.path.join(options.output_dir, RECORD_INDEX_FILE),
        text=text,
        packing=options.packing,
        parts=options.parts,
        sentence_loss=options.sentence_loss,
        static_shapes=options.has_static_shapes,
    )
    loop.run(task, options)


if __name__ == "__main__":
    sys.exit(main())
