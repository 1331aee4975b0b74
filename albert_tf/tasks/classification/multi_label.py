"""`MultiLabelTask`: any number of labels for a text or a pair; a threshold decides about each label."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import special

from albert_tf import html_report
from albert_tf.data.features import required
from albert_tf.data.label_lists import MULTI_LABEL
from albert_tf.errors import InputError, InputWarning, escaped
from albert_tf.html_report import Section
from albert_tf.tasks.benchmark import Outputs, Parts
from albert_tf.tasks.classification.classification_task import ClassificationTask, write_predictions
from albert_tf.tasks.task import Batch, Measures, Model, Seed, mean, outputs_of

DEFAULT_THRESHOLD = 0.5


class MultiLabelTask(ClassificationTask):
    """Several labels at once: a sigmoid for each, whose loss is the mean of binary cross-entropies.

    On the dev split each label gets the threshold with its highest F1 there. These thresholds are results
    of the evaluation; the test split is decided by those of the weights, see `use_results`.
    """

    progress_metrics: Mapping[str, str] = {}

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.metrics = self.losses
        self.headline = ("micro_f1", "macro_f1", "micro_f1_at_0.5", "macro_f1_at_0.5", "eval_loss")
        self._thresholds = thresholds_in(None, self.label_names)

    def measure(self, model: Model, batch: Batch, training: bool, dropout_seed: Seed = None) -> Measures:
        """The loss over the examples of a batch."""
        logits = outputs_of(model, batch, training=training, dropout_seed=dropout_seed)["logits"]
        return {self.losses[0]: mean(self.loss.of_labels(batch["label_ids"], logits))}

    def use_results(self, results: Mapping[str, Any] | None) -> None:
        """Takes the thresholds from an evaluation of the weights, else 0.5, with a warning."""
        self._thresholds = known_thresholds(results, self.label_names, "the run")

    def averaged(self, split: str, votes: Sequence[Outputs]) -> Outputs:
        """See `BenchmarkTask`."""
        chances = np.mean([_chances(each) for each in votes], axis=0)
        return {"logits": special.logit(np.clip(chances, 1e-15, 1 - 1e-15))}

    def _decided(self, split: str, chances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which labels the examples get, bool `[examples, labels]`, by which thresholds `[labels]`."""
        thresholds = self._thresholds
        if split == "dev":
            thresholds = best_thresholds(required(self.examples["dev"].labels), chances)
        return chances >= thresholds, thresholds

    def results_by_part(self, split: str, outputs: Outputs) -> Parts:
        """Micro and macro F1 and the share of texts with exactly the right labels; then a part a label."""
        labels, logits = required(self.examples[split].labels), outputs["logits"].astype(np.float64)
        decided, thresholds = self._decided(split, _chances(outputs))
        tuned, plain = label_scores(labels, decided), label_scores(labels, logits >= 0)
        losses = np.logaddexp(0, logits) - labels * logits
        rows = {
            "": totals(labels, decided)
            | {f"{name}_at_0.5": value for name, value in totals(labels, logits >= 0).items()}
            | {"eval_loss": float(losses.mean())}
        }
        for number, name in enumerate(self.label_names):
            row = {metric: float(values[number]) for metric, values in tuned.items()}
            rows[name] = row | {
                "f1_at_0.5": float(plain["f1"][number]),
                "threshold": float(thresholds[number]),
            }
        return rows

    def baseline(self, split: str) -> tuple[str, Parts]:
        """The commonest labels for all texts, as many as have the highest micro F1."""
        labels = required(self.examples[split].labels)
        counts = labels.sum(axis=0, dtype=np.int64)
        commonest = np.argsort(-counts, kind="stable")
        right = counts[commonest].cumsum()
        scores = 2 * right / np.maximum(np.arange(1, len(counts) + 1) * len(labels) + counts.sum(), 1)
        chosen = commonest[: int(scores.argmax()) + 1]
        decided = np.zeros(labels.shape, bool)
        decided[:, chosen] = True
        shares = counts / len(labels)
        loss = float(np.mean(special.entr(shares) + special.entr(1 - shares)))
        name = f"always {' and '.join(escaped(self.label_names[number]) for number in chosen)}"
        return name, {"": totals(labels, decided) | {"eval_loss": loss}}

    def only_answer(self, split: str, outputs: Outputs) -> str:
        """Says that all texts of a split got the same labels."""
        decided, _ = self._decided(split, _chances(outputs))
        if len(decided) < 2 or (decided != decided[0]).any():
            return ""
        labels = escaped(self._joined(decided[:1])[0]) or "no label"
        return f"all {len(decided):,} {self.examples_name} get {labels}"

    def write_predictions(self, folder: str, outputs: Outputs) -> list[str]:
        """See `ClassificationTask`; the label of an example is a list, with the separator of the files."""
        chances = _chances(outputs)
        decided, _ = self._decided("test", chances)
        return write_predictions(
            folder, self.text_task, self.examples["test"], chances, self._joined(decided)
        )

    def report_sections(self, outputs: Outputs) -> list[Section]:
        """The examples with the largest mistakes."""
        examples = self.examples["dev"]
        labels = required(examples.labels)
        chances = _chances(outputs)
        decided, _ = self._decided("dev", chances)
        mistakes = np.abs(chances - labels).max(axis=1)
        right, shown = ([names or "–" for names in self._joined(each)] for each in (labels > 0, decided))
        return [html_report.wrong_examples(right, shown, mistakes, self.texts_by_title())]

    def _joined(self, decided: np.ndarray) -> list[str]:
        """The labels of each row, with the separator between them."""
        names = np.array(self.label_names, object)
        return [(self.text_task.label_separator or ",").join(names[row]) for row in decided]

    def describe(self) -> dict[str, Any]:
        """See `ClassificationTask`; and what tells several labels from one."""
        kind = {"problem_type": MULTI_LABEL, "label_separator": self.text_task.label_separator}
        return super().describe() | kind


def _chances(outputs: Outputs) -> np.ndarray:
    """float64 `[examples, labels]`: the probability of each label."""
    return special.expit(outputs["logits"].astype(np.float64))


def thresholds_in(results: Mapping[str, Any] | None, label_names: Sequence[str]) -> np.ndarray:
    """float64 `[labels]`: the thresholds in the results of an evaluation; 0.5 where there is none.

    InputError if one is not a number from 0 to 1.
    """
    found = [(results or {}).get(f"{name}_threshold", DEFAULT_THRESHOLD) for name in label_names]
    for name, value in zip(label_names, found, strict=True):
        if not isinstance(value, int | float) or not 0 <= value <= 1:
            raise InputError(f"{name}_threshold of the evaluation must be from 0 to 1, not {value!r}")
    return np.array(found, np.float64)


def known_thresholds(results: Mapping[str, Any] | None, label_names: Sequence[str], place: str) -> np.ndarray:
    """See `thresholds_in`; a warning says if there are none."""
    if not any(f"{name}_threshold" in (results or {}) for name in label_names):
        text = f"{place} has no thresholds of an evaluation: {DEFAULT_THRESHOLD} is taken for every label"
        warnings.warn(text, InputWarning, stacklevel=2)
    return thresholds_in(results, label_names)


def best_thresholds(labels: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """float64 `[labels]`: for each label the threshold with the highest F1; 0.5 if no example has the label.

    A threshold lies half-way between the probabilities of two examples; of equal F1 the highest one counts.

    Args:
      labels: 0 or 1 `[examples, labels]`.
      chances: float64 probabilities of the same shape.
    """
    thresholds = np.full(labels.shape[1], DEFAULT_THRESHOLD)
    for number in np.flatnonzero(labels.any(axis=0)):
        order = np.argsort(-chances[:, number], kind="stable")
        falling = np.append(chances[order, number], 0.0)
        right = np.cumsum(labels[order, number], dtype=np.int64)
        counts = np.arange(1, len(order) + 1)
        f1 = np.where(falling[:-1] > falling[1:], 2 * right / (counts + right[-1]), -1.0)
        best = int(f1.argmax())
        thresholds[number] = (falling[best] + falling[best + 1]) / 2
    return thresholds


def label_scores(labels: np.ndarray, decided: np.ndarray) -> dict[str, np.ndarray]:
    """F1, precision and recall of each label, float64 `[labels]`; 0 where they are undefined."""
    right = np.sum((labels > 0) & decided, axis=0)
    found, there = decided.sum(axis=0), np.sum(labels > 0, axis=0)
    return {
        "f1": 2 * right / np.maximum(found + there, 1),
        "precision": right / np.maximum(found, 1),
        "recall": right / np.maximum(there, 1),
    }


def totals(labels: np.ndarray, decided: np.ndarray) -> dict[str, float]:
    """Micro F1, macro F1 over the labels that occur or are given, and the share of rows that are right."""
    right, found, there = (labels > 0) & decided, decided.sum(axis=0), np.sum(labels > 0, axis=0)
    occurs = found + there > 0
    f1 = label_scores(labels, decided)["f1"]
    return {
        "micro_f1": float(2 * right.sum() / max(found.sum() + there.sum(), 1)),
        "macro_f1": float(f1[occurs].mean()) if occurs.any() else 0.0,
        "eval_accuracy": float(((labels > 0) == decided).all(axis=1).mean()),
    }
