"""Objectives of sentence vectors: values by hand, and steps that do not depend on parts and devices."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from albert_tf.errors import InputError
from albert_tf.tasks.similarity.objectives import contrastive_losses, cosines, fingerprints, likeness
from albert_tf.tasks.similarity.similarity_task import SimilarityTask, Vectors
from albert_tf.testing import tiny_config
from albert_tf.training.divergence import Diverged
from tests.support.task_batches import make_trainer, moments_of

LENGTH, EXAMPLES, SEED = 12, 8, 5


def task_and_batch(objective: str, dropout: float = 0.0, **made):
    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    config = tiny_config(
        vocab_size=20, max_position_embeddings=LENGTH, initializer_range=0.25, num_hidden_layers=1, **rates
    )
    vectors = Vectors(objective=objective, temperature=0.5, **made)
    task = SimilarityTask(vectors, {}, {}, config=config, max_seq_length=LENGTH, dropout_prob=dropout or 1e-9)
    rng = np.random.default_rng(0)
    texts = {"cosine": (2,), "contrastive": (3,), "unsupervised": ()}[objective]
    mask = np.arange(LENGTH) < rng.integers(4, LENGTH, [EXAMPLES, *texts, 1])
    ids = np.where(mask, rng.integers(2, 20, mask.shape), 0)
    ids[5], mask[5] = ids[2], mask[2]  # a text that is there twice
    arrays = {"input_ids": ids, "input_mask": mask, "segment_ids": 0 * ids}
    batch = {name: tf.constant(values, tf.int32) for name, values in arrays.items()}
    return task, batch | {"label_ids": tf.constant(rng.random(EXAMPLES), tf.float32)}


def softmax_loss(logits, own):
    return -logits[own] + np.log(np.exp(logits).sum())


def test_a_contrastive_loss_compares_with_partners_and_hard_negatives():
    angles = np.array([[0.0, 0.3, 0.9], [1.2, 1.0, 2.5]])
    vectors = np.stack([np.cos(angles), np.sin(angles), 7 * np.ones_like(angles)], axis=-1)
    texts = tf.constant([[1, 2, 3], [4, 5, 6]], tf.int64)
    losses, found = contrastive_losses(tf.constant(vectors, tf.float32), texts, 2, 0.5)

    def cosine(one, other):
        return np.cos(angles[one] - angles[other]) / 0.5

    expected = []
    for row, other in ((0, 1), (1, 0)):
        forward = [cosine((row, 0), c) for c in ((row, 1), (other, 1), (row, 2), (other, 2))]
        backward = [cosine((row, 1), c) for c in ((row, 0), (other, 0))]
        expected.append((softmax_loss(np.array(forward), 0) + softmax_loss(np.array(backward), 0)) / 2)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    assert found.numpy().tolist() == [1, 1]


@pytest.mark.parametrize(
    ("texts", "share"),
    [
        ([[1, 2], [3, 4]], 1.0),
        ([[1, 2], [1, 4]], 0.0),  # equal texts have each other's partners
        ([[1, 2], [3, 2]], 0.0),
        ([[1, 2], [3, 1]], 0.5),  # the other's partner is the text: no negative of it, but of its partner
    ],
)
def test_what_is_equal_is_no_negative(texts, share):
    vectors = tf.constant([[[1.0, 0], [0.6, 0.8]], [[0.6, 0.8], [1.0, 0]]])
    losses, _ = contrastive_losses(vectors, tf.constant(texts, tf.int64), 2, 1.0)
    both = softmax_loss(np.array([0.6, 1.0]), 0)
    assert losses.numpy()[0] == pytest.approx(share * both, abs=1e-6)


def test_a_hard_negative_counts_unless_it_is_the_text_or_its_partner():
    vectors = tf.random.stateless_normal([2, 3, 4], [1, 2])
    kept, masked, none = (
        contrastive_losses(vectors[:, :width], tf.constant(texts, tf.int64)[:, :width], 4, 1.0)[0]
        for texts, width in (
            ([[1, 2, 3], [4, 5, 6]], 3),
            ([[1, 2, 2], [2, 5, 1]], 3),
            ([[1, 2, 0], [2, 5, 0]], 2),
        )
    )
    assert float(masked[0]) == pytest.approx(float(none[0]))
    assert float(kept[0]) > float(none[0]) + 0.1


def test_fingerprints_tell_pieces_apart_whatever_the_padding():
    ids = np.array([[2, 7, 9, 3, 0], [2, 9, 7, 3, 0], [2, 7, 9, 3, 3], [2, 7, 9, 3, 8]])
    mask = np.array([[1, 1, 1, 1, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])
    found = fingerprints(tf.constant(ids, tf.int32), tf.constant(mask, tf.int32)).numpy()
    padded = fingerprints(
        tf.constant(np.pad(ids, [[0, 0], [0, 9]]), tf.int32), np.pad(mask, [[0, 0], [0, 9]])
    )
    assert found.tolist() == padded.numpy().tolist()
    assert found[0] == found[3]
    assert len(set(found.tolist())) == 3


def test_likeness_is_the_mean_cosine_of_different_texts():
    vectors, texts = np.random.default_rng(0).normal(size=[5, 3]).astype(np.float32), [1, 2, 3, 2, 4]
    total, pairs = likeness(tf.constant(vectors), tf.constant(texts))
    rows = list(zip(vectors, texts, strict=True))
    table = [float(cosines(a, b, 3)) for a, one in rows for b, other in rows if one != other]
    assert float(total / pairs) == pytest.approx(np.mean(table), rel=1e-4)


def steps_of(trainer):
    return moments_of(trainer), {name: float(value) for name, value in trainer.results().items()}


def assert_same_steps(one, other):
    (moments, results), (others, other_results) = steps_of(one), steps_of(other)
    for name, value in moments.items():
        np.testing.assert_allclose(others[name], value, atol=2e-7, err_msg=name)
    for name in results.keys() - {"anisotropy"}:  # which compares within a part
        assert other_results[name] == pytest.approx(results[name], rel=1e-5)


def test_scores_are_compared_with_the_cosines_of_each_size():
    task, batch = task_and_batch("cosine", dimensions=(8,), normalize=False, pooling="pooled")
    model = task.build_model("float32")
    vectors = [model({name: batch[name][:, side] for name in model.takes})["embedding"] for side in (0, 1)]
    off = [(cosines(*vectors, size) - batch["label_ids"]) ** 2 for size in (16, 8)]
    total, weight, _ = task.measure(model, batch, training=False)["cosine_loss"]
    assert float(total / weight) == pytest.approx(np.mean(off), rel=1e-5)
    assert float(tf.norm(vectors[0])) != pytest.approx(EXAMPLES**0.5, abs=0.1)


def test_parts_with_dropout_have_the_exact_gradient():
    task, batch = task_and_batch("unsupervised", dropout=0.2)
    trainer = make_trainer(task, batch, micro_batches=2)
    variables = trainer.model.trainable_variables
    with tf.GradientTape() as tape:
        vectors = []
        for part in range(2):
            inputs = {name: tf.repeat(batch[name][part * 4 :][:4], 2, axis=0) for name in trainer.model.takes}
            seed = tf.random.fold_in([1, 0], part)
            out = trainer.model(inputs, training=True, dropout_seed=seed)["embedding"]
            vectors.append(tf.reshape(out, [4, 2, -1]))
        texts = fingerprints(batch["input_ids"], batch["input_mask"])
        pairs = tf.stack([texts, texts], axis=1)
        losses, _ = contrastive_losses(tf.concat(vectors, 0), pairs, vectors[0].shape[-1], 0.5)
        loss = tf.reduce_mean(losses)
    gradients = [tf.convert_to_tensor(g) for g in tape.gradient(loss, variables) if g is not None]
    clipped, _ = tf.clip_by_global_norm(gradients, 1.0)
    trainer.replica_step(batch)
    moments = list(moments_of(trainer).values())
    reached = [m for m in moments if np.abs(m).max() > 0]
    assert len(reached) == len(clipped)
    for moment, gradient in zip(reached, clipped, strict=True):
        np.testing.assert_allclose(moment, 0.1 * gradient, atol=2e-7)
    assert float(trainer.results()["loss"]) == pytest.approx(float(loss), rel=1e-5)


def test_negatives_come_from_all_parts_and_devices_and_a_collapse_stops_the_training(two_devices):
    task, batch = task_and_batch("contrastive", dimensions=(8,), projection_size=12, pooling="cls")
    one = make_trainer(task, batch, micro_batches=4)
    two = make_trainer(task, batch, strategy=two_devices)
    one.replica_step(batch)
    two.train(tf.constant(1))
    assert_same_steps(one, two)
    assert max(np.abs(value).max() for value in moments_of(one).values()) > 1e-3

    embeddings = two.model.encoder.embeddings
    for table in (embeddings.word_embeddings, embeddings.position_embeddings):
        table.assign(tf.zeros_like(table))
    failure = r"the vectors have collapsed: two different texts have the mean cosine \S+ at step 2"
    with pytest.raises(Diverged, match=failure):
        two.train(tf.constant(1))


def test_unsupervised_training_needs_dropout():
    task, _ = task_and_batch("unsupervised")
    with pytest.raises(InputError, match="needs dropout"):
        SimilarityTask(task.vectors, {}, {}, config=task.config, max_seq_length=12, dropout_prob=0.0)
    odd = dataclasses.replace(task.vectors, dimensions=(17,))
    with pytest.raises(InputError, match="17 is not from 1 to 16"):
        SimilarityTask(odd, {}, {}, config=task.config, max_seq_length=12)
