"""The best span of each question, in the graph: the first that `albert_tf.tasks.squad.decoding` finds."""

from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf

from albert_tf.export.context_windows import Windows
from albert_tf.tasks.squad.decoding import POSSIBLE


class Spans(NamedTuple):
    """One span each, of windows or of questions.

    Attributes:
      scores: float64 [spans], that of start and end together; -inf if there is no span.
      places: int64 [spans], first piece and length in one number, ordered by the first piece, then by
        the length. Of equal scores the lowest place is the best.
    """

    scores: tf.Tensor
    places: tf.Tensor


class SpanChoice:
    """Chooses among the spans of windows.

    Args:
      windows: all.
      max_answer_length: in pieces.
    """

    def __init__(self, windows: Windows, max_answer_length: int):
        self._windows = windows
        self._max_answer_length = max_answer_length
        self._no_piece = tf.size(windows.pieces)

    def of_windows(self, windows: tf.Tensor, found: Mapping[str, tf.Tensor]) -> Spans:
        """The best span of each window.

        Args:
          windows: int32 [windows], numbers.
          found: `start_index`, `start_score`, `end_index` and `end_score` of these windows, as
            `albert_tf.tasks.squad.decoding.find_answers` takes them.
        """
        begin, length, position = (
            tf.gather(column, windows)[:, tf.newaxis, tf.newaxis]
            for column in (self._windows.starts, self._windows.lengths, self._windows.first_positions)
        )
        # Pieces, counted through all contexts: [windows, starts, 1], [windows, 1 or starts, ends].
        starts = found["start_index"][:, :, tf.newaxis] - position + begin
        ends = found["end_index"] - position + begin
        fits = (starts >= begin) & (starts <= ends) & (ends < begin + length)
        fits &= ends - starts < self._max_answer_length
        fits &= self._windows.is_max_context(windows, starts[:, :, 0])[:, :, tf.newaxis]
        start_scores, end_scores = found["start_score"][:, :, tf.newaxis], found["end_score"]
        fits &= (start_scores > POSSIBLE) & (end_scores > POSSIBLE)
        first_characters = tf.gather(self._windows.begins, tf.where(fits, starts, self._no_piece))
        fits &= first_characters < tf.gather(self._windows.ends, tf.where(fits, ends, self._no_piece))
        sums = tf.cast(start_scores, tf.float64) + tf.cast(end_scores, tf.float64)
        scores = tf.where(fits, sums, -float("inf"))
        best = tf.reduce_max(scores, axis=[1, 2])
        is_best = fits & (scores == best[:, tf.newaxis, tf.newaxis])
        places = self._place(tf.cast(starts, tf.int64), tf.cast(ends - starts, tf.int64))
        return Spans(best, tf.reduce_min(tf.where(is_best, places, self._nowhere), axis=[1, 2]))

    def of_questions(self, question_of: tf.Tensor, spans: Spans, questions: tf.Tensor) -> Spans:
        """The best span of each question.

        Each start is taken from one window, and later windows have later starts: places are in their order.

        Args:
          question_of: int32 [spans].
          spans: of all windows, in any order.
          questions: int32 scalar, how many there are.
        """
        best = tf.math.unsorted_segment_max(spans.scores, question_of, questions)
        places = tf.where(spans.scores == tf.gather(best, question_of), spans.places, self._nowhere)
        return Spans(best, tf.math.unsorted_segment_min(places, question_of, questions))

    def characters(self, spans: Spans) -> tuple[tf.Tensor, tf.Tensor]:
        """begin, end: int32 [spans], characters of the context without white space around; 0 if no span."""
        first, more = spans.places // self._max_answer_length, spans.places % self._max_answer_length
        return tf.gather(self._windows.begins, first), tf.gather(self._windows.ends, first + more)

    def _place(self, first: tf.Tensor, more: tf.Tensor) -> tf.Tensor:
        return first * self._max_answer_length + more

    @property
    def _nowhere(self) -> tf.Tensor:
        return self._place(tf.cast(self._no_piece, tf.int64), tf.constant(0, tf.int64))
