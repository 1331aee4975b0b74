"""Tokenization in the TensorFlow graph, for models that are served."""

import tensorflow as tf

from albert_tf.tokenization.in_graph.sentencepiece_in_graph import InGraphSentencePiece
from albert_tf.tokenization.in_graph.tokenizer_in_graph import InGraphTokenizer
from albert_tf.tokenization.in_graph.wordpiece_in_graph import InGraphWordPiece
from albert_tf.tokenization.sentencepiece import SentencePieceTokenizer
from albert_tf.tokenization.tokenizer import Tokenizer
from albert_tf.tokenization.wordpiece import WordPieceTokenizer

__all__ = ["InGraphTokenizer", "in_graph_tokenizer"]


def in_graph_tokenizer(tokenizer: Tokenizer) -> InGraphTokenizer:
    """The tokenizer in TensorFlow operations; InputError if they do not cover its kind of vocabulary.

    Example:
      >>> from albert_tf import testing
      >>> from albert_tf.tokenization import load_tokenizer
      >>> tokenizer = in_graph_tokenizer(load_tokenizer(testing.SPM_MODEL_FILE))
      >>> tokenizer.tokenize(["The boats", ""]).to_list()
      [[14, 46], []]
    """
    with tf.init_scope():
        if isinstance(tokenizer, SentencePieceTokenizer):
            return InGraphSentencePiece(tokenizer)
        assert isinstance(tokenizer, WordPieceTokenizer)
        return InGraphWordPiece(tokenizer)
