"""Sections of texts with spans: they mark the right and the predicted spans in the text."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from albert_tf.html_report.examples import LONG_WORD, MOST_EXAMPLES, SHORT_TEXT, card, folded
from albert_tf.html_report.page import Section, escaped
from albert_tf.html_report.tables import percent

Span = tuple[int, int]  # begin and end: characters [begin, end) of the context

_AROUND = SHORT_TEXT // 2  # characters that an excerpt shows on both sides of each begin and end of a span
_BOTH = "reference predicted"
_NO_ANSWER = "<em>no answer</em>"


@dataclasses.dataclass(frozen=True)
class AnswerExample:
    """A question with its right answers and the model's answer.

    Attributes:
      references: the right answers, each a span of the context, or a text if its place is unknown; empty if
        the context has no answer.
      predicted: the model's answer; None if it gave no answer.
      exact: 1 if the model's answer equals a reference, else 0.
      f1: from 0 to 1.
      notes: more facts to show, such as the score: name -> text.
    """

    question: str
    context: str
    references: tuple[Span | str, ...]
    predicted: Span | None
    exact: float
    f1: float
    notes: Mapping[str, str] = dataclasses.field(default_factory=dict)


def answers_in_context(examples: Sequence[AnswerExample], confidence: np.ndarray) -> Section:
    """Shows the 20 questions with the lowest F1; if F1 is equal, those of highest confidence come first."""
    f1 = np.array([example.f1 for example in examples])
    worst = np.lexsort([-np.asarray(confidence), f1])[:MOST_EXAMPLES].tolist()
    intro = (
        f"The {len(worst)} of {len(examples):,} questions with the lowest F1; if F1 is equal, the model's "
        f"surest answers come first. {_mark('reference', 'A reference')} has a solid line, "
        f"{_mark('predicted', 'the predicted answer')} a dashed line, {_mark(_BOTH, 'text of both')} both."
    )
    cards = [_card(examples[i]) for i in worst]
    return Section("Answers in context", f"<p>{intro}</p>\n" + "\n".join(cards))


@dataclasses.dataclass(frozen=True)
class TaggedExample:
    """A sentence with its right and the model's spans: begin and end, as in `Span`, and type."""

    text: str
    gold: Sequence[tuple[int, int, str]]
    predicted: Sequence[tuple[int, int, str]]

    @property
    def errors(self) -> int:
        """How many spans only one of the two has."""
        return len(set(self.gold) ^ set(self.predicted))


def tagged_sentences(examples: Sequence[TaggedExample]) -> Section:
    """Shows the 20 sentences with the most spans that are missing or wrong."""
    errors = np.array([example.errors for example in examples])
    wrong = int(np.count_nonzero(errors))
    worst = np.argsort(-errors, kind="stable")[: min(wrong, MOST_EXAMPLES)].tolist()
    intro = (
        f"{wrong:,} of {len(examples):,} sentences have a span that is missing or wrong; these are the "
        f"{len(worst)} with the most. {_mark('reference', 'A right span')} has a solid line, "
        f"{_mark('predicted', 'a predicted span')} a dashed line, {_mark(_BOTH, 'text of both')} both."
    )
    cards = []
    for example in map(examples.__getitem__, worst):
        sides = {"reference": example.gold, "predicted": example.predicted}
        answers = {
            name: ", ".join(
                f"{_mark(name, escaped(example.text[b:e]))} {escaped(kind)}" for b, e, kind in spans
            )
            or "<em>none</em>"
            for name, spans in sides.items()
        }
        spans = {name: [(b, e) for b, e, _ in each] for name, each in sides.items()}
        borders = sorted({border for each in spans.values() for span in each for border in span})
        text = _marked(example.text, (0, len(example.text)), spans, borders)
        cards.append(card(answers, {"sentence": text}))
    return Section("Sentences", f"<p>{intro}</p>\n" + "\n".join(cards))


def _card(example: AnswerExample) -> str:
    context = example.context
    texts = [known if isinstance(known, str) else context[slice(*known)] for known in example.references]
    references = " ".join(_mark("reference", escaped(text)) for text in dict.fromkeys(texts))
    predicted = example.predicted and _mark("predicted", escaped(context[slice(*example.predicted)]))
    answers = {
        "reference": references or _NO_ANSWER,
        "predicted": predicted or _NO_ANSWER,
        "exact": "yes" if example.exact else "no",
        "F1": percent(example.f1),
        **{name: escaped(note) for name, note in example.notes.items()},
    }
    return card(answers, {"question": escaped(example.question), "context": _highlighted(example)})


def _highlighted(example: AnswerExample) -> str:
    """Marks the spans in the context; a long context folds to the text around them."""
    context = example.context
    spans = {
        "reference": [known for known in example.references if not isinstance(known, str)],
        "predicted": [example.predicted] if example.predicted else [],
    }
    borders = sorted({border for each in spans.values() for span in each for border in span})
    whole = _marked(context, (0, len(context)), spans, borders)
    kept = _excerpts(context, borders)
    if len(context) <= SHORT_TEXT or kept == [(0, len(context))]:
        return whole
    excerpt = " … ".join(_marked(context, part, spans, borders) for part in kept)
    return folded("… " * (kept[0][0] > 0) + excerpt + " …" * (kept[-1][1] < len(context)), whole)


def _marked(context: str, part: Span, spans: Mapping[str, Sequence[Span]], borders: Sequence[int]) -> str:
    """Cuts a part of the context at all borders of spans; each piece gets the classes of its spans."""
    begin, end = part
    cuts = [begin, *(border for border in borders if begin < border < end), end]
    pieces = []
    for a, b in itertools.pairwise(cuts):
        classes = [name for name, each in spans.items() if any(s <= a and b <= e for s, e in each)]
        pieces.append(_mark(" ".join(classes), escaped(context[a:b])) if classes else escaped(context[a:b]))
    return "".join(pieces)


def _excerpts(context: str, borders: Sequence[int]) -> list[Span]:
    """The parts of the context around the borders; they begin and end between words if they can."""
    parts: list[Span] = []
    for border in borders or [0]:
        begin, end = max(border - _AROUND, 0), min(border + _AROUND, len(context))
        if begin > 0:
            begin = max(begin, context.find(" ", begin, begin + LONG_WORD) + 1)
        if end < len(context):
            space = context.rfind(" ", end - LONG_WORD, end)
            end = space if space >= 0 else end
        if parts and begin <= parts[-1][1] + 1:
            begin, end = parts[-1][0], max(parts.pop()[1], end)
        parts.append((begin, end))
    return parts


def _mark(kind: str, text: str) -> str:
    return f'<mark class="{kind}">{text}</mark>'
