"""Pretraining records: equal to the protocol buffer library's, read back whole, diagnosed when broken."""

import contextlib
import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from albert_tf.data import record_checks, records
from albert_tf.data.tfrecord import framed, read_records
from albert_tf.errors import InputError

S, P = 12, 3


def features(rows=5, seed=0, **changes):
    rng = np.random.default_rng(seed)
    made = {
        "input_ids": rng.integers(0, 30000, (rows, S)).astype(np.uint16),
        "input_mask": rng.integers(0, 2, (rows, S)).astype(np.uint8),
        "segment_ids": rng.integers(0, 2, (rows, S)),
        "token_boundary": rng.integers(0, 2, (rows, S)).astype(bool),
        "masked_lm_positions": rng.integers(0, S, (rows, P)),
        "masked_lm_ids": rng.integers(0, 30000, (rows, P)),
        "masked_lm_weights": rng.random((rows, P)).astype(np.float32),
        "next_sentence_labels": rng.integers(0, 2, (rows, 1)),
    }
    made.update(changes)
    return {name: values for name, values in made.items() if values is not None}


def as_protos(made):
    """The same examples by way of the library."""
    examples = [tf.train.Example() for _ in next(iter(made.values()))]
    for name, values in made.items():
        for example, row in zip(examples, values, strict=True):
            feature = example.features.feature[name]
            kind = feature.float_list if values.dtype == np.float32 else feature.int64_list
            kind.value.extend((row if values.dtype == np.float32 else row.astype(int)).tolist())
    return examples


def written(path, made, **metadata):
    with records.RecordWriter([str(path)]) as writer:
        writer.write(made)
        writer.describe(metadata)
    return str(path)


def diagnosis(path, vocab_size=30000, **limits):
    return record_checks.find_bad_record([path], S, P, vocab_size, **limits)


def test_the_bytes_equal_the_protocol_buffer_librarys():
    made = features(rows=50)
    assert records.serialize_examples(made) == [
        example.SerializeToString(deterministic=True) for example in as_protos(made)
    ]


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.data(), st.integers(1, 4), st.integers(1, 300))
def test_any_numbers_equal_the_protocol_buffer_librarys(data, rows, width):
    largest = data.draw(st.sampled_from([0, 1, 127, 128, 16383, 16384, 2**21, 2**28, 2**32 - 1]))
    made = {
        "b": data.draw(arrays.arrays(np.int64, (rows, width), elements=st.integers(0, largest))),
        "a": data.draw(arrays.arrays(np.float32, (rows, 2), elements=st.floats(0, 1, width=32))),
    }
    assert records.serialize_examples(made) == [
        example.SerializeToString(deterministic=True) for example in as_protos(made)
    ]


def test_negative_numbers_are_refused():
    with pytest.raises(ValueError, match="negative"):
        records.serialize_examples({"a": np.array([[-1]])})


def test_what_is_written_is_read_back_in_order_by_tensorflow(tmp_path):
    made = features(rows=20)
    path = written(tmp_path / "a.tfrecord", made)
    [batch] = tf.data.TFRecordDataset(path).batch(20).map(lambda x: records.parse_pretraining_batch(x, S, P))
    assert set(batch) == set(made) - {"token_boundary"}
    for name, values in batch.items():
        expected = made[name][:, 0] if name == "next_sentence_labels" else made[name]
        assert values.dtype == (tf.float32 if name == "masked_lm_weights" else tf.int32)
        np.testing.assert_array_equal(values, expected)


def test_token_boundary_is_not_needed_for_reading():
    serialized = records.serialize_examples(features(token_boundary=None))
    assert "input_ids" in records.parse_pretraining_batch(serialized, S, P)


def test_several_files_are_dealt_their_records_in_turn(tmp_path):
    made = features(rows=11)
    paths = [str(tmp_path / name) for name in "abc"]
    with records.RecordWriter(paths) as writer:
        for begin, end in ((0, 1), (1, 6), (6, 11)):
            writer.write({name: values[begin:end] for name, values in made.items()})
        writer.describe({"seed": 7})
    expected = records.serialize_examples(made)
    for i, path in enumerate(paths):
        assert list(read_records(path)) == expected[i::3]
        assert records.read_metadata(path) == {
            "format": records.FORMAT,
            "records": len(expected[i::3]),
            "bytes": os.path.getsize(path),
            "seed": 7,
        }


def test_metadata_is_none_where_there_is_none_or_another_programs(tmp_path):
    assert records.read_metadata(str(tmp_path / "a")) is None
    for text in ("{", "[1]", '{"format": "other", "bytes": "1"}', "[" * 100_000):
        (tmp_path / "a.json").write_text(text)
        assert records.read_metadata(str(tmp_path / "a")) is None


@pytest.mark.parametrize(("changes", "message"), [
    ({"vocab_size": "30000"}, "vocab_size: expected `int`, got `str`"),
    ({"bytes": float("inf")}, "bytes: expected `int`, got `float`"),
    ({"settings": []}, "settings: expected `object`, got `array`"),
    ({"settings": {"spm_model_file": 3}}, "settings.spm_model_file: expected `str | null`, got `int`"),
])  # fmt: skip
def test_a_description_with_a_value_of_another_type_is_named(tmp_path, changes, message):
    path = written(tmp_path / "a", features(), **changes)
    with pytest.raises(InputError) as raised:
        records.read_metadata(path)
    assert str(raised.value) == f"{path}.json: {message}"


def test_a_failing_run_leaves_earlier_files_and_nothing_else(tmp_path):
    path = written(tmp_path / "a.tfrecord", features(), seed=1)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(ZeroDivisionError), records.RecordWriter([path]) as writer:  # noqa: PT012
        writer.write(features(seed=1))
        raise ZeroDivisionError
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_good_records_have_nothing_wrong(tmp_path):
    assert diagnosis(written(tmp_path / "a", features())) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"masked_lm_weights": None}, "no feature masked_lm_weights: these are not pretraining records"),
        (
            {"masked_lm_weights": np.ones((5, P), int)},
            "masked_lm_weights is of kind int64_list, not float_list: these are not pretraining records",
        ),
        ({"input_ids": np.ones((5, S + 4), int)}, "input_ids has 16 values, but --max_seq_length is 12"),
        (
            {"masked_lm_positions": np.ones((5, 6), int)},
            "masked_lm_positions has 6 values, but --max_predictions_per_seq is 3",
        ),
        (
            {"next_sentence_labels": np.ones((5, 2), int)},
            "next_sentence_labels has 2 values, but 1 is needed",
        ),
        (
            {"input_ids": np.full((5, S), 30000)},
            "input_ids holds 30000, but there are 30000 pieces in the vocabulary",
        ),
        (
            {"masked_lm_positions": np.full((5, P), S)},
            "masked_lm_positions holds 12, but there are 12 positions",
        ),
    ],
)
def test_what_is_wrong_with_a_record_is_named(tmp_path, changes, message):
    path = written(tmp_path / "a", features(**changes))
    assert diagnosis(path) == f"{path}, record 1: {message}"


def test_the_bad_record_among_good_ones_is_named(tmp_path):
    ids = np.ones((5, S), int)
    ids[3, 7] = 40000
    path = written(tmp_path / "a", features(input_ids=ids))
    good = written(tmp_path / "b", features())
    assert record_checks.find_bad_record([good, path], S, P, 30000).startswith(
        f"{path}, record 4: input_ids holds 40000"
    )
    assert diagnosis(path, limit=3) is None
    assert diagnosis(path, vocab_size=40001) is None


@pytest.mark.parametrize(("feature", "value"), [
    ("input_ids", 5 + 2**32),
    ("input_ids", 30000),
    ("input_mask", 7),
    ("segment_ids", 2 - 2**32),
    ("masked_lm_positions", S),
    ("masked_lm_ids", 2**32),
    ("masked_lm_weights", -3),
    ("masked_lm_weights", np.nan),
    ("masked_lm_weights", np.inf),
    ("next_sentence_labels", -1),
])  # fmt: skip
def test_no_record_of_a_batch_may_hold_what_cannot_be(tmp_path, feature, value):
    made = features()
    made[feature] = made[feature].astype(np.float32 if feature == "masked_lm_weights" else np.int64)
    made[feature][1, 0] = value
    serialized = [example.SerializeToString() for example in as_protos(made)]

    for good in (serialized[:1], serialized[2:]):
        records.parse_pretraining_batch(good, S, P, 30000)
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"{feature} holds a value out of range"):
        records.parse_pretraining_batch(serialized, S, P, 30000)
    (tmp_path / "a").write_bytes(b"".join(itertools.chain(*map(framed, serialized))))
    assert diagnosis(str(tmp_path / "a")).startswith(f"{tmp_path / 'a'}, record 2: {feature} holds ")


def test_segments_of_unmasked_records_are_a_pair_of_texts():
    rows = np.array(list(itertools.product([0, 1], repeat=6)))
    one = np.ones([len(rows), 1], int)
    made = {"input_ids": rows, "segment_ids": rows, "token_boundary": rows}
    made |= dict.fromkeys(("next_sentence_labels", "may_swap", "mask_id"), one)
    right = []
    for row, serialized in zip(rows, records.serialize_examples(made), strict=True):
        with contextlib.suppress(tf.errors.InvalidArgumentError):
            records.parse_unmasked_batch([serialized], 6)
            right.append("".join(map(str, row)))
    assert right == ["000011", "000110", "000111"]


def test_a_file_cut_short_is_named_with_its_record(tmp_path):
    path = tmp_path / "a"
    written(path, features())
    whole = path.read_bytes()
    for missing in (1, 20, len(whole) // 5 - 1):
        path.write_bytes(whole[:-missing])
        assert diagnosis(str(path)) == f"{path}, record 5: the file ends inside the record (cut short?)"


def test_damage_is_named_with_its_record(tmp_path):
    path = tmp_path / "a"
    written(path, features())
    whole = bytearray(path.read_bytes())
    whole[-10] ^= 1
    path.write_bytes(whole)
    assert diagnosis(str(path)) == f"{path}, record 5 is damaged (wrong checksum of its bytes)"


def test_a_file_of_text_is_no_tfrecord(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one sentence a line\n" * 3)
    assert "record 1 is damaged, or the file is no TFRecord" in diagnosis(str(path))


def test_a_file_without_records_says_so(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"")
    assert diagnosis(str(path)) == f"{path} holds no records"


def test_bytes_that_are_no_example_are_named(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"".join(framed(b"\xff\xff\xff")))
    assert diagnosis(str(path)) == f"{path}, record 1 is not a tf.train.Example"


def test_reading_says_what_is_wrong_too(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"123")
    with pytest.raises(InputError, match="record 1: the file ends inside the record"):
        list(read_records(str(path)))


def test_writing_needs_no_tensorflow(tmp_path):
    code = (
        "import sys, json, numpy as np; from albert_tf.data import records\n"
        f"with records.RecordWriter([{str(tmp_path / 'a')!r}]) as w:\n"
        "    w.write({'input_ids': np.ones((2, 3), int)}); w.describe({})\n"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert json.loads((tmp_path / "a.json").read_text())["records"] == 2
