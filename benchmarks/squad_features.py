"""Measures how fast pieces are aligned with characters, next to a direct port of the original's method.

Run: python -m benchmarks.squad_features --squad_file=train-v1.1.json --spm_model_file=30k-clean.model

For every question the original joins the pieces of its paragraph to a text, and searches the longest common
subsequence of this and the raw text in two matrices, cell by cell, after it sets each cell to zero. The port
does so once a paragraph, counts the time for each question of it, and does not count the tokenization.
"""

import dataclasses
import json
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

if not __package__:  # run by its path
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

import numpy as np

from albert_tf.cli import flags
from albert_tf.cli.flags import option
from albert_tf.cli.script import script
from albert_tf.tasks.squad.reading import read_squad
from albert_tf.tasks.squad.windows import window_features
from albert_tf.tokenization import load_tokenizer, preprocess_text

ALL_QUESTIONS = 87_599  # of the training set of SQuAD 1.1
_LEAST_MATRIX = 1024
_ENOUGH_MATCHED = 0.8
_FROM_TEXT, _FROM_JOINED, _MATCH = range(3)

_Index = list[int | None]


@dataclasses.dataclass(frozen=True)
class Options(flags.ScriptOptions):
    """Measures questions and characters per second, and compares the pieces of the answers."""

    squad_file: str = option(help="a JSON file of SQuAD")
    spm_model_file: str = option(help="SentencePiece model")
    port_paragraphs: int = option(20, at_least=1, help="paragraphs for the port to align, evenly spread")


class Paragraph(NamedTuple):
    """A text, the number of its questions, and the distinct (begin, end) of their answers."""

    text: str
    questions: int
    answers: list[tuple[int, int]]


class Speed:
    """Paragraphs, questions and characters per second."""

    def __init__(self, paragraphs: Sequence[Paragraph], seconds: float):
        self.paragraphs = len(paragraphs) / seconds
        self.questions = sum(paragraph.questions for paragraph in paragraphs) / seconds
        self.characters = sum(len(paragraph.text) for paragraph in paragraphs) / seconds

    def row(self, name: str) -> str:
        """A row of the table."""
        rates = f"{self.paragraphs:,.1f} | {self.questions:,.1f} | {self.characters:,.0f}"
        return f"| {name} | {rates} | {ALL_QUESTIONS / self.questions:,.1f} s |"


@script(Options)
def main(options: Options) -> None:
    """Prints the speeds, their ratio, and the answers for which the pieces differ."""
    tokenizer = load_tokenizer(options.spm_model_file)
    paragraphs = _read(options.squad_file)
    started = time.perf_counter()
    found = tokenizer.encode_with_offsets(paragraph.text for paragraph in paragraphs)
    ours = Speed(paragraphs, time.perf_counter() - started)

    numbers = np.unique(np.linspace(0, len(paragraphs) - 1, options.port_paragraphs, dtype=int))
    ends = np.cumsum(found.lengths)
    zeroing = searching = 0.0
    same, different = 0, []
    for number in numbers:
        text, questions, answers = paragraphs[number]
        pieces = tokenizer.tokenize(text)
        joined = "".join(pieces).replace("\u2581", " ")
        shape = max(_LEAST_MATRIX, len(text)), max(_LEAST_MATRIX, len(joined))
        matrices = np.ones((2, *shape))
        started = time.perf_counter()
        zero(matrices)
        zeroed = time.perf_counter()
        aligned = align_by_lcs(text, joined, matrices)
        searching += questions * (time.perf_counter() - zeroed)
        zeroing += questions * (zeroed - started)
        own = slice(ends[number] - found.lengths[number], ends[number])
        for answer in answers:
            expected = pieces_by_offsets(found.begins[own], found.ends[own], answer)
            theirs = aligned and pieces_by_alignment(pieces, aligned, answer, len(joined))
            same += expected == theirs
            if expected != theirs:
                different.append(_difference(text, answer, pieces, expected, theirs))

    sample = [paragraphs[number] for number in numbers]
    port = Speed(sample, zeroing + searching)
    lenient = Speed(sample, searching)
    print(f"| | paragraphs/s | questions/s | characters/s | {ALL_QUESTIONS:,} questions |")
    print("|---|---|---|---|---|")
    print(ours.row(f"ours, {len(paragraphs):,} paragraphs"))
    print(port.row(f"the port, {len(sample)} paragraphs"))
    print(lenient.row("the port without zeroing"))
    print(f"Ours is {ours.questions / port.questions:,.0f} times as fast as the port, ", end="")
    print(f"{ours.questions / lenient.questions:,.0f} times without zeroing.")
    print(f"{same:,} of {same + len(different):,} answers have the same first and last piece.")
    print(*different, sep="\n")
    started = time.perf_counter()
    questions = read_squad(options.squad_file)
    features = window_features(tokenizer, questions, max_seq_length=384, training=False)
    rate = len(questions) / (time.perf_counter() - started)
    print(
        f"All features of {len(questions):,} questions, from the file to {len(features):,} windows: "
        f"{rate:,.0f} questions/s, {ALL_QUESTIONS / rate:.1f} s for {ALL_QUESTIONS:,}."
    )


def pieces_by_offsets(begins: np.ndarray, ends: np.ndarray, answer: tuple[int, int]) -> tuple[int, int]:
    """Finds the first and the last piece that hold characters of the answer."""
    first = int(np.searchsorted(ends, answer[0], side="right"))
    return first, int(np.searchsorted(begins, answer[1])) - 1


# ------------------------------------------------------------------------------------------------- the port


def zero(matrices: Sequence[np.ndarray]) -> None:
    """Sets matrices to zero cell by cell, as the original does."""
    for matrix in matrices:
        for i in range(matrix.shape[0]):
            for j in range(matrix.shape[1]):
                matrix[i, j] = 0


def align_by_lcs(text: str, joined: str, matrices: Sequence[np.ndarray]) -> tuple[_Index, _Index] | None:
    """Maps the characters of the text to characters of the joined pieces, and the reverse.

    Args:
      text: the raw text.
      joined: the text of the joined pieces.
      matrices: two matrices of zeros, at least [characters of the text, characters of the pieces].

    Returns:
      The two maps; None if too few characters match. The original drops such a question.
    """
    compared = [preprocess_text(character, remove_space=False) for character in text]
    half_width = abs(len(text) - len(joined)) + 5
    for _ in range(2):
        lengths, steps = matrices
        _fill(compared, joined, half_width, lengths, steps)
        if lengths[len(text) - 1, len(joined) - 1] >= _ENOUGH_MATCHED * len(text):
            return _traced(steps, len(text), len(joined))
        half_width *= 2
        lengths.fill(0)
        steps.fill(0)
    return None


def _fill(
    compared: Sequence[str], joined: str, half_width: int, lengths: np.ndarray, steps: np.ndarray
) -> None:
    """Fills in the lengths of common subsequences of all beginnings, and the step that leads to each."""
    for i in range(len(compared)):
        for j in range(max(0, i - half_width), min(len(joined), i + half_width)):
            length, step = 0.0, _FROM_TEXT
            if i > 0:
                length = lengths[i - 1, j]
            if j > 0 and lengths[i, j - 1] > length:
                length, step = lengths[i, j - 1], _FROM_JOINED
            before = lengths[i - 1, j - 1] if i > 0 and j > 0 else 0.0
            if compared[i] == joined[j] and before + 1 > length:
                length, step = before + 1, _MATCH
            lengths[i, j] = length
            steps[i, j] = step


def _traced(steps: np.ndarray, text_length: int, joined_length: int) -> tuple[_Index, _Index]:
    """Collects the matches on the way back from the end."""
    joined_of_text: _Index = [None] * text_length
    text_of_joined: _Index = [None] * joined_length
    i, j = text_length - 1, joined_length - 1
    while i >= 0 and j >= 0:
        if steps[i, j] == _MATCH:
            joined_of_text[i], text_of_joined[j] = j, i
            i, j = i - 1, j - 1
        elif steps[i, j] == _FROM_JOINED:
            j -= 1
        else:
            i -= 1
    return joined_of_text, text_of_joined


def pieces_by_alignment(
    pieces: Sequence[str], aligned: tuple[_Index, _Index], answer: tuple[int, int], joined_length: int
) -> tuple[int, int]:
    """Finds the first and the last piece of the answer."""
    piece_of_joined = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
    first = interpolate(aligned[0], answer[0], joined_length, is_start=True)
    last = interpolate(aligned[0], answer[1] - 1, joined_length, is_start=False)
    return int(piece_of_joined[first]), int(piece_of_joined[last])


def interpolate(index: _Index, position: int, size: int, is_start: bool) -> int:
    """Maps a position to the other text, of `size` characters; without a match, to one between matches."""
    if index[position] is not None:
        return index[position]
    before = next((value for value in reversed(index[:position]) if value is not None), None)
    after = next((value for value in index[position:] if value is not None), None)
    if is_start:
        start = 0 if before is None else before + 1
        return start if after is None else min(start, after)
    end = size - 1 if after is None else after - 1
    return end if before is None else max(end, before)


# -------------------------------------------------------------------------------------- reading and printing


def _read(squad_file: str) -> list[Paragraph]:
    with open(squad_file, encoding="utf-8") as file:
        articles = json.load(file)["data"]
    paragraphs = []
    for paragraph in (paragraph for article in articles for paragraph in article["paragraphs"]):
        text, questions = paragraph["context"], paragraph["qas"]
        found = [answer for question in questions for answer in question["answers"]]
        spans = {(answer["answer_start"], answer["answer_start"] + len(answer["text"])) for answer in found}
        paragraphs.append(Paragraph(text, len(questions), sorted(spans)))
    return paragraphs


def _difference(
    text: str,
    answer: tuple[int, int],
    pieces: Sequence[str],
    ours: tuple[int, int],
    theirs: tuple[int, int] | None,
) -> str:
    """Describes a difference: the answer with the text around it, and the pieces of both methods."""
    around = f"{text[max(0, answer[0] - 10) : answer[0]]}[{text[slice(*answer)]}]{text[answer[1] :][:10]}"
    told = [" ".join(pieces[s[0] : s[1] + 1]) if s else "dropped: too few matches" for s in (ours, theirs)]
    return f"- {around!r}: ours {told[0]}; the port {told[1]}"


if __name__ == "__main__":
    sys.exit(main())
