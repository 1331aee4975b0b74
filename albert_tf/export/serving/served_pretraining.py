"""The served heads of pretraining: one fills [MASK] in texts, one tells the order of two texts."""

import tensorflow as tf

from albert_tf.cli.settings import MASK_GUESSES
from albert_tf.export.serving.served_model import ServedModel, Signature, Tensors, family, on_inputs, strings
from albert_tf.export.trained_model import TrainedModel
from albert_tf.tokenization.in_graph.text_inputs import first

MASK = "[MASK]"
ORDERS = ("in order", "swapped")

_MASKED = {"text": [f"The capital of France is {MASK}."]}
_PAIR = {"text": ["She opened the door."], "text_pair": ["Then she went out."]}


class ServedPretraining(ServedModel):
    """Gives the `top_k` best `pieces` for each [MASK], their `piece_ids` and `probabilities`, best first.

    All texts of a batch get as many places as the text with the most masks has. In a place without a mask,
    `positions` and `piece_ids` are -1, the pieces are empty and the probabilities are 0.
    """

    def __init__(self, trained: TrainedModel, top_k: int = MASK_GUESSES):
        super().__init__(trained)
        model, tokenizer = trained.model, trained.tokenizer
        self._mask_id = tokenizer.mask_id
        self._pieces = tokenizer.pieces
        self._has_sentence_order = not trained.lacks_sentence_order
        top_k = min(top_k, tokenizer.vocab_size)

        def fill(inputs: Tensors) -> Tensors:
            ids = inputs["input_ids"]
            positions = tf.broadcast_to(tf.range(tf.shape(ids)[1]), tf.shape(ids))
            masks = tf.ragged.boolean_mask(positions, ids == self._mask_id)
            counts = masks.row_lengths()
            width = tf.maximum(tf.reduce_max(counts), 1)  # The maximum of an empty batch is negative.
            places = masks.to_tensor(shape=tf.stack([masks.nrows(), width]))
            logits = model({**inputs, "masked_lm_positions": places}, training=False)["mlm_logits"]
            logits = logits[..., : tokenizer.vocab_size]  # the model may have more rows than there are pieces
            best = tf.math.top_k(tf.nn.softmax(logits), top_k)
            inside = tf.range(width) < counts[:, None]
            return {
                "positions": tf.where(inside, places, -1),
                "piece_ids": tf.where(inside[..., None], best.indices, -1),
                "probabilities": tf.where(inside[..., None], best.values, 0.0),
            }

        def order(inputs: Tensors) -> Tensors:
            # The masked-LM head needs at least one position.
            places = tf.zeros([tf.shape(inputs["input_ids"])[0], 1], tf.int32)
            logits = model({**inputs, "masked_lm_positions": places}, training=False)["sop_logits"]
            label = tf.gather(tf.constant(ORDERS), tf.argmax(logits, axis=-1))
            return {"label": label, "probabilities": tf.nn.softmax(logits)}

        self._fill, self._order = on_inputs(fill, model), on_inputs(order, model)

    def task_signatures(self) -> dict[str, Signature]:
        """See `ServedModel`; the default fills masks, and `sentence_order` needs the weights of its head."""

        def fill_text(text: tf.Tensor) -> Tensors:
            filled = self._fill(**self.inputs_of(text))
            ids = filled["piece_ids"]
            pieces = tf.gather(tf.constant(self._pieces), tf.maximum(ids, 0))
            return filled | {"pieces": tf.where(ids >= 0, pieces, "")}

        def order_texts(text: tf.Tensor, text_pair: tf.Tensor) -> Tensors:
            return self._order(**self.text_inputs(text, text_pair))

        masked = Signature(fill_text, (strings("text"),), lambda: _MASKED)
        pair = Signature(order_texts, (strings("text"), strings("text_pair")), lambda: _PAIR)
        signatures = family(masked, self.inputs_of, self._fill)
        if self._has_sentence_order:
            signatures |= family(pair, self.text_inputs, self._order, prefix="sentence_order")
        return signatures

    def inputs_of(self, text: tf.Tensor) -> Tensors:
        """Makes the model's inputs from texts, string [batch], in which "[MASK]" means the special piece."""
        parts = tf.strings.split(text, MASK)
        pieces = self.text_inputs.tokenizer.tokenize(parts.values)
        # A mask follows every part of a text except the last.
        number = tf.ragged.range(parts.row_lengths()).values
        follows = number < tf.gather(parts.row_lengths() - 1, parts.value_rowids())
        masks = tf.fill([pieces.nrows(), 1], self._mask_id)
        masks = tf.RaggedTensor.from_tensor(masks, lengths=tf.cast(follows, tf.int64))
        rows = tf.concat([pieces, masks], axis=1)
        rows = tf.RaggedTensor.from_row_splits(rows, parts.row_splits).merge_dims(1, 2)
        room = self.text_inputs.max_seq_length - 2
        return self.text_inputs.pack([first(rows, tf.minimum(rows.row_lengths(), room))])
