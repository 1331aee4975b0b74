"""Early exit: a model that computes a further layer only for the rows of a batch whose answer is not sure."""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from albert_tf.cli.settings import ExitRule
from albert_tf.errors import InputError
from albert_tf.layers.attention import attention_bias
from albert_tf.models.classification import AlbertForSequenceClassification
from albert_tf.models.encoder import Tensors


class Seen(NamedTuple):
    """What a rule knows of the layers before: float32 `[rows]`.

    Attributes:
      answer: of the last layer, a class or a score; NaN before the first layer.
      agreeing: how many of the last layers gave the answer of the layer before them.
    """

    answer: tf.Tensor
    agreeing: tf.Tensor


def nothing_seen(rows: tf.Tensor | int) -> Seen:
    """The beginning, for a number of rows."""
    return Seen(tf.fill([rows], math.nan), tf.zeros([rows]))


def judge(rule: ExitRule, logits: tf.Tensor, seen: Seen) -> tuple[tf.Tensor, Seen]:
    """Whether the answers of a layer are sure, bool `[rows]`, and what is known then.

    `logits` are those of the layer, float32 `[rows, classes]`; of a score there is one.
    """
    classes = logits.shape[-1]
    answer = tf.cast(tf.argmax(logits, axis=-1), tf.float32) if classes > 1 else logits[:, 0]
    is_same = tf.abs(answer - seen.answer) <= rule.tolerance
    seen = Seen(answer, tf.where(is_same, seen.agreeing + 1, 0.0))
    is_sure = seen.agreeing >= rule.value if rule.kind == "patience" else entropy(logits) <= rule.value
    return is_sure, seen


def entropy(logits: tf.Tensor) -> tf.Tensor:
    """float32 `[...]`: the entropy of softmax(logits `[..., classes]`), from 0 to 1, the largest possible."""
    log_chances = tf.nn.log_softmax(logits)
    total = tf.reduce_sum(tf.exp(log_chances) * log_chances, axis=-1)
    return total / -math.log(logits.shape[-1])


def answer_early(model: AlbertForSequenceClassification, inputs: Tensors, rule: ExitRule) -> Tensors:
    """Answers a batch; a row that is sure leaves the computation, and the others go on.

    Each row gets what it would get alone. Where gradients are needed, call the model instead.

    Args:
      model: has `early_exit`.
      inputs: `input_ids`, `input_mask` and `segment_ids`, int32 `[batch, sequence]`.
      rule: not of a budget, see `rule_of_budget`.

    Returns:
      `logits`, float32 `[batch, classes]`, and `layers_used`, int32 `[batch]`, in the order of the rows.
    """
    config, encoder, exits = model.config, model.encoder, model.exits
    assert exits is not None
    blocks = encoder.encoder
    _, hidden = encoder.embeddings(inputs["input_ids"], inputs["segment_ids"])
    batch, last = tf.shape(hidden)[0], config.num_hidden_layers - 1
    inner = config.inner_group_num

    def goes_on(layer, rows, *_):
        return (layer < last) & (tf.size(rows) > 0)

    def compute(layer, rows, hidden, bias, answer, agreeing, logits, used):
        for number in range(inner):
            hidden, _ = blocks.block(number, hidden, bias)
        found = exits.of_layer(layer, hidden[:, 0])
        is_sure, seen = judge(rule, found, Seen(answer, agreeing))
        layer += 1
        logits, used = record(rows, found, layer, logits, used)
        stays = tf.where(~is_sure)[:, 0]
        kept = [tf.gather(values, stays) for values in (rows, hidden, bias, *seen)]
        return layer, *kept, logits, used

    def record(rows, found, layer, logits, used):
        place = rows[:, tf.newaxis]
        layers = tf.fill([tf.size(rows)], layer)
        return (
            tf.tensor_scatter_nd_update(logits, place, found),
            tf.tensor_scatter_nd_update(used, place, layers),
        )

    bias = attention_bias(inputs["input_mask"])
    empty = tf.zeros([batch, model.num_labels]), tf.zeros([batch], tf.int32)
    start = [tf.constant(0), tf.range(batch), hidden, bias, *nothing_seen(batch), *empty]
    shapes: list[list[int | None]] = [[None, *value.shape[1:]] if value.shape.rank else [] for value in start]
    # With these shapes TensorFlow fuses scale and bias into the matmul.
    shapes[2:4] = [None, None, config.hidden_size], [None, 1, 1, None]
    _, rows, hidden, bias, _, _, logits, used = tf.while_loop(
        goes_on, compute, start, [*map(tf.TensorShape, shapes)]
    )
    # As in the whole model, the last block computes the first position only.
    for number in range(inner):
        positions = tf.zeros([tf.size(rows), 1], tf.int32) if number == inner - 1 else None
        hidden, _ = blocks.block(number, hidden, bias, positions)
    found = model.classifier(encoder.pooler(hidden[:, 0]))
    logits, used = record(rows, found, last + 1, logits, used)
    return {"logits": logits, "layers_used": used}


def layers_used(rule: ExitRule, layer_logits: np.ndarray) -> np.ndarray:
    """How many layers a rule uses for each example, int32 `[examples]`.

    `layer_logits` are those of the examples, float32 `[examples, layers, classes]`.
    """
    rows, layers, _ = layer_logits.shape
    used, seen = np.full(rows, layers, np.int32), nothing_seen(rows)
    for layer in range(layers - 1):
        is_sure, seen = judge(rule, tf.constant(layer_logits[:, layer]), seen)
        used[is_sure.numpy() & (used == layers)] = layer + 1
    return used


def rule_of_budget(share: float, layer_logits: np.ndarray) -> ExitRule:
    """The rule of entropy by which examples use at most this share of all layers, and nearly that.

    `layer_logits` are those of the examples, float32 `[examples, layers, classes]`. `InputError` if the share
    is less than one layer.
    """
    rows, layers, _ = layer_logits.shape
    if share * layers < 1:
        raise InputError(f"--exit=budget:{share:g} is less than one of {layers} layers")
    # An example uses a layer behind the first one if no layer before has an entropy of the threshold or less.
    least = np.minimum.accumulate(entropy(tf.constant(layer_logits[:, :-1])).numpy(), axis=1)
    falling = np.sort(least, axis=None)[::-1]
    above = min(int((share * layers - 1) * rows), len(falling) - 1)
    return ExitRule("entropy", _rounded_up(float(falling[above])))


def _rounded_up(value: float) -> float:
    """The value in 4 digits, not below it, so that a rule that is read again is the same."""
    if value <= 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(value)) - 3)
    return min(float(f"{math.ceil(value / unit) * unit:.4g}"), 1.0)
