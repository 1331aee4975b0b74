"""The pretraining model: the original's losses, what gradients reach, saving and reloading."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from albert_tf.models.pretraining import AlbertForPreTraining
from albert_tf.tasks.pretraining import PretrainingTask
from tests.support.goldens import GOLDENS, TOLERANCE, config_of, fill_variables, inputs

GOLDEN = GOLDENS["pretraining"]


def positioned() -> dict[str, tf.Tensor]:
    return inputs() | {"masked_lm_positions": tf.constant(GOLDEN["labels"]["masked_lm_positions"])}


def batch() -> dict[str, tf.Tensor]:
    labels = GOLDEN["labels"]
    return positioned() | {
        "masked_lm_ids": tf.constant(labels["masked_lm_ids"]),
        "masked_lm_weights": tf.constant(labels["masked_lm_weights"]),
        "next_sentence_labels": tf.reshape(tf.constant(labels["next_sentence_labels"]), [-1]),
    }


@pytest.fixture
def model() -> AlbertForPreTraining:
    model = AlbertForPreTraining(config_of(GOLDEN))
    fill_variables(GOLDEN, model.variables)
    return model


def losses(model) -> dict[str, tf.Tensor]:
    task = PretrainingTask(model.config, [], [], max_seq_length=6)
    measured = task.measure(model, batch(), training=False)
    return {name: part.total / (part.weight + part.epsilon) for name, part in measured.items()}


def test_log_probabilities_equal_the_original(model):
    outputs, golden = model(positioned()), GOLDEN["outputs"]
    mlm = tf.nn.log_softmax(tf.reshape(outputs["mlm_logits"], [6, -1]))
    np.testing.assert_allclose(mlm, golden["masked_lm_log_probs"], atol=TOLERANCE)
    sop = tf.nn.log_softmax(outputs["sop_logits"])
    np.testing.assert_allclose(sop, golden["sentence_order_log_probs"], atol=TOLERANCE)


def test_losses_equal_the_original(model):
    measured, golden = losses(model), GOLDEN["outputs"]
    np.testing.assert_allclose(measured["masked_lm_loss"], golden["masked_lm_loss"], atol=TOLERANCE)
    np.testing.assert_allclose(measured["sentence_order_loss"], golden["sentence_order_loss"], atol=TOLERANCE)
    total = measured["masked_lm_loss"] + measured["sentence_order_loss"]
    np.testing.assert_allclose(total, golden["total_loss"], atol=TOLERANCE)


def test_accuracies_count_real_predictions_only(model):
    outputs = GOLDEN["outputs"]
    labels = np.ravel(GOLDEN["labels"]["masked_lm_ids"])
    weights = np.ravel(GOLDEN["labels"]["masked_lm_weights"])
    right = np.argmax(outputs["masked_lm_log_probs"], -1) == labels
    measured = losses(model)
    np.testing.assert_allclose(measured["masked_lm_accuracy"], np.sum(right * weights) / 3, atol=1e-6)
    orders = np.ravel(GOLDEN["labels"]["next_sentence_labels"])
    right = np.argmax(outputs["sentence_order_log_probs"], -1) == orders
    np.testing.assert_allclose(measured["sentence_order_accuracy"], right.mean())


def test_without_positions_every_position_is_predicted(model):
    everywhere = model(inputs())["mlm_logits"]
    assert everywhere.shape == [2, 6, 11]
    picked = tf.gather(everywhere, batch()["masked_lm_positions"], batch_dims=1)
    np.testing.assert_allclose(model(positioned())["mlm_logits"], picked, atol=1e-5)


@pytest.mark.parametrize("sharing", ["all", "none"])
def test_gradients_reach_every_variable(sharing):
    config = config_of(GOLDEN | {"config": GOLDEN["config"] | {"cross_layer_sharing": sharing}})
    tf_keras.utils.set_random_seed(1)
    model = AlbertForPreTraining(config)
    with tf.GradientTape() as tape:
        outputs = model(positioned(), training=True)
        loss = tf.reduce_sum(outputs["mlm_logits"] ** 2) + tf.reduce_sum(outputs["sop_logits"] ** 2)
    gradients = tape.gradient(loss, model.trainable_variables)
    unreached = [
        variable.name
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
        # Softmax does not change when all scores move together, so a key's bias has no gradient.
        if (gradient is None or not np.any(tf.convert_to_tensor(gradient)))
        and "key/bias" not in variable.name
    ]
    assert unreached == []


@pytest.mark.parametrize("suffix", [".keras", ""])
def test_saved_and_reloaded_it_predicts_the_same(tmp_path, suffix):
    model = AlbertForPreTraining(dataclasses.replace(config_of(GOLDEN), num_hidden_layers=1))
    fill_variables(GOLDEN, model.variables)
    expected = model(positioned())
    path = str(tmp_path / f"model{suffix}")
    model.save(path)
    reloaded = tf_keras.models.load_model(path)
    assert reloaded.config == model.config
    for name, value in reloaded(positioned()).items():
        np.testing.assert_array_equal(value, expected[name])


def test_checkpoint_restores_into_a_new_model(model, tmp_path):
    path = tf.train.Checkpoint(model=model).save(str(tmp_path / "ckpt"))
    fresh = AlbertForPreTraining(model.config)
    tf.train.Checkpoint(model=fresh).restore(path).assert_consumed()
    for ours, theirs in zip(fresh.variables, model.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_train_step_compiles_with_xla(model):
    task = PretrainingTask(model.config, [], [], max_seq_length=6)

    def loss_and_gradients():
        with tf.GradientTape() as tape:
            measured = task.measure(model, batch(), training=True, dropout_seed=tf.constant([1, 2]))
            loss = tf.add_n([measured[name].total for name in task.losses])
        return loss, [tf.convert_to_tensor(g) for g in tape.gradient(loss, model.trainable_variables)]

    plain_loss, plain = loss_and_gradients()
    compiled_loss, compiled = tf.function(loss_and_gradients, jit_compile=True)()
    np.testing.assert_allclose(compiled_loss, plain_loss, rtol=1e-5)
    for ours, theirs in zip(compiled, plain, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
