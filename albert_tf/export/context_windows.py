"""Contexts as windows behind their questions, in the graph: what `albert_tf.tasks.squad.features` makes."""

from typing import NamedTuple

import tensorflow as tf

from albert_tf.export.strings import strip_ranges
from albert_tf.export.text_inputs import TextInputs, first
from albert_tf.tasks.squad.features import NUM_SPECIAL
from albert_tf.tokenization.in_graph.characters import enumerated


class Windows(NamedTuple):
    """The windows of a batch of contexts; those of a question follow one another.

    Attributes:
      questions: int32 [batch, (pieces)], cut.
      pieces: int32 [pieces], ids of all contexts, end to end.
      begins, ends: int32 [pieces + 1], characters of its context that a piece stands for; those of a span are
        `str.strip`ped, and its end is not behind its begin if nothing is left. The last one is no piece.
      question_of: int32 [windows].
      starts: int32 [windows], the first piece of each window, counted through all contexts.
      lengths: int32 [windows], in pieces of the context.
    """

    questions: tf.RaggedTensor
    pieces: tf.Tensor
    begins: tf.Tensor
    ends: tf.Tensor
    question_of: tf.Tensor
    starts: tf.Tensor
    lengths: tf.Tensor

    @property
    def first_positions(self) -> tf.Tensor:
        """int32 [windows]. Where in its sequence a window's first piece stands."""
        return tf.gather(tf.cast(self.questions.row_lengths(), tf.int32), self.question_of) + 2

    def inputs(self, text_inputs: TextInputs, windows: tf.Tensor) -> dict[str, tf.Tensor]:
        """[CLS] question [SEP] window [SEP] of some windows, see `TextInputs.pack`."""
        starts = tf.gather(self.starts, windows)
        places = tf.ragged.range(starts, starts + tf.gather(self.lengths, windows))
        shown = places.with_values(tf.gather(self.pieces, places.values))
        return text_inputs.pack([tf.gather(self.questions, tf.gather(self.question_of, windows)), shown])

    def is_max_context(self, windows: tf.Tensor, pieces: tf.Tensor) -> tf.Tensor:
        """What `albert_tf.tasks.squad.features.is_max_context` says.

        Args:
          windows: int32 [windows].
          pieces: int32 [windows, candidates], counted through all contexts.

        Returns:
          bool [windows, candidates], false for pieces that are not in the window.
        """
        starts, lengths = (tf.pad(column, [[1, 1]]) for column in (self.starts, self.lengths))

        def context_score(windows: tf.Tensor) -> tf.Tensor:
            start, length = (tf.gather(column, windows)[:, tf.newaxis] for column in (starts, lengths))
            left = pieces - start
            least = tf.minimum(left, length - 1 - left)
            score = tf.cast(least, tf.float64) + 0.01 * tf.cast(length, tf.float64)
            return tf.where(least >= 0, score, -float("inf"))

        before, own, after = (context_score(windows + i) for i in range(3))
        return (own > before) & (own >= after)


def cut_windows(
    text_inputs: TextInputs,
    question: tf.Tensor,
    context: tf.Tensor,
    *,
    doc_stride: int,
    max_query_length: int,
) -> Windows:
    """Cuts contexts as `albert_tf.tasks.squad.features.window_features` does.

    Args:
      text_inputs: of the model.
      question: string [batch].
      context: string [batch], UTF-8.
      doc_stride: pieces from one window to the next.
      max_query_length: pieces of a question that stay.
    """
    asked = text_inputs.tokenizer.tokenize(question)
    asked = first(asked, tf.minimum(asked.row_lengths(), max_query_length))
    pieces, begins, ends = text_inputs.tokenizer.tokenize_with_offsets(context)
    begins, ends = strip_ranges(context, begins, ends)
    sizes, asked_sizes = (tf.cast(ragged.row_lengths(), tf.int32) for ragged in (pieces, asked))
    room = text_inputs.max_seq_length - NUM_SPECIAL - asked_sizes
    step = tf.minimum(room, doc_stride)
    question_of, number = enumerated(1 + tf.maximum(0, -((room - sizes) // step)))
    starts = number * tf.gather(step, question_of)
    return Windows(
        questions=asked,
        pieces=pieces.values,
        begins=tf.pad(begins.values, [[0, 1]]),
        ends=tf.pad(ends.values, [[0, 1]]),
        question_of=question_of,
        starts=starts + tf.gather(tf.cast(pieces.row_starts(), tf.int32), question_of),
        lengths=tf.minimum(tf.gather(room, question_of), tf.gather(sizes, question_of) - starts),
    )
