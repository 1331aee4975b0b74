"""16-bit layers: what stays float32, how close they come, and the loss scale of float16."""

import numpy as np
import pytest
import tensorflow as tf

from albert_tf import load_weights
from albert_tf.cli.flags import UsageError
from albert_tf.errors import InputError
from albert_tf.models.pretraining import AlbertForPreTraining
from albert_tf.tasks.task import WeightedSum
from albert_tf.training import loop
from albert_tf.training.checkpointing import Checkpoints
from albert_tf.training.divergence import Diverged
from albert_tf.training.gradients import LossScale
from tests.support.pretraining_records import CONFIG
from tests.support.task_batches import NAMES, make_trainer, moments_of, task_and_batch
from tests.training.test_training import options, task

POLICIES = {"mixed_bfloat16": tf.bfloat16, "mixed_float16": tf.float16}
CASES = [(name, "mixed_float16") for name in NAMES] + [("pretraining", "mixed_bfloat16")]
# Softmax and losses; Rsqrt and SquaredDifference belong to LayerNorm.
FLOAT32_OPS = {"Softmax", "LogSoftmax", "SparseSoftmaxCrossEntropyWithLogits", "Rsqrt", "SquaredDifference"}
PRODUCTS = {"MatMul", "BatchMatMulV2"}


@pytest.mark.parametrize(("name", "policy"), CASES)
def test_softmax_layer_norm_and_losses_run_in_float32_and_products_in_16_bits(name, policy):
    job, batch = task_and_batch(name)
    model = job.build_model(policy)

    @tf.function
    def losses():
        measured = job.measure(model, batch, training=True, dropout_seed=tf.constant([1, 2]))
        return [value for part in measured.values() for value in part[:2]]

    concrete = losses.get_concrete_function()
    types = {}
    for operation in concrete.graph.get_operations():
        if operation.type in FLOAT32_OPS | PRODUCTS:
            types.setdefault(operation.type, set()).add(operation.get_attr("T"))
    assert len(types.keys() - PRODUCTS) >= 3
    for kind, found in types.items():
        assert found == {POLICIES[policy] if kind in PRODUCTS else tf.float32}, kind
    assert all(output.dtype == tf.float32 for output in concrete.outputs)
    assert all(variable.dtype == tf.float32 for variable in model.variables)


@pytest.mark.parametrize(("name", "policy"), CASES)
def test_loss_and_gradients_come_close_to_those_of_float32(name, policy):
    job, batch = task_and_batch(name)
    found = []
    for precision in ("float32", policy):
        trainer = make_trainer(job, batch, precision=precision)
        if trainer.loss_scale:
            trainer.loss_scale.scale.assign(2.0**12)
        trainer.replica_step(batch)
        found.append(
            (
                float(trainer.results()["loss"]),
                np.concatenate([m.ravel() for m in moments_of(trainer).values()]),
            )
        )
    (loss, gradients), (rough_loss, rough_gradients) = found
    assert rough_loss == pytest.approx(loss, rel=0.01)
    assert 0 < np.linalg.norm(rough_gradients - gradients) < 0.1 * np.linalg.norm(gradients)


def test_scale_is_halved_where_a_step_overflows_and_doubled_after_2000_good_ones():
    scale = LossScale()
    assert float(scale.scale) == 2**15
    scale.update(tf.constant(False))
    assert [float(scale.scale), int(scale.good_steps), int(scale.skipped_steps)] == [2**14, 0, 1]
    scale.good_steps.assign(1998)
    scale.update(tf.constant(True))
    assert [float(scale.scale), int(scale.good_steps)] == [2**14, 1999]
    scale.update(tf.constant(True))
    assert [float(scale.scale), int(scale.good_steps), int(scale.skipped_steps)] == [2**15, 0, 1]
    scale.scale.assign(1.0)
    scale.update(tf.constant(False))
    assert float(scale.scale) == 1
    assert scale.is_least


def overflowing(factor):
    """A task whose last example has gradients `factor` times as large, so that float16 overflows."""
    job, batch = task_and_batch("mnli")

    def measure(model, part, training, dropout_seed, measure=job.measure):
        measured = measure(model, part, training, dropout_seed)
        loss = measured["cross_entropy"]
        total = loss.total * tf.reduce_max(part["factor"])
        return measured | {"cross_entropy": WeightedSum(total, loss.weight)}

    job.measure = measure
    return job, batch | {"factor": tf.constant([1.0] * 7 + [factor])}


def test_a_step_that_overflows_on_one_device_is_counted_and_changes_nothing_else(two_devices):
    job, batch = overflowing(1000.0)
    trainer = make_trainer(job, batch, precision="mixed_float16", strategy=two_devices)
    before = trainer.model.get_weights()
    results = trainer.train(tf.constant(1))
    assert int(trainer.optimizer.iterations.numpy()) == int(results["skipped_steps"]) == 1
    assert float(results["loss_scale"]) == 2**14
    assert np.isfinite(float(results["loss"]))
    assert all(not moment.any() for moment in moments_of(trainer).values())
    for old, new in zip(before, trainer.model.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)
    results = trainer.train(tf.constant(14))
    assert 1 < int(results["skipped_steps"]) < 14
    assert np.isfinite(float(results["gradient_norm"]))
    assert float(results["gradient_norm"]) > 0
    assert all(np.isfinite(moment).all() for moment in moments_of(trainer).values())
    assert any((new != old).any() for old, new in zip(before, trainer.model.get_weights(), strict=True))


def test_a_run_that_only_overflows_has_diverged_when_the_scale_is_at_its_least():
    job, batch = overflowing(np.inf)
    trainer = make_trainer(job, batch, precision="mixed_float16")
    for _ in range(15):
        trainer.replica_step(batch)
    trainer.check_steps()
    trainer.replica_step(batch)
    with pytest.raises(Diverged, match="the loss is not finite at step 15") as raised:
        trainer.check_steps()
    assert raised.value.step == 15


def checkpoints_of(trainer, folder) -> Checkpoints:
    return Checkpoints(str(folder), trainer.model, trainer.optimizer, trainer.strategy, 5, trainer.loss_scale)


def test_training_continues_with_its_scale_and_ends_in_the_same_bits(tmp_path):
    job, batch = overflowing(1000.0)
    whole, rest = (make_trainer(job, batch, precision="mixed_float16") for _ in range(2))
    for step in range(8):
        if step == 3:
            saved = checkpoints_of(whole, tmp_path).save(step)
        whole.replica_step(batch)
    checkpoints_of(rest, tmp_path).restore(saved)
    assert int(rest.loss_scale.skipped_steps) == 3
    for _ in range(3, 8):
        rest.replica_step(batch)
    assert 3 < int(rest.loss_scale.skipped_steps) < 8
    states = [[*t.model.variables, *t.optimizer.variables, *t.loss_scale.variables] for t in (whole, rest)]
    for theirs, ours in zip(*states, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), err_msg=ours.name)


def test_a_checkpoint_of_float32_leaves_the_scale_where_it_starts(tmp_path):
    job, batch = task_and_batch("mnli")
    saved = checkpoints_of(make_trainer(job, batch), tmp_path).save(1)
    trainer = make_trainer(job, batch, precision="mixed_float16")
    checkpoints_of(trainer, tmp_path).restore(saved)
    assert float(trainer.loss_scale.scale) == 2**15


def test_a_run_in_float16_reports_its_scale_and_keeps_it(tmp_path):
    flags = {"mixed_precision": "float16", "gradient_accumulation_steps": 2, "recompute": True}
    results = loop.run(task(tmp_path), options(tmp_path, **flags))
    assert np.isfinite(results["loss"])
    folder = tmp_path / "model"
    reader = tf.train.load_checkpoint(str(folder / "model.ckpt-6"))
    assert reader.get_tensor("loss_scale/good_steps/.ATTRIBUTES/VARIABLE_VALUE") > 0
    [events] = folder.glob("train/events.out.tfevents.*")
    names = {
        value.tag
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
    }
    assert {"loss_scale", "skipped_steps"} <= names
    assert load_weights(AlbertForPreTraining(CONFIG), str(folder)).unexpected == ()


def test_a_run_compiled_with_xla_trains_and_evaluates(tmp_path, monkeypatch):
    compiled = []

    def function(step, *arguments, real=tf.function, **settings):
        if settings.get("jit_compile"):
            compiled.append(step.__qualname__)
        return real(step, *arguments, **settings)

    monkeypatch.setattr(tf, "function", function)
    flags = {"num_train_steps": 2, "gradient_accumulation_steps": 2, "recompute": True, "jit_compile": True}
    results = loop.run(task(tmp_path), options(tmp_path, **flags))
    assert sorted(compiled) == ["Evaluator._measure_on_device", "Trainer.replica_step"]
    assert results == pytest.approx(loop.run(task(tmp_path), options(tmp_path, do_train=False)), rel=1e-5)


@pytest.mark.parametrize(("changes", "message"), [
    ({"jit_compile": True, "distribution_strategy": "tpu"}, "--jit_compile is not for TPUs"),
    ({"mixed_precision": "float16", "distribution_strategy": "tpu"}, "use --mixed_precision=bfloat16"),
])  # fmt: skip
def test_flags_that_do_not_go_together_are_refused(tmp_path, changes, message):
    with pytest.raises(UsageError, match=message):
        options(tmp_path, **changes)


def test_a_batch_that_cannot_be_cut_is_refused(tmp_path, two_devices):
    flags = options(tmp_path, train_batch_size=8, gradient_accumulation_steps=3)
    message = "--train_batch_size=8 is not divisible by the 2 devices times --gradient_accumulation_steps=3"
    with pytest.raises(InputError, match=message):
        loop.run(task(tmp_path), flags, two_devices)
