"""`ClassificationTask`: a class or a score for a text or a pair, as in GLUE; its metrics and its files."""

import dataclasses
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from albert_tf import html_report
from albert_tf.checkpoints.run_folder import PREDICTIONS_FILE
from albert_tf.data.features import Features, required
from albert_tf.errors import InputError
from albert_tf.html_report import Section
from albert_tf.models.classification import AlbertForSequenceClassification
from albert_tf.tasks import benchmark
from albert_tf.tasks.benchmark import BenchmarkTask, Outputs, Parts
from albert_tf.tasks.class_loss import ClassLoss, LossSettings
from albert_tf.tasks.classification.text_examples import Examples, TextTask
from albert_tf.tasks.task import Batch, Measures, Model, Seed, correct, mean, outputs_of

HEADS_OF_OTHERS = {"mismnli": "mnli", "ax": "mnli"}  # tasks that are judged with the head of another


class ClassificationTask(BenchmarkTask):
    """A GLUE task, or one of the same kind; `examples` and `features` are by split.

    The loss is softmax cross-entropy, or as `loss` says; for a score the squared error, unscaled, as in the
    original. Evaluations give the plain loss.
    """

    def __init__(
        self,
        text_task: TextTask,
        examples: Mapping[str, Examples],
        features: Mapping[str, Features],
        *,
        loss: LossSettings | None = None,
        **kwargs,
    ):
        super().__init__(features, **kwargs)
        self.text_task = text_task
        self.examples = examples
        self.name = self.eval_name = text_task.name
        self.head_name = HEADS_OF_OTHERS.get(text_task.name, text_task.name)
        self.label_names = text_task.label_names
        self.best_metric = text_task.metrics[0]
        if text_task.is_score:
            if loss not in (None, LossSettings()):
                raise InputError(f"--loss, --label_smoothing, --class_weights: {self.name} predicts a score")
            self.losses = self.metrics = ("squared_error",)
            self.progress_metrics = {}
            return
        train = features.get("train")
        self.loss = ClassLoss.chosen(
            loss or LossSettings(), self.label_names, train.labels if train else None
        )
        self.losses = (self.loss.name,)
        self.metrics = (self.loss.name, "accuracy")

    def build_model(self, dtype: str = "float32") -> Model:
        """A fresh `AlbertForSequenceClassification`."""
        labels = len(self.label_names) or 1
        return AlbertForSequenceClassification(self.config, labels, self.dropout_prob, dtype=dtype)

    def measure(self, model: Model, batch: Batch, training: bool, dropout_seed: Seed = None) -> Measures:
        """Loss, and accuracy if there are classes, over the examples of a batch."""
        logits = outputs_of(model, batch, training=training, dropout_seed=dropout_seed)["logits"]
        labels = batch["label_ids"]
        if self.text_task.is_score:
            return {"squared_error": mean((logits[:, 0] - labels) ** 2)}
        losses = self.loss.of_class(labels, logits)
        return {self.loss.name: mean(losses), "accuracy": mean(correct(labels, logits))}

    def training_settings(self) -> dict[str, Any]:
        """See `BenchmarkTask`; and the loss."""
        if self.text_task.is_score:
            return super().training_settings()
        chosen = dataclasses.asdict(self.loss.settings) | {"class_weights": list(self.loss.weights)}
        return super().training_settings() | chosen

    def results_by_part(self, split: str, outputs: Outputs) -> Parts:
        """The task's metrics and the loss, for each file of the split."""
        examples, logits = self.examples[split], outputs["logits"]
        rows = {}
        for part, where in examples.parts.items():
            labels, found = required(examples.labels)[where], logits[where]
            rows[part] = compute_metrics(self.text_task.metrics, labels, self._predicted(found))
            if self.text_task.is_score:
                loss = float(np.mean((found[:, 0].astype(np.float64) - labels) ** 2))
            else:
                loss = benchmark.cross_entropy(labels, found)
            rows[part]["eval_loss"] = loss
        return rows

    def write_predictions(self, folder: str, outputs: Outputs) -> list[str]:
        """Writes the files of the original and the files for the GLUE server."""
        logits = outputs["logits"]
        predictions = logits[:, 0] if self.text_task.is_score else benchmark.probabilities(logits)
        more = {name: outputs[name].tolist() for name in ("layers_used",) if name in outputs}
        return write_predictions(folder, self.text_task, self.examples["test"], predictions, more=more)

    def texts_by_title(self) -> dict[str, Sequence[str]]:
        """The texts of the dev split, as the report calls them."""
        columns = self.examples["dev"].texts
        titles = ["text"] if len(columns) == 1 else ["first text", "second text"]
        return dict(zip(titles, columns, strict=True))

    def report_sections(self, outputs: Outputs) -> list[Section]:
        """Confusion matrix or scatter plot, and the worst examples."""
        texts, predicted = self.texts_by_title(), self._predicted(outputs["logits"])
        labels, names = required(self.examples["dev"].labels), self.label_names
        if self.text_task.is_score:
            worst = html_report.largest_errors(labels, predicted, texts)
            return [html_report.scatter(labels, predicted), worst]
        right, shown = ([names[number] for number in numbers] for numbers in (labels, predicted))
        confidence = benchmark.probabilities(outputs["logits"]).max(axis=1)
        worst = html_report.wrong_examples(right, shown, confidence, texts)
        classes = html_report.precision_and_recall(labels, predicted, names)
        return [classes, html_report.confusion_matrix(labels, predicted, names), worst]

    def describe(self) -> dict[str, Any]:
        """See `BenchmarkTask`; and how many texts an example has, and the columns of texts and label."""
        return super().describe() | {
            "num_texts": len(next(iter(self.examples.values())).texts),
            "text_columns": list(self.text_task.text_columns),
            "label_column": self.text_task.label_column,
        }

    def _predicted(self, logits: np.ndarray) -> np.ndarray:
        return logits[:, 0] if self.text_task.is_score else logits.argmax(axis=1)


Metric = Callable[[np.ndarray, np.ndarray], float]


def _zero_if_constant(metric: Metric) -> Metric:
    """A correlation that is 0, instead of undefined, if labels or predictions are all the same."""

    def guarded(labels: np.ndarray, predicted: np.ndarray) -> float:
        return metric(labels, predicted) if np.ptp(labels) and np.ptp(predicted) else 0.0

    return guarded


def _of(module: str, name: str, **settings: Any) -> Metric:
    """A function of a module whose import takes a while, and which few scripts need."""

    def metric(labels: np.ndarray, predicted: np.ndarray) -> float:
        found = getattr(importlib.import_module(module), name)(labels, predicted, **settings)
        return getattr(found, "statistic", found)

    return metric


METRICS: Mapping[str, Metric] = {
    "matthew_corr": _zero_if_constant(_of("sklearn.metrics", "matthews_corrcoef")),
    "eval_accuracy": _of("sklearn.metrics", "accuracy_score"),
    "eval_f1": _of("sklearn.metrics", "f1_score", zero_division=0.0),
    # Of the classes that occur.
    "macro_f1": _of("sklearn.metrics", "f1_score", average="macro", zero_division=0.0),
    "pearson": _zero_if_constant(_of("scipy.stats", "pearsonr")),
    "spearman": _zero_if_constant(_of("scipy.stats", "spearmanr")),
    "MSE": _of("sklearn.metrics", "mean_squared_error"),
}


def compute_metrics(names: Sequence[str], labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """The named metrics of `METRICS`; a metric that is undefined for these numbers is 0.

    Labels and predictions are int32 class numbers or float32 scores `[examples]`, at least one.
    """
    if np.issubdtype(labels.dtype, np.floating):
        labels, predicted = labels.astype(np.float64), predicted.astype(np.float64)
    return {name: float(METRICS[name](labels, predicted)) for name in names}


RESULTS_FILE = "test_results.tsv"
LABELS_FILE = "submit_results.tsv"

_SCORE_RANGE = (0.0, 5.0)  # of STS-B, the one score among the tasks with a server


def write_predictions(
    output_dir: str,
    task: TextTask,
    examples: Examples,
    predictions: np.ndarray,
    labels: Sequence[str] | None = None,
    more: Mapping[str, Sequence[Any]] | None = None,
) -> list[str]:
    """Writes the predictions for the test split; returns the paths.

    `predictions.tsv` has the name of each example with its label and the probability of each class, or with
    its score; if the split has several parts, also the part. `test_results.tsv` has a line for each example,
    with the probabilities of the classes or the score, and no header. `submit_results.tsv` has the names of
    examples with their labels or scores. The server's files have the same, one file for each part of the
    split, with scores clipped to the range of the labels.

    Args:
      output_dir: the folder.
      task: the task.
      examples: the test split.
      predictions: float32 probabilities `[examples, classes]` or scores `[examples]`.
      labels: of each example, as they are written; by default its most probable class.
      more: further columns of `predictions.tsv` by name.
    """
    shown = predictions.astype(np.float32).astype(str)
    if task.is_score:
        rows = answers = shown.tolist()
        submitted = [f"{score:.3f}" for score in np.clip(predictions, *_SCORE_RANGE)]
    else:
        rows = ["\t".join(row) for row in shown]
        best = predictions.argmax(axis=1)
        answers = submitted = list(labels or (task.label_names[number] for number in best))
    columns: dict[str, Any] = {"id": examples.names}
    if len(examples.parts) > 1:
        sizes = {part: len(examples.names[where]) for part, where in examples.parts.items()}
        columns["part"] = [part for part, size in sizes.items() for _ in range(size)]
    if task.is_score:
        columns["score"] = predictions
    else:
        title = "label" if task.label_separator is None else "labels"
        columns |= {title: answers} | benchmark.by_class(task.label_names, predictions)
    columns |= more or {}
    contents = {RESULTS_FILE: rows, LABELS_FILE: _answers(examples.names, answers)}
    for part, where in examples.parts.items():
        if part in task.submission_files:
            form = _json_answers if task.submits_json else _answers
            contents[task.submission_files[part]] = form(examples.names[where], submitted[where])
    texts = {name: "".join(f"{line}\n" for line in lines) for name, lines in contents.items()}
    texts[PREDICTIONS_FILE] = benchmark.predictions_table(columns)
    return benchmark.write_files(output_dir, texts)


def _answers(names: Sequence[str], answers: Sequence[str]) -> list[str]:
    lines = zip(names, answers, strict=True)
    return ["index\tprediction", *(f"{name}\t{answer}" for name, answer in lines)]


def _json_answers(names: Sequence[str], answers: Sequence[str]) -> list[str]:
    ids = [int(name) if name.isdecimal() else name for name in names]
    return [json.dumps({"id": i, "label": answer}) for i, answer in zip(ids, answers, strict=True)]
