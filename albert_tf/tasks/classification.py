"""`ClassificationTask`: a class or a score for a text or a pair, as in GLUE."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from albert_tf import html_report
from albert_tf.html_report import Section
from albert_tf.models.classification import AlbertForSequenceClassification
from albert_tf.tasks import benchmark, measures, metrics
from albert_tf.tasks.benchmark import BenchmarkTask
from albert_tf.tasks.examples import Examples
from albert_tf.tasks.features import Features
from albert_tf.tasks.glue import TextTask
from albert_tf.tasks.submission import write_predictions
from albert_tf.tasks.task import WeightedSum

# Tasks that are judged with the head of another.
HEADS_OF_OTHERS = {"mismnli": "mnli", "ax": "mnli"}


class ClassificationTask(BenchmarkTask):
    """A GLUE task, or one of the same kind.

    The loss is softmax cross-entropy; for a score the squared error, unscaled, as in the original.

    Args:
      text_task: labels, metrics and file names.
      examples: of each split.
      features: of those examples.
      **kwargs: see `BenchmarkTask`.
    """

    def __init__(
        self,
        text_task: TextTask,
        examples: Mapping[str, Examples],
        features: Mapping[str, Features],
        **kwargs,
    ):
        super().__init__(features, **kwargs)
        self.text_task = text_task
        self.examples = examples
        self.name = text_task.name
        self.head_name = HEADS_OF_OTHERS.get(text_task.name, text_task.name)
        self.label_names = text_task.label_names
        self.best_metric = text_task.metrics[0]
        self._is_score = not self.label_names
        if self._is_score:
            self.losses = self.metrics = ("squared_error",)
            self.progress_metrics = {}

    def build_model(self, dtype: str = "float32") -> tf_keras.Model:
        """A fresh `AlbertForSequenceClassification`."""
        labels = len(self.label_names) or 1
        return AlbertForSequenceClassification(self.config, labels, self.dropout_prob, dtype=dtype)

    def measure(
        self,
        model: tf_keras.Model,
        batch: Mapping[str, tf.Tensor],
        training: bool,
        dropout_seed: tf.Tensor | None = None,
    ) -> dict[str, WeightedSum]:
        """Loss, and accuracy if there are classes, over the examples of a batch."""
        if not self._is_score:
            return super().measure(model, batch, training, dropout_seed)
        scores = model(batch, training=training, dropout_seed=dropout_seed)["logits"][:, 0]
        return {"squared_error": measures.mean((scores - batch["label_ids"]) ** 2)}

    def results_by_part(self, split: str, outputs: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
        """The task's metrics and the loss, for each file of the split."""
        examples, logits = self.examples[split], outputs["logits"]
        predicted = self._predicted(logits)
        rows = {}
        for part, where in examples.parts.items():
            labels = examples.labels[where]
            rows[part] = metrics.compute_metrics(self.text_task.metrics, labels, predicted[where])
            rows[part]["eval_loss"] = self._loss(labels, logits[where])
        return rows

    def write_predictions(self, folder: str, outputs: Mapping[str, np.ndarray]) -> list[str]:
        """Writes the files of the original and those of the GLUE server."""
        logits = outputs["logits"]
        predictions = logits[:, 0] if self._is_score else benchmark.probabilities(logits)
        return write_predictions(folder, self.text_task, self.examples["test"], predictions)

    def report_sections(self, outputs: Mapping[str, np.ndarray]) -> list[Section]:
        """Confusion matrix or scatter plot, and the worst examples."""
        examples, predicted = self.examples["dev"], self._predicted(outputs["logits"])
        names = ["text"] if len(examples.texts) == 1 else ["first text", "second text"]
        texts = dict(zip(names, examples.texts, strict=True))
        if self._is_score:
            return [
                html_report.scatter(examples.labels, predicted),
                html_report.largest_errors(examples.labels, predicted, texts),
            ]
        confidence = benchmark.probabilities(outputs["logits"]).max(axis=1)
        return [
            html_report.confusion_matrix(examples.labels, predicted, self.label_names),
            html_report.wrong_examples(
                [self.label_names[label] for label in examples.labels],
                [self.label_names[label] for label in predicted],
                confidence,
                texts,
            ),
        ]

    def describe(self) -> dict[str, Any]:
        """See `BenchmarkTask`; and the number of texts in an example."""
        [texts, *_] = (examples.texts for examples in self.examples.values())
        return {**super().describe(), "num_texts": len(texts)}

    def _predicted(self, logits: np.ndarray) -> np.ndarray:
        return logits[:, 0] if self._is_score else logits.argmax(axis=1)

    def _loss(self, labels: np.ndarray, logits: np.ndarray) -> float:
        if self._is_score:
            return float(np.mean((logits[:, 0].astype(np.float64) - labels) ** 2))
        return benchmark.cross_entropy(labels, logits)
