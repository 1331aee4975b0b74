"""From the scores of positions to answers: the best spans of each question over all of its windows."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import special

from albert_tf.cli.settings import SquadSettings
from albert_tf.data.features import required
from albert_tf.data.windows import is_max_context
from albert_tf.tasks.squad.reading import SquadQuestions
from albert_tf.tasks.squad.windows import WindowFeatures

_SPANS_AT_ONCE = 1 << 20  # bounds the memory for candidates
POSSIBLE = -1e29  # lower scores are padding of a beam


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A span that may be the answer: exactly the characters `begin` to `end` of the context.

    The scores of version 1.1 are logits. The probability is among the candidates that are kept.
    """

    text: str
    begin: int
    end: int
    start_log_prob: float
    end_log_prob: float
    probability: float


@dataclasses.dataclass(frozen=True)
class Answers:
    """What was found: for each question distinct texts, best first; none if no span qualified.

    `null_scores` are float64 `[questions]`, high if there is probably no answer; None for version 1.1.
    """

    candidates: Sequence[Sequence[Candidate]]
    null_scores: np.ndarray | None

    @property
    def texts(self) -> list[str]:
        """The best text of each question, "" if there is none."""
        return [candidates[0].text if candidates else "" for candidates in self.candidates]


def find_answers(
    questions: SquadQuestions,
    features: WindowFeatures,
    outputs: Mapping[str, np.ndarray],
    *,
    n_best_size: int = SquadSettings.n_best_size,
    max_answer_length: int = SquadSettings.max_answer_length,
) -> Answers:
    """The best spans of each question.

    A candidate lies in the context, is at most `max_answer_length` pieces long and starts where its window
    shows the most context. Candidates are ordered by the sum of their scores over all windows; of equal texts
    the best stays.

    Args:
      questions: the questions.
      features: their windows, with `begins` and `ends`.
      outputs: positions and scores: `start_index` and `start_score` `[windows, starts]`; `end_index` and
        `end_score` `[windows, starts, ends]`, or `[windows, 1, ends]` if the ends do not depend on the
        start; for version 2.0 `null_score` `[windows]`.
      n_best_size: how many candidates stay.
      max_answer_length: in pieces.
    """
    borders = np.searchsorted(features.question_of, np.arange(len(questions) + 1))
    spans_of_window = outputs["start_index"].shape[1] * outputs["end_index"].shape[2]
    windows_at_once = max(1, _SPANS_AT_ONCE // spans_of_window)
    found: list[list[Candidate]] = []
    while (first := len(found)) < len(questions):
        last = int(np.searchsorted(borders, borders[first] + windows_at_once))
        last = min(max(last, first + 1), len(questions))
        numbers, windows = range(first, last), slice(borders[first], borders[last])
        found += _best(questions, features, outputs, numbers, windows, n_best_size, max_answer_length)
    null_scores = None
    if "null_score" in outputs:
        null_scores = np.minimum.reduceat(outputs["null_score"].astype(np.float64), borders[:-1])
    return Answers(found, null_scores)


def combined(answers: Sequence[Answers], n_best_size: int) -> Answers:
    """The answers of several models to the same questions.

    The probability of a text is the mean of those that the models give it, and so is the null score. Scores
    of start and end are those of the model that finds the text most probable.
    """
    found = []
    for of_models in zip(*(each.candidates for each in answers), strict=True):
        best: dict[str, Candidate] = {}
        sums: dict[str, float] = {}
        for candidate in itertools.chain.from_iterable(of_models):
            text = candidate.text
            sums[text] = sums.get(text, 0.0) + candidate.probability
            if text not in best or candidate.probability > best[text].probability:
                best[text] = candidate
        ranked = sorted(best, key=lambda text: -sums[text])[:n_best_size]
        means = {text: sums[text] / len(answers) for text in ranked}
        found.append([dataclasses.replace(best[text], probability=means[text]) for text in ranked])
    null_scores = [each.null_scores for each in answers if each.null_scores is not None]
    return Answers(found, np.mean(null_scores, axis=0) if null_scores else None)


def _best(
    questions: SquadQuestions,
    features: WindowFeatures,
    outputs: Mapping[str, np.ndarray],
    numbers: range,
    windows: slice,
    n_best_size: int,
    max_answer_length: int,
) -> list[list[Candidate]]:
    """The candidates of the questions with these numbers, whose windows are `windows`."""
    starts, ends = outputs["start_index"][windows, :, None], outputs["end_index"][windows]
    first = features.first_lengths[windows, None, None]
    after = first + features.windows.lengths[windows, None, None]
    fits = (starts >= first) & (starts <= ends) & (ends < after) & (ends - starts < max_answer_length)
    at, rank, end_rank = np.nonzero(fits)
    window = at + windows.start
    starts, ends = starts[at, rank, 0], np.broadcast_to(ends, fits.shape)[at, rank, end_rank]
    pieces = starts - features.first_lengths[window] + features.window_starts[window]
    all_end_scores = np.broadcast_to(outputs["end_score"][windows], fits.shape)
    start_scores = outputs["start_score"][windows][at, rank].astype(np.float64)
    end_scores = all_end_scores[at, rank, end_rank].astype(np.float64)
    kept = (
        is_max_context(features.windows, window, pieces) & (start_scores > POSSIBLE) & (end_scores > POSSIBLE)
    )
    question = features.question_of[window]
    order = np.lexsort((ends, starts, window, -(start_scores + end_scores), question))
    order = order[kept[order]]
    question, tokens = question[order], features.starts[window[order]]
    begins, stops = (
        required(features.begins)[tokens + starts[order]],
        required(features.ends)[tokens + ends[order]],
    )
    start_scores, end_scores = start_scores[order], end_scores[order]
    borders = np.searchsorted(question, np.arange(numbers.start, numbers.stop + 1)).tolist()
    found = []
    for number, begin, end in zip(numbers, borders, borders[1:], strict=False):
        context = questions.contexts[questions.context_of[number]]
        texts: dict[str, int] = {}
        for i in range(begin, end):
            text = context[begins[i] : stops[i]].strip()
            if text:
                texts.setdefault(text, i)
            if len(texts) == n_best_size:
                break
        rows = list(texts.values())
        sums = start_scores[rows] + end_scores[rows]
        chances = special.softmax(sums) if rows else sums
        candidates = []
        for text, row, *scores in zip(
            texts, rows, start_scores[rows], end_scores[rows], chances, strict=True
        ):
            place = context.index(text, begins[row])
            candidates.append(Candidate(text, place, place + len(text), *map(float, scores)))
        found.append(candidates)
    return found
