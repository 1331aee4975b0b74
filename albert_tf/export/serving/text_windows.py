"""Texts of any length in windows, in the graph; as `albert_tf.data.windows` cuts them."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import tensorflow as tf

from albert_tf.tokenization.in_graph.characters import enumerated

Tensors = dict[str, tf.Tensor]


class TextWindows(NamedTuple):
    """The windows of a batch of texts; the windows of one text follow each other.

    Attributes:
      pieces: int32 [pieces], ids of all texts, end to end.
      text_of: int32 [windows], the text of each window.
      starts: int32 [windows], the first piece of each window, counted through all texts.
      lengths: int32 [windows], number of pieces in each window.
    """

    pieces: tf.Tensor
    text_of: tf.Tensor
    starts: tf.Tensor
    lengths: tf.Tensor

    def shown(self, windows: tf.Tensor) -> tf.RaggedTensor:
        """The pieces of some windows, int32 [n], by their numbers through all texts: int32 [n, (pieces)]."""
        starts = tf.gather(self.starts, windows)
        return tf.ragged.range(starts, starts + tf.gather(self.lengths, windows))

    def ids(self, windows: tf.Tensor) -> tf.RaggedTensor:
        """The ids of the pieces of some windows, int32 [n]: int32 [n, (pieces)]."""
        places = self.shown(windows)
        return places.with_values(tf.gather(self.pieces, places.values))

    def is_max_context(self, windows: tf.Tensor, pieces: tf.Tensor) -> tf.Tensor:
        """Tells which pieces have the most context in their window, as `data.windows.is_max_context` does.

        Windows are int32 [n]; pieces of each are int32 [n, candidates], counted through all texts. The result
        is bool [n, candidates], false if the piece is not in the window.
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


def cut(pieces: tf.RaggedTensor, room: tf.Tensor, stride: int) -> TextWindows:
    """Cuts texts, int32 [batch, (pieces)]; `room`, int32 [batch], is the most pieces of their windows."""
    sizes = tf.cast(pieces.row_lengths(), tf.int32)
    step = tf.minimum(room, stride)
    text_of, number = enumerated(1 + tf.maximum(0, -((room - sizes) // step)))
    starts = number * tf.gather(step, text_of)
    return TextWindows(
        pieces=pieces.values,
        text_of=text_of,
        starts=starts + tf.gather(tf.cast(pieces.row_starts(), tf.int32), text_of),
        lengths=tf.minimum(tf.gather(room, text_of), tf.gather(sizes, text_of) - starts),
    )


def in_parts(
    function: Callable[[tf.Tensor], Tensors],
    numbers: tf.Tensor,
    part_size: int,
    columns: Mapping[str, tf.DType],
) -> Tensors:
    """Calls the function with one part of int32 [n] after another; joins the results by name.

    The results of a part are vectors, of any length.
    """
    parts = (tf.size(numbers) + part_size - 1) // part_size
    arrays = {
        name: tf.TensorArray(dtype, parts, element_shape=[None], infer_shape=False)
        for name, dtype in columns.items()
    }

    def one(part: tf.Tensor, arrays: Mapping[str, tf.TensorArray]):
        begin = part * part_size
        results = function(numbers[begin : begin + part_size])
        return part + 1, {name: array.write(part, results[name]) for name, array in arrays.items()}

    # One part at a time: parts side by side would need the memory of all parts.
    _, arrays = tf.while_loop(lambda part, _: part < parts, one, (0, arrays), parallel_iterations=1)
    return {name: array.concat() for name, array in arrays.items()}
