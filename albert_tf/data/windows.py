"""Texts that are longer than a sequence, in windows that overlap; and which window decides about a piece."""

from typing import NamedTuple

import numpy as np


class Windows(NamedTuple):
    """The windows of texts; those of a text follow one another.

    Attributes:
      text_of: int32 [windows].
      starts: int64 [windows]. The number of the window's first piece in its text.
      lengths: int64 [windows]. How many pieces of the text a window shows.
    """

    text_of: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray


def cut(sizes: np.ndarray, room: np.ndarray, stride: int) -> Windows:
    """As many windows as texts need.

    Windows begin `stride` pieces apart, or as far as a window reaches if that is less. A text without pieces
    has one window.

    Args:
      sizes: int [texts], pieces of each text.
      room: int [texts], the most pieces of its windows.
    """
    step = np.minimum(room, stride)
    counts = 1 + np.maximum(0, -((room - sizes) // step))
    text_of = np.repeat(np.arange(len(sizes), dtype=np.int32), counts)
    number = np.arange(len(text_of)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = number * step[text_of]
    return Windows(text_of, starts, np.minimum(room[text_of], sizes[text_of] - starts))


def is_max_context(windows: Windows, chosen: np.ndarray, pieces: np.ndarray) -> np.ndarray:
    """Whether a window shows a piece with more context around it than the text's other windows do.

    The score of a window, as in the original, is the smaller number of pieces to the left and to the right,
    plus 0.01 for each piece of the window; of equals the first is taken. The windows with the largest scores
    for a piece are neighbours, so that looking at the next on either side suffices.

    Args:
      windows: of all texts.
      chosen: int `[candidates]`, as the result: numbers of windows.
      pieces: int `[candidates]`. Numbers of pieces in the text, each inside its window.
    """
    own = _context_score(windows, chosen, pieces)
    before = _context_score(windows, chosen - 1, pieces, of=chosen)
    after = _context_score(windows, chosen + 1, pieces, of=chosen)
    return (own > before) & (own >= after)


def _context_score(
    windows: Windows, chosen: np.ndarray, pieces: np.ndarray, of: np.ndarray | None = None
) -> np.ndarray:
    """float64 [candidates]; -inf if the window lacks the piece, or is of another text than `of`."""
    inside = (chosen >= 0) & (chosen < len(windows.starts))
    chosen = np.where(inside, chosen, 0)
    lengths = windows.lengths[chosen]
    left = pieces - windows.starts[chosen]
    right = lengths - 1 - left
    inside &= (left >= 0) & (right >= 0)
    if of is not None:
        inside &= windows.text_of[chosen] == windows.text_of[of]
    return np.where(inside, np.minimum(left, right) + 0.01 * lengths, -np.inf)
