"""The encoder gives the original's numbers, and keeps its promises about shapes, masks and sharing."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from albert_tf.errors import InputError
from albert_tf.layers.variables import variable_name
from albert_tf.models.encoder import AlbertEncoder
from albert_tf.testing import tiny_config
from tests.support.goldens import GOLDENS, TOLERANCE, config_of, fill_variables, inputs

ENCODERS = ["encoder_shared", "encoder_4layers_2groups_inner2", "encoder_E_equals_H", "encoder_relu"]


def golden_encoder(name: str) -> AlbertEncoder:
    encoder = AlbertEncoder(config_of(GOLDENS[name]))
    fill_variables(GOLDENS[name], encoder.variables)
    return encoder


def tiny_encoder(**changes) -> AlbertEncoder:
    tf_keras.utils.set_random_seed(1)
    config = dataclasses.replace(config_of(GOLDENS["encoder_shared"]), initializer_range=0.5, **changes)
    return AlbertEncoder(config)


@pytest.mark.parametrize("name", ENCODERS)
def test_outputs_equal_the_original(name):
    outputs = golden_encoder(name)(inputs(), return_all_layers=True)
    golden = GOLDENS[name]["outputs"]
    for ours, theirs in [
        ("embedding_output", "embedding_output"),
        ("sequence_output", "sequence_output"),
        ("pooled_output", "pooled_output"),
    ]:
        np.testing.assert_allclose(outputs[ours], golden[theirs], atol=TOLERANCE)
    assert len(outputs["all_layer_outputs"]) == len(golden["all_layers"])
    for ours, theirs in zip(outputs["all_layer_outputs"], golden["all_layers"], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=TOLERANCE)


@pytest.mark.parametrize("name", ENCODERS)
def test_last_block_at_chosen_positions_equals_picking_them(name):
    encoder = golden_encoder(name)
    positions = tf.constant([[4, 0, 2], [1, 1, 5]])
    everywhere, there = encoder(inputs()), encoder(inputs(), output_positions=positions)
    picked = tf.gather(everywhere["sequence_output"], positions, batch_dims=1)
    np.testing.assert_allclose(there["sequence_output"], picked, atol=1e-6)
    np.testing.assert_allclose(there["pooled_output"], everywhere["pooled_output"], atol=1e-6)


def test_mask_and_segments_may_be_left_out():
    encoder = tiny_encoder()
    ids = inputs()["input_ids"]
    full = {"input_ids": ids, "input_mask": tf.ones_like(ids), "segment_ids": tf.zeros_like(ids)}
    np.testing.assert_array_equal(
        encoder({"input_ids": ids})["sequence_output"], encoder(full)["sequence_output"]
    )


def test_padding_changes_nothing_for_real_pieces():
    encoder = tiny_encoder()
    short = {name: value[:, :4] for name, value in inputs().items()}
    short["input_mask"] = tf.ones([2, 4], tf.int32)
    padded = {name: tf.pad(value, [[0, 0], [0, 3]]) for name, value in short.items()}
    garbage = padded | {"input_ids": padded["input_ids"] + [[0, 0, 0, 0, 5, 6, 7]]}
    expected = encoder(short)["sequence_output"]
    for batch in (padded, garbage):
        np.testing.assert_allclose(encoder(batch)["sequence_output"][:, :4], expected, atol=1e-6)


def test_attention_probabilities_sum_to_one_and_skip_padding():
    outputs = tiny_encoder()(inputs(), return_attention_probs=True)
    assert len(outputs["attention_probs"]) == 3
    for probs in outputs["attention_probs"]:
        assert probs.shape == [2, 2, 6, 6]
        np.testing.assert_allclose(tf.reduce_sum(probs, -1), 1.0, atol=1e-6)
        np.testing.assert_array_equal(probs[1, :, :, 4:], 0.0)


def test_any_length_up_to_the_position_table():
    encoder = tiny_encoder()
    for length in (1, 8):
        outputs = encoder({"input_ids": tf.ones([3, length], tf.int32)})
        assert outputs["sequence_output"].shape == [3, length, 6]
    with pytest.raises(InputError, match="9 pieces is longer than the 8 positions"):
        encoder({"input_ids": tf.ones([3, 9], tf.int32)})


def test_too_long_is_refused_where_the_length_is_known_only_at_run_time():
    encoder = tiny_encoder()
    encode = tf.function(
        lambda ids: encoder({"input_ids": ids})["pooled_output"],
        input_signature=[tf.TensorSpec([None, None], tf.int32)],
    )
    assert encode(tf.ones([2, 8], tf.int32)).shape == [2, 6]
    with pytest.raises(tf.errors.InvalidArgumentError, match="longer than the 8 positions"):
        encode(tf.ones([2, 9], tf.int32))


@pytest.mark.parametrize(("sharing", "attention_sets", "ffn_sets"), [
    ("all", 1, 1), ("attention", 1, 4), ("ffn", 4, 1), ("none", 4, 4),
])  # fmt: skip
def test_sharing_modes_share_what_they_say(sharing, attention_sets, ffn_sets):
    encoder = tiny_encoder(num_hidden_layers=4, cross_layer_sharing=sharing)
    names = {variable_name(v) for v in encoder.variables}
    assert sum(n.endswith("attention_1/self/query/kernel") for n in names) == attention_sets
    assert sum(n.endswith("ffn_1/intermediate/dense/kernel") for n in names) == ffn_sets
    assert len(names) == len(encoder.variables)


def test_unshared_layers_with_equal_weights_compute_what_shared_ones_do():
    shared = tiny_encoder(num_hidden_layers=4)
    by_name = {variable_name(v): v for v in shared.variables}
    for sharing in ("attention", "ffn", "none"):
        unshared = tiny_encoder(num_hidden_layers=4, cross_layer_sharing=sharing)
        for variable in unshared.variables:
            name = variable_name(variable)
            for group in range(4):
                name = name.replace(f"group_{group}/inner", "group_0/inner")
            variable.assign(by_name[name])
        np.testing.assert_array_equal(
            unshared(inputs())["sequence_output"], shared(inputs())["sequence_output"]
        )


def test_dropout_repeats_with_its_seed_and_is_off_outside_training():
    encoder = tiny_encoder(hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5)
    still = encoder(inputs())["sequence_output"]

    def train(seed):
        return encoder(inputs(), training=True, dropout_seed=tf.constant(seed))["sequence_output"]

    np.testing.assert_array_equal(train([1, 2]), train([1, 2]))
    assert np.abs(train([1, 2]) - train([1, 3])).max() > 0.1
    assert np.abs(train([1, 2]) - still).max() > 0.1
    np.testing.assert_array_equal(encoder(inputs(), training=False)["sequence_output"], still)


def test_dropout_stands_only_where_the_original_has_it():
    """Every dropped tensor is a direct use of `dropout`: the graph holds one mask per place of the paper."""
    encoder = tiny_encoder(hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5)
    graph = tf.function(
        lambda: encoder(inputs(), training=True, dropout_seed=tf.constant([1, 2]))["pooled_output"]
    ).get_concrete_function().graph  # fmt: skip
    masks = [op for op in graph.get_operations() if op.type == "StatelessRandomUniformV2"]
    # The embeddings, then in each of 3 layers: probabilities, attention output, feed-forward output.
    assert len(masks) == 1 + 3 * 3


def test_mixed_bfloat16_stays_close_and_keeps_float32_variables():
    tf_keras.utils.set_random_seed(1)
    config = tiny_config()
    exact = AlbertEncoder(config)
    mixed = AlbertEncoder(config, dtype="mixed_bfloat16")
    mixed.set_weights(exact.get_weights())
    batch = {"input_ids": tf.random.uniform([2, 10], maxval=160, dtype=tf.int32)}
    output = mixed(batch)["sequence_output"]
    assert output.dtype == tf.bfloat16
    assert all(v.dtype == tf.float32 for v in mixed.trainable_variables)
    np.testing.assert_allclose(tf.cast(output, tf.float32), exact(batch)["sequence_output"], atol=0.05)


def test_compiles_with_xla():
    encoder = tiny_encoder()
    compiled = tf.function(lambda batch: encoder(batch)["sequence_output"], jit_compile=True)
    np.testing.assert_allclose(compiled(inputs()), encoder(inputs())["sequence_output"], atol=1e-5)
