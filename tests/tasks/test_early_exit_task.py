"""A task with early exit: the loss of its heads, one pass for all rules, a rule that decides predictions."""

import csv

import numpy as np
import pytest
import tensorflow as tf

from albert_tf.errors import InputError
from albert_tf.tasks.classification.early_exit_task import EarlyExitTask
from albert_tf.tasks.classification.text_examples import Examples, TextTask
from albert_tf.testing import tiny_config

LAYERS = 4
# The classes of the four layers for each example, and how sure the layers are of them.
ANSWERS = np.array([[0, 0, 0, 0], [0, 1, 1, 1], [1, 0, 0, 0], [1, 0, 1, 0]])
SURENESS = np.array([[2, 3, 4, 5], [1, 2, 3, 4], [0.5, 1, 3, 4], [0.1, 0.2, 0.3, 0.4]])
LABELS = np.array([0, 1, 1, 0], np.int32)
LOGITS = np.where(np.arange(2) == ANSWERS[..., None], SURENESS[..., None], 0).astype(np.float32)
OUTPUTS = {"layer_logits": LOGITS, "logits": LOGITS[:, -1]}


def made(rule=None, distillation=0.0, is_score=False):
    label_names, metric = ((), "MSE") if is_score else (("no", "yes"), "eval_accuracy")
    task = TextTask(name="custom", label_names=label_names, metrics=(metric,), text_columns=("text",))
    labels = LABELS.astype(np.float32) if is_score else LABELS
    rows = [str(row) for row in range(len(labels))]
    examples = Examples(names=rows, texts=(rows,), labels=labels, parts={"": slice(0, len(rows))}, digest="")
    splits = {"dev": examples, "test": examples}
    return EarlyExitTask(
        task,
        splits,
        {},
        config=tiny_config(num_hidden_layers=LAYERS),
        max_seq_length=16,
        exit_rule=rule,
        distillation=distillation,
    )


class Answers:
    """A model that gives the same answers to all."""

    takes = ("input_ids",)

    def __init__(self, logits):
        self.logits = logits

    def __call__(self, inputs, **_):
        return {"logits": tf.constant(self.logits[:, -1]), "layer_logits": tf.constant(self.logits)}


@pytest.mark.parametrize("share", [0.0, 0.25])
@pytest.mark.parametrize("is_score", [False, True])
def test_the_loss_weighs_each_layer_by_its_depth(is_score, share):
    task = made(distillation=share, is_score=is_score)
    logits = SURENESS.astype(np.float32)[..., None] if is_score else LOGITS
    batch = {"input_ids": tf.zeros([4, 3], tf.int32), "label_ids": tf.constant(task.examples["dev"].labels)}
    measured = task.measure(Answers(logits), batch, training=True)
    total = 0.0
    for layer in range(LAYERS):
        if is_score:
            loss = (SURENESS[:, layer] - LABELS) ** 2
            to_last = (SURENESS[:, layer] - SURENESS[:, -1]) ** 2
        else:
            log_chances = np.log(np.exp(LOGITS) / np.exp(LOGITS).sum(axis=-1, keepdims=True))
            loss = -log_chances[np.arange(4), layer, LABELS]
            to_last = -(np.exp(log_chances[:, -1]) * log_chances[:, layer]).sum(axis=-1)
        part = share if layer < LAYERS - 1 else 0.0
        total += (layer + 1) / 10 * ((1 - part) * loss + part * to_last).mean()
    [name] = task.losses
    assert float(measured[name].total / measured[name].weight) == pytest.approx(total, rel=1e-5)
    assert name == ("layered_squared_error" if is_score else "layered_cross_entropy")
    if not is_score:
        assert float(measured["accuracy"].total) == 3


def test_one_pass_shows_every_layer_and_every_rule():
    [(title, rows)] = made().breakdowns("dev", OUTPUTS).items()
    assert title == "early exit on the dev split: the mean of 4 layers used"
    assert [rows[f"layer {layer}"]["eval_accuracy"] for layer in (1, 2, 3, 4)] == [0.5, 0.75, 0.5, 0.75]
    assert rows["layer 3"]["layers"] == 3
    assert rows["--exit=patience:1"] == {"layers": (2 + 3 + 3 + 4) / 4, "eval_accuracy": 0.75}
    assert rows["--exit=patience:2"] == {"layers": (3 + 4 + 4 + 4) / 4, "eval_accuracy": 0.75}
    budgets = [row["layers"] for name, row in rows.items() if "entropy" in name]
    assert budgets == sorted(budgets)
    assert all(rows[name].keys() == {"layers", "eval_accuracy"} for name in rows)


def test_a_rule_has_results_and_decides_the_predictions(tmp_path):
    task = made("patience:1")
    results = task.results_by_part("dev", OUTPUTS)[""]
    assert results["eval_accuracy"] == results["exit_eval_accuracy"] == 0.75
    assert results["exit_layers"] == 3
    assert results["exit_eval_loss"] > 0
    task.write_predictions(str(tmp_path), OUTPUTS)
    with open(tmp_path / "predictions.tsv") as file:
        rows = list(csv.DictReader(file, dialect="excel-tab"))
    assert [row["layers_used"] for row in rows] == ["2", "3", "3", "4"]
    assert [row["label"] for row in rows] == ["no", "yes", "no", "no"]
    curve, left = task.report_sections(OUTPUTS)[-2:]
    assert "patience" in curve.html
    assert left.heading == "Layers used with --exit=patience:1"
    assert '<th scope="row">layer 3</th><td>2</td><td>0.5000</td><td>50.0000</td>' in left.html


def test_the_threshold_of_a_budget_is_found_on_the_dev_split_and_kept(tmp_path):
    task = made("budget:0.5")
    results = task.results_by_part("dev", OUTPUTS)[""]
    assert results["exit_budget"] == 0.5
    assert results["exit_layers"] <= 2
    with pytest.raises(InputError, match=r"^the run was not evaluated with --exit=budget:0.5: do so with"):
        task.write_predictions(str(tmp_path), OUTPUTS)
    task.use_results(results)
    assert task.results_by_part("test", OUTPUTS)[""] == results
    task.use_results({**results, "exit_threshold": 2})
    with pytest.raises(InputError, match="exit_threshold of the evaluation must be from 0 to 1, not 2"):
        task.results_by_part("test", OUTPUTS)
