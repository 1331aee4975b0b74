"""What a user sees of answers: results by kind of question, the threshold, the worst answers."""

import bisect
import re
from collections.abc import Mapping, Sequence

import numpy as np

from albert_tf import html_report
from albert_tf.data.features import required
from albert_tf.html_report import AnswerExample, Section
from albert_tf.tasks.squad.decoding import Answers
from albert_tf.tasks.squad.reading import SquadQuestions
from albert_tf.tasks.squad.results import Results
from albert_tf.tasks.squad.segmentation import SEGMENTATIONS

Rows = dict[str, dict[str, float]]  # kind of question -> metric -> value


def breakdowns(questions: SquadQuestions, results: Results) -> dict[str, Rows]:
    """Exact match and F1 by answer length and by question word."""
    metrics = {"exact_match": results.exact, "f1": results.f1}
    lengths = [answer_length_group(answers, questions.segmentation) for answers in questions.answers]
    words = [question_word(question) for question in questions.questions]
    return {
        "by answer length": by_group(lengths, answer_lengths(questions.segmentation), metrics),
        "by question word": by_group(words, QUESTION_WORDS, metrics),
    }


def sections(questions: SquadQuestions, answers: Answers, results: Results) -> list[Section]:
    """The breakdowns, the effect of the threshold if there is one, and the worst answers."""
    tables = breakdowns(questions, results).items()
    shown = [html_report.breakdown(f"Results {title}", rows, "f1") for title, rows in tables]
    confidence = np.array([found[0].probability if found else 0.0 for found in answers.candidates])
    if results.threshold is not None and results.f1_by_threshold is not None:
        confidence = np.abs(required(answers.null_scores) - results.threshold)
        thresholds, f1 = results.f1_by_threshold
        shown.append(html_report.threshold_curve(thresholds, {"f1": f1}, results.threshold))
    examples = [_example(questions, answers, results, i) for i in range(len(questions))]
    return [*shown, html_report.answers_in_context(examples, confidence)]


def _example(questions: SquadQuestions, answers: Answers, results: Results, i: int) -> AnswerExample:
    context = questions.contexts[questions.context_of[i]]
    references = tuple(
        (start, start + len(text)) if start >= 0 and context.startswith(text, start) else text
        for text, start in zip(questions.answers[i], questions.answer_starts[i], strict=True)
    )
    best = answers.candidates[i][0] if answers.candidates[i] else None
    notes = {"probability": f"{best.probability:.1%}"} if best else {}
    if answers.null_scores is not None:
        notes["null score"] = f"{answers.null_scores[i]:.3f}"
    return AnswerExample(
        question=questions.questions[i],
        context=context,
        references=references,
        predicted=(best.begin, best.end) if best and results.texts[i] else None,
        exact=results.exact[i],
        f1=results.f1[i],
        notes=notes,
    )


_WORDS = {
    "what": "what",
    "which": "which",
    "who": "who(?:m|se)?",
    "when": "when",
    "where": "where",
    "why": "why",
    "how many/much": r"how\s+(?:many|much)",
    "how": "how",
}
_ANY_WORD = re.compile(r"\b(?:" + "|".join(f"({word})" for word in _WORDS.values()) + r")\b", re.IGNORECASE)
QUESTION_WORDS = (*_WORDS, "other")

_MOST_WORDS = (0, 1, 2, 5, 10)  # of the answers of each length but the last


def answer_lengths(segmentation: str = "space") -> tuple[str, ...]:
    """The names of the groups of answers by the number of their words."""
    unit = SEGMENTATIONS[segmentation].unit
    return "no answer", f"1 {unit}", *(f"{some} {unit}s" for some in ("2", "3 to 5", "6 to 10", "over 10"))


def question_word(question: str) -> str:
    """One of `QUESTION_WORDS`: the first one in the question, at any place."""
    found = _ANY_WORD.search(question)
    return QUESTION_WORDS[found.lastindex - 1] if found and found.lastindex else "other"


def answer_length_group(references: Sequence[str], segmentation: str = "space") -> str:
    """One of `answer_lengths`: the group of the shortest reference, or "no answer" if there is none."""
    words = SEGMENTATIONS[segmentation].words
    shortest = min((len(words(text)) for text in references), default=0)
    return answer_lengths(segmentation)[bisect.bisect_left(_MOST_WORDS, shortest)]


def by_group(groups: Sequence[str], order: Sequence[str], metrics: Mapping[str, np.ndarray]) -> Rows:
    """The number of "questions" and the mean of each metric, times 100, in every group that occurs.

    Args:
      groups: the group of each question.
      order: all groups, in the order to return them.
      metrics: name -> float `[questions]`, of 0 to 1.
    """
    group_of = np.array(groups)
    rows: Rows = {}
    for group in order:
        chosen = group_of == group
        if count := int(chosen.sum()):
            # Added one after another: np.sum rounds otherwise.
            sums = {name: np.cumsum(values[chosen])[-1] for name, values in metrics.items()}
            means = {name: float(100 * total / count) for name, total in sums.items()}
            rows[group] = {"questions": count, **means}
    return rows
