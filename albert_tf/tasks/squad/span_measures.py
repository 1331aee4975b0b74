"""What is learned and predicted in each window: the losses and the best spans of SQuAD 1.1 and 2.0."""

from collections.abc import Sequence

import tensorflow as tf

from albert_tf.tasks.task import Batch, Measures, Model, Seed, correct, mean, nll, outputs_of

_NEVER = -1e30  # the score of a span that cannot be


def measure_v1(
    model: Model, batch: Batch, training: bool, dropout_seed: Seed, *, with_padding: bool
) -> Measures:
    """The mean cross-entropy of starts and ends, and the share of windows whose span is right.

    The model is an `AlbertForQuestionAnswering`; the batch has `label_ids` int32 `[batch, 3]` as in
    `WindowFeatures`. If the softmax includes padding, as in the original, the result depends on its amount.
    """
    outputs = outputs_of(model, batch, training=training, dropout_seed=dropout_seed)
    logits = [outputs["start_logits"], outputs["end_logits"]]
    if not with_padding:
        logits = [tf.where(batch["input_mask"] > 0, values, _NEVER) for values in logits]
    starts, ends, _ = tf.unstack(batch["label_ids"], axis=1)
    return _span_measures([starts, ends], logits)


def measure_v2(model: Model, batch: Batch, training: bool, dropout_seed: Seed) -> Measures:
    """Half the cross-entropies of span and of answerability, whose sum is minimized, and accuracies.

    The model is an `AlbertForQuestionAnsweringV2`; the batch is as for `measure_v1`.
    """
    starts, ends, is_impossible = tf.unstack(batch["label_ids"], axis=1)
    inputs = {**batch, "p_mask": p_mask(batch), "start_positions": starts}
    outputs = outputs_of(model, inputs, training=training, dropout_seed=dropout_seed)
    spans = _span_measures([starts, ends], [outputs["start_log_probs"], outputs["end_log_probs"]])
    null = outputs["cls_logits"]
    losses = tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(is_impossible, tf.float32), null)
    return spans | {
        "answerability_loss": mean(0.5 * losses),
        "answerability_accuracy": mean(tf.cast((null > 0) == (is_impossible > 0), tf.float32)),
    }


def beam(model: Model, batch: Batch) -> dict[str, tf.Tensor]:
    """The beam of the model in the context, and whether there is an answer."""
    return outputs_of(model, {**batch, "p_mask": p_mask(batch)}, training=False)


def best_spans_v1(outputs: Batch, batch: Batch, n_best_size: int) -> dict[str, tf.Tensor]:
    """The `n_best_size` best starts and ends in the context, as `find_answers` takes them.

    Any end goes with any start.
    """
    outside = p_mask(batch, with_cls=False) > 0
    starts, ends = (
        _top(tf.where(outside, _NEVER, outputs[name]), n_best_size) for name in ("start_logits", "end_logits")
    )
    return {
        "start_index": starts.indices,
        "start_score": starts.values,
        "end_index": ends.indices[:, None],
        "end_score": ends.values[:, None],
    }


def best_spans_v2(outputs: Batch, start_n_top: int, end_n_top: int) -> dict[str, tf.Tensor]:
    """The beam of the model, as `find_answers` takes it, and `null_score` `[batch]`.

    It has `start_n_top` starts, and `end_n_top` ends for each, even if the sequences are shorter.
    """
    found = tf.shape(outputs["start_top_index"])
    shape = [found[0], found[1], tf.shape(outputs["end_top_index"])[1] // found[1]]
    missing = [[0, 0], [0, start_n_top - shape[1]], [0, end_n_top - shape[2]]]
    ends = {
        name: tf.pad(tf.reshape(outputs[f"end_top_{kind}"], shape), missing, constant_values=filler)
        for name, kind, filler in (("end_index", "index", 0), ("end_score", "log_probs", _NEVER))
    }
    return ends | {
        "start_index": tf.pad(outputs["start_top_index"], missing[:2]),
        "start_score": tf.pad(outputs["start_top_log_probs"], missing[:2], constant_values=_NEVER),
        "null_score": outputs["cls_logits"],
    }


def p_mask(batch: Batch, with_cls: bool = True) -> tf.Tensor:
    """float32 `[batch, sequence]`: 1 if no answer may begin or end here, outside of context and [CLS]."""
    positions = tf.range(tf.shape(batch["input_ids"])[1])
    last = tf.reduce_sum(batch["input_mask"], axis=1, keepdims=True) - 1  # that of the second [SEP]
    allowed = (batch["segment_ids"] > 0) & (positions < last)
    if with_cls:
        allowed |= positions == 0
    return 1.0 - tf.cast(allowed, tf.float32)


def _span_measures(positions: Sequence[tf.Tensor], logits: Sequence[tf.Tensor]) -> Measures:
    pairs = list(zip(positions, logits, strict=True))
    losses = tf.add_n([nll(*pair) for pair in pairs])
    right = correct(*pairs[0]) * correct(*pairs[1])
    return {"span_loss": mean(0.5 * losses), "span_accuracy": mean(right)}


def _top(scores: tf.Tensor, count: int):
    """The largest scores `[batch, count]`; a shorter sequence gets scores that can never be."""
    short = tf.maximum(0, count - tf.shape(scores)[1])
    return tf.math.top_k(tf.pad(scores, [[0, 0], [0, short]], constant_values=_NEVER), count)
