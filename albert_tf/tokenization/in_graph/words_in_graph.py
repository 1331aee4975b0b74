"""The words of raw texts and their shapes, in the graph; as `albert_tf.tokenization.words` finds them."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from albert_tf.tokenization.in_graph.characters import CODES, Lookup, assigned_characters, decode
from albert_tf.tokenization.wordpiece import CJK_RANGES
from albert_tf.tokenization.words import Kind, Shape, kind_of


class WordsInGraph(NamedTuple):
    """The words of all texts, int32 [words] each: number of the text, characters of it, `Shape`."""

    text_of: tf.Tensor
    begins: tf.Tensor
    ends: tf.Tensor
    shapes: tf.Tensor


class WordFinder(tf.Module):
    """Finds the words of raw texts; bytes that are no UTF-8 count as U+FFFD."""

    def __init__(self):
        super().__init__()
        kinds = np.full(CODES, kind_of(chr(CODES - 1)), np.uint8)  # of unassigned characters
        for character in [*assigned_characters(), *(chr(c) for a, b in CJK_RANGES for c in range(a, b + 1))]:
            kinds[ord(character)] = kind_of(character)
        self._kinds = Lookup(kinds)

    def __call__(self, texts: tf.Tensor) -> WordsInGraph:
        """The words of texts, string [batch]."""
        characters, fronts = decode(texts)  # with a space at the front of each text
        kinds = tf.pad(tf.cast(self._kinds(characters.codes), tf.int32), [[0, 1]])
        joiner = kinds == Kind.JOINER
        inside = kinds > Kind.JOINER
        between = tf.pad(inside[:-1], [[1, 0]]) & tf.pad(inside[1:], [[0, 1]])
        inside |= joiner & between
        visible = kinds != Kind.SPACE
        linked = inside[1:] & inside[:-1]
        begins, ends = (
            tf.cast(tf.where(edge)[:, 0], tf.int32) + 1
            for edge in (visible[1:] & ~linked, visible[:-1] & ~linked)
        )
        text_of = tf.gather(characters.rows, begins)

        def count(is_one: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            before = tf.pad(tf.cumsum(tf.cast(is_one, tf.int32)), [[1, 0]])
            places = tf.concat([tf.cast(tf.where(is_one)[:, 0], tf.int32), [tf.size(kinds)]], axis=0)
            first = tf.gather(before, begins)
            return tf.gather(before, ends) - first, tf.gather(places, first)

        capitals, first_capital = count(kinds == Kind.UPPER)
        letters, first_letter = count((kinds == Kind.UPPER) | (kinds == Kind.LOWER))
        digits, _ = count(kinds == Kind.DIGIT)
        shapes = tf.where(capitals == letters, int(Shape.UPPER), int(Shape.MIXED))
        is_title = (capitals == 1) & (first_capital == first_letter)
        shapes = tf.where(is_title, int(Shape.TITLE), shapes)
        shapes = tf.where(capitals == 0, int(Shape.OTHER), shapes)
        shapes = tf.where(digits > 0, int(Shape.DIGITS), shapes)
        shift = tf.gather(fronts, text_of) + 1
        return WordsInGraph(text_of, begins - shift, ends - shift, shapes)
