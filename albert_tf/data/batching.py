"""Batches of `Features`: which examples, in which order, as which tensors.

If there are several devices, each global batch is cut into as many consecutive parts, and an input pipeline
yields the parts of its own devices one after another. So the number of devices does not change the examples
of a step.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from albert_tf.data.features import Features

FILLER = -1  # the `example_index` of examples that only fill the last batch
_POOL = 32  # batches that are sorted by length together
LENGTHS_MULTIPLE = 8  # the lengths of batches are multiples of it


def train_batches(
    features: Features,
    *,
    batch_size: int,
    seed: int,
    first_step: int = 0,
    pad_to: Sequence[int] = (),
    input_context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """Endless batches of examples of similar length, in an order that depends on `seed` alone.

    The examples are shuffled anew each time round, cut into pools of 32 batches and sorted by length within a
    pool; a pool's batches come in random order.

    Args:
      features: at least one example.
      batch_size: over all devices; divisible by their number.
      seed: not negative.
      first_step: the batch to begin with; earlier ones are not read.
      pad_to: the lengths that batches may have, in ascending order; the last is at least that of the longest
        sequence. One length makes shapes static. By default a batch is as long as its longest sequence,
        rounded up to a multiple of 8.
      input_context: the devices; by default one.

    Returns:
      Dicts of input_ids, input_mask, segment_ids: int32 [batch, length], or [batch, choices, length] if there
      are choices; example_index: int32 [batch], numbers of examples; label_ids: int32 or float32 [batch], if
      there are labels; the columns of `Features.BATCHED` that there are, int32 as input_ids.
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
    pad_to: Sequence[int] = (),
    input_context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """Batches, as those of `train_batches`, of every example once; the longest come first.

    So too little memory shows at once. The last batch may be smaller, and its parts may even be empty, since
    each device gets as many parts as any other. With `pad_to`, examples of the index `FILLER` fill it.
    """
    order = _longest_first(features)

    def batches() -> Iterator[np.ndarray]:
        for begin in range(0, len(order), batch_size):
            yield order[begin : begin + batch_size]

    return _dataset(features, batches, batch_size, pad_to, input_context)


def longest_batches(
    features: Features,
    *,
    batch_size: int,
    pad_to: Sequence[int] = (),
    input_context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """One batch of the longest examples, endlessly: no batch of `train_batches` needs more memory."""
    batch = np.resize(_longest_first(features)[:batch_size], batch_size)
    return _dataset(features, lambda: itertools.repeat(batch), batch_size, pad_to, input_context)


def _longest(features: Features) -> np.ndarray:
    """int32 [examples]. The length of the longest choice."""
    return features.lengths.reshape(-1, features.num_choices).max(axis=1)


def _longest_first(features: Features) -> np.ndarray:
    return np.argsort(-_longest(features), kind="stable").astype(np.int32)


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
    pad_to: Sequence[int],
    input_context: tf.distribute.InputContext | None,
) -> tf.data.Dataset:
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


def _gatherer(features: Features, pad_to: Sequence[int]) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """A function from the numbers of examples, int32 [batch], to their batch, in TensorFlow's own threads."""
    shape = (-1, features.num_choices) if features.num_choices > 1 else (-1,)
    all_ids = tf.constant(features.input_ids)
    of_sequences = (features.starts, features.lengths, features.first_lengths)
    columns = [tf.constant(column.reshape(shape)) for column in of_sequences]
    labels = None if features.labels is None else tf.constant(features.labels)
    of_tokens = {name: getattr(features, name) for name in features.BATCHED}
    of_tokens = {name: tf.constant(values) for name, values in of_tokens.items() if values is not None}

    def length_of(longest: tf.Tensor) -> tf.Tensor | int:
        if len(pad_to) == 1:
            return pad_to[0]
        if pad_to:
            return tf.gather(pad_to, tf.searchsorted(pad_to, longest[None])[0])
        return -(-longest // LENGTHS_MULTIPLE) * LENGTHS_MULTIPLE

    def gather(indices: tf.Tensor) -> dict[str, tf.Tensor]:
        examples = tf.maximum(indices, 0)  # what fills a batch looks like the first example
        starts, lengths, first_lengths = (tf.gather(column, examples)[..., None] for column in columns)
        longest = tf.maximum(tf.reduce_max(lengths), 1)  # the maximum of an empty part is negative
        positions = tf.range(length_of(longest))
        inside = positions < lengths
        cells = tf.where(inside, starts + tf.cast(positions, tf.int64), 0)

        def at_cells(values: tf.Tensor) -> tf.Tensor:
            return tf.where(inside, tf.cast(tf.gather(values, cells), tf.int32), 0)

        batch = {
            "input_ids": at_cells(all_ids),
            "input_mask": tf.cast(inside, tf.int32),
            "segment_ids": tf.cast(inside & (positions >= first_lengths), tf.int32),
            "example_index": indices,
            **{name: at_cells(values) for name, values in of_tokens.items()},
        }
        return batch if labels is None else batch | {"label_ids": tf.gather(labels, examples)}

    return gather
