"""What in-graph tokenizers have in common."""

import abc
import functools
from typing import NamedTuple

import tensorflow as tf

from albert_tf.tokenization.in_graph.characters import Characters, decode

_TEXTS = [tf.TensorSpec([None], tf.string, name="texts")]


class Pieces(NamedTuple):
    """The pieces of all texts, end to end, int32 [pieces] each; ranges and rows as in `Characters`."""

    ids: tf.Tensor
    begins: tf.Tensor
    ends: tf.Tensor
    rows: tf.Tensor


class InGraphTokenizer(tf.Module, abc.ABC):
    """A tokenizer of TensorFlow operations: in `tf.function`, in `tf.data`, in a SavedModel.

    Ids and ranges are those of the tokenizer it is made from. Bytes that are no UTF-8 count as U+FFFD; where
    they may come, slice `tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")`.
    """

    def __init__(self):
        super().__init__()
        # Both functions call one graph, which is traced once, for whatever graph or SavedModel.
        self._traced = functools.cache(self._trace)
        # A SavedModel keeps these functions. A decorator would not keep the object.
        for name in ("tokenize", "tokenize_with_offsets"):
            setattr(self, name, tf.function(getattr(self, name), _TEXTS, autograph=False))

    def tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """The ids of the pieces of texts, string [batch], maybe none: int32 [batch, (pieces)]."""
        return self._traced()(texts)[0]

    def tokenize_with_offsets(
        self, texts: tf.Tensor
    ) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]:
        """The ids of the pieces, the begins and the ends of their ranges, int32 [batch, (pieces)] each.

        The ranges are those of `Tokenizer.encode_with_offsets`: a piece stands for `text[begin:end]` in
        Python, for `tf.strings.substr(text, begin, end - begin, unit="UTF8_CHAR")` in the graph.
        """
        return self._traced()(texts)

    def _trace(self) -> tf.types.experimental.ConcreteFunction:
        with tf.init_scope():
            return tf.function(self._tokenize, _TEXTS, autograph=False).get_concrete_function()

    def _tokenize(self, texts: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]:
        characters, fronts = decode(texts)
        pieces = self._pieces(characters, tf.size(fronts))
        fronts = tf.gather(fronts, pieces.rows) + 1
        rows = tf.cast(pieces.rows, tf.int64)
        ids = tf.RaggedTensor.from_value_rowids(pieces.ids, rows, tf.size(texts, tf.int64), validate=False)
        return ids, ids.with_values(pieces.begins - fronts), ids.with_values(pieces.ends - fronts)

    @abc.abstractmethod
    def _pieces(self, characters: Characters, batch: tf.Tensor) -> Pieces:
        """The pieces of the characters of a number of texts."""
