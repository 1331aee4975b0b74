"""What `str.strip` does, in the graph."""

import tensorflow as tf

_SPACE = r"[\t-\r\x{1c}-\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]"


def strip(texts: tf.Tensor) -> tf.Tensor:
    """Without Unicode's white space at both ends, as in Python."""
    return tf.strings.regex_replace(texts, rf"\A{_SPACE}+|{_SPACE}+\z", "")
