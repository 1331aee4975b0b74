"""What a user sees of answers: results by kind of question, the threshold, the worst answers."""

from collections.abc import Mapping

import numpy as np

from albert_tf import html_report
from albert_tf.html_report import AnswerExample, Section
from albert_tf.tasks.squad.breakdown import (
    ANSWER_LENGTHS,
    QUESTION_WORDS,
    answer_length_group,
    by_group,
    question_word,
)
from albert_tf.tasks.squad.decoding import Answers
from albert_tf.tasks.squad.reading import SquadQuestions
from albert_tf.tasks.squad.results import Results

Breakdowns = Mapping[str, Mapping[str, Mapping[str, float]]]


def breakdowns(questions: SquadQuestions, results: Results) -> Breakdowns:
    """Exact match and F1 by answer length and by question word."""
    metrics = {"exact_match": results.exact, "f1": results.f1}
    lengths = [answer_length_group(answers) for answers in questions.answers]
    words = [question_word(question) for question in questions.questions]
    return {
        "by answer length": by_group(lengths, ANSWER_LENGTHS, metrics),
        "by question word": by_group(words, QUESTION_WORDS, metrics),
    }


def sections(questions: SquadQuestions, answers: Answers, results: Results) -> list[Section]:
    """The breakdowns, how the threshold matters where there is one, and the worst answers."""
    found = [
        html_report.breakdown(f"Results {title}", rows, "f1")
        for title, rows in breakdowns(questions, results).items()
    ]
    if results.threshold is not None:
        thresholds, f1 = results.f1_by_threshold
        found.append(html_report.threshold_curve(thresholds, {"f1": f1}, results.threshold))
    examples = [_example(questions, answers, results, i) for i in range(len(questions))]
    return [*found, html_report.answers_in_context(examples, _confidence(answers, results))]


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


def _confidence(answers: Answers, results: Results) -> np.ndarray:
    """The distance from the threshold, where there is one, else the probability of the best candidate."""
    if results.threshold is not None:
        return np.abs(answers.null_scores - results.threshold)
    return np.array([candidates[0].probability if candidates else 0.0 for candidates in answers.candidates])
