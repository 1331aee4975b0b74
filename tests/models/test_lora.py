"""LoRA: each layer's own factors on the shared projections; freezing, and rates by layer."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from albert_tf import load_weights, testing
from albert_tf.checkpoints.assets import Assets
from albert_tf.checkpoints.conversion import Conversion, convert
from albert_tf.checkpoints.tensorflow import write_native
from albert_tf.errors import InputError, InputWarning
from albert_tf.layers.variables import variable_name
from albert_tf.models.classification import AlbertForSequenceClassification
from albert_tf.models.encoder import AlbertEncoder
from albert_tf.training.optimization import AdamW
from albert_tf.training.single_layers import layer_rates
from tests.support.checkpoint_files import randomize

SHAPE = {"num_hidden_layers": 4, "num_hidden_groups": 2, "inner_group_num": 2}
INPUTS = {"input_ids": tf.constant([[2, 7, 9, 3], [2, 5, 3, 0]]), "input_mask": [[1, 1, 1, 1], [1, 1, 1, 0]]}


def outputs_of(model):
    return model(INPUTS)["sequence_output"].numpy()


def saved(folder, model):
    """Weights of this package with their config."""
    write_native(str(folder / "model.ckpt"), model)
    Assets(config=model.config).write(str(folder))
    return str(folder / "model.ckpt")


def test_fresh_factors_change_nothing_and_are_trained_with_the_head_alone(tmp_path):
    config = testing.tiny_config(**SHAPE)
    base = randomize(AlbertEncoder(config))
    model = AlbertForSequenceClassification(dataclasses.replace(config, lora_rank=3), 2)
    report = load_weights(model.encoder, saved(tmp_path, base))
    assert not report.torn
    assert len(report.missing) == 8 * 4
    np.testing.assert_array_equal(outputs_of(model.encoder), outputs_of(base))
    trained = {variable_name(v).rsplit("/", 2)[0] for v in model.trainable_variables}
    assert {name for name in trained if "lora" not in name} == {
        "bert/pooler",
        "output_weights",
        "output_bias",
    }
    assert len(model.trainable_variables) == 8 * 4 + 2 + 2
    assert model.encoder.count_params() == sum(
        model.config.parameter_count()[k] for k in ("embeddings", "encoder", "pooler")
    )


def test_each_layer_has_a_difference_of_its_own():
    config = testing.tiny_config(num_hidden_layers=2, lora_rank=1)
    model = randomize(AlbertEncoder(config))
    before = model(INPUTS, return_all_layers=True)["all_layer_outputs"]
    model.encoder.lora[1].factors[1].assign_add(tf.ones([1, config.hidden_size]))
    after = model(INPUTS, return_all_layers=True)["all_layer_outputs"]
    np.testing.assert_array_equal(before[0], after[0])
    assert np.abs(before[1] - after[1]).max() > 1e-3


@pytest.mark.parametrize("sharing", ["all", "ffn"])
def test_merged_weights_give_the_same(tmp_path, sharing):
    config = testing.tiny_config(**SHAPE, cross_layer_sharing=sharing, lora_rank=2)
    model = randomize(AlbertEncoder(config))
    for folder in ("separate", "merged"):
        (tmp_path / folder).mkdir()
    path = saved(tmp_path / "separate", model)
    merged = Conversion(input=path, output=str(tmp_path / "merged"), output_format="tf2", head="encoder")
    with pytest.warns(InputWarning, match="no vocabulary was found"):
        converted = convert(merged)
    assert converted.model.config.lora_rank is None
    assert converted.model.config.has_layers_of_their_own
    np.testing.assert_allclose(outputs_of(converted.model), outputs_of(model), atol=2e-5)


def test_a_config_without_the_factors_is_refused(tmp_path):
    config = testing.tiny_config(lora_rank=2)
    path = saved(tmp_path, AlbertEncoder(config))
    with pytest.raises(InputError, match=r"has LoRA factors.* needs their lora_rank"):
        load_weights(AlbertEncoder(dataclasses.replace(config, lora_rank=None)), path)
    with pytest.raises(InputError, match="lora_rank must be a whole number from 1"):
        dataclasses.replace(config, lora_rank=0)


def test_lower_layers_get_lower_rates():
    config = testing.tiny_config(num_hidden_layers=2, cross_layer_sharing="none")
    model = AlbertForSequenceClassification(config, 2)
    factors = layer_rates(model.variables, 2, 0.5)
    group = "bert/encoder/transformer/group_{}/inner_group_0/attention_1/self/query/kernel"
    assert [factors[group.format(layer)] for layer in (0, 1)] == [0.25, 0.5]
    assert factors["bert/embeddings/word_embeddings"] == 0.125
    assert not {"output_weights", "bert/pooler/dense/kernel"} & factors.keys()

    low, high = tf.Variable([1.0], name="low"), tf.Variable([1.0], name="high")
    optimizer = AdamW(0.1, weight_decay_rate=0, rate_factors={"low": 0.5})
    optimizer.apply_gradients([(tf.constant([3.0]), low), (tf.constant([3.0]), high)])
    np.testing.assert_allclose(1 - low.numpy(), 0.5 * (1 - high.numpy()), rtol=1e-6)
    assert AdamW.from_config(optimizer.get_config()).rate_factors == {"low": 0.5}


def test_frozen_layers_are_not_trained():
    config = testing.tiny_config(num_hidden_layers=2, cross_layer_sharing="none")
    model = AlbertEncoder(config)
    model.freeze(1)
    trained = {variable_name(v) for v in model.trainable_variables}
    assert not any("/group_0/" in name or "embedding" in name for name in trained)
    assert any("/group_1/" in name for name in trained)
