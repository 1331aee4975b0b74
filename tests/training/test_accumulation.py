"""Gradient accumulation: many small parts train what the whole batch trains."""

import numpy as np
import pytest
import tensorflow as tf

from albert_tf.tasks.task import WeightedSum
from albert_tf.training.gradients import sum_over_parts
from tests.support.task_batches import NAMES, make_trainer, moments_of, task_and_batch


def assert_same_steps(one, other):
    for name, value in moments_of(one).items():
        np.testing.assert_allclose(moments_of(other)[name], value, atol=1e-6, err_msg=name)
    ours, theirs = (
        {name: float(value) for name, value in trainer.results().items()} for trainer in (other, one)
    )
    assert ours == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_parts_of_a_batch_give_its_gradients_and_metrics(name):
    task, batch = task_and_batch(name)
    # Every third record of pretraining has fewer predictions, so the parts differ in weight.
    whole, parts = make_trainer(task, batch), make_trainer(task, batch, micro_batches=4)
    for trainer in (whole, parts):
        trainer.replica_step(batch)
    assert_same_steps(whole, parts)


def test_neither_the_device_that_has_a_part_nor_recomputing_it_matters(two_devices):
    task, batch = task_and_batch("pretraining", dropout=0.1)
    one = make_trainer(task, batch, micro_batches=4)
    two = make_trainer(task, batch, micro_batches=2, strategy=two_devices, recompute=True)
    for _ in range(2):
        one.replica_step(batch)
    two.train(tf.constant(2))
    assert_same_steps(one, two)


def test_each_part_of_each_step_has_dropout_of_its_own():
    task, batch = task_and_batch("mnli")

    def draw(seed):
        return tf.random.stateless_uniform([], seed)

    def measure(model, part, training, dropout_seed, measure=task.measure):
        return measure(model, part, training, None) | {"accuracy": WeightedSum(draw(dropout_seed), 1.0)}

    task.measure = measure
    trainer = make_trainer(task, batch, micro_batches=2)
    draws = {float(draw(tf.random.fold_in([1, step], part))) for step in range(2) for part in range(2)}
    assert len(draws) == 4
    for _ in range(2):
        trainer.replica_step(batch)
    assert float(trainer.results()["accuracy"]) == pytest.approx(np.mean(list(draws)))


@pytest.mark.parametrize("name", NAMES)
def test_weights_of_losses_are_known_before_the_model_has_run(name):
    task, batch = task_and_batch(name)
    measured = task.measure(task.build_model("float32"), batch, training=False)
    weights = task.loss_weights(batch)
    assert set(weights) == set(task.losses)
    for loss in task.losses:
        assert float(weights[loss]) == float(measured[loss].weight)


def test_graph_does_not_grow_with_the_number_of_parts():
    def nodes(parts):
        @tf.function
        def total(values):
            return sum_over_parts(
                lambda number, part: tf.reduce_sum(part["x"] ** 2), {"x": values}, parts, 0.0, parts
            )

        graph = total.get_concrete_function(tf.TensorSpec([None, 3])).graph.as_graph_def()
        return len(graph.node) + sum(len(function.node_def) for function in graph.library.function)

    assert nodes(64) == nodes(2)


@pytest.mark.parametrize("known", [[6, 2], [None, 2], [6, None], [None, None]])
def test_parts_are_consecutive_and_keep_what_is_known_of_their_shape(known):
    shapes = []

    @tf.function(input_signature=[tf.TensorSpec(known)])
    def rows(values):
        def pick(number, part):
            shapes.append(part["x"].shape.as_list())
            place = tf.one_hot(number, 3)[:, None, None]
            return place * part["x"]

        return sum_over_parts(pick, {"x": values}, 3, tf.zeros([3, 2, 2]), 3)

    values = np.arange(12, dtype=np.float32).reshape(6, 2)
    np.testing.assert_array_equal(rows(values), values.reshape(3, 2, 2))
    assert shapes[0] == [known[0] and 2, known[1]]
