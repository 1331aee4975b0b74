"""Divergence: a run goes past bad data, not too often, and after a restart on the same data."""

import json

import numpy as np
import pytest
import tensorflow as tf

from albert_tf.errors import InputError
from albert_tf.tasks.pretraining import PretrainingTask
from albert_tf.training import loop
from albert_tf.training.divergence import Diverged, Rollbacks, explain_gradients
from albert_tf.training.report import TrainingProgress
from tests.support.pretraining_records import CONFIG, MASKING, SEQ_LENGTH, write_records
from tests.training.test_training import options, saved_steps, weights_at


class PoisonedTask(PretrainingTask):
    """Numbers its batches, and makes the loss of some of them infinite.

    Attributes:
      poisoned: numbers of the batches that ruin a step.
      seen_numbers: those of the batches that were trained on.
    """

    poisoned: tuple[int, ...] = ()

    def train_dataset(self, batch_size, seed, first_step, context):
        batches = super().train_dataset(batch_size, seed, first_step, context)
        return tf.data.Dataset.zip(batches, tf.data.Dataset.counter(first_step)).map(
            lambda batch, number: batch | {"number": number}
        )

    def measure(self, model, batch, training, dropout_seed=None):
        number = dict(batch).pop("number", tf.constant(-1, tf.int64))
        measured = super().measure(model, batch, training, dropout_seed)
        if training:
            self.seen_numbers.assign(tf.concat([self.seen_numbers, [number]], axis=0))
            is_bad = tf.reduce_any(number == tf.constant(self.poisoned, tf.int64))
            part = measured["masked_lm_loss"]
            measured["masked_lm_loss"] = part._replace(total=tf.where(is_bad, np.inf, 1.0) * part.total)
        return measured


def poisoned_task(folder, *poisoned: int) -> PoisonedTask:
    train = write_records(str(folder / "train.tfrecord"), count=200)
    task = PoisonedTask(CONFIG, [train], [train], SEQ_LENGTH, MASKING)
    task.poisoned = poisoned
    task.seen_numbers = tf.Variable(tf.zeros([0], tf.int64), shape=[None])
    return task


def rollback_options(folder, **changes):
    defaults = {"on_divergence": "rollback", "num_train_steps": 12, "save_checkpoints_steps": 4}
    return options(folder, **defaults | {"do_eval": False} | changes)


def test_a_run_goes_back_and_past_the_data_that_ruined_it(tmp_path, capsys):
    task = poisoned_task(tmp_path, 5)
    loop.run(task, rollback_options(tmp_path))
    # Steps 4 and 5 run again, on the batches after 5; some later batches may have been read before.
    seen = task.seen_numbers.numpy().tolist()
    assert seen[:6] == [0, 1, 2, 3, 4, 5]
    assert seen[-8:] == [6, 7, 8, 9, 10, 11, 12, 13]
    assert saved_steps(tmp_path) == [0, 4, 8, 12]
    folder = tmp_path / "model"
    assert all(np.isfinite(value).all() for value in weights_at(folder / "model.ckpt-12").values())
    printed = capsys.readouterr().err
    assert "the loss is not finite at step 5 (inf)" in printed
    assert f"back to {folder / 'model.ckpt-4'} and past the data of the steps from there" in printed
    [kept] = json.loads((folder / "rollbacks.json").read_text())
    assert (kept["to_step"], kept["batches"]) == (4, 2)


def test_a_run_that_went_past_data_continues_on_the_same_batches(tmp_path):
    task = poisoned_task(tmp_path, 5)
    loop.run(task, rollback_options(tmp_path))
    folder = tmp_path / "model"
    whole = weights_at(folder / "model.ckpt-12")
    for path in folder.glob("model.ckpt-12*"):
        path.unlink()
    state = folder / "checkpoint"
    state.write_text('model_checkpoint_path: "model.ckpt-8"\nall_model_checkpoint_paths: "model.ckpt-8"\n')
    task.seen_numbers.assign(tf.zeros([0], tf.int64))
    loop.run(task, rollback_options(tmp_path))
    assert task.seen_numbers.numpy().tolist() == [10, 11, 12, 13]
    for name, value in weights_at(folder / "model.ckpt-12").items():
        np.testing.assert_array_equal(whole[name], value, err_msg=name)


def test_ctrl_c_does_not_save_ruined_weights_nor_goes_on(tmp_path, monkeypatch, capsys):
    task = poisoned_task(tmp_path, 5)

    def interrupt(progress, steps, advance=TrainingProgress.advance):
        advance(progress, steps)
        if tf.size(task.seen_numbers) == 7:
            raise KeyboardInterrupt
        return False

    monkeypatch.setattr(TrainingProgress, "advance", interrupt)
    with pytest.raises(KeyboardInterrupt):
        loop.run(task, rollback_options(tmp_path))
    assert saved_steps(tmp_path) == [0, 4]
    assert "not finite at step 5 (inf)" in capsys.readouterr().err


def test_without_a_checkpoint_a_run_begins_anew_behind_the_data(tmp_path):
    task = poisoned_task(tmp_path, 1)
    loop.run(task, rollback_options(tmp_path, num_train_steps=4))
    assert task.seen_numbers.numpy().tolist()[-4:] == [2, 3, 4, 5]


def test_rollbacks_are_bounded(tmp_path):
    task = poisoned_task(tmp_path, *range(5, 100))
    message = r"not finite at step 4 .*, after 3 rollbacks\. Try .*The last checkpoint is .*model\.ckpt-4"
    with pytest.raises(InputError, match=message):
        loop.run(task, rollback_options(tmp_path))
    with pytest.raises(InputError, match="after 3 rollbacks"):  # a restart goes on counting
        loop.run(task, rollback_options(tmp_path))
    assert saved_steps(tmp_path) == [0, 4]


@pytest.mark.parametrize(("batches", "message"), [
    ("Infinity", "expected `int`, got `float`"),
    ("NaN", "expected `int`, got `float`"),
    ("-1", "expected `int` >= 0"),
    (str(10**30), "expected `int` <= "),
    ("null", "expected `int`, got `null`"),
])  # fmt: skip
def test_numbers_that_no_rollback_has_are_named(tmp_path, batches, message):
    path = tmp_path / "rollbacks.json"
    path.write_text(f'[{{"to_step": 2, "batches": {batches}, "why": ""}}]')
    with pytest.raises(InputError) as raised:
        Rollbacks(str(tmp_path))
    assert str(raised.value).startswith(f"{path}: [0].batches: {message}")


def test_rollbacks_say_which_batch_is_that_of_a_step(tmp_path):
    rollbacks = Rollbacks(str(tmp_path))
    rollbacks.add(100, Diverged("why", step=110))
    rollbacks.add(100, Diverged("why", step=104))
    rollbacks.add(200, Diverged("why", step=200))
    again = Rollbacks(str(tmp_path))
    assert [again.batch_of(step) for step in (0, 99, 100, 199, 200)] == [0, 99, 116, 215, 217]
    again.forget_after(150)  # the user went back to a checkpoint before the last rollback
    assert [again.batch_of(step) for step in (99, 100, 200)] == [99, 116, 216]
    for content in ("", "[{}]", '[{"to_step": "x", "batches": 1, "why": ""}]'):
        (tmp_path / "rollbacks.json").write_text(content)
        with pytest.raises(InputError, match=r"rollbacks\.json"):
            Rollbacks(str(tmp_path))


@pytest.mark.parametrize(("norms", "before", "loss", "message"), [
    ([1, np.inf, 1], [1, 1, 1], 2.0, "the gradient of b is not finite at step 7"),
    ([np.nan, np.nan, 1], [1, 1, 1], 2.0, "gradient of b is not finite at step 7 (nor those of 1 variables"),
    ([np.nan] * 3, [1, 30, 2], np.nan, "loss is not finite at step 7 (nan); the largest gradient of the step "
     "before was that of b, of norm 30"),
    ([np.nan] * 3, [0, 0, 0], np.inf, "the loss is not finite at step 7 (inf)"),
])  # fmt: skip
def test_the_variable_that_diverged_is_named(norms, before, loss, message):
    diverged = explain_gradients(["a", "b", "c"], np.array(norms), np.array(before), loss, 7)
    assert message in str(diverged)
    assert diverged.step == 7
