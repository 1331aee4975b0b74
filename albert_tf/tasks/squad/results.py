"""The scores of the answers to all questions of a file."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from albert_tf.data.features import required
from albert_tf.tasks.squad import scoring
from albert_tf.tasks.squad.decoding import Answers
from albert_tf.tasks.squad.reading import SquadQuestions


@dataclasses.dataclass(frozen=True, eq=False)
class Results:
    """Answers and their scores.

    Attributes:
      texts: the answer to each question; "" if the question gets no answer.
      exact, f1: float64 `[questions]`, 0 to 1.
      threshold: questions with a higher null score got no answer; None for version 1.1.
      by_part: see `BenchmarkTask.results_by_part`.
      f1_by_threshold: thresholds and the F1 at each; None for version 1.1.
    """

    texts: Sequence[str]
    exact: np.ndarray
    f1: np.ndarray
    threshold: float | None
    by_part: dict[str, dict[str, float]]
    f1_by_threshold: tuple[np.ndarray, np.ndarray] | None = None


def results_v1(questions: SquadQuestions, answers: Answers) -> Results:
    """Exact match and F1 of the best texts."""
    exact, f1 = scoring.question_scores("1.1", answers.texts, questions)
    return Results(answers.texts, exact, f1, None, {"all": scoring.totals_v1(exact, f1)})


def results_v2(
    questions: SquadQuestions, answers: Answers, threshold: float | None = None, sweep: str = "scores"
) -> Results:
    """The results at a threshold, at threshold 0, and if every question is answered.

    If the threshold is None, it is the one with the highest F1 on these questions: by `best_threshold` for
    the sweep "scores", by `original_best_threshold` for "original"; then, as in the original, the question at
    the threshold gets no answer.
    """
    texts, null_scores = answers.texts, required(answers.null_scores)
    if_answered = scoring.question_scores("2.0", texts, questions)
    if_not = scoring.question_scores("2.0", [""] * len(texts), questions)
    to_sweep = if_answered[1], null_scores, questions.is_impossible
    name = "fixed" if threshold is not None else "tuned"
    if threshold is not None:
        applied = threshold
    elif sweep == "scores":
        _, threshold = scoring.best_threshold(*to_sweep)
        applied = threshold
    else:
        _, threshold = scoring.original_best_threshold(texts, *to_sweep)
        applied = float(np.nextafter(threshold, -np.inf))

    def scores_at(cut: float) -> tuple[np.ndarray, np.ndarray]:
        exact, f1 = (np.where(null_scores <= cut, *pair) for pair in zip(if_answered, if_not, strict=True))
        return exact, f1

    exact, f1 = scores_at(applied)
    totals = scoring.totals_v2(exact, f1, questions)
    by_part = {name: totals | {"null_score_diff_threshold": threshold}}
    for part, cut in (("at_zero", 0.0), ("untuned", np.inf)):
        totals = scoring.totals_v2(*scores_at(cut), questions)
        by_part[part] = {metric: totals[metric] for metric in ("exact", "f1")}
    given = scoring.apply_threshold(texts, null_scores, applied)
    return Results(given, exact, f1, threshold, by_part, scoring.f1_by_threshold(*to_sweep))
