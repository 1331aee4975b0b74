"""Served classification, regression and multiple choice: texts in, a label, a score or an option out."""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from albert_tf.cli.flags import UsageError
from albert_tf.cli.settings import ExitRule, RaceSettings
from albert_tf.data.label_lists import MULTI_LABEL
from albert_tf.export.serving.served_model import (
    ServedModel,
    Signature,
    Tensors,
    decision,
    family,
    on_inputs,
    strings,
)
from albert_tf.export.trained_model import TrainedModel
from albert_tf.models.early_exit import answer_early
from albert_tf.tasks.classification.early_exit_task import known_rule
from albert_tf.tasks.classification.multi_label import known_thresholds
from albert_tf.tasks.race import BLANKS
from albert_tf.tokenization.in_graph.text_inputs import first, last, strip

# Requests that warm a server up.
_TEXTS = {"text": "The film is a delight from beginning to end.", "text_pair": "It is worth seeing."}
_QUESTION = {
    "passage": ["Anna went to the market and bought three apples."],
    "question": ["Anna bought _ ."],
}
_OPTIONS = ("apples", "pears", "bread", "milk")


class ServedClassification(ServedModel):
    """Gives `label` and `probabilities` in the order of the task's labels, or `score` if it has no labels.

    If a text may have several labels, `labels` are those that it gets, the most probable first, and "" after
    them: string [batch, labels]. The thresholds are those of the last evaluation.

    The export can hold a number for its clients, `threshold_to_export`, as in the original. With the rule
    `exit` of a model with early exit, there is also `layers_used`, int32 [batch].
    """

    def __init__(
        self, trained: TrainedModel, threshold_to_export: float | None = None, exit: str | None = None
    ):
        super().__init__(trained)
        model, labels = trained.model, trained.task["label_names"]
        self._names = tuple(_TEXTS)[: trained.task["num_texts"]]
        self._threshold = threshold_to_export
        is_multi = trained.task.get("problem_type") == MULTI_LABEL
        thresholds = known_thresholds(trained.metrics, labels, trained.path) if is_multi else None
        self._thresholds = thresholds
        run = classifier_of(trained, exit)

        def predict(inputs: Tensors) -> Tensors:
            found = run(inputs)
            logits = found["logits"]
            used = {name: values for name, values in found.items() if name == "layers_used"}
            if not labels:
                return used | {"score": logits[:, 0]}
            if thresholds is not None:
                return _chosen_labels(logits, labels, thresholds)
            decided = used | decision("label", logits)
            return decided | {"label": tf.gather(tf.constant(labels), decided["label"])}

        self._predict = on_inputs(predict, model)

    def task_signatures(self) -> dict[str, Signature]:
        """See `ServedModel`."""

        def predict_text(**texts: tf.Tensor) -> Tensors:
            return self._predict(**self.text_inputs(*(texts[name] for name in self._names)))

        request = {name: [_TEXTS[name]] for name in self._names}
        text = Signature(predict_text, tuple(map(strings, self._names)), lambda: request)
        return family(text, self.text_inputs, self._predict, for_examples=self._as_the_original)

    def _as_the_original(self, outputs: Tensors) -> Tensors:
        if "score" in outputs:
            named = {"predictions": outputs["score"], "probabilities": outputs["score"][:, None]}
        elif self._thresholds is not None:
            chances = outputs["probabilities"]
            chosen = tf.cast(tf.cast(chances, tf.float64) >= self._thresholds, tf.int32)
            named = {"predictions": chosen, "probabilities": chances}
        else:
            chosen = tf.argmax(outputs["probabilities"], axis=-1, output_type=tf.int32)
            named = {"predictions": chosen, "probabilities": outputs["probabilities"]}
        if "layers_used" in outputs:
            named["layers_used"] = outputs["layers_used"]
        return named if self._threshold is None else named | {"threshold": tf.constant(self._threshold)}


def classifier_of(trained: TrainedModel, exit: str | None) -> Callable[[Tensors], Mapping[str, tf.Tensor]]:
    """What makes `logits` of a model's inputs; with a rule to exit early also `layers_used`, int32 [batch].

    Raises:
      UsageError: the model cannot exit early, or has no use for the rule.
      InputError: no evaluation found the threshold of the budget.
    """
    if exit is None:
        return functools.partial(trained.model, training=False)
    if not getattr(trained.model, "early_exit", False):
        raise UsageError(f"--exit={exit} needs a model that was trained with --early_exit")
    rule = ExitRule.parse(exit, has_classes=bool(trained.task["label_names"]))
    known = known_rule(rule, trained.metrics, trained.path)
    return functools.partial(answer_early, trained.model, rule=known)


def _chosen_labels(logits: tf.Tensor, labels: Sequence[str], thresholds: np.ndarray) -> Tensors:
    chances = tf.sigmoid(logits)
    is_chosen = tf.cast(chances, tf.float64) >= thresholds
    order = tf.argsort(tf.where(is_chosen, -chances, 2.0), axis=-1, stable=True)
    names = tf.where(tf.gather(is_chosen, order, batch_dims=1), tf.gather(tf.constant(labels), order), "")
    return {"labels": names, "probabilities": chances}


class ServedMultipleChoice(ServedModel):
    """Gives `choice`, the number of the chosen option from 0, and the `probabilities` of all options."""

    def __init__(self, trained: TrainedModel, max_qa_length: int = RaceSettings.max_qa_length):
        super().__init__(trained)
        model = trained.model
        self._max_qa_length = max_qa_length
        self._num_choices = len(trained.task["label_names"])
        self._predict = on_inputs(
            lambda inputs: decision("choice", model(inputs, training=False)["logits"]), model, rank=3
        )

    def task_signatures(self) -> dict[str, Signature]:
        """See `ServedModel`; `options` is string [batch, options], with any number of options."""

        def predict_text(passage: tf.Tensor, question: tf.Tensor, options: tf.Tensor) -> Tensors:
            return self._predict(**self.inputs_of(passage, question, options))

        specs = (strings("passage"), strings("question"), strings("options", rank=2))
        options = list(itertools.islice(itertools.cycle(_OPTIONS), self._num_choices))
        request = _QUESTION | {"options": [options]}
        text = Signature(predict_text, specs, lambda: request)

        def as_the_original(outputs: Tensors) -> Tensors:
            return {"predictions": outputs["choice"], "probabilities": outputs["probabilities"]}

        return family(
            text, self.inputs_of, self._predict, num_choices=self._num_choices, for_examples=as_the_original
        )

    def inputs_of(self, passage: tf.Tensor, question: tf.Tensor, options: tf.Tensor) -> Tensors:
        """Makes the model's inputs, int32 [batch, options, length], as `race_features` does."""
        shape = tf.shape(options)
        with tf.control_dependencies([tf.debugging.assert_positive(shape[1], "there are no options")]):
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
    """Puts each option in the place of every blank of its question, or after the question if it has none."""
    parts = tf.strings.split(tf.strings.regex_replace(questions, BLANKS, "_"), "_")
    behind_last = tf.strings.join([questions, options], " ")
    between = tf.ragged.range(parts.row_lengths()) < parts.row_lengths()[:, None] - 1
    fillers = tf.where(between.values, tf.gather(strip(options), parts.value_rowids()), "")
    filled = tf.strings.reduce_join(parts.with_values(tf.strings.join([parts.values, fillers])), axis=1)
    return tf.where(parts.row_lengths() > 1, filled, behind_last)
