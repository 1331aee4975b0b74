"""What users of Keras do with the models: compile, fit, with any optimizer, compiled, on several devices."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from albert_tf.errors import InputError
from albert_tf.layers.variables import variable_name
from albert_tf.models.encoder import INPUT_NAMES
from albert_tf.models.heads import HEADS, build_model
from albert_tf.testing import tiny_config
from albert_tf.training.optimization import LAMB, AdamW
from tests.support.task_batches import EXAMPLES, make_trainer, task_and_batch

IDS = np.array([[2, 5, 9, 3], [2, 7, 9, 3]], np.int32)
CLASSES = np.array([0, 1])
CROSSENTROPY = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def with_large_gradients(model: tf_keras.Model) -> tf_keras.Model:
    """Makes the norm of the gradients larger than 1, so that clipping counts."""
    model.classifier.output_weights.assign(30 * model.classifier.output_weights)
    return model


@pytest.fixture(scope="module")
def three_steps_of_the_loop():
    """The weights after them, the task and the batch."""
    task, batch = task_and_batch("mnli")
    trainer = make_trainer(task, batch, learning_rate=1.0)
    with_large_gradients(trainer.model)
    for _ in range(3):
        trainer.replica_step(batch)
        norms = [norm for name, norm in trainer.check().items() if name.startswith("gradient_norm")]
        assert np.linalg.norm(norms) > 1.5
    return trainer.model.variables, task, batch


@pytest.mark.parametrize("how", ["eagerly", "jit_compile", "two devices"])
def test_three_steps_of_fit_are_those_of_the_loop(how, two_devices, three_steps_of_the_loop):
    weights, task, batch = three_steps_of_the_loop
    tf_keras.utils.set_random_seed(1)
    with (two_devices if how == "two devices" else tf.distribute.get_strategy()).scope():
        model = with_large_gradients(task.build_model("float32"))
        optimizer = AdamW(1.0, epsilon=1.0, global_clipnorm=1.0)
        mode = {"run_eagerly": how == "eagerly", "jit_compile": how == "jit_compile"}
        model.compile(optimizer, CROSSENTROPY, **mode)
    inputs = {name: batch[name] for name in INPUT_NAMES}
    model.fit(inputs, batch["label_ids"], batch_size=EXAMPLES, epochs=3, shuffle=False, verbose=0)
    for ours, theirs in zip(model.variables, weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6, err_msg=variable_name(ours))


# Of a head: more inputs, its labels and its losses. Its outputs are `logits` if nothing else is said.
FITS = {
    "classification": ({}, CLASSES, CROSSENTROPY),
    "multiple_choice": ({}, np.array([1]), CROSSENTROPY),
    "token_classification": ({}, IDS % 2, CROSSENTROPY),
    "similarity": ({}, {"embedding": np.eye(len(IDS), 16)}, tf_keras.losses.CosineSimilarity()),
    "question_answering": ({}, dict.fromkeys(["start_logits", "end_logits"], CLASSES), CROSSENTROPY),
    "question_answering_v2": (
        {"start_positions": CLASSES},
        {"start_log_probs": CLASSES, "end_log_probs": CLASSES, "cls_logits": CLASSES},
        {
            "start_log_probs": CROSSENTROPY,
            "end_log_probs": CROSSENTROPY,
            "cls_logits": tf_keras.losses.BinaryCrossentropy(from_logits=True),
        },
    ),
    "pretraining": (
        {"masked_lm_positions": IDS[:, :1]},
        {"mlm_logits": IDS[:, 1:2], "sop_logits": CLASSES},
        CROSSENTROPY,
    ),
}


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [
        *((name, AdamW) for name in sorted(FITS.keys() | HEADS.keys() - {"encoder"})),
        ("classification", LAMB),
        ("classification", tf_keras.optimizers.Adam),
    ],
)
def test_every_head_learns_from_plain_losses_without_a_warning(name, optimizer, caplog):
    more, labels, loss = FITS[name]
    labels_of_head = 1 if name == "multiple_choice" else 2
    model = build_model(name, tiny_config(), {"output_weights": (labels_of_head, 16)})
    inputs = {"input_ids": IDS[np.newaxis] if name == "multiple_choice" else IDS, **more}
    table = model.encoder.embeddings.word_embeddings
    before = table.numpy()
    metrics = None if isinstance(labels, dict) else ["accuracy"]
    model.compile(optimizer(0.01), loss, metrics=metrics, run_eagerly=True)
    tf.get_logger().addHandler(caplog.handler)
    try:
        with caplog.at_level("WARNING", "tensorflow"):
            model.fit(inputs, labels, verbose=0)
    finally:
        tf.get_logger().removeHandler(caplog.handler)
    assert not caplog.records
    assert np.any(table.numpy() != before)


def test_a_checkpoint_has_moments_of_a_pooler_that_is_not_trained():
    """Checkpoints of earlier versions have them, and the optimizer of a run is built on all variables."""
    model = build_model("question_answering", tiny_config(), {})
    assert {variable_name(v) for v in model.non_trainable_variables} == {
        "bert/pooler/dense/kernel",
        "bert/pooler/dense/bias",
    }
    names = [variable_name(variable) for variable in model.variables]
    assert names[-4:] == [
        "bert/pooler/dense/kernel",
        "bert/pooler/dense/bias",
        "cls/squad/output_weights",
        "cls/squad/output_bias",
    ]


@pytest.mark.parametrize("arguments", [
    {"optimizer": keras.optimizers.Adam()},
    {"loss": keras.losses.SparseCategoricalCrossentropy()},
    {"loss": {"logits": keras.losses.sparse_categorical_crossentropy}},
    {"metrics": ["accuracy", keras.metrics.SparseCategoricalAccuracy()]},
])  # fmt: skip
def test_compile_refuses_objects_of_keras_3(arguments):
    model = build_model("classification", tiny_config(), {"output_weights": (2, 16)})
    with pytest.raises(InputError, match=r"compile: \w+ is of Keras 3 \(keras, tf.keras\); take it from tf_"):
        model.compile(**arguments)


def test_fit_and_optimizers_refuse_objects_of_keras_3():
    model = build_model("classification", tiny_config(), {"output_weights": (2, 16)})
    model.compile("adam", CROSSENTROPY)
    with pytest.raises(InputError, match="callbacks: EarlyStopping is of Keras 3"):
        model.fit({"input_ids": IDS}, CLASSES, callbacks=[keras.callbacks.EarlyStopping()])
    with pytest.raises(InputError, match="learning_rate: PolynomialDecay is of Keras 3"):
        LAMB(keras.optimizers.schedules.PolynomialDecay(0.1, 10))


@pytest.mark.parametrize("optimizer", [AdamW, LAMB])
def test_the_name_of_weight_decay_in_keras_is_refused_with_ours(optimizer):
    with pytest.raises(InputError, match="has no weight_decay: it is called weight_decay_rate here"):
        optimizer(0.1, weight_decay=0.01)


def test_a_row_that_is_looked_up_twice_is_clipped_by_the_norm_of_its_sum():
    table = tf.Variable(tf.zeros([2, 2]))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.gather(table, [0, 0]) * [3.0, 4.0])
    optimizer = AdamW(0.0, global_clipnorm=1.0)
    optimizer.minimize(loss, [table], tape=tape)
    moment = next(v for v in optimizer.variables if "adam_m" in v.name)
    np.testing.assert_allclose(moment, [[0.06, 0.08], [0, 0]], rtol=1e-5)  # (6, 8) / 10 / 10
