"""Served question answering: a question and a context in, the answer and its place in the context out."""

import warnings

import tensorflow as tf

from albert_tf.cli.settings import SquadSettings
from albert_tf.errors import InputError, InputWarning
from albert_tf.export.serving.answer_spans import SpanChoice, Spans, cut_windows
from albert_tf.export.serving.served_model import ServedModel, Signature, Tensors, family, on_inputs, strings
from albert_tf.export.serving.text_windows import in_parts
from albert_tf.export.trained_model import TrainedModel
from albert_tf.tasks.squad.span_measures import beam, best_spans_v1, best_spans_v2
from albert_tf.tasks.squad.windows import check_lengths

NO_SPAN_SCORE = -1e30  # JSON has this number, but no infinity

_REQUEST = {
    "question": ["What did Anna buy?"],
    "context": ["Anna went to the market and bought three apples."],
}


class ServedQuestionAnswering(ServedModel):
    """Gives the characters of the context that are the `answer`, its `score`, its `begin` and `end`.

    `begin` and `end` are counted in characters of the context. Bytes that are not UTF-8 become U+FFFD, in the
    answer too. If no span can be the answer, for instance in a blank context, `answer` is empty, `begin` and
    `end` are 0 and `score` is -1e30. A model for SQuAD 2.0 adds `no_answer_score` and `best_answer`. If
    `no_answer_score` is above the threshold, `answer` is empty, but `best_answer` and the others still
    describe the best span.

    A context may have any length: the model reads it in windows.

    Args:
      trained: a model for question answering.
      doc_stride, max_query_length, max_answer_length, n_best_size: see `SquadSettings`.
      null_score_diff_threshold: SQuAD 2.0: a question with a higher null score gets no answer. By default the
        threshold of the last evaluation; if there was no evaluation, 0.
      windows_at_once: most windows that the model reads at a time, which bounds the memory of a request.

    Raises:
      InputError: a long question would leave no room for the context, or a model for 1.1 gets a threshold.
    """

    def __init__(
        self,
        trained: TrainedModel,
        *,
        doc_stride: int = SquadSettings.doc_stride,
        max_query_length: int = SquadSettings.max_query_length,
        max_answer_length: int = SquadSettings.max_answer_length,
        n_best_size: int = SquadSettings.n_best_size,
        null_score_diff_threshold: float | None = None,
        windows_at_once: int = 16,
    ):
        super().__init__(trained)
        longest = self.text_inputs.max_seq_length
        check_lengths(longest, max_query_length)
        model, self._is_v2 = trained.model, trained.head == "question_answering_v2"
        self._cut = {"doc_stride": doc_stride, "max_query_length": max_query_length}
        self._max_answer_length = max_answer_length
        self._windows_at_once = windows_at_once
        if self._is_v2:
            sizes = min(model.start_n_top, longest), min(model.end_n_top, longest)
            self._threshold = _threshold(trained, null_score_diff_threshold)
            self._predict = on_inputs(lambda inputs: beam(model, inputs), model)
            self._spans = lambda outputs, inputs: best_spans_v2(outputs, *sizes)
        else:
            if null_score_diff_threshold is not None:
                raise InputError(
                    f"--null_score_diff_threshold is for SQuAD 2.0, but {trained.path} is a model for 1.1"
                )
            self._predict = on_inputs(lambda inputs: model(inputs, training=False), model)
            self._spans = lambda outputs, inputs: best_spans_v1(outputs, inputs, min(n_best_size, longest))

    def task_signatures(self) -> dict[str, Signature]:
        """See `ServedModel`."""
        text = Signature(self._answer, (strings("question"), strings("context")), lambda: _REQUEST)
        return family(text, self.text_inputs, self._predict)

    def _answer(self, question: tf.Tensor, context: tf.Tensor) -> Tensors:
        context = tf.strings.unicode_transcode(context, "UTF-8", "UTF-8")
        windows = cut_windows(self.text_inputs, question, context, **self._cut)
        choice = SpanChoice(windows, self._max_answer_length)

        def search(some: tf.Tensor) -> Tensors:
            inputs = windows.inputs(self.text_inputs, some)
            found = self._spans(self._predict(**inputs), inputs)
            return found | choice.of_windows(some, found)._asdict()

        order = tf.argsort(windows.first_positions + windows.contexts.lengths, direction="DESCENDING")
        columns = {"scores": tf.float64, "places": tf.int64}
        if self._is_v2:
            columns["null_score"] = tf.float32
        found = in_parts(search, order, self._windows_at_once, columns)
        question_of = tf.gather(windows.contexts.text_of, order)
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


def _threshold(trained: TrainedModel, given: float | None) -> float:
    """The given threshold, else the threshold of the last evaluation, else 0 with a warning."""
    if given is None:
        given = (trained.metrics or {}).get("null_score_diff_threshold")
    if given is None:
        text = f"{trained.path} has no threshold of an evaluation: --null_score_diff_threshold is taken as 0"
        warnings.warn(text, InputWarning, stacklevel=3)
        return 0.0
    return given
