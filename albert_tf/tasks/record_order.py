"""The order in which pretraining sees its records: a function of seed and files alone.

Each time round all records, the blocks of a `RecordIndex` come in another random order. The records of 320
blocks in a row, about 10,000, are shuffled together. So a run may begin with any step: what came before it is
not read, nor kept in memory is more than a few such pools.

Where there are several devices, each global batch is cut into as many consecutive parts, and an input
pipeline yields the parts of its own devices one after another. So the records of a step do not depend on the
number of devices. Every worker reads all blocks and parses its own records only.
"""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from albert_tf.tasks.record_index import RecordIndex

_BLOCKS_OF_A_POOL = 320


def shuffled_records(
    index: RecordIndex, *, batch_size: int, seed: int, first_step: int, context: tf.distribute.InputContext
) -> tf.data.Dataset:
    """The records that this pipeline's devices train on, endlessly, from a step on.

    Args:
      index: of the files.
      batch_size: over all devices; divisible by their number.
      seed: not negative.
      first_step: the batch to begin with.
      context: the devices.

    Returns:
      (epoch, number, record): int64, how often all records were seen before; int64, which tells the record
      from all others; string.
    """
    own = batch_size // context.num_input_pipelines
    begin = context.input_pipeline_id * own

    def own_parts_of_pools() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        position = first_step * batch_size
        for epoch, numbers, records in _pools(index, seed, position):
            place = (position + np.arange(len(records))) % batch_size
            is_own = (begin <= place) & (place < begin + own)
            position += len(records)
            yield np.full(is_own.sum(), epoch), numbers[is_own], records[is_own]

    spec = tuple(tf.TensorSpec([None], kind) for kind in (tf.int64, tf.int64, tf.string))
    pools = tf.data.Dataset.from_generator(own_parts_of_pools, output_signature=spec).prefetch(1)
    return pools.flat_map(lambda *columns: tf.data.Dataset.from_tensor_slices(columns))


def _pools(index: RecordIndex, seed: int, position: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Epoch, numbers and records of pools, of the first from the record at that position on."""
    epoch, position = divmod(position, int(index.counts.sum()))
    while True:
        order = np.random.default_rng([seed, 0, epoch]).permutation(len(index))
        ends = np.cumsum(index.counts[order])
        first_pool = int(np.searchsorted(ends, position, side="right")) // _BLOCKS_OF_A_POOL
        for pool in range(first_pool, -(-len(index) // _BLOCKS_OF_A_POOL)):
            first_block = pool * _BLOCKS_OF_A_POOL
            blocks = order[first_block : first_block + _BLOCKS_OF_A_POOL]
            numbers, records = index.read(blocks)
            shuffled = np.random.default_rng([seed, 1, epoch, pool]).permutation(len(records))
            seen = position - int(ends[first_block] - index.counts[blocks[0]])
            shuffled = shuffled[max(seen, 0) :]
            yield epoch, numbers[shuffled], records[shuffled]
        epoch, position = epoch + 1, 0
