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
      exact, f1: float64 [questions], 0 to 1.
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

    Args:
      questions: with answers.
      answers: the texts and null scores.
      threshold: of the null scores; None to take the threshold with the highest F1 on these questions.
      sweep: how it is found: "scores" for `best_threshold`, "original" for `original_best_threshold`, under
        which the question at the threshold is left unanswered, as the original does.
    """
    texts, null_scores = answers.texts, required(answers.null_scores)
    if_answered = scoring.question_scores("2.0", texts, questions)
    if_not = scoring.question_scores("2.0", [""] * len(texts), questions)
    answered_f1 = if_answered[1]
    name = "fixed" if threshold is not None else "tuned"
    if threshold is not None:
        applied = threshold
    elif sweep == "scores":
        _, applied = scoring.best_threshold(answered_f1, null_scores, questions.is_impossible)
        threshold = applied
    else:
        _, threshold = scoring.original_best_threshold(
            texts, answered_f1, null_scores, questions.is_impossible
        )
        applied = float(np.nextafter(threshold, -np.inf))

    def scores_at(cut: float) -> tuple[np.ndarray, np.ndarray]:
        is_answered = null_scores <= cut
        exact, f1 = (np.where(is_answered, *pair) for pair in zip(if_answered, if_not, strict=True))
        return exact, f1

    exact, f1 = scores_at(applied)
    totals = scoring.totals_v2(exact, f1, questions)
    by_part = {name: totals | {"null_score_diff_threshold": threshold}}
    for part, cut in (("at_zero", 0.0), ("untuned", np.inf)):
        totals = scoring.totals_v2(*scores_at(cut), questions)
        by_part[part] = {metric: totals[metric] for metric in ("exact", "f1")}
    curve = scoring.f1_by_threshold(answered_f1, null_scores, questions.is_impossible)
    given = scoring.apply_threshold(texts, null_scores, applied)
    return Results(given, exact, f1, threshold, by_part, curve)
