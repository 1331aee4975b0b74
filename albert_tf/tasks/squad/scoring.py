"""The official metrics of SQuAD and CMRC 2018, and the threshold under which a question is answered."""

from collections.abc import Sequence

import numpy as np

from albert_tf.tasks.squad.reading import SquadQuestions
from albert_tf.tasks.squad.segmentation import SEGMENTATIONS, Segmentation

SPACE = SEGMENTATIONS["space"]


def exact_match(version: str, prediction: str, references: Sequence[str], by: Segmentation = SPACE) -> int:
    """1 if the prediction is one of the references, as normalized, else 0."""
    return int(by.normalize(prediction) in _normalized(version, references, by))


def f1(version: str, prediction: str, references: Sequence[str], by: Segmentation = SPACE) -> float:
    """Harmonic mean of precision and recall of the normalized words, 0 to 1, for the best of the references.

    In version 1.1 a text without words shares none; in 2.0 it equals another such.
    """
    text = by.normalize(prediction)
    return max(_overlap(version, text, reference, by) for reference in _normalized(version, references, by))


def question_scores(
    version: str, predictions: Sequence[str], questions: SquadQuestions
) -> tuple[np.ndarray, np.ndarray]:
    """Exact match and F1, 0 to 1, of one text a question, each float64 [questions]; "" is for no answer."""
    pairs = list(zip(predictions, questions.answers, strict=True))
    by = SEGMENTATIONS[questions.segmentation]
    exact = np.array([exact_match(version, *pair, by) for pair in pairs], np.float64)
    return exact, np.array([f1(version, *pair, by) for pair in pairs], np.float64)


def totals_v1(exact: np.ndarray, f1: np.ndarray) -> dict[str, float]:
    """The percentages of version 1.1 from the scores of the questions."""
    # Added one after another, as the official script does: np.sum rounds otherwise.
    sums = {"exact_match": np.cumsum(exact)[-1], "f1": np.cumsum(f1)[-1]}
    return {name: float(100.0 * value / len(exact)) for name, value in sums.items()}


def totals_v2(exact: np.ndarray, f1: np.ndarray, questions: SquadQuestions) -> dict[str, float]:
    """The percentages of version 2.0: of all questions, of questions with an answer, of questions without."""
    # Whole numbers where the official script has them: from Python 3.12 on `sum` rounds them differently.
    normalize = SEGMENTATIONS[questions.segmentation].normalize
    no_words = [not any(map(normalize, answers)) for answers in questions.answers]
    scores = {
        "exact": exact.astype(int).tolist(),
        "f1": [int(score) if whole else score for score, whole in zip(f1.tolist(), no_words, strict=True)],
    }
    totals: dict[str, float] = {}
    possible = ~questions.is_impossible
    for prefix, rows in (
        ("", np.arange(len(exact))),
        ("HasAns_", np.flatnonzero(possible)),
        ("NoAns_", np.flatnonzero(~possible)),
    ):
        if len(rows):
            for name, values in scores.items():
                totals[prefix + name] = 100.0 * sum(values[row] for row in rows) / len(rows)
            totals[f"{prefix}total"] = len(rows)
    return totals


def f1_by_threshold(
    scores: np.ndarray, null_scores: np.ndarray, is_impossible: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The total score at every threshold of the null scores that makes a difference.

    A question is answered if its null score is at most the threshold. All questions answered and none (the
    threshold is then the lowest null score - 1) are among the choices.

    Args:
      scores: `[questions]`. The score of each text, 0 to 1. Without an answer an impossible question scores
        1, another 0.
      null_scores: `[questions]`. Any numbers; high means no answer.
      is_impossible: bool `[questions]`.

    Returns:
      The thresholds, ascending, and the totals, 0 to 100, both float64.
    """
    order = np.argsort(null_scores, kind="stable")
    ascending = np.asarray(null_scores, np.float64)[order]
    gains = (np.asarray(scores, np.float64) - is_impossible)[order]
    below_all = min(ascending[0] - 1, np.nextafter(ascending[0], -np.inf))
    thresholds = np.append(below_all, ascending)
    values = is_impossible.sum() + np.append(0.0, np.cumsum(gains))
    is_last_of_equals = np.append(thresholds[1:] > thresholds[:-1], True)
    return thresholds[is_last_of_equals], 100.0 * values[is_last_of_equals] / len(gains)


def best_threshold(
    scores: np.ndarray, null_scores: np.ndarray, is_impossible: np.ndarray
) -> tuple[float, float]:
    """The highest total of `f1_by_threshold` and its threshold; of equally good ones the lowest."""
    thresholds, values = f1_by_threshold(scores, null_scores, is_impossible)
    best = values.argmax()
    return float(values[best]), float(thresholds[best])


def apply_threshold(predictions: Sequence[str], null_scores: np.ndarray, threshold: float) -> list[str]:
    """The texts of questions whose null score is at most the threshold; "" for the others."""
    answered = np.asarray(null_scores, np.float64) <= threshold
    return [text if keep else "" for text, keep in zip(predictions, answered, strict=True)]


def original_best_threshold(
    predictions: Sequence[str], scores: np.ndarray, null_scores: np.ndarray, is_impossible: np.ndarray
) -> tuple[float, float]:
    """`best_threshold` as the official script finds it and the original release used it, for comparison.

    It was made for probabilities: 0.0 stands for answering nothing whatever the null scores are. Equal null
    scores may fall on both sides of its threshold.
    """
    order = np.argsort(null_scores, kind="stable")
    has_text = np.array([bool(text) for text in predictions])
    gains = np.where(is_impossible, -1.0 * has_text, scores)[order]
    values = np.cumsum(np.append(is_impossible.sum(), gains))
    thresholds = np.append(0.0, np.asarray(null_scores, np.float64)[order])
    best = values.argmax()
    return float(100.0 * values[best] / len(gains)), float(thresholds[best])


def _normalized(version: str, references: Sequence[str], by: Segmentation) -> set[str]:
    """What a prediction is compared with: in version 2.0 the texts that have words, else ""."""
    texts = set(map(by.normalize, references))
    return texts if version == "1.1" else texts - {""} or {""}


def _overlap(version: str, prediction: str, reference: str, by: Segmentation) -> float:
    """F1 of two normalized texts."""
    if version == "2.0" and not (prediction and reference):
        return int(prediction == reference)
    words, reference_words = by.words(prediction), by.words(reference)
    common = by.common(words, reference_words)
    if not common:
        return 0
    precision, recall = common / len(words), common / len(reference_words)
    return (2 * precision * recall) / (precision + recall)
