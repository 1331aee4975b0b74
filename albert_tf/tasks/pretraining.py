"""Pretraining: masked-LM and sentence-order prediction on the records of `data_prep`."""

import dataclasses
import functools
import hashlib
import itertools
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from albert_tf.checkpoints.assets import Assets, check_vocabulary_fits
from albert_tf.cli.hyperparameters import PRETRAINING_LENGTH
from albert_tf.cli.text import say
from albert_tf.config import AlbertConfig
from albert_tf.data import record_checks, records
from albert_tf.data.dynamic_masking import draw_chance, draw_masks
from albert_tf.data.masking import MaskingOptions
from albert_tf.data.packing import NO_EXAMPLE, Room, packed
from albert_tf.data.record_index import NUMBERS_OF_A_FILE, RecordIndex, index_records, shuffled_records
from albert_tf.data.tfrecord import read_records
from albert_tf.errors import InputError, InputWarning
from albert_tf.files import file_stem
from albert_tf.models.pretraining import AlbertForPreTraining
from albert_tf.tasks.task import (
    Batch,
    Context,
    Dataset,
    Measures,
    Model,
    Seed,
    Task,
    TrainingData,
    check_length,
    correct,
    nll,
    outputs_of,
    weighted,
)

_EVAL_SEED = 0  # of the masks of unmasked records; the same in all runs, so that their results compare
_SENTENCE_LOSSES = {
    "sop": "the order of two is trained (SOP)",
    "nsp": "whether one is the next is trained (NSP)",
    "none": "nothing is trained; the pooler stays as it is at first",
}
_EPSILON = 1e-5  # in the denominator of the masked-LM loss, as in the original


class PretrainingTask(Task):
    """Masked-LM prediction and the prediction of sentences, both losses weighted equally.

    Args:
      config: the model's shape.
      input_files, eval_files: TFRecord files of one length, `max_seq_length`.
      masking: what to predict in unmasked records. For masked records only `max_predictions_per_seq` counts:
        the length of their arrays of predictions.
      index_file: keeps the places of the records, so that a run that continues does not search for them.
      text: vocabulary and casing of the records, which are kept with the weights; see `Assets.of_records`.
      packing: whether rows hold several examples; see `albert_tf.data.packing`.
      parts: in how many parts a device runs its share of a packed training batch.
      sentence_loss: which prediction of sentences is trained: "sop", whether two texts are in their order;
        "nsp", whether the second comes after the first or is another text; or "none". The records must have
        what is trained, which is the default. Every evaluation measures what its records have.
      static_shapes: whether all batches must have one shape. A training batch then has a row for each of its
        examples, and parts without examples are not run. In evaluation each row holds one example.
    """

    metrics = ("masked_lm_loss", "masked_lm_accuracy", "sentence_order_loss", "sentence_order_accuracy")
    best_metric = "masked_lm_accuracy"

    def __init__(
        self,
        config: AlbertConfig,
        input_files: Sequence[str],
        eval_files: Sequence[str],
        max_seq_length: int = PRETRAINING_LENGTH,
        masking: MaskingOptions | None = None,
        index_file: str | None = None,
        text: Assets | None = None,
        packing: bool = False,
        parts: int = 1,
        sentence_loss: str | None = None,
        static_shapes: bool = False,
    ):
        self.config = config
        self.input_files = tuple(input_files)
        self.eval_files = tuple(eval_files)
        self.max_seq_length = max_seq_length
        self.masking = masking or MaskingOptions()
        self.index_file = index_file
        self.packing = packing
        self.parts = parts
        self.sentence_loss = sentence_loss or next(map(_sentence_kind, input_files), "sop")
        self.losses, self.progress_metrics = ("masked_lm_loss",), {"masked_lm_accuracy": "MLM"}
        if self.sentence_loss != "none":  # else the pooler and the head of sentences keep their first weights
            self.losses += ("sentence_order_loss",)
            self.progress_metrics |= {"sentence_order_accuracy": self.sentence_loss.upper()}
        self.static_shapes = static_shapes
        if self.eval_files:
            self.eval_name = file_stem(self.eval_files[0])
        if text:
            self.spm_model_file, self.vocab_file = text.spm_model_file, text.vocab_file
            self.do_lower_case, self.keep_accents = text.do_lower_case, text.keep_accents

    @property
    def _all_files(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.input_files + self.eval_files))

    @functools.cached_property
    def _are_unmasked(self) -> bool:
        return record_checks.are_unmasked(self._all_files)

    @functools.cached_property
    def _index(self) -> RecordIndex:
        return index_records(self.input_files, self.index_file)

    @functools.cached_property
    def pieces(self) -> int:
        """The size of the vocabulary of the records: the config may have room for more. Masks need it."""
        told = [(records.read_metadata(path) or {}).get("vocab_size") for path in self._all_files]
        return max((size for size in told if size), default=self.config.vocab_size)

    @functools.cached_property
    def tokens_per_example(self) -> float:
        """The positions of a row; if it holds several examples, the mean pieces of one in about 1,000."""
        if not self.packing:
            return self.max_seq_length
        each = -(-1000 // len(self.input_files))
        sample = [r for path in self.input_files for r in itertools.islice(read_records(path), each)]
        feature = tf.io.FixedLenFeature([self.max_seq_length], tf.int64)
        is_second = tf.io.parse_example(sample, {"segment_ids": feature})["segment_ids"].numpy()
        return float(np.mean(np.max(is_second * np.arange(1, self.max_seq_length + 1), axis=1)))

    def training_settings(self) -> dict[str, Any]:
        """The flags of the records, and a digest of the files' names, sizes and numbers of records."""
        index = self._index
        names = [os.path.basename(path) for path in index.files]
        digest = _digest([names, index.sizes, index.records_of_files()])
        files = f"{index.counts.sum()} records in {len(names)} files ({digest})"
        masking = dataclasses.asdict(self.masking)
        if not self._are_unmasked:
            masking = {"max_predictions_per_seq": self.masking.max_predictions_per_seq}
        lengths = {"max_seq_length": self.max_seq_length, "packing": self.packing}
        return {"input_file": files, "sentence_loss": self.sentence_loss, **lengths, **masking}

    def eval_data(self) -> str:
        """A digest of the names and sizes of the evaluation files, and of how they are masked."""
        files = [[os.path.basename(path), os.path.getsize(path)] for path in self.eval_files]
        return _digest([files, dataclasses.asdict(self.masking) if self._are_unmasked else {}])

    def training_data(self) -> TrainingData:
        """The records, all of one length."""
        records, files = int(self._index.counts.sum()), len(self.input_files)
        described = f"{records:,} records in {files} file{'s' if files > 1 else ''}"
        return TrainingData(records, described, self.tokens_per_example)

    def eval_described(self) -> str:
        """The number of the evaluation files."""
        return f"{len(self.eval_files)} file{'s' if len(self.eval_files) > 1 else ''}"

    def facts(self) -> dict[str, str]:
        """What rows hold, what is trained beside masked words, and the source of the masks."""
        rows = f"{self.max_seq_length} positions, " + ("several examples" if self.packing else "one example")
        facts = {"rows": rows, "sentences": _SENTENCE_LOSSES[self.sentence_loss]}
        if not self._are_unmasked:
            return facts | {"masks": "as in the records"}
        share, most = self.masking.masked_lm_prob, self.masking.max_predictions_per_seq
        words = self.masking.ngram
        masks = f"drawn anew each time round: {share:g} of the pieces, at most {most}, by up to {words} words"
        return facts | {"masks": masks}

    def check_inputs(self) -> None:
        """InputError if the first record of a file, or the vocabulary in its description, does not fit."""
        check_length(self.max_seq_length, self.config)
        for path in self.input_files if self.sentence_loss != "none" else ():
            if (kind := _sentence_kind(path)) != self.sentence_loss:
                raise InputError(f"{path} is for --sentence_loss={kind}, not for {self.sentence_loss}")
        if problem := self.explain_bad_record(limit=1):
            raise InputError(problem)
        tokenizer = self.assets().tokenizer() if self.assets().vocabulary else None
        for path in self._all_files:
            metadata = records.read_metadata(path) or {}
            if pieces := metadata.get("vocab_size"):
                check_vocabulary_fits(pieces, self.config, f"{path} was made with a vocabulary of")
                if tokenizer and tokenizer.vocab_size != pieces:
                    found = f"{tokenizer.source} has {tokenizer.vocab_size} pieces"
                    raise InputError(f"{found}, but {path} was made with a vocabulary of {pieces}")
            size = os.path.getsize(path)
            if size != metadata.get("bytes", size):
                # TensorFlow takes a file that was cut inside a record's header for one that ends there.
                problem = self.explain_bad_record()
                raise InputError(problem or f"{path} has {size} bytes, but {metadata['bytes']} were written")

    def explain_bad_record(self, limit: int | None = None) -> str | None:
        """Reads all records, or the first `limit` of each file, to find one that cannot be used."""
        return record_checks.find_bad_record(
            self._all_files,
            self.max_seq_length,
            None if self._are_unmasked else self.masking.max_predictions_per_seq,
            vocab_size=self.config.vocab_size,
            type_vocab_size=self.config.type_vocab_size,
            limit=limit,
        )

    def build_model(self, dtype: str = "float32") -> Model:
        """A fresh `AlbertForPreTraining`."""
        return AlbertForPreTraining(self.config, dtype=dtype)

    def train_dataset(self, batch_size: int, seed: int, first_step: int, context: Context) -> Dataset:
        """Endless batches in the order of `record_index`; InputError if a file is cut short."""
        numbered = shuffled_records(
            self._index, batch_size=batch_size, seed=seed, first_step=first_step, context=context
        )
        size = context.get_per_replica_batch_size(batch_size)
        batches = self._batches(numbered, size, seed, endless=True)
        if self.packing:
            rows = -(-size // self.parts) * self.parts if self.static_shapes else None
            batches = packed(batches, self._room(rows), self.parts)
        return batches.prefetch(tf.data.AUTOTUNE)

    def eval_dataset(self, batch_size: int, context: Context) -> Dataset:
        """The records of `eval_files` once, in order; unmasked records always get the same masks.

        Examples of weight 0 fill the last batch.
        """
        files = tf.data.Dataset.from_tensor_slices(list(self.eval_files)).enumerate()
        numbered = files.flat_map(
            lambda file, path: tf.data.TFRecordDataset(path).enumerate(file * NUMBERS_OF_A_FILE)
        )
        numbered = numbered.shard(context.num_input_pipelines, context.input_pipeline_id)
        numbered = numbered.map(lambda number, record: (tf.constant(0, tf.int64), number, record))
        devices = context.num_replicas_in_sync // context.num_input_pipelines
        size = context.get_per_replica_batch_size(batch_size)
        batches = self._batches(numbered, devices * size, _EVAL_SEED)
        batches = batches.map(lambda batch: _filled(batch, devices, size)).unbatch()
        if self.packing and not self.static_shapes:
            batches = packed(batches, self._room())
        return batches.prefetch(tf.data.AUTOTUNE)

    def _room(self, rows: int | None = None) -> Room:
        return Room.of(self.max_seq_length, self.masking.max_predictions_per_seq, rows)

    def _batches(self, numbered: Dataset, batch_size: int, seed: int, endless: bool = False) -> Dataset:
        """Batches of the model's inputs, from (epoch, number, record); the last one may be smaller."""
        length, masking = self.max_seq_length, self.masking
        sizes = self.config.vocab_size, self.config.type_vocab_size

        def draw(epoch, number, record):
            return draw_chance(seed, epoch, number, length), record

        def mask(chance, serialized):
            unmasked = records.parse_unmasked_batch(serialized, length, *sizes)
            return draw_masks(unmasked, chance, self.pieces, masking)

        def parse(epoch, number, serialized):
            most = masking.max_predictions_per_seq
            return records.parse_pretraining_batch(serialized, length, most, *sizes)

        if self._are_unmasked:
            numbered = numbered.map(draw, num_parallel_calls=tf.data.AUTOTUNE)
        batches = numbered.batch(batch_size, drop_remainder=endless)
        return batches.map(mask if self._are_unmasked else parse, num_parallel_calls=tf.data.AUTOTUNE)

    def used_parts(self, batch: Batch, parts: int) -> tf.Tensor | int:
        """The parts with examples: rows without an example come last."""
        if not self.packing:
            return parts
        rows = tf.reduce_sum(tf.reduce_max(_are_examples(batch), axis=1))
        size = tf.shape(batch["input_ids"])[0] // parts
        return (tf.cast(rows, tf.int32) + size - 1) // size

    def measure(self, model: Model, batch: Batch, training: bool, dropout_seed: Seed = None) -> Measures:
        """Losses and accuracies: over real masked positions, and over examples."""
        outputs = outputs_of(model, batch, training=training, dropout_seed=dropout_seed)
        masked_ids, order = batch["masked_lm_ids"], tf.maximum(batch["next_sentence_labels"], 0)
        weights = tf.cast(batch["masked_lm_weights"], tf.float32)
        is_example = _are_examples(batch)
        return {
            "masked_lm_loss": weighted(nll(masked_ids, outputs["mlm_logits"]), weights, _EPSILON),
            "masked_lm_accuracy": weighted(correct(masked_ids, outputs["mlm_logits"]), weights),
            "sentence_order_loss": weighted(nll(order, outputs["sop_logits"]), is_example),
            "sentence_order_accuracy": weighted(correct(order, outputs["sop_logits"]), is_example),
        }

    def loss_weights(self, batch: Batch) -> dict[str, tf.Tensor]:
        """The number of real masked positions, and of examples."""
        return {
            "masked_lm_loss": tf.reduce_sum(tf.cast(batch["masked_lm_weights"], tf.float32)),
            "sentence_order_loss": tf.reduce_sum(_are_examples(batch)),
        }


def _sentence_kind(path: str) -> str:
    """ "nsp" or "sop", as the description of the records says."""
    settings = (records.read_metadata(path) or {}).get("settings", {})
    return "nsp" if settings.get("random_next_sentence") else "sop"


def _are_examples(batch: Batch) -> tf.Tensor:
    """float32, the shape of the sentence-order labels: 1 for examples, 0 for places that none takes."""
    return tf.cast(batch["next_sentence_labels"] != NO_EXAMPLE, tf.float32)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _filled(batch: Batch, devices: int, size: int) -> dict[str, tf.Tensor]:
    """A batch for all devices as one for each, `[devices, size, ...]`, filled with rows of weight 0."""

    def fill(name: str, values: tf.Tensor) -> tf.Tensor:
        missing = devices * size - tf.shape(values)[0]
        paddings = [[0, missing], *([[0, 0]] * (values.shape.rank - 1))]
        filled = tf.pad(values, paddings, constant_values=NO_EXAMPLE if name == "next_sentence_labels" else 0)
        return tf.reshape(filled, [devices, size, *values.shape[1:]])

    return {name: fill(name, values) for name, values in batch.items()}


def described_length(files: Sequence[str], name: str, default: int) -> int:
    """A length of the records, as the descriptions beside them say; if none does, a default and a line.

    `name` is "max_seq_length" or "max_predictions_per_seq". InputError if the descriptions differ, or one of
    them holds no length.
    """
    found: dict[int, str] = {}
    for path in files:
        metadata = records.read_metadata(path) or {}
        length = metadata.get(name, default)
        if type(length) is not int or length < 1:
            raise InputError(f"{records.metadata_path(path)}: {name} is {length!r}, but a length is needed")
        if name in metadata:
            found.setdefault(length, path)
    if len(found) > 1:
        (one, first), (other, second), *_ = found.items()
        raise InputError(f"{first} was made with --{name}={one}, {second} with {other}: one value is needed")
    if not found:
        say(f"--{name} is {default}: there is no description beside the records that says another")
    return next(iter(found), default)


def masking_of(files: Sequence[str], given: Mapping[str, Any]) -> MaskingOptions:
    """What is to be predicted: as `given`, else as the descriptions beside the records say.

    Raises:
      InputError: masked and unmasked records are mixed, or the descriptions differ.
      UsageError: a value is out of range.
    """
    if not record_checks.are_unmasked(files):
        name = "max_predictions_per_seq"
        for other in given.keys() - {name}:
            warnings.warn(f"--{other} makes no difference to masked records", InputWarning, stacklevel=2)
        length = given.get(name) or described_length(files, name, MaskingOptions.max_predictions_per_seq)
        return MaskingOptions(**{**given, name: length})
    found: dict[str, tuple[Any, str]] = {}
    for path in files:
        settings = (records.read_metadata(path) or {}).get("settings", {})
        for name in sorted(settings.keys() & MaskingOptions.__annotations__.keys() - given.keys()):
            value, first = found.setdefault(name, (settings[name], path))
            if value != settings[name]:
                differ = f"{first} was made with --{name}={value}, {path} with {settings[name]}"
                raise InputError(f"{differ}: give --{name}")
    return MaskingOptions(**{name: value for name, (value, _) in found.items()}, **given)
