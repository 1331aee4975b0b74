"""Sections of single examples: the examples with the largest errors."""

from collections.abc import Mapping, Sequence

import numpy as np

from albert_tf.html_report.page import Section, escaped
from albert_tf.html_report.tables import percent

MOST_EXAMPLES = 20
LONG_WORD = 40  # characters; an excerpt may cut a longer word
SHORT_TEXT = 400  # characters of a text that are always visible; the rest folds away


def wrong_examples(
    true: Sequence[str], predicted: Sequence[str], confidence: np.ndarray, texts: Mapping[str, Sequence[str]]
) -> Section:
    """Shows the 20 wrong examples that the model was surest of.

    `confidence` is float [examples], the probability of the predicted answer; `texts` maps names to a text of
    each example.
    """
    wrong = np.flatnonzero([a != b for a, b in zip(true, predicted, strict=True)])
    if not wrong.size:
        return Section("Wrong examples", "<p>No example is wrong.</p>")
    surest = wrong[np.argsort(-np.asarray(confidence)[wrong], kind="stable")][:MOST_EXAMPLES].tolist()
    intro = f"{wrong.size:,} of {len(true):,} examples are wrong"
    if wrong.size > len(surest):
        intro += f"; these are the {len(surest)} that the model was surest of"
    cards = [
        _card({"true": true[i], "predicted": predicted[i], "confidence": percent(confidence[i])}, texts, i)
        for i in surest
    ]
    return Section("Wrong examples", f"<p>{intro}.</p>\n" + "\n".join(cards))


def largest_errors(labels: np.ndarray, scores: np.ndarray, texts: Mapping[str, Sequence[str]]) -> Section:
    """Shows the 20 examples whose score is furthest from the label; both are float [examples]."""
    errors = scores - labels
    furthest = np.argsort(-np.abs(errors), kind="stable")[:MOST_EXAMPLES].tolist()
    intro = f"The {len(furthest)} of {len(labels):,} examples whose score is furthest from the true score."
    cards = []
    for i in furthest:
        shown = {"true": f"{labels[i]:.2f}", "predicted": f"{scores[i]:.2f}", "error": f"{errors[i]:+.2f}"}
        cards.append(_card(shown, texts, i))
    return Section("Largest errors", f"<p>{intro}</p>\n" + "\n".join(cards))


def card(answers: Mapping[str, str], texts: Mapping[str, str]) -> str:
    """Makes the HTML of an example: a line of answers and the texts below, both HTML by name.

    The second answer is the model's.
    """
    head = "".join(f"<div><dt>{escaped(name)}</dt><dd>{html}</dd></div>" for name, html in answers.items())
    body = "".join(f'<dt>{escaped(name)}</dt><dd dir="auto">{html}</dd>\n' for name, html in texts.items())
    return f'<article>\n<dl class="answers">{head}</dl>\n<dl class="texts">\n{body}</dl>\n</article>'


def folded(excerpt: str, whole: str) -> str:
    """Makes HTML that shows an excerpt until the reader unfolds the whole."""
    return f"<details><summary><span>{excerpt} <u>more</u></span><u>less</u></summary>{whole}</details>"


def _card(answers: Mapping[str, str], texts: Mapping[str, Sequence[str]], index: int) -> str:
    return card(
        {name: escaped(answer) for name, answer in answers.items()},
        {name: _shortened(column[index]) for name, column in texts.items()},
    )


def _shortened(text: str) -> str:
    if len(text) <= SHORT_TEXT:
        return escaped(text)
    space = text.rfind(" ", SHORT_TEXT - LONG_WORD, SHORT_TEXT)  # Chinese has none
    beginning = text[: space if space >= 0 else SHORT_TEXT]
    return folded(f"{escaped(beginning)} …", escaped(text))
