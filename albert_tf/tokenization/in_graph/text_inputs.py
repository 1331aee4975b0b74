"""`TextInputs` makes a model's inputs from strings, in the graph; and operations on texts and pieces."""

from collections.abc import Sequence

import tensorflow as tf

from albert_tf.tokenization import Tokenizer
from albert_tf.tokenization.in_graph import in_graph_tokenizer
from albert_tf.tokenization.in_graph.characters import repeated

# White space by Python's `str.isspace`, as a regular expression.
_SPACE = r"[\t-\r\x{1c}-\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]"


class TextInputs(tf.Module):
    """Makes a batch of tensors from texts, with the ids that `albert_tf.data.features` makes of them."""

    def __init__(self, tokenizer: Tokenizer, max_seq_length: int):
        super().__init__()
        self.tokenizer = in_graph_tokenizer(tokenizer)
        self.cls_id, self.sep_id = tokenizer.cls_id, tokenizer.sep_id
        self.max_seq_length = max_seq_length

    def __call__(self, *columns: tf.Tensor) -> dict[str, tf.Tensor]:
        """Packs one column of texts or two, each string [batch]; see `pack`.

        A single text that is too long loses its end. A pair that is too long loses the last piece of its
        longer text, or of the second if both are equally long, until both fit.
        """
        segments = [self.tokenizer.tokenize(column) for column in columns]
        room = self.max_seq_length - 1 - len(segments)
        sizes = [segment.row_lengths() for segment in segments]
        if len(segments) == 1:
            kept = [tf.minimum(sizes[0], room)]
        else:
            a = tf.minimum(sizes[0], tf.maximum(room - sizes[1], (room + 1) // 2))
            kept = [a, tf.minimum(sizes[1], room - a)]
        return self.pack([first(*both) for both in zip(segments, kept, strict=True)])

    def pack(self, segments: Sequence[tf.RaggedTensor]) -> dict[str, tf.Tensor]:
        """Makes [CLS] A [SEP] or [CLS] A [SEP] B [SEP] of segments, each int32 [batch, (pieces)].

        Returns:
          input_ids, input_mask, segment_ids: int32 [batch, length of the longest sequence].
        """
        rows = segments[0].nrows()
        sep = tf.fill([rows, 1], self.sep_id)
        parts = [tf.fill([rows, 1], self.cls_id)]
        for segment in segments:
            parts += [segment, sep]
        ids = tf.concat(parts, axis=1)
        lengths = ids.row_lengths()
        width = tf.maximum(tf.reduce_max(lengths), 2)  # The maximum of an empty batch is negative.
        positions = tf.range(width)
        inside = positions < lengths[:, None]
        second = inside & (positions >= segments[0].row_lengths()[:, None] + 2)
        return {
            "input_ids": ids.to_tensor(shape=tf.stack([rows, width])),
            "input_mask": tf.cast(inside, tf.int32),
            "segment_ids": tf.cast(second, tf.int32),
        }


def first(pieces: tf.RaggedTensor, lengths: tf.Tensor) -> tf.RaggedTensor:
    """Takes the first `lengths` [batch] pieces of every row [batch, (pieces)]; no row may have fewer."""
    return _between(pieces, tf.zeros_like(lengths), lengths)


def last(pieces: tf.RaggedTensor, lengths: tf.Tensor) -> tf.RaggedTensor:
    """Takes the last pieces of every row, as `first` takes the first."""
    sizes = pieces.row_lengths()
    return _between(pieces, sizes - lengths, sizes)


def strip(texts: tf.Tensor) -> tf.Tensor:
    """Removes white space from both ends of texts, string of any shape, as Python's `str.strip` does."""
    return tf.strings.regex_replace(texts, rf"\A{_SPACE}+|{_SPACE}+\z", "")


def strip_ranges(
    texts: tf.Tensor, begins: tf.RaggedTensor, ends: tf.RaggedTensor
) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
    """Moves the begins of ranges forward and the ends back over white space, each on its own.

    The text between any new begin and any new end is the text between the old ones after `str.strip`. If that
    text is empty, the new end is not after the new begin.

    Args:
      texts: string [batch], UTF-8.
      begins, ends: int32 [batch, (ranges)], counted in characters; so are the results.
    """
    characters = tf.strings.unicode_decode(tf.strings.regex_replace(texts, _SPACE, " "), "UTF-8")
    visible = characters.values != ord(" ")
    before = tf.concat([[0], tf.cumsum(tf.cast(visible, tf.int32))], axis=0)
    places = tf.cast(tf.where(visible)[:, 0], tf.int32)
    following = tf.concat([places, [tf.size(visible)]], axis=0)
    ends_so_far = tf.concat([[0], places + 1], axis=0)
    rows = repeated(tf.cast(begins.row_lengths(), tf.int32))
    fronts = tf.gather(tf.cast(characters.row_starts(), tf.int32), rows)

    def moved(ranges: tf.RaggedTensor, places: tf.Tensor) -> tf.RaggedTensor:
        return ranges.with_values(tf.gather(places, tf.gather(before, ranges.values + fronts)) - fronts)

    return moved(begins, following), moved(ends, ends_so_far)


def _between(pieces: tf.RaggedTensor, begins: tf.Tensor, ends: tf.Tensor) -> tf.RaggedTensor:
    starts = pieces.row_starts()
    cells = tf.ragged.range(starts + begins, starts + ends)
    return cells.with_values(tf.gather(pieces.values, cells.values))
