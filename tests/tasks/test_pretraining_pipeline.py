"""The input of pretraining: every record once a round, and masks that seed and round alone decide."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from albert_tf.data.masking import MaskingOptions
from albert_tf.data.packing import Room, pack
from albert_tf.data.records import RecordWriter
from albert_tf.errors import InputError, InputWarning
from albert_tf.tasks.pretraining import PretrainingTask, described_length, masking_of
from tests.support import packable
from tests.support.pretraining_records import (
    CONFIG,
    MASKING,
    SEQ_LENGTH,
    make_features,
    make_unmasked_features,
    write_records,
)

RECORDS = 30


def make_task(folder, make=make_unmasked_features, files=3):
    """A task whose records are numbered in place of [CLS], which is never masked."""
    features = make(RECORDS)
    features["input_ids"] = np.array(features["input_ids"])
    features["input_ids"][:, 0] = np.arange(RECORDS)
    paths = [str(folder / f"{make.__name__}-{i}.tfrecord") for i in range(files)]
    with RecordWriter(paths) as writer:
        writer.write(features)
        writer.describe({})
    config = dataclasses.replace(CONFIG, vocab_size=RECORDS)
    return PretrainingTask(config, paths, paths, SEQ_LENGTH, MASKING)


def context(pipelines=1, own=0):
    return tf.distribute.InputContext(pipelines, own, pipelines)


def drawn(dataset, count):
    """The first `count` records, but for fillers: (number of the record, all that the model gets of it)."""
    examples = dataset.unbatch().take(count).as_numpy_iterator()
    return [
        (int(example["input_ids"][0]), tuple(value.tobytes() for _, value in sorted(example.items())))
        for example in examples
        if example["next_sentence_labels"] >= 0
    ]


def rounds(dataset, records_a_round, count=2):
    """Of each time round: record -> all that the model gets of it."""
    all_records = drawn(dataset, records_a_round * count)
    found = [dict(all_records[i * records_a_round :][:records_a_round]) for i in range(count)]
    assert all(len(one) == records_a_round for one in found)
    return found


def test_each_time_round_has_every_record_once_with_other_masks_in_another_order(tmp_path):
    first, second = rounds(make_task(tmp_path).train_dataset(5, 7, 0, context()), RECORDS)
    assert set(first) == set(second) == set(range(RECORDS))
    assert list(first) != list(second)
    assert sum(first[i] == second[i] for i in range(RECORDS)) < 5


def test_masks_and_order_do_not_depend_on_batches_and_workers(tmp_path):
    task = make_task(tmp_path)
    alone = drawn(task.train_dataset(4, 7, 0, context()), 60)
    assert alone == drawn(task.train_dataset(5, 7, 0, context()), 60)
    parts = [iter(drawn(task.train_dataset(4, 7, 0, context(2, own)), 30)) for own in range(2)]
    together = [next(part) for _ in range(15) for part in parts for _ in range(2)]
    assert together == alone


def test_another_seed_draws_other_masks(tmp_path):
    task = make_task(tmp_path)
    one, other = (rounds(task.train_dataset(5, seed, 0, context()), RECORDS, 1)[0] for seed in (7, 8))
    assert sum(one[i] == other[i] for i in range(RECORDS)) < 5


@pytest.mark.parametrize("make", [make_features, make_unmasked_features])
def test_a_run_that_continues_sees_what_it_would_have_seen(tmp_path, make):
    task = make_task(tmp_path, make)
    whole = drawn(task.train_dataset(8, 7, 0, context()), 60)
    for step in (1, 6):  # of the first time round, of the second
        rest = drawn(task.train_dataset(8, 7, step, context()), 12)
        assert rest == whole[step * 8 : step * 8 + 12]


def test_evaluation_always_has_the_same_masks(tmp_path):
    task = make_task(tmp_path)
    once = drawn(task.eval_dataset(7, context()), 100)
    assert len(once) == RECORDS
    assert once == drawn(task.eval_dataset(4, context()), 100)
    halves = [drawn(task.eval_dataset(4, context(2, own)), 100) for own in (0, 1)]
    assert dict(once) == dict(itertools.chain(*halves))


def unmasked(folder, name, **settings):
    return write_records(str(folder / name), make=make_unmasked_features, settings=settings)


def test_masking_comes_from_flags_then_from_the_description(tmp_path):
    path = unmasked(tmp_path, "a", ngram=5, max_predictions_per_seq=7, input_file=["text"], verbosity="info")
    assert masking_of([path], {}) == MaskingOptions(ngram=5, max_predictions_per_seq=7)
    assert masking_of([path], {"ngram": 2}) == MaskingOptions(ngram=2, max_predictions_per_seq=7)
    (tmp_path / "a.json").unlink()
    assert masking_of([path], {"ngram": 2}) == MaskingOptions(ngram=2)


def test_descriptions_that_differ_need_a_flag(tmp_path):
    paths = [unmasked(tmp_path, "a", ngram=5), unmasked(tmp_path, "b", ngram=1)]
    with pytest.raises(InputError, match=r"a was made with --ngram=5, .*b with 1: give --ngram"):
        masking_of(paths, {})
    assert masking_of(paths, {"ngram": 2}).ngram == 2


def test_masked_records_need_the_length_of_their_arrays_only(tmp_path):
    path = write_records(str(tmp_path / "a"), settings={"ngram": 5, "max_predictions_per_seq": 7})
    assert masking_of([path], {"max_predictions_per_seq": 3}) == MASKING
    with pytest.warns(InputWarning, match="--ngram makes no difference to masked records"):
        masking_of([path], {"ngram": 2})


def test_lengths_come_from_the_descriptions_or_are_the_defaults(tmp_path, capsys):
    described = write_records(str(tmp_path / "a"), max_seq_length=12, max_predictions_per_seq=3)
    bare = write_records(str(tmp_path / "b"))
    assert described_length([described, bare], "max_seq_length", 512) == 12
    assert masking_of([described], {}).max_predictions_per_seq == 3
    assert capsys.readouterr().err == ""
    assert described_length([bare], "max_seq_length", 512) == 512
    assert "--max_seq_length is 512: there is no description" in capsys.readouterr().err
    assert masking_of([bare], {}).max_predictions_per_seq == 20


@pytest.mark.parametrize(("lengths", "message"), [
    ((12, 13), r"a was made with --max_seq_length=12, .*b with 13: one value is needed"),
    ((12, "13"), r"b\.json: max_seq_length is '13', but a length is needed"),
])  # fmt: skip
def test_descriptions_of_several_lengths_are_refused(tmp_path, lengths, message):
    paths = [
        write_records(str(tmp_path / name), max_seq_length=length)
        for name, length in zip("ab", lengths, strict=True)
    ]
    with pytest.raises(InputError, match=message):
        described_length(paths, "max_seq_length", 512)


def test_masked_and_unmasked_records_are_not_mixed(tmp_path):
    paths = [write_records(str(tmp_path / "a")), unmasked(tmp_path, "b")]
    with pytest.raises(InputError, match=r"b holds unmasked records, .*a masked ones: a run takes one kind"):
        masking_of(paths, {})
    with pytest.raises(InputError, match="b holds unmasked records"):
        PretrainingTask(CONFIG, paths[:1], paths[1:], SEQ_LENGTH, MASKING).check_inputs()


@pytest.mark.parametrize(("feature", "value", "message"), [
    ("may_swap", 2, "may_swap holds 2, but it is 0 or 1"),
    ("mask_id", 20, "mask_id holds 20, but there are 20 pieces in the vocabulary"),
    ("token_boundary", 3, "token_boundary holds 3, but it is 0 or 1"),
    ("segment_ids", 1, "segment_ids are not 0 for [CLS] A [SEP], 1 for B [SEP] and 0 for padding"),
])  # fmt: skip
def test_what_is_wrong_with_an_unmasked_record_is_named(tmp_path, feature, value, message):
    features = make_unmasked_features(4)
    features[feature][2, 0] = value
    path = str(tmp_path / "a")
    with RecordWriter([path]) as writer:
        writer.write(features)
        writer.describe({})
    task = PretrainingTask(CONFIG, [path], [path], SEQ_LENGTH, MASKING)
    task.check_inputs()
    assert task.explain_bad_record() == f"{path}, record 3: {message}"
    with pytest.raises(tf.errors.InvalidArgumentError):
        next(iter(task.eval_dataset(4, context())))


def packable_tasks(folder, unmasked):
    """The same task with one example in a row, and with several."""
    path = packable.write_packable(str(folder / "records"), unmasked=unmasked)
    config = dataclasses.replace(
        CONFIG, vocab_size=packable.VOCAB_SIZE, max_position_embeddings=packable.LENGTH
    )
    masking = MaskingOptions(max_predictions_per_seq=packable.PREDICTIONS)
    arguments = (config, [path], [path], packable.LENGTH, masking)
    return PretrainingTask(*arguments), PretrainingTask(*arguments, packing=True, parts=2)


@pytest.mark.parametrize("unmasked", [False, True])
def test_packed_steps_have_the_examples_of_steps_that_are_not_packed(tmp_path, unmasked):
    alone, several = packable_tasks(tmp_path, unmasked)
    room = Room.of(packable.LENGTH, packable.PREDICTIONS)
    for own in (0, 1):  # the second worker begins with the third step, after the first time round
        batches, rows = (
            task.train_dataset(32, 7, 2 * own, context(2, own)).take(2).as_numpy_iterator()
            for task in (alone, several)
        )
        for batch, found in zip(batches, rows, strict=True):
            expected = pack(batch, room, parts=2)
            assert len(expected["input_ids"]) < 16
            for name, values in expected.items():
                np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_packed_evaluation_gives_the_results_of_one_that_is_not_packed(tmp_path):
    alone, several = packable_tasks(tmp_path, unmasked=True)
    model = alone.build_model()

    def totals(task):
        measured = [task.measure(model, batch, training=False) for batch in task.eval_dataset(16, context())]
        assert len(measured) == 3
        return {
            name: tuple(float(sum(getattr(m[name], part) for m in measured)) for part in ("total", "weight"))
            for name in task.metrics
        }

    assert alone.training_data().tokens_per_example == packable.LENGTH
    assert 5 < several.training_data().tokens_per_example < packable.LENGTH
    found = totals(several)
    for name, parts in totals(alone).items():
        assert found[name] == pytest.approx(parts, rel=1e-6), name
