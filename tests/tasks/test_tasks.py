"""The tasks of the benchmarks: the original's losses, and what compiles."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from albert_tf import testing
from albert_tf.tasks.classification.classification_task import ClassificationTask
from albert_tf.tasks.classification.glue import TASKS
from albert_tf.tasks.race import RaceTask
from albert_tf.tasks.squad import span_measures as heads
from albert_tf.tasks.squad.squad_task import SquadTask
from albert_tf.training.optimization import AdamW
from albert_tf.training.train_step import Trainer
from tests.support.goldens import GOLDENS, TOLERANCE, config_of, fill_variables, inputs
from tests.support.task_batches import task_and_batch

NAMES = ["classifier_3way", "sts_b", "race", "squad_v1", "squad_v2_train"]


def golden_task(name: str):
    """The task of a golden block, its batch, and the name of its loss."""
    config = config_of(GOLDENS[name])
    if name == "race":
        batch = {key: tf.gather(value, [0, 1, 1, 0])[tf.newaxis] for key, value in inputs().items()}
        return RaceTask({}, {}, config=config, max_seq_length=6), batch | {"label_ids": tf.constant([2])}
    if name.startswith("squad"):
        labels = GOLDENS[name]["labels"]
        columns = [labels["start"], labels["end"], labels.get("is_impossible", [0, 0])]
        version = "1.1" if name == "squad_v1" else "2.0"
        task = SquadTask(version, {}, {}, config=config, max_seq_length=6, pad_to=(6,))
        return task, inputs() | {"label_ids": tf.transpose(tf.constant(columns))}
    text_task = TASKS["sts-b" if name == "sts_b" else "mnli"]
    task = ClassificationTask(text_task, {}, {}, config=config, max_seq_length=6)
    return task, inputs() | {"label_ids": tf.constant(GOLDENS[name]["labels"])}


@pytest.mark.parametrize("name", NAMES)
def test_losses_equal_the_originals(name, monkeypatch):
    task, batch = golden_task(name)
    if name == "squad_v2_train":  # its segments are not those of question and context
        p_mask = tf.constant(GOLDENS[name]["labels"]["p_mask"], tf.float32)
        monkeypatch.setattr(heads, "p_mask", lambda batch: p_mask)
    model = task.build_model()
    fill_variables(GOLDENS[name], model.variables)
    measured = task.measure(model, batch, training=False)
    loss = sum(measured[name].total / measured[name].weight for name in task.losses)
    outputs = GOLDENS[name]["outputs"]
    np.testing.assert_allclose(loss, outputs.get("loss", outputs.get("total_loss")), rtol=TOLERANCE)


@pytest.mark.parametrize("name", [*NAMES, "tagging"])
def test_whole_step_compiles_with_xla_and_does_the_same(name):
    task, batch = task_and_batch(name) if name == "tagging" else golden_task(name)
    task.config, task.dropout_prob = testing.tiny_config(num_hidden_layers=1), 0.0  # XLA draws other dropout
    weights = []
    for compiled in (False, True):
        tf_keras.utils.set_random_seed(1)
        model = task.build_model()
        optimizer = AdamW(0.01, epsilon=1.0)  # so that gradients near 0 are not blown up
        optimizer.build(model.trainable_variables)
        trainer = Trainer(
            task=task,
            model=model,
            optimizer=optimizer,
            strategy=tf.distribute.get_strategy(),
            make_batches=lambda: tf.data.Dataset.from_tensors(batch).repeat(),
            seed=1,
            after_step=lambda steps: None,
            jit_compile=compiled,
        )
        trainer.train(tf.constant(1))
        weights.append(model.get_weights())
    for plain, compiled in zip(*weights, strict=True):
        np.testing.assert_allclose(compiled, plain, atol=1e-7)


@pytest.mark.parametrize("name", ["classifier_3way", "sts_b", "race"])  # SQuAD's: test_squad_task.py
def test_whole_prediction_compiles_with_xla_and_gives_the_same(name):
    task, batch = golden_task(name)
    model = task.build_model()
    fill_variables(GOLDENS[name], model.variables)
    batch["example_index"] = tf.range(len(batch["label_ids"]))
    plain = task.outputs(model, batch)
    compiled = tf.function(lambda batch: task.outputs(model, batch), jit_compile=True)(batch)
    for name, values in plain.items():
        np.testing.assert_allclose(compiled[name], values, rtol=1e-5, atol=1e-6)
