"""Served question answering: a question and a context in, the characters that answer it out."""

import warnings
from collections.abc import Callable, Mapping

import tensorflow as tf

from albert_tf.cli.settings import SquadSettings
from albert_tf.errors import InputError, InputWarning
from albert_tf.export.serving.answer_spans import SpanChoice, Spans, cut_windows
from albert_tf.export.serving.served_model import ServedModel, Signature, Tensors, family, on_inputs, strings
from albert_tf.export.trained_model import TrainedModel
from albert_tf.tasks.squad.span_measures import beam, best_spans_v1, best_spans_v2
from albert_tf.tasks.squad.windows import check_lengths

NO_SPAN_SCORE = -1e30  # a number that JSON has, unlike infinity

_WINDOWS_AT_ONCE = 16  # bounds the memory for one request
_REQUEST = {
    "question": ["What did Anna buy?"],
    "context": ["Anna went to the market and bought three apples."],
}


class ServedQuestionAnswering(ServedModel):
    """Answers with the very characters of the context: `answer`, its `score`, its `begin` and `end`.

    `begin` and `end` count the context's characters; bytes that are no UTF-8 are U+FFFD, in the answer too.
    Where no span can be the answer, as in a blank context, `answer` is empty, `begin` and `end` are 0 and
    `score` is -1e30. A model of SQuAD 2.0 adds `no_answer_score` and `best_answer`; `answer` is empty, too,
    where `no_answer_score` is above the threshold, `best_answer` and the others are not.

    Contexts of any length are looked at in windows, 16 at a time.

    Args:
      trained: a model for question answering.
      doc_stride: pieces from one window of a long context to the next.
      max_query_length: pieces of a question at most; the beginning is kept.
      max_answer_length: pieces of an answer at most.
      n_best_size: 1.1: starts and ends looked at in a window.
      null_score_diff_threshold: 2.0: questions with a higher null score get no answer; by default that of the
        last evaluation, else 0.

    Raises:
      InputError: a long question would leave no room for the context, or 1.1 has got a threshold.
    """

    settings = (
        "doc_stride",
        "max_query_length",
        "max_answer_length",
        "n_best_size",
        "null_score_diff_threshold",
    )

    def __init__(
        self,
        trained: TrainedModel,
        *,
        doc_stride: int = SquadSettings.doc_stride,
        max_query_length: int = SquadSettings.max_query_length,
        max_answer_length: int = SquadSettings.max_answer_length,
        n_best_size: int = SquadSettings.n_best_size,
        null_score_diff_threshold: float | None = None,
    ):
        super().__init__(trained)
        longest = self.text_inputs.max_seq_length
        check_lengths(longest, max_query_length)
        model, self._is_v2 = trained.model, trained.head == "question_answering_v2"
        self._cut = {"doc_stride": doc_stride, "max_query_length": max_query_length}
        self._max_answer_length = max_answer_length
        self._n_best_size = min(n_best_size, longest)
        if self._is_v2:
            self._beam = min(model.start_n_top, longest), min(model.end_n_top, longest)
            self._threshold = _threshold(trained, null_score_diff_threshold)
        elif null_score_diff_threshold is not None:
            raise InputError(f"--null_score_diff_threshold is of SQuAD 2.0, {trained.path} of 1.1")

        def predict(inputs: Tensors) -> Tensors:
            return beam(model, inputs) if self._is_v2 else model(inputs, training=False)

        self._predict = on_inputs(predict)

    def task_signatures(self) -> dict[str, Signature]:
        """See `ServedModel`."""

        def answer(question: tf.Tensor, context: tf.Tensor) -> Tensors:
            return self._answer(question, tf.strings.unicode_transcode(context, "UTF-8", "UTF-8"))

        text = Signature(answer, (strings("question"), strings("context")), _REQUEST)
        return family(text, self.text_inputs, self._predict)

    def _answer(self, question: tf.Tensor, context: tf.Tensor) -> Tensors:
        windows = cut_windows(self.text_inputs, question, context, **self._cut)
        choice = SpanChoice(windows, self._max_answer_length)

        def search(some: tf.Tensor) -> Tensors:
            inputs = windows.inputs(self.text_inputs, some)
            found = self._spans(self._predict(**inputs), inputs)
            return found | choice.of_windows(some, found)._asdict()

        order = tf.argsort(windows.first_positions + windows.lengths, direction="DESCENDING")
        columns = {"scores": tf.float64, "places": tf.int64}
        if self._is_v2:
            columns["null_score"] = tf.float32
        found = _in_parts(search, order, columns)
        question_of = tf.gather(windows.question_of, order)
        best = choice.of_questions(question_of, Spans(found["scores"], found["places"]), tf.size(question))
        begin, end = choice.characters(best)
        text = tf.strings.substr(context, begin, end - begin, unit="UTF8_CHAR")
        score = tf.cast(tf.maximum(best.scores, NO_SPAN_SCORE), tf.float32)
        outputs = {"answer": text, "score": score, "begin": begin, "end": end}
        if not self._is_v2:
            return outputs
        null_score = tf.math.unsorted_segment_min(found["null_score"], question_of, tf.size(question))
        is_answered = tf.cast(null_score, tf.float64) <= self._threshold
        answer = tf.where(is_answered, text, "")
        return outputs | {"answer": answer, "best_answer": text, "no_answer_score": null_score}

    def _spans(self, outputs: Tensors, inputs: Tensors) -> Tensors:
        """What `SquadTask.outputs` gives."""
        if self._is_v2:
            return best_spans_v2(outputs, *self._beam)
        return best_spans_v1(outputs, inputs, self._n_best_size)


def _threshold(trained: TrainedModel, given: float | None) -> float:
    """The given one, else that of the last evaluation, else 0 with a warning."""
    if given is None:
        given = (trained.metrics or {}).get("null_score_diff_threshold")
    if given is None:
        text = f"{trained.path} has no threshold of an evaluation: 0 is taken for --null_score_diff_threshold"
        warnings.warn(text, InputWarning, stacklevel=3)
        return 0.0
    return given


def _in_parts(
    function: Callable[[tf.Tensor], Tensors], numbers: tf.Tensor, columns: Mapping[str, tf.DType]
) -> Tensors:
    """Columns of a function's results for numbers (int32 [n]), one part of them after another; each [n]."""
    parts = (tf.size(numbers) + _WINDOWS_AT_ONCE - 1) // _WINDOWS_AT_ONCE
    arrays = {
        name: tf.TensorArray(dtype, parts, element_shape=[None], infer_shape=False)
        for name, dtype in columns.items()
    }

    def one(part: tf.Tensor, arrays: Mapping[str, tf.TensorArray]):
        begin = part * _WINDOWS_AT_ONCE
        results = function(numbers[begin : begin + _WINDOWS_AT_ONCE])
        return part + 1, {name: array.write(part, results[name]) for name, array in arrays.items()}

    # Parts side by side would need the memory of all of them.
    _, arrays = tf.while_loop(lambda part, _: part < parts, one, (0, arrays), parallel_iterations=1)
    return {name: array.concat() for name, array in arrays.items()}
