"""Served classification, regression and multiple choice: texts in; a label, a score or an option out."""

import tensorflow as tf

from albert_tf.cli.settings import RaceSettings
from albert_tf.export.serving.served_model import ServedModel, Signature, Tensors, family, on_inputs, strings
from albert_tf.export.serving.text_inputs import first, last, strip
from albert_tf.export.trained_model import TrainedModel
from albert_tf.tasks.race import BLANKS, NUM_OPTIONS

_TEXT_NAMES = ("text", "text_pair")
_CLASS_REQUEST = ("The film is a delight from beginning to end.", "It is worth seeing.")


class ServedClassification(ServedModel):
    """Answers with `label` and `probabilities` in the order of the task's labels, or with `score`.

    Args:
      trained: a model for sequence classification.
      threshold_to_export: a constant that the original's users may put into the export for their clients.
    """

    settings = ("threshold_to_export",)

    def __init__(self, trained: TrainedModel, threshold_to_export: float | None = None):
        super().__init__(trained)
        model, labels = trained.model, trained.task["label_names"]
        self._names = _TEXT_NAMES[: trained.task["num_texts"]]
        self._threshold = threshold_to_export

        def predict(inputs: Tensors) -> Tensors:
            logits = model(inputs, training=False)["logits"]
            if not labels:
                return {"score": logits[:, 0]}
            chosen = tf.argmax(logits, axis=-1, output_type=tf.int32)
            return {"label": tf.gather(tf.constant(labels), chosen), "probabilities": tf.nn.softmax(logits)}

        self._predict = on_inputs(predict)

    def task_signatures(self) -> dict[str, Signature]:
        """See `ServedModel`."""

        def predict_text(**texts: tf.Tensor) -> Tensors:
            return self._predict(**self.text_inputs(*(texts[name] for name in self._names)))

        request = {name: [text] for name, text in zip(self._names, _CLASS_REQUEST, strict=False)}
        text = Signature(predict_text, tuple(map(strings, self._names)), request)
        return family(text, self.text_inputs, self._predict, for_examples=self._as_the_original)

    def _as_the_original(self, outputs: Tensors) -> Tensors:
        if "score" in outputs:
            named = {"predictions": outputs["score"], "probabilities": outputs["score"][:, None]}
        else:
            chosen = tf.argmax(outputs["probabilities"], axis=-1, output_type=tf.int32)
            named = {"predictions": chosen, "probabilities": outputs["probabilities"]}
        return named if self._threshold is None else named | {"threshold": tf.constant(self._threshold)}


_CHOICE_REQUEST = {
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

    def __init__(self, trained: TrainedModel, max_qa_length: int = RaceSettings.max_qa_length):
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
        text = Signature(predict_text, specs, _CHOICE_REQUEST)
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
