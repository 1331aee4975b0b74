"""How good predictions are: the metrics of GLUE, under the names of the original's results."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy import stats
from sklearn import metrics

Metric = Callable[[np.ndarray, np.ndarray], float]


def _zero_if_constant(metric: Metric) -> Metric:
    """A correlation that is 0, instead of undefined, where labels or predictions are all the same."""

    def guarded(labels: np.ndarray, predicted: np.ndarray) -> float:
        return metric(labels, predicted) if np.ptp(labels) and np.ptp(predicted) else 0.0

    return guarded


def _f1(labels: np.ndarray, predicted: np.ndarray) -> float:
    return metrics.f1_score(labels, predicted, zero_division=0.0)


def _macro_f1(labels: np.ndarray, predicted: np.ndarray) -> float:
    """The mean over the classes that occur."""
    return metrics.f1_score(labels, predicted, average="macro", zero_division=0.0)


METRICS: Mapping[str, Metric] = {
    "matthew_corr": _zero_if_constant(metrics.matthews_corrcoef),
    "eval_accuracy": metrics.accuracy_score,
    "eval_f1": _f1,
    "macro_f1": _macro_f1,
    "pearson": _zero_if_constant(lambda labels, predicted: stats.pearsonr(labels, predicted).statistic),
    "spearman": _zero_if_constant(lambda labels, predicted: stats.spearmanr(labels, predicted).statistic),
    "MSE": metrics.mean_squared_error,
}


def compute_metrics(names: Sequence[str], labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """The named metrics; those that are undefined for these numbers are 0.

    Args:
      names: keys of `METRICS`.
      labels: int32 class numbers or float32 scores [examples], at least one.
      predicted: the model's, of the same kind.
    """
    if np.issubdtype(labels.dtype, np.floating):
        labels, predicted = labels.astype(np.float64), predicted.astype(np.float64)
    return {name: float(METRICS[name](labels, predicted)) for name in names}
