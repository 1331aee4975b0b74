"""Early exit: each row gets what it gets alone, and leaves where the rule says."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from albert_tf import testing
from albert_tf.cli.flags import UsageError
from albert_tf.cli.settings import ExitRule
from albert_tf.errors import InputError
from albert_tf.layers.variables import variable_name
from albert_tf.models.classification import AlbertForSequenceClassification
from albert_tf.models.early_exit import answer_early, judge, layers_used, nothing_seen, rule_of_budget
from albert_tf.models.encoder import INPUT_NAMES
from tests.support.checkpoint_files import randomize, weights_of

LAYERS, ROWS, LENGTH = 5, 12, 9
CONFIG = testing.tiny_config(num_hidden_layers=LAYERS, max_position_embeddings=LENGTH, inner_group_num=2)


def random_inputs() -> dict[str, tf.Tensor]:
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, LENGTH + 1, [ROWS, 1])
    mask = (np.arange(LENGTH) < lengths).astype(np.int32)
    ids = rng.integers(5, 100, [ROWS, LENGTH]).astype(np.int32) * mask
    return dict(zip(INPUT_NAMES, map(tf.constant, (ids, mask, mask * 0)), strict=True))


@functools.cache
def model_of(labels: int) -> AlbertForSequenceClassification:
    return randomize(AlbertForSequenceClassification(CONFIG, labels, early_exit=True))


@functools.cache
def logits_of(labels: int) -> np.ndarray:
    return model_of(labels)(random_inputs())["layer_logits"].numpy()


def test_each_head_reads_the_first_position_behind_its_layer():
    model, weights = model_of(3), weights_of(model_of(3))
    hidden = model.encode(random_inputs(), return_all_layers=True)["all_layer_outputs"]
    for layer in range(LAYERS - 1):
        kernel, bias = (weights[f"exits/output_{name}"][layer] for name in ("weights", "bias"))
        expected = hidden[2 * layer + 1][:, 0].numpy() @ kernel.T + bias
        np.testing.assert_allclose(logits_of(3)[:, layer], expected, atol=1e-5)


def test_the_last_head_is_that_of_a_plain_model():
    plain, weights = AlbertForSequenceClassification(CONFIG, 3), weights_of(model_of(3))
    for variable in plain.variables:
        variable.assign(weights.pop(variable_name(variable)))
    assert set(weights) == {"exits/output_weights", "exits/output_bias"}
    outputs = plain(random_inputs())
    assert set(outputs) == {"logits"}
    np.testing.assert_allclose(logits_of(3)[:, -1], outputs["logits"], atol=1e-5)
    np.testing.assert_array_equal(model_of(3)(random_inputs())["logits"], logits_of(3)[:, -1])


@pytest.mark.parametrize(
    ("labels", "rule"),
    [
        (3, "patience:1"),
        (3, "entropy:0.96"),
        (3, "entropy:0"),  # no row leaves early
        (3, "entropy:1"),  # all leave at once
        (1, "patience:1:0.2"),
    ],
)
def test_a_batch_gets_what_each_row_gets_alone(labels, rule):
    model, all_logits = model_of(labels), logits_of(labels)
    rule = ExitRule.parse(rule, has_classes=labels > 1)
    specs = {name: tf.TensorSpec([None, None], tf.int32, name) for name in INPUT_NAMES}
    answer = tf.function(lambda **inputs: answer_early(model, inputs, rule), autograph=False)
    answer = answer.get_concrete_function(**specs)
    inputs = random_inputs()
    together = answer(**inputs)
    used = together["layers_used"].numpy()
    np.testing.assert_array_equal(used, layers_used(rule, all_logits))
    np.testing.assert_allclose(together["logits"], all_logits[np.arange(ROWS), used - 1], atol=1e-5)
    expected = {"entropy:0": [LAYERS], "entropy:1": [1]}.get(str(rule))
    assert list(np.unique(used)) == expected if expected else len(np.unique(used)) > 1
    for row, length in enumerate(np.sum(inputs["input_mask"], axis=1)):
        alone = answer(**{name: values[row : row + 1, :length] for name, values in inputs.items()})
        assert alone["layers_used"].numpy() == [used[row]]
        np.testing.assert_allclose(alone["logits"][0], together["logits"][row], atol=1e-5)
    nobody = answer(**{name: values[:0] for name, values in inputs.items()})
    assert [nobody[name].shape.as_list() for name in ("logits", "layers_used")] == [[0, labels], [0]]


def of_answers(*answers: str) -> np.ndarray:
    """Logits `[examples, layers, 3]`, from the classes of the layers of each example, such as "0112"."""
    return np.eye(3, dtype=np.float32)[np.array([list(map(int, layers)) for layers in answers])]


def test_patience_counts_the_layers_that_confirm_the_layer_before():
    logits = of_answers("00000", "01111", "01011", "01012")
    assert list(layers_used(ExitRule("patience", 1), logits)) == [2, 3, 5, 5]
    assert list(layers_used(ExitRule("patience", 2), logits)) == [3, 4, 5, 5]
    assert list(layers_used(ExitRule("patience", 3), logits)) == [4, 5, 5, 5]
    scores = np.array([[1, 2, 2.05, 2.15, 3]], np.float32)[..., None]
    assert [*layers_used(ExitRule("patience", 1, 0.06), scores)] == [3]
    assert [*layers_used(ExitRule("patience", 2, 0.11), scores)] == [4]


def test_entropy_is_a_share_of_that_of_equal_chances():
    chances = np.array([[1 / 3] * 3, [0.5, 0.5, 0], [0.9, 0.05, 0.05]])
    logits = tf.constant(np.log(np.maximum(chances, 1e-30)), tf.float32)
    # 1, log 2 / log 3 = 0.6309 and (0.9 log 0.9 + 0.1 log 0.05) / -log 3 = 0.3590
    for threshold, expected in [(0.63, 1), (0.6310, 2), (0.3589, 0), (0.3591, 1)]:
        is_sure, _ = judge(ExitRule("entropy", threshold), logits, nothing_seen(3))
        assert np.count_nonzero(is_sure) == expected


@pytest.mark.parametrize("share", [0.2, 0.3, 0.5, 0.75])
def test_a_budget_is_used_but_not_exceeded(share):
    logits = np.random.default_rng(0).normal(size=[200, LAYERS, 3]).astype(np.float32)
    rule = rule_of_budget(share, logits)
    assert rule == ExitRule.parse(str(rule), has_classes=True)
    assert share - 0.02 < layers_used(rule, logits).mean() / LAYERS <= share


def test_a_budget_of_less_than_a_layer_is_refused():
    with pytest.raises(InputError, match=r"^--exit=budget:0.1 is less than one of 5 layers$"):
        rule_of_budget(0.1, of_answers("00000"))


@pytest.mark.parametrize(
    "change", [{"num_hidden_layers": 1}, {"cross_layer_sharing": "attention"}, {"lora_rank": 2}]
)
def test_layers_that_share_no_weights_are_refused(change):
    config = testing.tiny_config(**{"num_hidden_layers": 2} | change)
    with pytest.raises(InputError, match="at least two layers, which share all their weights"):
        AlbertForSequenceClassification(config, 2, early_exit=True)


@pytest.mark.parametrize(
    ("rule", "has_classes"),
    [
        ("patience", True),
        ("patience:0", True),
        ("patience:1.5", True),
        ("patience:nan", True),
        ("patience:1:0.1", True),
        ("patience:1", False),
        ("patience:1:-1", False),
        ("patience:1:0.1:2", False),
        ("entropy:1.1", True),
        ("entropy:0.2", False),
        ("budget:x", True),
        ("depth:3", True),
    ],
)
def test_a_rule_that_is_none_gets_one_line(rule, has_classes):
    with pytest.raises(UsageError, match=r"^--exit .*must be patience:N.*, not "):
        ExitRule.parse(rule, has_classes)
