"""Shows contexts in windows, and chooses the best span of each question, in the graph."""

from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf

from albert_tf.export.serving.text_windows import TextWindows, cut
from albert_tf.tasks.squad.decoding import POSSIBLE
from albert_tf.tasks.squad.windows import NUM_SPECIAL
from albert_tf.tokenization.in_graph.text_inputs import TextInputs, first, strip_ranges


class Windows(NamedTuple):
    """The windows of a batch of contexts, each behind its question.

    Attributes:
      questions: int32 [batch, (pieces)], ids of the questions, cut to their greatest length.
      contexts: the windows; the text of a window is that of its question.
      begins, ends: int32 [pieces + 1], the characters of its context that each piece stands for, without
        white space around; see `strip_ranges`. The last entry is for "no piece".
    """

    questions: tf.RaggedTensor
    contexts: TextWindows
    begins: tf.Tensor
    ends: tf.Tensor

    @property
    def first_positions(self) -> tf.Tensor:
        """int32 [windows], the position of each window's first piece in its sequence."""
        return tf.gather(tf.cast(self.questions.row_lengths(), tf.int32), self.contexts.text_of) + 2

    def inputs(self, text_inputs: TextInputs, windows: tf.Tensor) -> dict[str, tf.Tensor]:
        """Makes [CLS] question [SEP] window [SEP] of some windows, int32 [n]; see `TextInputs.pack`."""
        asked = tf.gather(self.questions, tf.gather(self.contexts.text_of, windows))
        return text_inputs.pack([asked, self.contexts.ids(windows)])


def cut_windows(
    text_inputs: TextInputs,
    question: tf.Tensor,
    context: tf.Tensor,
    *,
    doc_stride: int,
    max_query_length: int,
) -> Windows:
    """Cuts contexts, UTF-8 string [batch], as `albert_tf.tasks.squad.windows.window_features` does."""
    asked = text_inputs.tokenizer.tokenize(question)
    asked = first(asked, tf.minimum(asked.row_lengths(), max_query_length))
    pieces, begins, ends = text_inputs.tokenizer.tokenize_with_offsets(context)
    begins, ends = strip_ranges(context, begins, ends)
    room = text_inputs.max_seq_length - NUM_SPECIAL - tf.cast(asked.row_lengths(), tf.int32)
    return Windows(
        questions=asked,
        contexts=cut(pieces, room, doc_stride),
        begins=tf.pad(begins.values, [[0, 1]]),
        ends=tf.pad(ends.values, [[0, 1]]),
    )


class Spans(NamedTuple):
    """One span for each window or for each question.

    Attributes:
      scores: float64 [spans], score of the start plus score of the end; -inf if there is no span.
      places: int64 [spans], first piece and length in one number, which orders spans by the first piece, then
        by the length. If scores are equal, the span of the lowest place is the best.
    """

    scores: tf.Tensor
    places: tf.Tensor


class SpanChoice:
    """Chooses the best spans of at most `max_answer_length` pieces; it takes all windows of a batch."""

    def __init__(self, windows: Windows, max_answer_length: int):
        self._windows = windows
        self._max_answer_length = max_answer_length
        self._no_piece = tf.size(windows.contexts.pieces)

    def of_windows(self, windows: tf.Tensor, found: Mapping[str, tf.Tensor]) -> Spans:
        """Chooses the best span of each window, int32 [n].

        `found` holds `start_index`, `start_score`, `end_index` and `end_score` of these windows, in the form
        that `albert_tf.tasks.squad.decoding.find_answers` takes.
        """
        contexts = self._windows.contexts
        begin, length, position = (
            tf.gather(column, windows)[:, tf.newaxis, tf.newaxis]
            for column in (contexts.starts, contexts.lengths, self._windows.first_positions)
        )
        # Pieces, counted through all contexts: [windows, starts, 1], [windows, 1 or starts, ends].
        starts = found["start_index"][:, :, tf.newaxis] - position + begin
        ends = found["end_index"] - position + begin
        fits = (starts >= begin) & (starts <= ends) & (ends < begin + length)
        fits &= ends - starts < self._max_answer_length
        fits &= contexts.is_max_context(windows, starts[:, :, 0])[:, :, tf.newaxis]
        start_scores, end_scores = found["start_score"][:, :, tf.newaxis], found["end_score"]
        fits &= (start_scores > POSSIBLE) & (end_scores > POSSIBLE)
        first_characters = tf.gather(self._windows.begins, tf.where(fits, starts, self._no_piece))
        fits &= first_characters < tf.gather(self._windows.ends, tf.where(fits, ends, self._no_piece))
        sums = tf.cast(start_scores, tf.float64) + tf.cast(end_scores, tf.float64)
        scores = tf.where(fits, sums, -float("inf"))
        best = tf.reduce_max(scores, axis=[1, 2])
        is_best = fits & (scores == best[:, tf.newaxis, tf.newaxis])
        places = tf.cast(starts, tf.int64) * self._max_answer_length + tf.cast(ends - starts, tf.int64)
        return Spans(best, tf.reduce_min(tf.where(is_best, places, self._nowhere), axis=[1, 2]))

    def of_questions(self, question_of: tf.Tensor, spans: Spans, questions: tf.Tensor) -> Spans:
        """Chooses the best span of each question from those of all windows, in any order.

        A start belongs to one window only, and a later window has later starts, so places order the spans of
        several windows too. `question_of` is int32 [spans]; `questions` is the number of questions.
        """
        best = tf.math.unsorted_segment_max(spans.scores, question_of, questions)
        places = tf.where(spans.scores == tf.gather(best, question_of), spans.places, self._nowhere)
        return Spans(best, tf.math.unsorted_segment_min(places, question_of, questions))

    def characters(self, spans: Spans) -> tuple[tf.Tensor, tf.Tensor]:
        """Begins and ends of spans in their contexts, int32 [spans], in characters; 0 if there is no span."""
        first, more = spans.places // self._max_answer_length, spans.places % self._max_answer_length
        return tf.gather(self._windows.begins, first), tf.gather(self._windows.ends, first + more)

    @property
    def _nowhere(self) -> tf.Tensor:
        return tf.cast(self._no_piece, tf.int64) * self._max_answer_length
