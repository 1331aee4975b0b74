"""What `str.strip` does, in the graph."""

import tensorflow as tf

from albert_tf.tokenization.in_graph.characters import repeated

_SPACE = r"[\t-\r\x{1c}-\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]"


def strip(texts: tf.Tensor) -> tf.Tensor:
    """Without Unicode's white space at both ends, as in Python."""
    return tf.strings.regex_replace(texts, rf"\A{_SPACE}+|{_SPACE}+\z", "")


def strip_ranges(
    texts: tf.Tensor, begins: tf.RaggedTensor, ends: tf.RaggedTensor
) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
    """Moves begins forward and ends back over white space, each for itself.

    Any of a text's new begins with any of its new ends is what `str.strip` leaves between the old ones; where
    that is nothing the end is not behind the begin.

    Args:
      texts: string [batch], UTF-8.
      begins, ends: int32 [batch, (ranges)], numbers of characters.

    Returns:
      begins, ends: int32 [batch, (ranges)].
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
