"""Optimizers and schedule give the original's trajectories."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from albert_tf.training.optimization import LAMB, OPTIMIZERS, AdamW, WarmupPolynomialDecay
from tests.support.goldens import GOLDENS, fill

WEIGHTS = [[0.1, -0.2], [0.3, 0.4]]
GRADIENT = tf.constant([[0.01, -0.02], [0.5, -1.0]])


@pytest.mark.parametrize("name", ["adamw", "lamb"])
def test_three_steps_equal_the_original(name):
    golden = GOLDENS["optimizers"]
    optimizer = OPTIMIZERS[name](learning_rate=0.1)
    variables = [tf.Variable(fill(shape, k), name=n) for k, (n, shape) in enumerate(golden["names"])]
    gradients = [
        tf.constant(np.float32(0.3 * np.cos(0.9 * np.arange(np.prod(shape)) + k)).reshape(shape))
        for k, (_, shape) in enumerate(golden["names"])
    ]
    for expected in golden[name]:
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        for variable, (n, _) in zip(variables, golden["names"], strict=True):
            np.testing.assert_allclose(variable, expected[n], atol=1e-6, err_msg=n)


@pytest.mark.parametrize(("optimizer_class", "name", "expected"), [
    (LAMB, "dense/kernel", [[0.0726629, -0.1726111], [0.2725609, 0.4273793]]),
    (AdamW, "dense/kernel", [[-0.2153310, 0.1159286], [-0.0165077, 0.7158178]]),
    (LAMB, "dense/bias", [[-0.2152309, 0.1157286], [-0.0162077, 0.7162178]]),
    (AdamW, "dense/bias", [[-0.2152309, 0.1157286], [-0.0162077, 0.7162178]]),
])  # fmt: skip
def test_first_step_decays_and_adapts_by_name(optimizer_class, name, expected):
    variable = tf.Variable(WEIGHTS, name=name)
    optimizer_class(learning_rate=0.1).apply_gradients([(GRADIENT, variable)])
    np.testing.assert_allclose(variable, expected, atol=1e-6)


@pytest.mark.parametrize("case", GOLDENS["lr_schedule"], ids=lambda case: f"warmup {case['warmup']}")
def test_schedule_equals_the_original(case):
    schedule = WarmupPolynomialDecay(
        case["init_lr"], case["total"], case["warmup"], case["power"], case["start_warmup_step"]
    )
    for step, rate in case["lr"].items():
        # Before its offset warm-up the original has a negative rate; here it is 0.
        np.testing.assert_allclose(schedule(int(step)), max(rate, 0.0), rtol=1e-6, atol=1e-9)


def test_first_update_with_warmup_moves_nothing_but_fills_the_moments():
    variable = tf.Variable(WEIGHTS, name="dense/kernel")
    optimizer = LAMB(WarmupPolynomialDecay(0.1, num_train_steps=10, num_warmup_steps=2))
    optimizer.apply_gradients([(GRADIENT, variable)])
    np.testing.assert_array_equal(variable, np.float32(WEIGHTS))
    moments = {slot: v for v in optimizer.variables for slot in ("adam_m", "adam_v") if slot in v.name}
    np.testing.assert_allclose(moments["adam_m"], 0.1 * GRADIENT, rtol=1e-6)
    np.testing.assert_allclose(moments["adam_v"], 0.001 * GRADIENT**2, rtol=1e-4)
    optimizer.apply_gradients([(GRADIENT, variable)])
    assert np.abs(variable - np.float32(WEIGHTS)).min() > 0


def test_lamb_ratio_is_one_where_a_norm_is_zero():
    for weights, gradient in [(tf.zeros([2, 2]), GRADIENT), (tf.zeros([2, 2]), tf.zeros([2, 2]))]:
        variable = tf.Variable(weights, name="dense/kernel")
        adam = tf.Variable(weights, name="dense/kernel")
        LAMB(learning_rate=0.1).apply_gradients([(gradient, variable)])
        AdamW(learning_rate=0.1).apply_gradients([(gradient, adam)])
        np.testing.assert_array_equal(variable, adam)


@pytest.mark.parametrize("optimizer_class", [AdamW, LAMB])
def test_config_round_trip_keeps_everything(optimizer_class):
    optimizer = optimizer_class(
        WarmupPolynomialDecay(0.002, 100, 10, 0.5, 3),
        weight_decay_rate=0.02,
        beta_1=0.8,
        beta_2=0.99,
        epsilon=1e-5,
        excluded=["gamma"],
    )
    restored = tf_keras.optimizers.deserialize(tf_keras.optimizers.serialize(optimizer))
    assert type(restored) is optimizer_class
    assert restored.get_config() == optimizer.get_config()
    assert restored.excluded == ("gamma",)
    assert float(restored._learning_rate(7)) == float(optimizer._learning_rate(7))
