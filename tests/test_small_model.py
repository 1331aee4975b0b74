"""The small pretrained model that the package brings along."""

import os

import numpy as np
import pytest

import albert_tf
from albert_tf.published import local_weights

NAME = "albert-small-demo"
# None of them is in the text of the training. The answer is among the model's five guesses.
SENTENCES = {
    "He is the president of the United [MASK].": "states",
    "She opened the [MASK] and went out.": "door",
    "He was born in [MASK] York.": "new",
    "The boy and the [MASK] were brother and sister.": "girl",
}
TEXTS = [
    ("He opened the letter with a trembling hand.", "Then he read it twice and put it into his pocket."),
    ("The town was founded in 1821.", "It was named after the first governor of the state."),
]


@pytest.fixture(scope="module")
def model():
    return albert_tf.open_model(NAME)


def test_its_files_are_few_megabytes_with_config_vocabulary_and_card():
    folder = local_weights(NAME)
    sizes = {name: os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder)}
    assert {"config.json", "model.safetensors", "spiece.model", "README.md"} <= sizes.keys()
    assert sum(sizes.values()) < 12e6


@pytest.mark.parametrize(("sentence", "piece"), SENTENCES.items())
def test_it_fills_masks(model, sentence, piece):
    [answer] = model.predict(sentence)
    assert f"▁{piece}" in answer["pieces"][0]


def test_a_filled_mask_is_worth_more_than_a_guess(model):
    answers = model.predict(list(SENTENCES))
    best = [answer["probabilities"][0][0] for answer in answers]
    assert np.mean(best) > 50 / 8000
