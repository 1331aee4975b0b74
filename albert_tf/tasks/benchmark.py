"""`Benchmark`: from files to features. `BenchmarkTask`: judged by its predictions for a whole split."""

import abc
import csv
import hashlib
import os
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeAlias, TypeVar

import numpy as np
import tensorflow as tf
from scipy import special

from albert_tf.config import AlbertConfig
from albert_tf.data.batching import eval_batches, longest_batches, train_batches
from albert_tf.data.features import Features, required
from albert_tf.errors import InputError, escaped
from albert_tf.files import appear_when_complete
from albert_tf.html_report import Section
from albert_tf.tasks.overview import overview
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
    mean,
    nll,
    number_of,
    outputs_of,
)

Outputs: TypeAlias = Mapping[str, np.ndarray]  # name -> [examples, ...]
Parts: TypeAlias = dict[str, dict[str, float]]  # part of a split -> metric -> value


class ExamplesOfSplit(Protocol):
    """The examples of a split, as read from files; equal digests (hexadecimal) mean equal examples."""

    @property
    def digest(self) -> str: ...  # noqa: D102

    def __len__(self) -> int: ...


_Examples = TypeVar("_Examples", bound=ExamplesOfSplit)


class Benchmark(abc.ABC, Generic[_Examples]):
    """Where the data of a task come from. Files become examples, examples become features, both make a task.

    A task is made last, because the files of some benchmarks decide what the task is.
    """

    features_class: ClassVar[type[Features]] = Features
    features: ClassVar[Callable[..., Features]]  # of a tokenizer, examples and `settings`
    feature_files: Mapping[str, str | None] = {}  # by split; the cache chooses those that are None

    @property
    def eval_file(self) -> str | None:
        """The file of the split "dev", if it is one file that the user named."""
        return None

    @abc.abstractmethod
    def read(self, splits: Sequence[str]) -> dict[str, _Examples]:
        """The examples of some of "train", "dev" and "test", in this order; some benchmarks add a split."""

    @abc.abstractmethod
    def task_name(self, examples: Mapping[str, _Examples]) -> str:
        """The name of the task that the examples belong to."""

    def settings(self, split: str, max_seq_length: int) -> dict[str, Any]:
        """Keywords of `features`, as JSON values; InputError if the lengths do not fit each other."""
        return {"max_seq_length": max_seq_length}

    @abc.abstractmethod
    def task(
        self, examples: Mapping[str, _Examples], features: Mapping[str, Any], **arguments: Any
    ) -> "BenchmarkTask":
        """The task; `arguments` are the keyword arguments of `BenchmarkTask`."""


class BenchmarkTask(Task):
    """A task with the features of some of the splits "train", "dev" and "test".

    Batches are padded to their longest sequence, or all to `max_seq_length`. `dropout_prob` is for the head.

    Attributes:
      name: of the task, as in `--task_name`.
      head_name: of the task whose head this one uses; mostly its own.
      label_names: of the classes, by number; empty for a score.
      examples_name: what its examples are called.
      compares_with_start: whether a run also evaluates the weights that it begins with.
      start: the results of these weights; empty if they are not known.
    """

    name: str
    head_name: str
    label_names: tuple[str, ...]
    examples_name = "examples"
    losses: tuple[str, ...] = ("cross_entropy",)
    metrics: tuple[str, ...] = ("cross_entropy", "accuracy")
    progress_metrics: Mapping[str, str] = {"accuracy": "accuracy"}
    is_voting = False  # whether the model is one of several, so that `votes` needs its outputs
    compares_with_start = False
    start: Mapping[str, float] = {}
    _chosen: Mapping[str, str] = {}  # the best metric, if the user chose it

    def __init__(
        self,
        features: Mapping[str, Features],
        *,
        config: AlbertConfig,
        max_seq_length: int,
        dropout_prob: float = 0.1,
        pad_to: Sequence[int] = (),
        do_lower_case: bool = True,
        keep_accents: bool = False,
        spm_model_file: str | None = None,
        vocab_file: str | None = None,
    ):
        self.config = config
        self.features = features
        self.max_seq_length = max_seq_length
        self.dropout_prob = dropout_prob
        self.do_lower_case = do_lower_case
        self.keep_accents = keep_accents
        self.spm_model_file = spm_model_file
        self.vocab_file = vocab_file
        self._pad_to = tuple(pad_to)

    @property
    def _pads_all(self) -> bool:
        """Whether all sequences are padded to `max_seq_length`."""
        return self._pad_to == (self.max_seq_length,)

    @abc.abstractmethod
    def results_by_part(self, split: str, outputs: Outputs) -> Parts:
        """The benchmark's results for the outputs of all examples of a split, in order.

        In one mapping of all parts (`under_one_name`) metrics of the first part keep their names, others
        begin with their part: "eval_accuracy", "mismatched_eval_accuracy".
        """

    def baseline(self, split: str) -> tuple[str, Parts]:
        """The one answer that is the best if all examples get it; its name, and its results as of a model.

        It is the commonest class of the split, or the mean of its scores. Its loss is that of a model which
        knows how common each class is, and nothing else.
        """
        labels = required(self.features[split].labels)
        if self.label_names:
            counts = np.bincount(labels, minlength=len(self.label_names))
            name = f"always {escaped(self.label_names[counts.argmax()])}"
            with np.errstate(divide="ignore"):
                answer = np.log(counts / counts.sum())
        else:
            name, answer = "always the mean", np.mean(labels, dtype=np.float64, keepdims=True)
        return name, self.results_by_part(split, {"logits": np.tile(answer, (len(labels), 1))})

    def baseline_results(self, split: str = "dev") -> dict[str, float]:
        """See `Task`; the results of `baseline`."""
        results = under_one_name(self.baseline(split)[1])
        return {f"baseline_{name}": value for name, value in results.items()}

    def only_answer(self, split: str, outputs: Outputs) -> str:
        """Says that all examples of a split got the same answer; empty if they did not.

        Scores count as the same if they spread less than a hundredth as far as the labels of a split.
        """
        logits = outputs["logits"]
        if len(logits) < 2:
            return ""
        if self.label_names:
            first, *others = np.unique(logits.argmax(axis=1))
            same = "" if others else f"are predicted {escaped(self.label_names[first])}"
        else:
            labels = next(
                (found.labels for found in self.features.values() if found.labels is not None), logits
            )
            is_same = logits.std() < np.std(labels) / 100
            same = f"get a score near {logits.mean():.4g}" if is_same else ""
        return same and f"all {len(logits):,} {self.examples_name} {same}"

    @abc.abstractmethod
    def write_predictions(self, folder: str, outputs: Outputs) -> list[str]:
        """Writes the predictions for the test split; returns the paths."""

    def overview(self) -> str:
        """What the splits contain, as plain text."""
        return overview(self.features, self.label_names or None, self.max_seq_length)

    def predicted(self, split: str) -> tuple[int, str]:
        """How many things of a split get an output, and what they are called."""
        return len(self.features[split]), self.examples_name

    def reported_metrics(self) -> tuple[str, ...]:
        """The names of the results on the dev split; none if only an evaluation shows them."""
        if "dev" not in self.features:
            return ()
        logits = np.zeros([len(self.features["dev"]), max(1, len(self.label_names))], np.float32)
        return tuple(under_one_name(self.results_by_part("dev", {"logits": logits})))

    def choose_best_by(self, metric: str) -> None:
        """Makes a result the `best_metric`, which is kept with the weights; InputError if there is none."""
        if (known := self.reported_metrics()) and metric not in known:
            raise InputError(f"--best_metric={metric} is none of the results {', '.join(known)}")
        self.best_metric, self._chosen = metric, {"best_metric": metric}

    def votes(self, split: str, outputs: Outputs) -> Any:
        """What a model says of a split, in a form that does not depend on its vocabulary."""
        return outputs

    def averaged(self, split: str, votes: Sequence[Any]) -> Outputs:
        """The outputs whose probabilities, or scores, are the means of those of several models."""
        if not self.label_names:
            return {"logits": np.mean([each["logits"] for each in votes], axis=0)}
        chances = np.mean([probabilities(each["logits"]) for each in votes], axis=0)
        return {"logits": np.log(np.maximum(chances, np.finfo(np.float64).tiny))}

    def use_results(self, results: Mapping[str, Any] | None) -> None:
        """Takes what predictions need of the last evaluation of the weights; None if there was none."""

    def has_labels(self, split: str) -> bool:
        """Whether the outputs for a split can be judged."""
        return self.features[split].labels is not None

    def breakdowns(self, split: str, outputs: Outputs) -> Mapping[str, Parts]:
        """Results by kinds of examples: title -> kind -> metric -> value."""
        return {}

    @abc.abstractmethod
    def report_sections(self, outputs: Outputs) -> list[Section]:
        """What the report shows of the outputs for the dev split."""

    def measure(self, model: Model, batch: Batch, training: bool, dropout_seed: Seed = None) -> Measures:
        """Cross-entropy and accuracy of the model's `logits` over the examples of a batch."""
        logits = outputs_of(model, batch, training=training, dropout_seed=dropout_seed)["logits"]
        labels = batch["label_ids"]
        return {"cross_entropy": mean(nll(labels, logits)), "accuracy": mean(correct(labels, logits))}

    def loss_weights(self, batch: Batch) -> dict[str, tf.Tensor]:
        """The number of examples: every loss is a plain mean over them."""
        return dict.fromkeys(self.losses, number_of(batch["input_ids"]))

    def outputs(self, model: Model, batch: Batch) -> dict[str, tf.Tensor]:
        """The predictions for a batch: `logits` `[batch, classes]`, and `example_index` `[batch]`."""
        logits = outputs_of(model, batch, training=False)["logits"]
        return {"logits": logits, "example_index": batch["example_index"]}

    def describe(self) -> dict[str, Any]:
        """The head and its labels, and how long sequences are."""
        names = {"task_name": self.head_name, "label_names": list(self.label_names)}
        return names | {"max_seq_length": self.max_seq_length, **self._chosen}

    def training_settings(self) -> dict[str, Any]:
        """The flags of the task, without the flags of the loop, and a digest of the train split."""
        return {
            "train_file": f"{len(self.features['train'])} {self.examples_name} ({self._digest('train')})",
            "max_seq_length": self.max_seq_length,
            "dropout_prob": self.dropout_prob,
            "pad_to_max_length": self._pads_all,
            "length_buckets": list(self._pad_to[:-1]),
            "best_metric": self.best_metric,
            "lora_rank": self.config.lora_rank,
        }

    def training_data(self) -> TrainingData:
        """The examples of the train split."""
        features = self.features["train"]
        tokens = len(features.input_ids) / max(1, len(features))
        if self._pads_all:
            tokens = self.max_seq_length * features.num_choices
        return TrainingData(len(features), f"{len(features):,} {self.examples_name}", tokens)

    def facts(self) -> dict[str, str]:
        """Dropout and length."""
        inside = self.config.hidden_dropout_prob, self.config.attention_probs_dropout_prob
        rates = " and ".join(f"{rate:g}" for rate in dict.fromkeys(inside))
        dropout = f"{rates} in the encoder, {self.dropout_prob:g} before the head"
        return {"dropout": dropout, "length": f"at most {self.max_seq_length} tokens"}

    def eval_described(self) -> str:
        """The examples of the dev split."""
        return f"{len(self.features['dev']):,} {self.examples_name}"

    def eval_data(self) -> str:
        """A digest of the dev split."""
        return self._digest("dev") if "dev" in self.features else ""

    def _digest(self, split: str) -> str:
        features = self.features[split]
        digest = hashlib.sha256(features.input_ids.tobytes())
        for values in (features.lengths, features.first_lengths, features.labels):
            digest.update(np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()[:16]

    def check_inputs(self) -> None:
        """InputError if lengths or ids do not fit the config; it names the flag or the key."""
        check_length(self.max_seq_length, self.config)
        for split, features in self.features.items():
            largest = int(features.input_ids.max(initial=0))
            if largest >= self.config.vocab_size:
                found = f"the vocabulary gives id {largest} in the {split} split"
                raise InputError(f"{found}, but the config's vocab_size is {self.config.vocab_size}")

    def train_dataset(self, batch_size: int, seed: int, first_step: int, context: Context) -> Dataset:
        """Endless shuffled batches of similar length."""
        return self._batches(train_batches, "train", batch_size, context, seed=seed, first_step=first_step)

    def longest_batches(self, batch_size: int, context: Context) -> Dataset:
        """The longest examples, endlessly."""
        return self._batches(longest_batches, "train", batch_size, context)

    def eval_dataset(self, batch_size: int, context: Context, split: str = "dev") -> Dataset:
        """Every example of the split once, ordered by length; `example_index` says which."""
        return self._batches(eval_batches, split, batch_size, context)

    def _batches(
        self, make: Callable[..., Dataset], split: str, size: int, context: Context, **order: int
    ) -> Dataset:
        features = self.features[split]
        return make(features, batch_size=size, pad_to=self._pad_to, input_context=context, **order)


def under_one_name(by_part: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The results of all parts in one mapping (see `BenchmarkTask.results_by_part`)."""
    return {
        name if i == 0 else f"{part}_{name}": value
        for i, (part, row) in enumerate(by_part.items())
        for name, value in row.items()
    }


def write_files(folder: str, contents: Mapping[str, str | Iterable[str]]) -> list[str]:
    """Writes files, name -> text or its parts, which appear together when all are complete.

    Returns their paths.
    """
    paths = [os.path.join(folder, name) for name in contents]
    with appear_when_complete(paths) as temporary:
        for path, text in zip(temporary, contents.values(), strict=True):
            with open(path, "w", encoding="utf-8") as file:
                file.writelines([text] if isinstance(text, str) else text)
    return paths


def predictions_table(columns: Mapping[str, Sequence[Any] | np.ndarray]) -> str:
    """The text of `predictions.tsv`: a header, and a line for each example.

    A cell with a tab, a quote or a line end is quoted, as the `csv` module reads it with its dialect
    "excel-tab"; so does `read_table`. Numbers are float32, in as few digits as tell them apart.
    """
    lines: list[str] = []
    # Its line end decides what the writer quotes: with "\n" alone it would leave "\r" as it is.
    writer = csv.writer(types.SimpleNamespace(write=lines.append), dialect="excel-tab", lineterminator="\r\n")
    writer.writerow(columns)
    cells = [
        values.astype(np.float32).astype(str) if isinstance(values, np.ndarray) else values
        for values in columns.values()
    ]
    writer.writerows(zip(*cells, strict=True))
    return "".join(line.removesuffix("\r\n") + "\n" for line in lines)


def by_class(label_names: Sequence[str], chances: np.ndarray) -> dict[str, np.ndarray]:
    """The columns of `predictions_table` for probabilities `[examples, classes]`.

    A class whose name is that of another column has "p(...)" around it.
    """
    taken = ("id", "part", "label", "labels", "layers_used")
    heads = [f"p({name})" if name in taken else name for name in label_names]
    return dict(zip(heads, chances.T, strict=True))


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, in float64."""
    return special.softmax(logits.astype(np.float64), axis=-1)


def cross_entropy(labels: np.ndarray, logits: np.ndarray) -> float:
    """Mean over the examples, in float64; 0 if there are none."""
    log_probs = special.log_softmax(logits.astype(np.float64), axis=-1)[np.arange(len(labels)), labels]
    return float(-log_probs.mean()) if len(labels) else 0.0
