"""Small SQuAD questions and files for tests, and what the official scripts say of answers."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from albert_tf.tasks.squad.reading import SquadQuestions

Row = tuple[str, str, tuple[int, str] | None]


def make_questions(rows: Sequence[Row], version: str = "2.0") -> SquadQuestions:
    """Questions of context, question and answer: its first character and its text, or None."""
    contexts = list(dict.fromkeys(context for context, _, _ in rows))
    return SquadQuestions(
        titles=["title"],
        contexts=contexts,
        article_of=np.zeros(len(contexts), np.int32),
        context_of=np.array([contexts.index(context) for context, _, _ in rows], np.int32),
        questions=[question for _, question, _ in rows],
        ids=[f"q{i}" for i in range(len(rows))],
        answers=[(answer[1],) if answer else () for _, _, answer in rows],
        answer_starts=[(answer[0],) if answer else () for _, _, answer in rows],
        is_impossible=np.array([answer is None for _, _, answer in rows]),
        has_answers=True,
        version=version,
        digest="digest",
    )


def squad_json(rows: Sequence[Row], version: str, with_answers: bool = True) -> dict[str, Any]:
    """The same as the content of a file, an article for each context."""
    paragraphs: dict[str, list[dict[str, Any]]] = {}
    for i, (context, question, answer) in enumerate(rows):
        asked: dict[str, Any] = {"id": f"q{i}", "question": question}
        if with_answers:
            asked["answers"] = [{"text": answer[1], "answer_start": answer[0]}] if answer else []
        if with_answers and version == "2.0":
            asked["is_impossible"] = answer is None
        paragraphs.setdefault(context, []).append(asked)
    articles = [
        {"title": context[:10], "paragraphs": [{"context": context, "qas": asked}]}
        for context, asked in paragraphs.items()
    ]
    return {"version": {"1.1": "1.1", "2.0": "v2.0"}[version], "data": articles}


def write_squad(path: pathlib.Path, rows: Sequence[Row], version: str, with_answers: bool = True) -> str:
    path.write_text(json.dumps(squad_json(rows, version, with_answers)), encoding="utf-8")
    return str(path)


def official_totals(version: str, questions: SquadQuestions, predictions: Sequence[str]) -> dict[str, float]:
    """The results of the official script, under its keys.

    The sums of version 1.1 are taken here, as in the published script: the package's gives fractions of one.
    """
    from official.nlp.tools import squad_evaluate_v1_1, squad_evaluate_v2_0

    if version == "2.0":
        asked = [
            {"id": identity, "answers": [{"text": text} for text in answers]}
            for identity, answers in zip(questions.ids, questions.answers, strict=True)
        ]
        named = dict(zip(questions.ids, predictions, strict=True))
        found = squad_evaluate_v2_0.evaluate([{"paragraphs": [{"qas": asked}]}], named)
        return {name: value for name, value in found.items() if not name.startswith(("final_", "pr_"))}
    script, sums = squad_evaluate_v1_1, {"exact_match": 0, "f1": 0}
    for prediction, answers in zip(predictions, questions.answers, strict=True):
        for name, metric in (("exact_match", script._exact_match_score), ("f1", script._f1_score)):
            sums[name] += script._metric_max_over_ground_truths(metric, prediction, answers)
    return {name: 100.0 * value / len(questions) for name, value in sums.items()}
