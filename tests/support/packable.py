"""Batches of pretraining whose examples differ in length, so that some of them fit into one row."""

from collections.abc import Sequence

import numpy as np

from albert_tf.data.packing import NO_EXAMPLE
from albert_tf.data.records import RecordWriter

LENGTH, VOCAB_SIZE = 32, 50
PREDICTIONS = 5  # 15 % of 32, rounded up


def make_batch(lengths: Sequence[int], left_out: int = 0, seed: int = 0) -> dict[str, np.ndarray]:
    """An example of each length, with 15 % of its pieces to predict; the last ones only fill the batch."""
    rng = np.random.default_rng(seed)
    lengths = np.array([*lengths, *[0] * left_out], int)
    position = np.arange(LENGTH)
    mask = position < lengths[:, None]
    counts = np.round(0.15 * lengths)
    positions = rng.permuted(np.tile(position, [len(lengths), 1]), axis=1)
    positions = np.sort(np.where(positions < lengths[:, None], positions, LENGTH), axis=1)
    is_prediction = np.arange(PREDICTIONS) < counts[:, None]
    labels = rng.integers(0, 2, len(lengths))
    labels[len(lengths) - left_out :] = NO_EXAMPLE
    batch = {
        "input_ids": rng.integers(5, VOCAB_SIZE, mask.shape) * mask,
        "input_mask": mask,
        "segment_ids": mask & (position >= 3),
        "masked_lm_positions": positions[:, :PREDICTIONS] * is_prediction,
        "masked_lm_ids": rng.integers(5, VOCAB_SIZE, is_prediction.shape) * is_prediction,
        "next_sentence_labels": labels,
    }
    batch = {name: values.astype(np.int32) for name, values in batch.items()}
    return batch | {"masked_lm_weights": is_prediction.astype(np.float32)}


def write_packable(path: str, count: int = 40, seed: int = 0, unmasked: bool = False) -> str:
    """Writes records of 5 to 32 pieces, a third of them of 32; [CLS] is the number of the record."""
    lengths = np.random.default_rng(seed).integers(5, LENGTH, count)
    lengths[::3] = LENGTH
    features = make_batch(lengths.tolist(), seed=seed)
    features["input_ids"][:, 0] = np.arange(count)
    one = np.ones([count, 1], np.int32)
    features["next_sentence_labels"] = features["next_sentence_labels"][:, None]
    features["token_boundary"] = np.ones_like(features["input_ids"])
    if unmasked:
        kept = ("input_ids", "segment_ids", "token_boundary")
        features = {name: features[name] for name in kept}
        features |= {"next_sentence_labels": 0 * one, "may_swap": one, "mask_id": 4 * one}
    with RecordWriter([path]) as writer:
        writer.write(features)
        writer.describe({"vocab_size": VOCAB_SIZE, "max_seq_length": LENGTH})
    return path
