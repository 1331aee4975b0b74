"""Packed pretraining: the same examples give the same losses, metrics and gradients as one example a row."""

import numpy as np
import pytest
import tensorflow as tf

from albert_tf.data.packing import Room, pack
from albert_tf.tasks.pretraining import PretrainingTask
from albert_tf.testing import tiny_config
from tests.support.packable import LENGTH, PREDICTIONS, VOCAB_SIZE, make_batch
from tests.support.task_batches import make_trainer, moments_of

BATCH = make_batch([32, 9, 20, 5, 11, 6, 16, 25, 32, 7, 14, 19])
ROOM = Room.of(LENGTH, PREDICTIONS)
SHAPES = [
    {"num_hidden_groups": 2, "inner_group_num": 2},
    {"cross_layer_sharing": "attention"},
    {"cross_layer_sharing": "ffn"},
    {"cross_layer_sharing": "none"},
]


def make_task(packing=False, **shape):
    sizes = {"vocab_size": VOCAB_SIZE, "max_position_embeddings": LENGTH, "num_hidden_layers": 2}
    dropout = dict.fromkeys(["hidden_dropout_prob", "attention_probs_dropout_prob"], 0.0)
    config = tiny_config(initializer_range=0.25, **{**sizes, **dropout, **shape})
    return PretrainingTask(config, [], [], LENGTH, packing=packing)


def tensors(batch):
    return {name: tf.constant(values) for name, values in batch.items()}


def assert_same_step(one, other):
    assert moments_of(one)
    for name, value in moments_of(one).items():
        np.testing.assert_allclose(moments_of(other)[name], value, atol=1e-6, err_msg=name)
    ours, theirs = ({n: float(v) for n, v in trainer.results().items()} for trainer in (other, one))
    assert ours == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_packed_examples_train_what_they_train_alone(shape):
    task = make_task(**shape)
    rows = pack(BATCH, ROOM)
    assert len(rows["input_ids"]) == 7
    alone, packed = (make_trainer(task, batch) for batch in (BATCH, rows))
    alone.replica_step(tensors(BATCH))
    packed.replica_step(tensors(rows))
    assert_same_step(alone, packed)


def test_packed_in_parts_on_two_devices_it_trains_what_it_trains_alone(two_devices):
    task, unpacked = (make_task(packing=packing, num_hidden_layers=1) for packing in (True, False))
    alone = make_trainer(unpacked, BATCH)
    packed = make_trainer(task, BATCH, room=ROOM, micro_batches=3, strategy=two_devices)
    alone.replica_step(tensors(BATCH))
    packed.train(tf.constant(1))
    assert_same_step(alone, packed)


def test_with_static_shapes_xla_compiles_the_step_and_parts_without_examples_are_left_out():
    task, unpacked = (make_task(packing=packing, num_hidden_layers=1) for packing in (True, False))
    rows = pack(BATCH, Room.of(LENGTH, PREDICTIONS, rows=12))
    assert rows["input_ids"].shape == (12, LENGTH)
    assert [int(task.used_parts(tensors(rows), parts)) for parts in (12, 6, 4, 1)] == [7, 4, 3, 1]
    alone, packed = make_trainer(unpacked, BATCH), make_trainer(task, rows, micro_batches=4)
    alone.replica_step(tensors(BATCH))
    tf.function(packed.replica_step, jit_compile=True)(tensors(rows))
    assert_same_step(alone, packed)


def test_packed_examples_are_encoded_the_same_at_all_positions_or_only_where_they_are_read():
    model = make_task(num_hidden_layers=1).build_model().encoder
    rows = tensors(pack(BATCH, ROOM))
    inputs = {name: rows[name] for name in ("input_ids", "input_mask", "segment_ids")}
    starts, positions = rows["example_starts"], rows["masked_lm_positions"]
    everywhere = model(inputs, example_starts=starts)
    read = model(inputs, example_starts=starts, output_positions=positions)
    picked = tf.gather(everywhere["sequence_output"], positions, batch_dims=1)
    np.testing.assert_allclose(read["sequence_output"], picked, atol=1e-5)
    np.testing.assert_allclose(read["pooled_output"], everywhere["pooled_output"], atol=1e-5)
