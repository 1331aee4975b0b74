"""Metrics: numbers worked out by hand, and 0 where there is no number."""

import numpy as np
import pytest

from albert_tf.tasks.classification.classification_task import METRICS, compute_metrics

CLASSES = ("matthew_corr", "eval_accuracy", "eval_f1")
SCORES = ("pearson", "spearman", "MSE")


def of(names, labels, predicted):
    dtype = np.float32 if names == SCORES else np.int32
    return compute_metrics(names, np.array(labels, dtype), np.array(predicted, dtype))


def test_two_classes():
    # 3 true positives, 1 false positive, 2 false negatives, 4 true negatives.
    labels = [1, 1, 1, 0, 1, 1, 0, 0, 0, 0]
    predicted = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    assert of(CLASSES, labels, predicted) == pytest.approx(
        {
            "matthew_corr": (3 * 4 - 1 * 2) / np.sqrt(4 * 5 * 5 * 6),
            "eval_accuracy": 0.7,
            "eval_f1": 2 * 3 / (2 * 3 + 1 + 2),
        }
    )


def test_f1_of_more_classes_is_the_mean_over_them():
    # F1 of class 0: 1/2, of class 1: 0, of class 2: 1.
    assert of(("macro_f1",), [0, 0, 1, 2], [0, 1, 0, 2])["macro_f1"] == pytest.approx((0.5 + 0 + 1) / 3)
    # Two of three classes occur; the definition does not change with the data.
    assert of(("macro_f1",), [0, 1, 1], [0, 1, 0])["macro_f1"] == pytest.approx((2 / 3 + 2 / 3) / 2)


def test_scores():
    # Deviations from the means: -1, 0, 1 and -2, -1, 3.
    assert of(SCORES, [1, 2, 3], [0, 1, 5]) == pytest.approx(
        {"pearson": 5 / np.sqrt(2 * 14), "spearman": 1.0, "MSE": (1 + 1 + 4) / 3}
    )


def test_results_are_python_numbers():
    assert {type(v) for v in of(SCORES, [1, 2], [2, 1]).values()} == {float}
    assert {type(v) for v in of(CLASSES, [1, 0], [0, 1]).values()} == {float}
    assert set(METRICS) == {*CLASSES, *SCORES, "macro_f1"}


@pytest.mark.parametrize(
    ("labels", "predicted", "accuracy"),
    [([0], [0], 1), ([0, 0], [0, 0], 1), ([0, 1], [0, 0], 0.5), ([0, 0], [0, 1], 0.5)],
)
def test_what_is_undefined_for_classes_is_0(labels, predicted, accuracy):
    results = of(CLASSES, labels, predicted)
    assert results["matthew_corr"] == 0
    assert results["eval_accuracy"] == accuracy
    assert results["eval_f1"] == 0


@pytest.mark.parametrize(
    ("labels", "predicted"), [([1], [2]), ([1, 2], [3, 3]), ([3, 3], [1, 2]), ([2, 2], [2, 2])]
)
def test_what_is_undefined_for_scores_is_0(labels, predicted):
    results = of(SCORES, labels, predicted)
    assert results["pearson"] == results["spearman"] == 0


def test_nearly_constant_predictions_give_no_warning():
    predicted = np.full(100, 3, np.float32)
    predicted[0] = np.nextafter(np.float32(3), np.float32(4))
    assert abs(of(SCORES, np.arange(100), predicted)["pearson"]) <= 1
