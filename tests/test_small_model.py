"""The small pretrained model that the package brings along."""

import os

import pytest

import albert_tf
from albert_tf.published import local_weights

NAME = "albert-small-demo"
# Kept sentences, which are in no text of its training.
SENTENCES = {
    "He is the president of the United [MASK].": "states",
    "He was born in [MASK] York.": "new",
    "She opened the [MASK] and went out.": "door",
    '"Yes," she [MASK].': "said",
    "The two brothers went [MASK] to the house.": "back",
    "I do not [MASK] what you mean.": "know",
    "The capital of [MASK] is Paris.": "france",
    "He looked at [MASK] watch.": "his",
}


def test_its_files_are_few_megabytes_with_config_vocabulary_and_card():
    folder = local_weights(NAME)
    sizes = {name: os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder)}
    assert {"config.json", "model.safetensors", "spiece.model", "README.md"} <= sizes.keys()
    assert sum(sizes.values()) < 12e6


def test_it_has_learned_what_stands_in_sentences():
    answers = albert_tf.open_model(NAME).predict(list(SENTENCES))
    guesses = [[piece.removeprefix("▁") for piece in answer["pieces"][0]] for answer in answers]
    right = [word in words for word, words in zip(SENTENCES.values(), guesses, strict=True)]
    assert all(right), guesses
    first = [word == words[0] for word, words in zip(SENTENCES.values(), guesses, strict=True)]
    assert sum(first) >= 6  # a guess of the commonest piece has none


def test_a_revision_of_it_does_not_exist():
    with pytest.raises(albert_tf.InputError, match="albert-small-demo"):
        local_weights(f"{NAME}@main")
