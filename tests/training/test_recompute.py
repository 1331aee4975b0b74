"""Gradient checkpointing: the same gradients, with less memory at a time."""

import numpy as np
import pytest
import tensorflow as tf

from albert_tf.models.encoder import AlbertEncoder
from albert_tf.testing import tiny_config
from tests.support.task_batches import make_trainer, moments_of, task_and_batch


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_steps_are_the_same_with_dropout(precision):
    task, batch = task_and_batch("pretraining", dropout=0.1)
    kept, recomputed = (
        make_trainer(task, batch, recompute=recompute, precision=precision) for recompute in (False, True)
    )
    for trainer in (kept, recomputed):
        trainer.replica_step(batch)
    for name, value in moments_of(kept).items():
        np.testing.assert_allclose(moments_of(recomputed)[name], value, atol=1e-6, err_msg=name)


def peak_of_live_bytes(graph: tf.Graph) -> int:
    """The most memory in use at a time, if operations run in the order of their creation."""
    operations = graph.get_operations()
    last_use = {}
    for number, operation in enumerate(operations):
        for value in (*operation.inputs, *operation.outputs):
            last_use[value.ref()] = number
    alive = peak = 0
    ends: dict[int, int] = {}
    for number, operation in enumerate(operations):
        for value in operation.outputs:
            if value.dtype != tf.resource and value.shape.is_fully_defined():
                size = value.shape.num_elements() * value.dtype.size
                alive += size
                ends[last_use[value.ref()]] = ends.get(last_use[value.ref()], 0) + size
        peak = max(peak, alive)
        alive -= ends.pop(number, 0)
    return peak


def test_what_is_alive_grows_less_with_the_number_of_layers():
    peaks = {}
    for recompute in (False, True):
        for layers in (2, 4):
            config = tiny_config(
                num_hidden_layers=layers, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1
            )
            encoder = AlbertEncoder(config)
            encoder.recompute = recompute

            @tf.function
            def gradients(encoder=encoder):
                ids = tf.ones([4, 64], tf.int32)
                with tf.GradientTape() as tape:
                    outputs = encoder({"input_ids": ids}, training=True, dropout_seed=tf.constant([1, 2]))
                    loss = tf.reduce_sum(outputs["sequence_output"])
                return tape.gradient(loss, encoder.trainable_variables[:-2])

            peaks[recompute, layers] = peak_of_live_bytes(gradients.get_concrete_function().graph)
    of_a_layer = {way: (peaks[way, 4] - peaks[way, 2]) / 2 for way in (False, True)}
    hidden = 4 * 64 * 16 * 4
    assert of_a_layer[True] < 4 * hidden
    assert of_a_layer[False] > 10 * of_a_layer[True]


def test_attention_probabilities_are_still_there_for_those_who_ask():
    encoder = AlbertEncoder(tiny_config())
    encoder.recompute = True
    ids = tf.ones([1, 4], tf.int32)
    outputs = encoder({"input_ids": ids}, training=True, return_attention_probs=True)
    assert [probs.shape.as_list() for probs in outputs["attention_probs"]] == [[1, 2, 4, 4]] * 2
