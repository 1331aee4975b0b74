"""The models with a head for a task: the original's numbers, saving and reloading."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from albert_tf.errors import InputError
from albert_tf.models.classification import (
    AlbertForMultipleChoice,
    AlbertForSequenceClassification,
    AlbertForTokenClassification,
)
from albert_tf.models.question_answering import AlbertForQuestionAnswering, AlbertForQuestionAnsweringV2
from albert_tf.tokenization.words import Shape
from tests.support.goldens import GOLDENS, TOLERANCE, config_of, fill_variables, inputs

MODELS = {
    "classifier_3way": lambda config: AlbertForSequenceClassification(config, num_labels=3),
    "sts_b": lambda config: AlbertForSequenceClassification(config, num_labels=1),
    "race": AlbertForMultipleChoice,
    "squad_v1": AlbertForQuestionAnswering,
    "squad_v2_train": lambda config: AlbertForQuestionAnsweringV2(config, dropout_prob=0.0),
    "squad_v2_infer": lambda config: AlbertForQuestionAnsweringV2(config, start_n_top=2, end_n_top=2),
}


def golden_model(name: str) -> tf_keras.Model:
    model = MODELS[name](config_of(GOLDENS[name]))
    fill_variables(GOLDENS[name], model.variables)
    return model


def race_inputs() -> dict[str, tf.Tensor]:
    return {name: tf.gather(value, [0, 1, 1, 0])[tf.newaxis] for name, value in inputs().items()}


def cross_entropy(labels, logits) -> np.ndarray:
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits).numpy()


def assert_close(ours, golden):
    np.testing.assert_allclose(ours, golden, rtol=TOLERANCE, atol=TOLERANCE)


def test_classifier_equals_the_original():
    outputs, golden = golden_model("classifier_3way")(inputs())["logits"], GOLDENS["classifier_3way"]
    assert_close(outputs, golden["outputs"]["logits"])
    assert_close(cross_entropy(golden["labels"], outputs).mean(), golden["outputs"]["loss"])


def test_regression_equals_the_original():
    outputs, golden = golden_model("sts_b")(inputs())["logits"], GOLDENS["sts_b"]
    assert_close(outputs[:, 0], golden["outputs"]["logits"])
    assert_close(np.mean((outputs[:, 0] - golden["labels"]) ** 2), golden["outputs"]["loss"])


def test_multiple_choice_equals_the_original():
    outputs, golden = golden_model("race")(race_inputs())["logits"], GOLDENS["race"]["outputs"]
    assert_close(outputs, golden["logits"])
    assert_close(cross_entropy([2], outputs)[0], golden["loss"])


def test_span_logits_equal_the_original():
    outputs, golden = golden_model("squad_v1")(inputs()), GOLDENS["squad_v1"]
    losses = [
        cross_entropy(golden["labels"][end], outputs[f"{end}_logits"]).mean() for end in ("start", "end")
    ]
    for name in ("start_logits", "end_logits"):
        assert_close(outputs[name], golden["outputs"][name])
    assert_close(np.mean(losses), golden["outputs"]["total_loss"])


def test_answers_that_may_not_exist_are_learned_as_in_the_original():
    golden, labels = GOLDENS["squad_v2_train"]["outputs"], GOLDENS["squad_v2_train"]["labels"]
    extra = {"p_mask": tf.constant(labels["p_mask"]), "start_positions": tf.constant(labels["start"])}
    outputs = golden_model("squad_v2_train")(inputs() | extra)
    for name in ("start_log_probs", "end_log_probs", "cls_logits"):
        assert_close(outputs[name], golden[name])
    start = -tf.gather(outputs["start_log_probs"], labels["start"], batch_dims=1).numpy().mean()
    end = -tf.gather(outputs["end_log_probs"], labels["end"], batch_dims=1).numpy().mean()
    impossible = tf.constant(labels["is_impossible"], tf.float32)
    answer = tf.nn.sigmoid_cross_entropy_with_logits(impossible, outputs["cls_logits"]).numpy().mean()
    assert_close([start, end, answer], [golden[f"{n}_loss"] for n in ("start", "end", "answerability")])
    assert_close(0.5 * (start + end + answer), golden["total_loss"])


def test_the_beam_of_spans_equals_the_original():
    golden = GOLDENS["squad_v2_infer"]
    extra = {"p_mask": tf.constant(golden["labels"]["p_mask"])}
    outputs = golden_model("squad_v2_infer")(inputs() | extra)
    assert outputs.keys() == golden["outputs"].keys()
    for name, value in golden["outputs"].items():
        assert_close(outputs[name], value)


def test_a_sequence_shorter_than_the_beam_gives_all_its_positions():
    model = AlbertForQuestionAnsweringV2(config_of(GOLDENS["squad_v1"]))
    outputs = model({"input_ids": tf.constant([[2, 5, 3]])})
    assert outputs["start_top_index"].shape == [1, 3]
    assert outputs["end_top_index"].shape == [1, 9]


def test_every_piece_gets_its_own_class():
    model = AlbertForTokenClassification(config_of(GOLDENS["squad_v1"]), num_labels=4)
    model.token_classifier.output_bias.assign([0, 1, 2, 3])
    outputs = model(inputs())["logits"]
    hidden = model.encoder(inputs())["sequence_output"].numpy()
    assert_close(outputs, hidden @ model.token_classifier.output_weights.numpy().T + np.arange(4))


def test_shapes_of_words_are_added_where_there_are_words():
    model = AlbertForTokenClassification(config_of(GOLDENS["squad_v1"]), num_labels=4, casing_feature=True)
    batch = inputs()
    with pytest.raises(InputError, match="needs word_shapes"):
        model(batch)
    shapes = np.zeros(batch["input_ids"].shape, np.int32)
    plain = model(batch | {"word_shapes": shapes})["logits"].numpy()
    model.shapes.vectors.assign(np.random.default_rng(0).normal(size=model.shapes.vectors.shape))
    np.testing.assert_array_equal(model(batch | {"word_shapes": shapes})["logits"], plain)
    shapes[0, 2] = Shape.UPPER
    added = model(batch | {"word_shapes": shapes})["logits"].numpy() - plain
    vector = model.shapes.vectors.numpy()[Shape.UPPER - 1]
    assert_close(added[0, 2], model.token_classifier.output_weights.numpy() @ vector)
    assert np.count_nonzero(added.any(axis=-1)) == 1


@pytest.mark.parametrize("name", ["classifier_3way", "race", "squad_v1", "squad_v2_infer", "tokens"])
def test_saved_and_reloaded_it_predicts_the_same(name, tmp_path):
    if name == "tokens":
        parts = {"crf": True, "casing_feature": True}
        model = AlbertForTokenClassification(config_of(GOLDENS["squad_v1"]), num_labels=4, **parts)
    else:
        model = golden_model(name)
    batch = race_inputs() if name == "race" else inputs()
    if name == "tokens":
        batch["word_shapes"] = tf.ones_like(batch["input_ids"])
    expected = model(batch)
    path = str(tmp_path / "model.keras")
    model.save(path)
    reloaded = tf_keras.models.load_model(path)
    assert reloaded.get_config() == model.get_config()
    for key, value in reloaded(batch).items():
        np.testing.assert_array_equal(value, expected[key])


def test_dropout_reaches_the_head_in_training_only():
    model = AlbertForSequenceClassification(config_of(GOLDENS["squad_v1"]), 2, classifier_dropout_prob=0.5)
    seeds = [tf.constant([1, 2]), tf.constant([1, 2]), tf.constant([3, 4])]
    first, again, other = (model(inputs(), training=True, dropout_seed=seed)["logits"] for seed in seeds)
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)
    np.testing.assert_array_equal(model(inputs())["logits"], model(inputs(), training=False)["logits"])
