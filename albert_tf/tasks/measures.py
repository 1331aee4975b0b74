"""What tasks measure alike: losses and accuracies of a batch, as parts of means."""

import tensorflow as tf

from albert_tf.tasks.task import WeightedSum


def nll(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """float32 `[...]`: the negative log-likelihood of each label under `logits` `[..., classes]`."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def correct(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """float32 `[...]`: 1 where the largest of the `logits` `[..., classes]` is the label's, else 0."""
    return tf.cast(tf.argmax(logits, -1, output_type=labels.dtype) == labels, tf.float32)


def weighted(values: tf.Tensor, weights: tf.Tensor, epsilon: float = 0.0) -> WeightedSum:
    """The mean of `values` by `weights`, both float32 of one shape."""
    return WeightedSum(tf.reduce_sum(values * weights), tf.reduce_sum(weights), epsilon)


def mean(values: tf.Tensor) -> WeightedSum:
    """The plain mean of float32 `values`."""
    return weighted(values, tf.ones_like(values))


def number_of(examples: tf.Tensor) -> tf.Tensor:
    """float32 scalar: the weight of the plain mean over `examples` `[batch, ...]`."""
    return tf.cast(tf.shape(examples)[0], tf.float32)
