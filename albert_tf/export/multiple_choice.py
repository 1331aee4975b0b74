"""Served multiple choice: a passage, a question and options in, the right option out."""

import tensorflow as tf

from albert_tf.export.served_model import ServedModel, Signature, Tensors, family, on_inputs, strings
from albert_tf.export.strings import strip
from albert_tf.export.text_inputs import first, last
from albert_tf.export.trained_model import TrainedModel
from albert_tf.tasks.race import BLANKS, NUM_OPTIONS

_REQUEST = {
    "passage": ["Anna went to the market and bought three apples."],
    "question": ["Anna bought _ ."],
    "options": [["apples", "pears", "bread", "milk"]],
}


class ServedMultipleChoice(ServedModel):
    """Answers with `choice`, the number of the option from 0, and the `probabilities` of all options.

    Args:
      trained: a model for multiple choice.
      max_qa_length: pieces of question and option together at most; the last stay.
    """

    settings = ("max_qa_length",)

    def __init__(self, trained: TrainedModel, max_qa_length: int = 128):
        super().__init__(trained)
        model = trained.model
        self._max_qa_length = max_qa_length

        def predict(inputs: Tensors) -> Tensors:
            logits = model(inputs, training=False)["logits"]
            choice = tf.argmax(logits, axis=-1, output_type=tf.int32)
            return {"choice": choice, "probabilities": tf.nn.softmax(logits)}

        self._predict = on_inputs(predict, rank=3)

    def task_signatures(self) -> dict[str, Signature]:
        """See `ServedModel`; the options are string [batch, options], of any number."""

        def predict_text(passage: tf.Tensor, question: tf.Tensor, options: tf.Tensor) -> Tensors:
            return self._predict(**self.inputs_of(passage, question, options))

        specs = (strings("passage"), strings("question"), strings("options", rank=2))
        text = Signature(predict_text, specs, _REQUEST)
        return family(
            text,
            self.inputs_of,
            self._predict,
            num_choices=NUM_OPTIONS,
            for_examples=lambda outputs: {
                "predictions": outputs["choice"],
                "probabilities": outputs["probabilities"],
            },
        )

    def inputs_of(self, passage: tf.Tensor, question: tf.Tensor, options: tf.Tensor) -> Tensors:
        """What `albert_tf.tasks.race.race_features` makes of the same texts, [batch, options, length]."""
        shape = tf.shape(options)
        check = tf.debugging.assert_positive(shape[1], "there are no options")
        with tf.control_dependencies([check] if check is not None else []):
            shape = tf.identity(shape)
        repeated = [tf.repeat(column, shape[1]) for column in (question, tf.range(shape[0]))]
        qa = self.text_inputs.tokenizer.tokenize(_with_options(repeated[0], tf.reshape(options, [-1])))
        qa = last(qa, tf.minimum(qa.row_lengths(), self._max_qa_length))
        passages = tf.gather(self.text_inputs.tokenizer.tokenize(passage), repeated[1])
        room = self.text_inputs.max_seq_length - 3 - qa.row_lengths()
        passages = first(passages, tf.minimum(passages.row_lengths(), room))
        flat = self.text_inputs.pack([passages, qa])
        return {
            name: tf.reshape(values, tf.concat([shape, tf.shape(values)[1:]], 0))
            for name, values in flat.items()
        }


def _with_options(questions: tf.Tensor, options: tf.Tensor) -> tf.Tensor:
    """Each question with its option in the place of every blank, or behind it if there is none."""
    parts = tf.strings.split(tf.strings.regex_replace(questions, BLANKS, "_"), "_")
    behind_last = tf.strings.join([questions, options], " ")
    between = tf.ragged.range(parts.row_lengths()) < parts.row_lengths()[:, None] - 1
    fillers = tf.where(between.values, tf.gather(strip(options), parts.value_rowids()), "")
    filled = tf.strings.reduce_join(parts.with_values(tf.strings.join([parts.values, fillers])), axis=1)
    return tf.where(parts.row_lengths() > 1, filled, behind_last)
