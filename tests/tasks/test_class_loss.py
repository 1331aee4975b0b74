"""The losses of classes: numbers worked out by hand, and one line for weights that do not fit."""

import json

import numpy as np
import pytest
import tensorflow as tf

from albert_tf.errors import InputError
from albert_tf.tasks.class_loss import ClassLoss, LossSettings
from albert_tf.tasks.classification.classification_task import ClassificationTask
from albert_tf.tasks.classification.glue import TASKS
from albert_tf.testing import tiny_config

CHANCES = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1]])
LABELS = tf.constant([0, 2])


def losses(weights=(), **settings):
    loss = ClassLoss(LossSettings(**settings), weights)
    return loss.of_class(LABELS, tf.constant(np.log(CHANCES), tf.float32)).numpy()


def test_the_loss_of_a_class():
    plain = -np.log([0.7, 0.1])
    assert losses() == pytest.approx(plain)
    assert losses(weights=(0.5, 1.0, 4.0)) == pytest.approx(plain * [0.5, 4])
    assert losses(loss="focal") == pytest.approx(plain * [0.3**2, 0.9**2])
    smoothed = 0.7 * plain - 0.3 * np.log(CHANCES).mean(axis=1)
    assert losses(label_smoothing=0.3) == pytest.approx(smoothed)


def test_the_loss_of_several_labels_is_their_mean():
    chances, is_set = np.array([[0.8, 0.4]]), np.array([[1, 0]])
    logits = tf.constant(np.log(chances / (1 - chances)), tf.float32)

    def loss(weights=(), **settings):
        return ClassLoss(LossSettings(**settings), weights).of_labels(is_set, logits).numpy()[0]

    plain = -np.log([0.8, 0.6])
    assert loss() == pytest.approx(plain.mean())
    assert loss(weights=(3.0, 5.0)) == pytest.approx((plain * [3, 1]).mean())  # of labels that are set
    assert loss(loss="focal") == pytest.approx((plain * [0.2**2, 0.4**2]).mean())
    spread = -np.log([[0.8, 0.2], [0.6, 0.4]]) @ [0.9, 0.1]
    assert loss(label_smoothing=0.2) == pytest.approx(spread.mean())


def test_balanced_weights_are_those_of_scikit_learn():
    chosen = ClassLoss.chosen(LossSettings(class_weights="balanced"), "abcd", np.array([0, 0, 0, 1, 2, 2]))
    assert chosen.weights == pytest.approx((6 / 12, 6 / 4, 6 / 8, 1))  # the last class does not occur
    assert chosen.name == "weighted_cross_entropy"
    sets = np.array([[1, 0, 1], [0, 0, 1], [0, 0, 1]])
    assert ClassLoss.chosen(chosen.settings, "abc", sets).weights == pytest.approx((2, 1, 1))


def test_weights_come_from_a_file(tmp_path):
    path = tmp_path / "weights.json"

    def chosen(content):
        path.write_text(json.dumps(content))
        return ClassLoss.chosen(LossSettings(class_weights=str(path)), ["no", "yes"], np.array([0, 1]))

    assert chosen({"yes": 3, "no": 1}).weights == (1, 3)
    for content, message in [
        ({"yes": 3}, "lacks a weight for 'no'"),
        ({"yes": 3, "no": 1, "perhaps": 1}, "'perhaps' is not one of the labels no, yes"),
        ({"yes": 3, "no": 0}, "the weight of 'no' must be more than 0, not 0"),
        ({"yes": "3", "no": 1}, "expected `float`, got `str`"),
    ]:
        with pytest.raises(InputError) as caught:
            chosen(content)
        assert str(caught.value).startswith(str(path))
        assert message in str(caught.value)


def test_a_score_has_no_loss_of_classes():
    with pytest.raises(
        InputError, match="--loss, --label_smoothing, --class_weights: sts-b predicts a score"
    ):
        ClassificationTask(
            TASKS["sts-b"], {}, {}, loss=LossSettings(loss="focal"), config=tiny_config(), max_seq_length=8
        )
