"""The linear-chain CRF against all sequences of tags, one by one."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from albert_tf.layers.crf import LinearChainCrf

TAGS, BATCH, LENGTH = 3, 5, 6


@pytest.fixture(scope="module")
def random():
    """A CRF, logits, tags, and which positions are words: all of them, none, or some."""
    rng = np.random.default_rng(0)
    crf = LinearChainCrf(TAGS)
    for variable in crf.variables:
        variable.assign(rng.normal(size=variable.shape) / 100)  # they are hundredths
    is_word = rng.random([BATCH, LENGTH]) < 0.6
    is_word[0], is_word[1] = True, False
    logits = rng.normal(scale=2, size=[BATCH, LENGTH, TAGS]).astype(np.float32)
    return crf, logits, rng.integers(0, TAGS, [BATCH, LENGTH]).astype(np.int32), is_word


def all_chains(crf, logits):
    """Every sequence of tags for the logits of the words, with its score."""
    first, pairs, last = (100 * v.numpy() for v in (crf.first, crf.transitions, crf.last))
    chains = list(itertools.product(range(TAGS), repeat=len(logits)))
    scores = [
        first[chain[0]]
        + last[chain[-1]]
        + sum(row[tag] for row, tag in zip(logits, chain, strict=True))
        + sum(pairs[pair] for pair in itertools.pairwise(chain))
        for chain in chains
    ]
    return np.array(chains), np.array(scores)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_loss_best_chain_and_probabilities_are_those_of_all_chains(random, jit_compile):
    crf, logits, tags, is_word = random
    losses = tf.function(crf.losses_of, jit_compile=jit_compile)(logits, tags, is_word).numpy()
    best, chances = map(np.asarray, tf.function(crf.decode, jit_compile=jit_compile)(logits, is_word))
    of_all = tf.function(crf.chances, jit_compile=jit_compile)(logits, is_word).numpy()
    assert not of_all[~is_word].any()
    assert losses[1] == 0
    assert not best[~is_word].any()
    assert not chances[~is_word].any()
    for row in np.flatnonzero(is_word.any(axis=1)):
        words = is_word[row]
        chains, scores = all_chains(crf, logits[row, words])
        logs = scores - np.log(np.exp(scores).sum())
        right = (chains == tags[row, words]).all(axis=1)
        np.testing.assert_allclose(losses[row], -logs[right][0], rtol=1e-5)
        expected = chains[scores.argmax()]
        np.testing.assert_array_equal(best[row, words], expected)
        marginals = np.exp(logs) @ (chains == expected)
        np.testing.assert_allclose(chances[row, words], marginals, rtol=1e-5)
        of_tags = [np.exp(logs) @ (chains == tag) for tag in range(logits.shape[-1])]
        np.testing.assert_allclose(of_all[row, words], np.transpose(of_tags), rtol=1e-4, atol=1e-7)


def test_a_chain_of_one_word():
    crf = LinearChainCrf(2)
    logits, is_word = tf.constant([[[0.0, np.log(3.0)]]]), tf.constant([[True]])
    tags, chances = crf.decode(logits, is_word)
    assert tags.numpy().tolist() == [[1]]
    np.testing.assert_allclose(chances, [[0.75]], rtol=1e-6)
    np.testing.assert_allclose(crf.losses_of(logits, [[0]], is_word), [np.log(4)], rtol=1e-6)


def test_what_is_forbidden_is_never_chosen():
    crf = LinearChainCrf(2)
    crf.forbid(np.array([[True, False], [True, True]]))
    logits = tf.constant([[[1.0, 0.0], [0.0, 5.0]]])  # 0 then 1 would be best
    tags, _ = crf.decode(logits, tf.ones([1, 2], tf.bool))
    assert tags.numpy().tolist() == [[1, 1]]
