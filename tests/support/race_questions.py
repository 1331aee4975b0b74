"""A small question of RACE for tests."""

from collections.abc import Sequence

import numpy as np

from albert_tf.tasks.race import RaceQuestions


def make_questions(article: str, question: str, options: Sequence[str]) -> RaceQuestions:
    """One question about the second of two articles; its third option is right."""
    return RaceQuestions(
        articles=["Other boats.", article],
        article_of=np.array([1], np.int32),
        questions=[question],
        options=tuple([option] for option in options),
        names=["a-0"],
        labels=np.array([2], np.int32),
        parts={"high": slice(0, 1)},
        digest="",
    )
