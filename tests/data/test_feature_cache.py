"""The feature cache: what is read equals what was made, and nothing doubtful is trusted."""

import itertools
import json
import os

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from albert_tf.data import feature_cache
from albert_tf.data.feature_cache import cached_features
from albert_tf.data.features import Features
from albert_tf.data.tfrecord import framed, read_records
from albert_tf.errors import InputError, InputWarning

KEY = {"digest": "abc", "max_seq_length": 128, "lower": True, "levels": ("middle", "high")}
ARRAYS = ("input_ids", "lengths", "first_lengths", "full_lengths", "labels")


def make_features(examples=30, num_choices=1, labels="int32", dtype="uint16", seed=0):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 12, examples * num_choices).astype(np.int32)
    return Features(
        input_ids=rng.integers(0, np.iinfo(dtype).max, lengths.sum(), dtype, endpoint=True),
        lengths=lengths,
        first_lengths=rng.integers(2, lengths + 1).astype(np.int32),
        full_lengths=lengths + rng.integers(0, 1000, len(lengths), np.int32),
        labels=None if labels is None else np.abs(rng.normal(0, 9, examples)).astype(labels),
        num_choices=num_choices,
    )


def unwanted():
    raise AssertionError("the cache was not used")


def check_equal(a, b):
    assert a.num_choices == b.num_choices
    for name in ARRAYS:
        if a.labels is None and name == "labels":
            assert b.labels is None
            continue
        assert getattr(a, name).dtype == getattr(b, name).dtype
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@pytest.fixture
def written(tmp_path):
    """The features, the path of their cache."""
    features = cached_features(str(tmp_path), "a", KEY, make_features)
    [path] = tmp_path.glob("a.*.tf_record")
    return features, path


def test_features_that_are_not_to_be_kept_are_made_but_not_written(written, tmp_path):
    made = cached_features(str(tmp_path / "none"), "a", KEY, make_features, keep=False)
    check_equal(made, written[0])
    assert not (tmp_path / "none").exists()
    check_equal(cached_features(str(tmp_path), "a", KEY, unwanted, keep=False), made)


@settings(
    deadline=None,
    derandomize=True,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.integers(1, 50),
    st.sampled_from([1, 4]),
    st.sampled_from(["int32", "float32", None]),
    st.sampled_from(["uint16", "uint32"]),
    st.integers(0, 99),
)
def test_what_is_read_equals_what_was_made(tmp_path, examples, num_choices, labels, dtype, seed):
    features = make_features(examples, num_choices, labels, dtype, seed)
    key = {"example": [examples, num_choices, labels, dtype, seed]}
    assert cached_features(str(tmp_path), "a", key, lambda: features) is features
    check_equal(features, cached_features(str(tmp_path), "a", key, unwanted))


def test_negative_scores_are_kept(tmp_path):
    features = make_features(3, labels="float32")
    features.labels[:] = [-1.5, 0, 2.25]
    cached_features(str(tmp_path), "a", KEY, lambda: features)
    assert cached_features(str(tmp_path), "a", KEY, unwanted).labels.tolist() == [-1.5, 0, 2.25]


def test_many_examples_are_written_and_read_in_parts(tmp_path):
    features = make_features(17_000, num_choices=2)
    cached_features(str(tmp_path), "a", KEY, lambda: features)
    check_equal(features, cached_features(str(tmp_path), "a", KEY, unwanted))


def test_records_are_the_originals_without_padding(tmp_path):
    features = make_features(5, num_choices=4)
    cached_features(str(tmp_path), "a", KEY, lambda: features)
    [path] = tmp_path.glob("a.*.tf_record")
    ends = np.cumsum(features.lengths)
    for i, record in enumerate(tf.data.TFRecordDataset(str(path)).as_numpy_iterator()):
        found = tf.train.Example.FromString(record).features.feature
        begin, end = ends[4 * i] - features.lengths[4 * i], ends[4 * i + 3]
        segments = []
        for j in range(4 * i, 4 * i + 4):
            first = features.first_lengths[j]
            segments += [0] * first + [1] * (features.lengths[j] - first)
        assert found["input_ids"].int64_list.value == features.input_ids[begin:end].tolist()
        assert found["segment_ids"].int64_list.value == segments
        assert found["label_ids"].int64_list.value == [features.labels[i]]


def test_another_key_is_another_file(tmp_path, written):
    other = make_features(seed=1)
    for change in ({"max_seq_length": 64}, {"lower": False}, {"more": None}):
        assert cached_features(str(tmp_path), "a", KEY | change, lambda: other) is other
    assert len(list(tmp_path.glob("a.*.tf_record"))) == 4
    check_equal(written[0], cached_features(str(tmp_path), "a", dict(reversed(KEY.items())), unwanted))


def test_the_description_says_under_which_key(written):
    description = json.loads(written[1].with_name(written[1].name + ".json").read_text())
    assert description["key"] == json.loads(json.dumps(KEY))
    assert description["records"] == 30
    assert description["bytes"] == os.path.getsize(written[1])


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def remove_description(path):
    path.with_name(path.name + ".json").unlink()


def empty_description(path):
    path.with_name(path.name + ".json").write_text(json.dumps({"format": feature_cache.FORMAT}))


def change_description(path, **changes):
    file = path.with_name(path.name + ".json")
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def claim_another_key(path):
    change_description(path, key={"digest": "xyz"})


def rewrite(path, change):
    """Writes the file again with right checksums and the right size, after `change` of its examples."""
    examples = [tf.train.Example.FromString(record) for record in read_records(str(path))]
    examples = change(examples) or examples
    records = [example.SerializeToString() for example in examples]
    path.write_bytes(b"".join(itertools.chain(*map(framed, records))))
    change_description(path, bytes=os.path.getsize(path))


def add_to(feature, number):
    def add(examples):
        examples[1].features.feature[feature].int64_list.value[0] += number

    return lambda path: rewrite(path, add)


def leave_out_the_last(path):
    rewrite(path, lambda examples: examples[:-1])
    change_description(path, records=29)


def exchange(path):
    rewrite(path, lambda examples: examples[::-1])


def claim(**changes):
    return lambda path: change_description(path, **changes)


def nest_the_description(path):
    path.with_name(path.name + ".json").write_text("[" * 100_000)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (cut, "is damaged"),
        (damage, "is damaged"),
        (leave_out_the_last, "is damaged"),
        (exchange, "is damaged"),
        (add_to("input_ids", 1 << 16), "is damaged"),
        (add_to("label_ids", 99), "is damaged"),
        (add_to("lengths", -100), "is damaged"),
        (remove_description, "has no description"),
        (nest_the_description, "has no description"),
        (empty_description, "is damaged"),
        (claim_another_key, "was made for something else"),
        (claim(num_choices=10**12), "is damaged"),
        (claim(num_choices="many"), "is damaged"),
        (claim(columns={"input_ids": ["uint16"], "labels": ["float32"]}), "is damaged"),
        (claim(records="many"), "is damaged"),
        (claim(checksum=None), "is damaged"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_made_anew(tmp_path, written, spoil, reason):
    features, path = written
    spoil(path)
    with pytest.warns(InputWarning, match=reason) as warned:
        assert cached_features(str(tmp_path), "a", KEY, lambda: features) is features
    assert str(path) in str(warned[0].message)
    check_equal(features, cached_features(str(tmp_path), "a", KEY, unwanted))


def test_when_making_fails_nothing_is_left(tmp_path):
    with pytest.raises(ZeroDivisionError):
        cached_features(str(tmp_path), "a", KEY, lambda: 1 / 0)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=f"{tmp_path}/file/.* cannot be written"):
        cached_features(str(tmp_path / "file"), "a", KEY, unwanted)
