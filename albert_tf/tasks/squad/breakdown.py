"""Results by the kind of question: by its question word, and by how long its answer is."""

import bisect
import re
from collections.abc import Mapping, Sequence

import numpy as np

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
ANSWER_LENGTHS = ("no answer", "1 word", "2 words", "3 to 5 words", "6 to 10 words", "over 10 words")


def question_word(question: str) -> str:
    """One of `QUESTION_WORDS`: that which comes first in the question, wherever it stands."""
    found = _ANY_WORD.search(question)
    return QUESTION_WORDS[found.lastindex - 1] if found else "other"


def answer_length_group(references: Sequence[str]) -> str:
    """One of `ANSWER_LENGTHS`: that of the shortest reference, or "no answer" where there is none."""
    return ANSWER_LENGTHS[
        bisect.bisect_left(_MOST_WORDS, min((len(text.split()) for text in references), default=0))
    ]


def by_group(
    groups: Sequence[str], order: Sequence[str], metrics: Mapping[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """The number of questions and the mean of each metric, times 100, in every group that occurs.

    Args:
      groups: that of each question.
      order: all groups, in the order to return them.
      metrics: name -> float [questions], of 0 to 1.

    Returns:
      group -> "questions" and the names of the metrics -> value.
    """
    places = {group: place for place, group in enumerate(order)}
    group_of = np.array([places[group] for group in groups], np.int64)
    counts = np.bincount(group_of, minlength=len(order))
    sums = {name: np.bincount(group_of, values, len(order)) for name, values in metrics.items()}
    return {
        order[i]: {
            "questions": int(counts[i]),
            **{name: float(100 * total[i] / counts[i]) for name, total in sums.items()},
        }
        for i in np.flatnonzero(counts).tolist()
    }
