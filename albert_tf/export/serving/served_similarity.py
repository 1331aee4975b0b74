"""Served similarity: texts in, their vectors or the cosines of pairs out."""

import tensorflow as tf

from albert_tf.export.serving.served_model import ServedModel, Signature, Tensors, family, on_inputs, strings
from albert_tf.export.trained_model import TrainedModel
from albert_tf.models.sentence_embedding import AlbertForSentenceEmbedding

_TEXTS = {"text": ["A boat sails on the river."], "text_pair": ["A ship is on the water."]}


class ServedSimilarity(ServedModel):
    """Gives the `embedding` of a text, float32 [batch, size], of length 1 if the model was trained so.

    The signature `similarity` takes two texts, and gives their cosine.
    """

    def __init__(self, trained: TrainedModel):
        super().__init__(trained)
        model: AlbertForSentenceEmbedding = trained.model
        self._predict = on_inputs(lambda inputs: model(inputs, training=False), model)

    def task_signatures(self) -> dict[str, Signature]:
        """See `ServedModel`."""

        def embed(text: tf.Tensor) -> Tensors:
            return self._predict(**self.text_inputs(text))

        def compare(text: tf.Tensor, text_pair: tf.Tensor) -> Tensors:
            rows = tf.debugging.assert_equal(
                tf.shape(text), tf.shape(text_pair), "text and text_pair differ in their number of rows"
            )
            with tf.control_dependencies([rows]):
                both = embed(tf.concat([text, text_pair], axis=0))["embedding"]
            one, other = tf.split(tf.math.l2_normalize(both, axis=-1), 2)
            return {"similarity": tf.reduce_sum(one * other, axis=-1)}

        text = Signature(embed, (strings("text"),), lambda: {"text": _TEXTS["text"]})
        pair = Signature(compare, tuple(map(strings, _TEXTS)), lambda: _TEXTS)
        return {**family(text, self.text_inputs, self._predict), "similarity": pair}
