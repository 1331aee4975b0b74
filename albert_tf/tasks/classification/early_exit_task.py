"""`EarlyExitTask`: a class or a score, judged behind each layer; what early exit costs and saves."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from albert_tf import html_report
from albert_tf.cli.settings import ExitRule
from albert_tf.data.features import required
from albert_tf.errors import InputError
from albert_tf.html_report import Section
from albert_tf.models.classification import AlbertForSequenceClassification
from albert_tf.models.early_exit import layers_used, rule_of_budget
from albert_tf.tasks.benchmark import Outputs, Parts, under_one_name
from albert_tf.tasks.classification.classification_task import ClassificationTask
from albert_tf.tasks.task import Batch, Measures, Model, Seed, correct, mean, outputs_of

_BUDGETS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_BUDGET, _THRESHOLD = "exit_budget", "exit_threshold"


class EarlyExitTask(ClassificationTask):
    """A `ClassificationTask` whose model has a head behind each layer.

    The loss of training is the mean over the heads, weighted by their depth (Zhou et al. 2020). The results
    are those of the last layer. An evaluation keeps the answers of all layers, so that one pass shows what
    every rule would do. With a rule there are also its results and the mean of the layers that it uses; it
    decides the predictions.

    Args:
      distillation: the share of the last layer's answer, from 0 to 1, in what the other heads learn.
      exit_rule: as in --exit; None for the last layer.
    """

    def __init__(self, *args, distillation: float = 0.0, exit_rule: str | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        self._plain = self.losses[0]
        self.losses = (f"layered_{self._plain}",)
        self.metrics = (*self.losses, *self.metrics[1:])
        self._distillation = distillation
        self._rule = None if exit_rule is None else ExitRule.parse(exit_rule, bool(self.label_names))
        self._evaluation: Mapping[str, Any] | None = None

    def build_model(self, dtype: str = "float32") -> Model:
        """A fresh `AlbertForSequenceClassification` with early exit."""
        labels = len(self.label_names) or 1
        return AlbertForSequenceClassification(
            self.config, labels, self.dropout_prob, early_exit=True, dtype=dtype
        )

    def measure(self, model: Model, batch: Batch, training: bool, dropout_seed: Seed = None) -> Measures:
        """The loss of all heads, and the accuracy of the last one if there are classes."""
        logits = outputs_of(model, batch, training=training, dropout_seed=dropout_seed)["layer_logits"]
        last, labels = tf.stop_gradient(logits[:, -1:]), batch["label_ids"]
        if self.label_names:
            repeated = tf.repeat(labels[:, tf.newaxis], logits.shape[1], axis=1)
            losses = self.loss.of_class(repeated, logits)
            towards_last = -tf.reduce_sum(tf.nn.softmax(last) * tf.nn.log_softmax(logits[:, :-1]), axis=-1)
        else:
            losses = (logits[..., 0] - labels[:, tf.newaxis]) ** 2
            towards_last = (logits[:, :-1, 0] - last[..., 0]) ** 2
        share = self._distillation
        mixed = (1.0 - share) * losses[:, :-1] + share * towards_last
        losses = tf.concat([mixed, losses[:, -1:]], axis=1)
        depths = tf.range(1.0, logits.shape[1] + 1.0)
        measured = {self.losses[0]: mean(tf.linalg.matvec(losses, depths) / tf.reduce_sum(depths))}
        if self.label_names:
            measured["accuracy"] = mean(correct(labels, logits[:, -1]))
        return measured

    def outputs(self, model: Model, batch: Batch) -> dict[str, tf.Tensor]:
        """See `BenchmarkTask`; and `layer_logits` `[batch, layers, classes]`."""
        found = outputs_of(model, batch, training=False)
        return {**found, "example_index": batch["example_index"]}

    def describe(self) -> dict[str, Any]:
        """See `ClassificationTask`; and that the model can exit early."""
        return super().describe() | {"early_exit": True}

    def training_settings(self) -> dict[str, Any]:
        """See `ClassificationTask`; and the loss of the heads."""
        return super().training_settings() | {"early_exit": True, "exit_distillation": self._distillation}

    def results_by_part(self, split: str, outputs: Outputs) -> Parts:
        """See `ClassificationTask`; and with a rule its results, which begin with "exit_"."""
        rows = super().results_by_part(split, outputs)
        if self._rule is None or "layer_logits" not in outputs:
            return rows
        rule = self._resolved(split, outputs)
        early, used = _exited(rule, outputs)
        found = super().results_by_part(split, early)
        for part, where in self.examples[split].parts.items():
            rows[part] |= {f"exit_{name}": value for name, value in found[part].items()}
            rows[part]["exit_layers"] = float(np.mean(used[where]))
            if rule is not self._rule:
                rows[part] |= {_BUDGET: self._rule.value, _THRESHOLD: rule.value}
        return rows

    def _resolved(self, split: str, outputs: Outputs) -> ExitRule:
        """The rule; that of a budget is found on the dev split, and decides the others."""
        assert self._rule
        if self._rule.kind == "budget" and split == "dev":
            return rule_of_budget(self._rule.value, outputs["layer_logits"])
        return known_rule(self._rule, self._evaluation, "the run")

    def use_results(self, results: Mapping[str, Any] | None) -> None:
        """Takes the threshold of a budget from an evaluation of the weights."""
        self._evaluation = results

    def write_predictions(self, folder: str, outputs: Outputs) -> list[str]:
        """See `ClassificationTask`; with a rule, `predictions.tsv` has a column `layers_used`."""
        if self._rule is None or "layer_logits" not in outputs:
            return super().write_predictions(folder, outputs)
        early, used = _exited(self._resolved("test", outputs), outputs)
        return super().write_predictions(folder, {**early, "layers_used": used})

    def breakdowns(self, split: str, outputs: Outputs) -> Mapping[str, Parts]:
        """The results of every layer's head, and of rules, with the mean of the layers that they use."""
        if "layer_logits" not in outputs:
            return {}
        rows = {name: row for rows in self._curves(split, outputs).values() for name, row in rows.items()}
        layers = outputs["layer_logits"].shape[1]
        return {f"early exit on the {split} split: the mean of {layers} layers used": rows}

    def _curves(self, split: str, outputs: Outputs) -> dict[str, Parts]:
        """Kind of choice -> the layer or rule -> `layers`, the mean of those used, and the metrics."""
        logits, labels = outputs["layer_logits"], required(self.examples[split].labels)
        layers = logits.shape[1]
        of_layers: dict[str, tuple[Outputs, np.ndarray]] = {
            f"layer {layer + 1}": ({"logits": logits[:, layer]}, np.full(len(logits), layer + 1))
            for layer in range(layers)
        }
        tolerance = 0.0
        if not self.label_names:
            tolerance = self._rule.tolerance if self._rule else float(f"{np.std(labels) / 10:.2g}")
        patient = [ExitRule("patience", number, tolerance) for number in range(1, layers - 1)]
        choices: dict[str, dict[str, tuple[Outputs, np.ndarray]]] = {
            "a fixed layer": of_layers,
            "patience": _of_rules(patient, outputs),
        }
        if self.label_names:
            budgets = [rule_of_budget(share, logits) for share in _BUDGETS if share * layers >= 1]
            choices["entropy"] = _of_rules(budgets, outputs)
        return {
            kind: {
                name: {"layers": float(used.mean())} | self._metrics(split, found)
                for name, (found, used) in chosen.items()
            }
            for kind, chosen in choices.items()
        }

    def _metrics(self, split: str, outputs: Outputs) -> dict[str, float]:
        rows = under_one_name(super().results_by_part(split, outputs))
        return {name: value for name, value in rows.items() if not name.endswith("eval_loss")}

    def report_sections(self, outputs: Outputs) -> list[Section]:
        """See `ClassificationTask`; and results by the layers used, and who left at each layer."""
        curves = self._curves("dev", outputs)
        points = {
            kind: [(row["layers"], row[self.text_task.metrics[0]]) for row in rows.values()]
            for kind, rows in curves.items()
        }
        sections = [html_report.tradeoff("Early exit", "layers", self.text_task.metrics[0], points)]
        if self._rule is not None:
            early, used = _exited(self._resolved("dev", outputs), outputs)
            sections.append(self._left_at("dev", early, used))
        return [*super().report_sections(outputs), *sections]

    def _left_at(self, split: str, early: Outputs, used: np.ndarray) -> Section:
        """How many examples left at each layer, and how good their answers are."""
        labels, answers = required(self.examples[split].labels), self._predicted(early["logits"])
        name, values = "accuracy", (answers == labels).astype(np.float64)
        if not self.label_names:
            name, values = "squared error", (answers.astype(np.float64) - labels) ** 2
        rows = {
            f"layer {layer}": {
                "examples": int(np.count_nonzero(used == layer)),
                name: float(values[used == layer].mean()),
                "percent": 100 * float(np.mean(used == layer)),
            }
            for layer in np.unique(used).tolist()
        }
        return html_report.breakdown(f"Layers used with --exit={self._rule}", rows, bar="percent")


def _exited(rule: ExitRule, outputs: Outputs) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The `logits` of the layer at which each example leaves, and the number of layers that it uses."""
    logits = outputs["layer_logits"]
    used = layers_used(rule, logits)
    return {"logits": logits[np.arange(len(used)), used - 1]}, used


def _of_rules(rules: list[ExitRule], outputs: Outputs) -> dict[str, tuple[Outputs, np.ndarray]]:
    return {f"--exit={rule}": _exited(rule, outputs) for rule in rules}


def known_rule(rule: ExitRule, results: Mapping[str, Any] | None, place: str) -> ExitRule:
    """The rule; for that of a budget, the rule of entropy that an evaluation found.

    `results` are those of the evaluation. InputError if it was not with this rule.
    """
    found = results or {}
    if rule.kind != "budget":
        return rule
    if found.get(_BUDGET) != rule.value:
        raise InputError(f"{place} was not evaluated with --exit={rule}: do so with --do_eval")
    if not isinstance(threshold := found.get(_THRESHOLD), int | float) or not 0 <= threshold <= 1:
        raise InputError(f"{_THRESHOLD} of the evaluation must be from 0 to 1, not {threshold!r}")
    return ExitRule("entropy", threshold)
