"""The preprocessing module for a hub module: texts in, the three inputs of the hub module out."""

import tensorflow as tf
from official.nlp.modeling.layers import BertPackInputs

from albert_tf.tokenization import Tokenizer
from albert_tf.tokenization.in_graph import in_graph_tokenizer

_TEXTS = tf.TensorSpec([None], tf.string, name="sentences")


def save_hub_preprocessing(path: str, tokenizer: Tokenizer, seq_length: int) -> None:
    """Writes the tokenizer as a module with the interface of the published preprocessing modules.

    The module needs tensorflow_text and not this package. It cuts pairs that are too long as fine-tuning
    does: the longer text, or the second if both are equally long, loses its last piece until both fit.

    Callers of the module may give another length than `seq_length`.

    Raises:
      InputError: the graph has no tokenizer for this kind of vocabulary.
    """
    in_graph = in_graph_tokenizer(tokenizer)
    special = {
        "start_of_sequence_id": tokenizer.cls_id,
        "end_of_segment_id": tokenizer.sep_id,
        "padding_id": tokenizer.pad_id,
    }

    @tf.function(autograph=False)
    def pack(inputs, seq_length=seq_length):
        return BertPackInputs.bert_pack_inputs(inputs, seq_length, **special)

    # One text or a pair; a text is a row of pieces, or a row of words that are rows of pieces.
    for ragged_rank in (1, 2):
        pieces = tf.RaggedTensorSpec([None] * (ragged_rank + 1), tf.int32, ragged_rank)
        for segments in (1, 2):
            pack.get_concrete_function([pieces] * segments, seq_length=tf.TensorSpec([], tf.int32))

    @tf.function(input_signature=[_TEXTS], autograph=False)
    def preprocess(sentences):
        return pack([in_graph.tokenize(sentences)], seq_length=seq_length)

    @tf.function(input_signature=[], autograph=False)
    def special_tokens():
        more = {"mask_id": tokenizer.mask_id, "vocab_size": tokenizer.vocab_size}
        return {name: tf.constant(value, tf.int32) for name, value in (special | more).items()}

    module = _callable(preprocess)
    module.tokenize = _callable(in_graph.tokenize)
    module.tokenize.get_special_tokens_dict = _callable(special_tokens)
    module.bert_pack_inputs = _callable(pack)
    tf.saved_model.save(module, path)


def _callable(function: tf.types.experimental.PolymorphicFunction) -> tf.train.Checkpoint:
    """Makes an object that users call after they load it, and that can have attributes."""
    saved = tf.train.Checkpoint()
    saved.__call__ = function
    return saved
