"""Small pretraining records that a tiny model can learn from."""

import numpy as np

from albert_tf.data.masking import MaskingOptions
from albert_tf.data.records import RecordWriter
from albert_tf.testing import tiny_config

SEQ_LENGTH, PREDICTIONS = 12, 3
CONFIG = tiny_config(vocab_size=20, num_hidden_layers=1, max_position_embeddings=SEQ_LENGTH)
MASKING = MaskingOptions(max_predictions_per_seq=PREDICTIONS)
CLS, SEP, MASK = 2, 3, 4


def make_features(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Ascending runs of ids, [CLS] A [SEP] B [SEP], some masked; the label says whether B is before A."""
    rng = np.random.default_rng(seed)
    runs = 5 + rng.integers(0, 3, [count, 1]) + np.arange(8)
    swapped = rng.integers(0, 2, count)
    a, b = runs[:, :4], runs[:, 4:]
    first, second = np.where(swapped[:, None], b, a), np.where(swapped[:, None], a, b)
    column = np.ones([count, 1], int)
    ids = np.concatenate([CLS * column, first, SEP * column, second, SEP * column, 0 * column], axis=1)
    positions = np.sort(rng.permuted(np.tile([1, 2, 3, 4, 6, 7, 8, 9], [count, 1]), axis=1)[:, :PREDICTIONS])
    labels = np.take_along_axis(ids, positions, axis=1)
    np.put_along_axis(ids, positions, MASK, axis=1)
    weights = np.ones([count, PREDICTIONS], np.float32)
    weights[::3, -1] = 0  # as many records do, some hold fewer predictions than there is room for
    labels[::3, -1] = positions[::3, -1] = 0
    segments = np.tile([0] * 6 + [1] * 5 + [0], [count, 1])
    return {
        "input_ids": ids,
        "input_mask": np.tile([1] * 11 + [0], [count, 1]),
        "segment_ids": segments,
        "token_boundary": np.ones([count, SEQ_LENGTH], int),
        "masked_lm_positions": positions,
        "masked_lm_ids": labels,
        "masked_lm_weights": weights,
        "next_sentence_labels": swapped[:, None],
    }


def make_unmasked_features(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """The same runs of ids in their order, not masked."""
    features = make_features(count, seed)
    runs = 5 + np.random.default_rng(seed).integers(0, 3, [count, 1]) + np.arange(8)
    ids = np.array(features["input_ids"])
    ids[:, 1:5], ids[:, 6:10] = runs[:, :4], runs[:, 4:]
    one = np.ones([count, 1], int)
    return {
        "input_ids": ids,
        "segment_ids": features["segment_ids"],
        "token_boundary": features["token_boundary"],
        "next_sentence_labels": 0 * one,
        "may_swap": one,
        "mask_id": MASK * one,
    }


def write_records(path: str, count: int = 64, seed: int = 0, make=make_features, **metadata) -> str:
    with RecordWriter([path]) as writer:
        writer.write(make(count, seed))
        writer.describe({"vocab_size": CONFIG.vocab_size, **metadata})
    return path
