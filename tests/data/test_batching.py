"""Batches: the same examples whatever the devices and the padding, all of them, similar ones together."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from albert_tf.data.batching import FILLER, eval_batches, longest_batches, train_batches
from albert_tf.data.features import Features


def make_features(examples=100, num_choices=1, labels="int32", dtype=np.uint16, seed=0):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 40, examples * num_choices).astype(np.int32)
    return Features(
        input_ids=rng.integers(1, np.iinfo(dtype).max, lengths.sum()).astype(dtype) // 2,
        lengths=lengths,
        first_lengths=rng.integers(2, lengths + 1).astype(np.int32),
        full_lengths=lengths,
        labels=None if labels is None else rng.normal(0, 9, examples).astype(labels),
        num_choices=num_choices,
    )


def train(features, count, **arguments):
    dataset = train_batches(features, **({"batch_size": 8, "seed": 3} | arguments))
    return list(dataset.take(count).as_numpy_iterator())


def evaluate(features, **arguments):
    return list(eval_batches(features, **({"batch_size": 8} | arguments)).as_numpy_iterator())


def indices(batches):
    return [batch["example_index"].tolist() for batch in batches]


def joined(lists):
    return list(itertools.chain.from_iterable(lists))


def check_content(features, batch):
    """Compares a batch with its examples, one token at a time."""
    ends = np.cumsum(features.lengths)
    for row, example in enumerate(batch["example_index"]):
        if example == FILLER:
            continue
        for choice in range(features.num_choices):
            i = example * features.num_choices + choice
            length, first = features.lengths[i], features.first_lengths[i]
            cell = (row, choice) if features.num_choices > 1 else (row,)
            padding = [0] * (batch["input_ids"].shape[-1] - length)
            ids = features.input_ids[ends[i] - length : ends[i]].tolist()
            assert batch["input_ids"][cell].tolist() == ids + padding
            assert batch["input_mask"][cell].tolist() == [1] * length + padding
            assert batch["segment_ids"][cell].tolist() == [0] * first + [1] * (length - first) + padding
        if features.labels is not None:
            assert batch["label_ids"][row] == features.labels[example]


@pytest.mark.parametrize("make", [train, lambda features, count, **rest: evaluate(features, **rest)])
@pytest.mark.parametrize(
    "kind",
    [{}, {"num_choices": 4}, {"labels": "float32"}, {"labels": None}, {"dtype": np.uint32, "examples": 5}],
)
@pytest.mark.parametrize("pad_to", [(), (50,), (12, 24, 50)])
def test_a_batch_holds_its_examples_padded(make, kind, pad_to):
    features = make_features(**kind)
    for batch in make(features, 5, pad_to=pad_to):
        check_content(features, batch)
        length = batch["input_ids"].shape[-1]
        longest = batch["input_mask"].sum(-1).max()
        assert length == min(n for n in pad_to or range(8, 99, 8) if n >= longest)
        assert ("label_ids" in batch) == (features.labels is not None)
        for name, values in batch.items():
            assert values.dtype == (features.labels.dtype if name == "label_ids" else np.int32)


def test_training_sees_all_examples_before_any_comes_again():
    batches = indices(train(make_features(examples=256), 64))
    assert sorted(joined(batches[:32])) == list(range(256))
    assert sorted(joined(batches[32:])) == list(range(256))
    assert batches[:32] != batches[32:]


def test_a_pool_crosses_the_border_of_epochs():
    seen = np.array(indices(train(make_features(examples=100), 32)))
    assert np.bincount(seen.ravel()).tolist().count(3) == 256 - 2 * 100
    assert np.bincount(seen.ravel()).min() == 2


def test_training_batches_hold_examples_of_similar_length_and_come_in_random_order():
    features = make_features(examples=256)
    ranges = [np.ptp(features.lengths[batch]) for batch in indices(train(features, 32))]
    assert max(ranges) <= 6
    means = [features.lengths[batch].mean() for batch in indices(train(features, 32))]
    assert means != sorted(means)


def test_the_longest_choice_counts():
    features = make_features(examples=256, num_choices=4)
    longest = features.lengths.reshape(-1, 4).max(axis=1)
    assert max(np.ptp(longest[batch]) for batch in indices(train(features, 32))) <= 12


def test_the_order_depends_on_the_seed_alone():
    features = make_features()
    assert indices(train(features, 40)) == indices(train(features, 40))
    assert indices(train(features, 40)) != indices(train(features, 40, seed=4))


@pytest.mark.parametrize("first_step", [1, 31, 32, 50])
def test_a_later_first_step_continues_the_same_stream(first_step):
    features = make_features()
    assert indices(train(features, 70))[first_step:] == indices(
        train(features, 70 - first_step, first_step=first_step)
    )


@pytest.mark.parametrize(("examples", "num_choices"), [(40, 1), (40, 4), (3, 1)])
def test_the_longest_batches_hold_the_longest_examples(examples, num_choices):
    features = make_features(examples, num_choices=num_choices)
    batches = longest_batches(features, batch_size=8)
    longest = features.lengths.reshape(-1, num_choices).max(axis=1)
    for batch in batches.take(2).as_numpy_iterator():
        check_content(features, batch)
        assert len(batch["example_index"]) == 8
        assert set(batch["example_index"]) == set(np.argsort(-longest, kind="stable")[:8])


@pytest.mark.parametrize("examples", [1, 3])
def test_fewer_examples_than_a_batch(examples):
    features = make_features(examples)
    for batch in train(features, 40):
        assert len(batch["example_index"]) == 8
        check_content(features, batch)
    assert indices(evaluate(features)) == [np.argsort(-features.lengths, kind="stable").tolist()]


def test_padding_does_not_change_the_order():
    features = make_features()
    assert indices(train(features, 40)) == indices(train(features, 40, pad_to=(64,)))
    padded = indices(evaluate(features, pad_to=(64,)))
    assert {len(batch) for batch in padded} == {8}
    assert [[index for index in batch if index != FILLER] for batch in padded] == indices(evaluate(features))


@pytest.mark.parametrize("pipelines", [1, 2, 4])
@pytest.mark.parametrize("make", [train, lambda features, count, **rest: evaluate(features, **rest)])
def test_any_number_of_devices_sees_the_same_global_batches(pipelines, make):
    features = make_features(examples=98)
    whole = indices(make(features, 13))
    own = 4 // pipelines
    parts = []
    for i in range(pipelines):
        context = tf.distribute.InputContext(pipelines, i, num_replicas_in_sync=4)
        parts.append(indices(make(features, 13 * own, input_context=context)))
    together = [joined(joined(part[s * own : (s + 1) * own]) for part in parts) for s in range(13)]
    assert together == whole
    assert {len(part) for part in parts} == {13 * own}


def test_evaluation_gives_every_example_once_longest_first():
    features = make_features(examples=98)
    batches = indices(evaluate(features))
    assert sorted(joined(batches)) == list(range(98))
    assert [len(batch) for batch in batches] == [8] * 12 + [2]
    lengths = features.lengths[joined(batches)]
    assert (np.diff(lengths) <= 0).all()


def test_a_device_without_examples_gets_an_empty_part():
    context = tf.distribute.InputContext(1, 0, num_replicas_in_sync=4)
    batches = evaluate(make_features(examples=3), input_context=context)
    assert [len(batch) for batch in indices(batches)] == [1, 1, 1, 0]
    assert batches[-1]["input_ids"].shape == (0, 8)


def test_two_devices_share_what_one_would_get(two_devices):
    features = make_features(examples=30)
    seen = []
    for batch in two_devices.distribute_datasets_from_function(
        lambda context: eval_batches(features, batch_size=8, input_context=context)
    ):
        for part in two_devices.experimental_local_results(batch["example_index"]):
            seen += part.numpy().tolist()
    assert seen == joined(indices(evaluate(features)))


def test_shapes_are_known_as_far_as_all_batches_share_them():
    features = make_features(num_choices=4)
    spec = train_batches(features, batch_size=8, seed=0).element_spec
    assert spec["input_ids"].shape.as_list() == [None, 4, None]
    assert spec["label_ids"].shape.as_list() == spec["example_index"].shape.as_list() == [None]
    without = dataclasses.replace(features, labels=None)
    context = tf.distribute.InputContext(num_replicas_in_sync=2)
    padded = eval_batches(without, batch_size=8, pad_to=(64,), input_context=context).element_spec
    assert padded["input_ids"].shape.as_list() == [4, 4, 64]
    assert padded["example_index"].shape.as_list() == [4]
    assert "label_ids" not in padded
