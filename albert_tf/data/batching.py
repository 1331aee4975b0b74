"""Batches of `Features`: which examples, in which order, as which tensors.

Where there are several devices, each global batch is cut into as many consecutive parts, and an input
pipeline yields the parts of its own devices one after another. So the examples of a step do not depend on the
number of devices.
"""

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from albert_tf.data.features import Features

FILLER = -1  # the `example_index` of what fills the last batch where all have one shape
_POOL = 32  # batches that are sorted by length together
LENGTHS_MULTIPLE = 8  # of which batches are long


def train_batches(
    features: Features,
    *,
    batch_size: int,
    seed: int,
    first_step: int = 0,
    pad_to: int | None = None,
    input_context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """Endless batches of examples of similar length, in an order that depends on `seed` alone.

    The examples are shuffled anew each time round, cut into pools of 32 batches and sorted by length within a
    pool; a pool's batches come in random order.

    Args:
      features: at least one example.
      batch_size: over all devices; divisible by their number.
      seed: not negative.
      first_step: the batch to begin with; what came before it is not read.
      pad_to: length of all batches, at least that of the longest sequence; their shapes are then static. By
        default a batch is as long as its longest sequence, rounded up to a multiple of 8.
      input_context: the devices; one by default.

    Returns:
      Dicts of input_ids, input_mask, segment_ids: int32 [batch, length], or [batch, choices, length] if there
      are choices; label_ids: int32 or float32 [batch], where there are labels; example_index: int32 [batch].
    """
    longest = _longest(features)

    def batches() -> Iterator[np.ndarray]:
        pool, begin = divmod(first_step, _POOL)
        while True:
            yield from _pool(longest, pool, batch_size, seed)[begin:]
            pool, begin = pool + 1, 0

    return _dataset(features, batches, batch_size, pad_to, input_context)


def eval_batches(
    features: Features,
    *,
    batch_size: int,
    pad_to: int | None = None,
    input_context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """Batches of every example once, longest first: if memory does not suffice, that shows at once.

    `example_index` gives the order of the examples back. The last batch may be smaller, and where there are
    several devices the parts of it may be empty: each device gets as many parts as any other. With `pad_to`
    examples whose index is `FILLER` fill it.

    Args:
      features: the examples.
      batch_size: over all devices; divisible by their number.
      pad_to: see `train_batches`, as for all else.
      input_context: the devices; one by default.
    """
    order = np.argsort(-_longest(features), kind="stable").astype(np.int32)

    def batches() -> Iterator[np.ndarray]:
        for begin in range(0, len(order), batch_size):
            yield order[begin : begin + batch_size]

    return _dataset(features, batches, batch_size, pad_to, input_context)


def longest_batches(
    features: Features,
    *,
    batch_size: int,
    pad_to: int | None = None,
    input_context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """The longest examples in one batch, endlessly: nothing that `train_batches` gives takes more memory."""
    longest_first = np.argsort(-_longest(features), kind="stable").astype(np.int32)
    batch = np.resize(longest_first[:batch_size], batch_size)
    return _dataset(features, lambda: itertools.repeat(batch), batch_size, pad_to, input_context)


def _longest(features: Features) -> np.ndarray:
    """int32 [examples]. The length of the longest choice."""
    return features.lengths.reshape(-1, features.num_choices).max(axis=1)


def _pool(longest: np.ndarray, pool: int, batch_size: int, seed: int) -> np.ndarray:
    """int32 [32, batch_size]. The examples of the pool's batches."""
    examples = len(longest)
    begin, end = pool * _POOL * batch_size, (pool + 1) * _POOL * batch_size
    first, last = begin // examples, (end - 1) // examples
    epochs = [np.random.default_rng([seed, 0, i]).permutation(examples) for i in range(first, last + 1)]
    members = np.concatenate(epochs)[begin - first * examples : end - first * examples].astype(np.int32)
    batches = members[np.argsort(longest[members], kind="stable")].reshape(_POOL, batch_size)
    return np.random.default_rng([seed, 1, pool]).permutation(batches)


def _dataset(
    features: Features,
    batches: Callable[[], Iterator[np.ndarray]],
    batch_size: int,
    pad_to: int | None,
    input_context: tf.distribute.InputContext | None,
) -> tf.data.Dataset:
    """The tensors of this pipeline's parts of global batches."""
    context = input_context or tf.distribute.InputContext()
    own = context.num_replicas_in_sync // context.num_input_pipelines
    first = context.input_pipeline_id * own

    def parts() -> Iterator[np.ndarray]:
        for batch in batches():
            if pad_to:
                batch = np.pad(batch, (0, batch_size - len(batch)), constant_values=FILLER)
            yield from np.array_split(batch, context.num_replicas_in_sync)[first : first + own]

    spec = tf.TensorSpec([batch_size // context.num_replicas_in_sync if pad_to else None], tf.int32)
    with tf.device("CPU:0"):
        dataset = tf.data.Dataset.from_generator(parts, output_signature=spec)
        dataset = dataset.map(_gatherer(features, pad_to), num_parallel_calls=tf.data.AUTOTUNE)
        return dataset.prefetch(tf.data.AUTOTUNE)


def _gatherer(features: Features, pad_to: int | None) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """What makes a batch of the numbers of its examples, int32 [batch], in TensorFlow's own threads."""
    shape = (-1, features.num_choices) if features.num_choices > 1 else (-1,)
    all_ids = tf.constant(features.input_ids)
    all_starts = tf.constant(features.starts.reshape(shape))
    all_lengths = tf.constant(features.lengths.reshape(shape))
    all_first_lengths = tf.constant(features.first_lengths.reshape(shape))
    labels = None if features.labels is None else tf.constant(features.labels)

    def gather(indices: tf.Tensor) -> dict[str, tf.Tensor]:
        examples = tf.maximum(indices, 0)  # what fills a batch looks like the first example
        starts, lengths, first_lengths = (
            tf.gather(column, examples)[..., None] for column in (all_starts, all_lengths, all_first_lengths)
        )
        longest = tf.maximum(tf.reduce_max(lengths), 1)  # of an empty part it would be negative
        positions = tf.range(pad_to or -(-longest // LENGTHS_MULTIPLE) * LENGTHS_MULTIPLE)
        inside = positions < lengths
        ids = tf.gather(all_ids, tf.where(inside, starts + tf.cast(positions, tf.int64), 0))
        batch = {
            "input_ids": tf.where(inside, tf.cast(ids, tf.int32), 0),
            "input_mask": tf.cast(inside, tf.int32),
            "segment_ids": tf.cast(inside & (positions >= first_lengths), tf.int32),
            "example_index": indices,
        }
        return batch if labels is None else batch | {"label_ids": tf.gather(labels, examples)}

    return gather
