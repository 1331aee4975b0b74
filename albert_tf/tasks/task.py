"""`Task`: what the training loop needs to know of a job; losses and accuracies that all tasks share."""

import abc
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import tensorflow as tf
import tf_keras

from albert_tf.checkpoints.assets import Assets
from albert_tf.config import AlbertConfig
from albert_tf.errors import InputError

Batch: TypeAlias = Mapping[str, tf.Tensor]  # name -> [batch, ...]
Context: TypeAlias = tf.distribute.InputContext
Dataset: TypeAlias = tf.data.Dataset
Model: TypeAlias = tf_keras.Model
Seed: TypeAlias = tf.Tensor | None
OverParts: TypeAlias = Callable[[Callable[[Batch, tf.Tensor], tf.Tensor]], tf.Tensor]


class WeightedSum(NamedTuple):
    """The mean total / (weight + epsilon), kept as parts that add up over a batch; float32 scalars."""

    total: tf.Tensor
    weight: tf.Tensor
    epsilon: float = 0.0


Measures: TypeAlias = dict[str, WeightedSum]


class TrainingData(NamedTuple):
    """The number of examples to train on, their description, and the mean tokens of an example."""

    examples: int
    described: str
    tokens_per_example: float


class Task(abc.ABC):
    """A job: data, model, losses and metrics. Batch sizes are global: over all devices.

    Attributes:
      metrics: names of the results of `measure`; the sum of those in `losses` is minimized.
      best_metric: the result by which the best checkpoint is chosen; `history.rank` says which is better.
      progress_metrics: results that the progress line shows, with their short names.
      headline: results that the line about an evaluation shows; if empty, it shows all.
      spm_model_file, vocab_file: the vocabulary that is kept with the weights, if any.
      do_lower_case, keep_accents: whether text is lower-cased and keeps its accents; None if not known.
      parts: the fewest parts in which a device runs its share of a training batch.
      eval_name: what the evaluation data are called in the names of files; see `Session`.
    """

    metrics: tuple[str, ...]
    losses: tuple[str, ...]
    best_metric: str
    progress_metrics: Mapping[str, str]
    headline: tuple[str, ...] = ()
    config: AlbertConfig
    spm_model_file: str | None = None
    vocab_file: str | None = None
    do_lower_case: bool | None = None
    keep_accents: bool | None = None
    parts: int = 1
    eval_name: str = "evaluation"

    @property
    def tokens_per_example(self) -> float | None:
        """The tokens that an example counts for while training; None if examples are counted."""
        return None

    def describe(self) -> dict[str, Any]:
        """What is kept with the weights, as JSON values; {} if there is only one task of this class.

        `task_name` and `label_names` tell whether a head belongs to the task.
        """
        return {}

    def assets(self) -> Assets:
        """What belongs to the weights that are trained."""
        names = ("config", "spm_model_file", "vocab_file", "do_lower_case", "keep_accents")
        return Assets(**{name: getattr(self, name) for name in names}, task=self.describe())

    def training_settings(self) -> dict[str, Any]:
        """What decides the outcome of training, besides the loop's flags: JSON values by flag or name.

        They identify the data, whatever the path is.
        """
        return {}

    def facts(self) -> dict[str, str]:
        """What the summary of a training run says about the task, by name."""
        return {}

    @abc.abstractmethod
    def training_data(self) -> TrainingData:
        """The training data; padding counts if all examples are padded alike."""

    def eval_data(self) -> str:
        """Identifies the evaluation data; results on different data are not compared."""
        return ""

    def eval_described(self) -> str:
        """How large the evaluation data are, such as "408 examples"."""
        return ""

    def baseline_results(self) -> dict[str, float]:
        """What no model is needed for: results to compare an evaluation with, named `baseline_<metric>`."""
        return {}

    @abc.abstractmethod
    def check_inputs(self) -> None:
        """Raises `InputError` if the data do not fit the model; reads only little of them."""

    def explain_bad_record(self) -> str | None:
        """After reading failed: one line that names the file and the record; None if all are good."""
        return None

    @abc.abstractmethod
    def build_model(self, dtype: str) -> Model:
        """The model with fresh weights; `dtype` is a Keras policy such as "mixed_bfloat16"."""

    @abc.abstractmethod
    def train_dataset(self, batch_size: int, seed: int, first_step: int, context: Context) -> Dataset:
        """Endless shuffled batches; the first one is for the run's step `first_step`."""

    def longest_batches(self, batch_size: int, context: Context) -> Dataset:
        """Endless batches of the largest size that `train_dataset` can give."""
        return self.train_dataset(batch_size, seed=0, first_step=0, context=context)

    @abc.abstractmethod
    def eval_dataset(self, batch_size: int, context: Context) -> Dataset:
        """The evaluation examples once, in order; the last batch may be smaller."""

    def before_parts(self, model: Model, batch: Batch, over_parts: OverParts) -> Batch:
        """A training batch of which parts will be measured, with what the parts must know of each other.

        `over_parts` runs a function on every part, with the seed of its dropout, and joins the results.
        """
        return batch

    def failure(self, results: Mapping[str, Any]) -> str:
        """What means of training say is wrong with the weights; empty if nothing."""
        return ""

    def used_parts(self, batch: Batch, parts: int) -> tf.Tensor | int:
        """How many of the consecutive parts of a training batch hold examples, from the first one."""
        return parts

    @abc.abstractmethod
    def measure(self, model: Model, batch: Batch, training: bool, dropout_seed: Seed = None) -> Measures:
        """Runs the model on a batch; returns losses and metrics by name."""

    @abc.abstractmethod
    def loss_weights(self, batch: Batch) -> dict[str, tf.Tensor]:
        """The weights that `measure` gives each of `losses`, known before the model has run."""


def check_length(max_seq_length: int, config: AlbertConfig) -> None:
    """InputError if sequences can be longer than the config has positions."""
    positions = f"{config.max_position_embeddings} positions of the config (max_position_embeddings)"
    if max_seq_length > config.max_position_embeddings:
        raise InputError(f"--max_seq_length {max_seq_length} is longer than the {positions}")


def nll(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """float32 `[...]`: the negative log-likelihood of each label under `logits` `[..., classes]`."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def correct(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """float32 `[...]`: 1 if the label has the largest of the `logits` `[..., classes]`, else 0."""
    return tf.cast(tf.argmax(logits, -1, output_type=labels.dtype) == labels, tf.float32)


def weighted(values: tf.Tensor, weights: tf.Tensor, epsilon: float = 0.0) -> WeightedSum:
    """The mean of `values` by `weights`, both float32 of one shape."""
    return WeightedSum(tf.reduce_sum(values * weights), tf.reduce_sum(weights), epsilon)


def outputs_of(model: Model, batch: Batch, **arguments: Any) -> dict[str, tf.Tensor]:
    """The outputs for what the model takes of a batch; `**arguments` are arguments of its `call`."""
    return model({name: batch[name] for name in model.takes if name in batch}, **arguments)


def mean(values: tf.Tensor) -> WeightedSum:
    """The plain mean of float32 `values`."""
    return weighted(values, tf.ones_like(values))


def number_of(examples: tf.Tensor) -> tf.Tensor:
    """float32 scalar: the weight of the plain mean over `examples` `[batch, ...]`."""
    return tf.cast(tf.shape(examples)[0], tf.float32)
