"""The training loop: devices change nothing, runs continue, divergence stops."""

import dataclasses
import gc
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from albert_tf.cli.options import TrainingOptions
from albert_tf.data.records import RecordWriter
from albert_tf.errors import InputError
from albert_tf.layers.variables import variable_name
from albert_tf.models.pretraining import AlbertForPreTraining
from albert_tf.tasks.pretraining import PretrainingTask
from albert_tf.tasks.task import WeightedSum
from albert_tf.training import loop
from albert_tf.training.history import rank
from tests.support.checkpoint_files import write_checkpoint
from tests.support.pretraining_records import CONFIG, MASKING, SEQ_LENGTH, make_features, write_records


def options(folder: pathlib.Path, **changes) -> TrainingOptions:
    defaults = {
        "output_dir": str(folder / "model"),
        "optimizer": "lamb",
        "learning_rate": 0.01,
        "train_batch_size": 8,
        "eval_batch_size": 8,
        "num_train_steps": 6,
        "num_warmup_steps": 2,
        "save_checkpoints_steps": 3,
        "do_eval": True,
    }
    return TrainingOptions(**(defaults | changes))


def task(folder: pathlib.Path, config=CONFIG, **records) -> PretrainingTask:
    train = write_records(str(folder / "train.tfrecord"), **records)
    held_out = write_records(str(folder / "eval.tfrecord"), count=21, seed=1)
    return PretrainingTask(config, [train], [held_out], SEQ_LENGTH, MASKING)


def saved_steps(folder: pathlib.Path) -> list[int]:
    names = (path.name for path in (folder / "model").glob("model.ckpt-[0-9]*.index"))
    return sorted(int(name.removeprefix("model.ckpt-").removesuffix(".index")) for name in names)


def weights_at(prefix: pathlib.Path) -> dict[str, np.ndarray]:
    model = AlbertForPreTraining(CONFIG)
    tf.train.Checkpoint(model=model).restore(str(prefix)).expect_partial()
    return {variable_name(v): v.numpy() for v in model.variables}


def test_one_seed_gives_one_model_and_another_seed_another(tmp_path):
    config = dataclasses.replace(CONFIG, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
    weights = []
    for name, seed in [("first", 1), ("again", 1), ("other", 2)]:
        folder = tmp_path / name
        folder.mkdir()
        loop.run(task(folder, config), options(folder, seed=seed, do_eval=False))
        weights.append(weights_at(folder / "model" / "model.ckpt-6"))
    first, again, other = weights
    for name in first:
        np.testing.assert_array_equal(first[name], again[name], err_msg=name)
    assert any(np.any(first[name] != other[name]) for name in first)


def test_training_lowers_the_loss_and_writes_what_it_promises(tmp_path, capsys):
    changes = {"optimizer": "adamw", "learning_rate": 0.003}
    changes |= {"num_train_steps": 250, "save_checkpoints_steps": 50, "seed": 1}
    results = loop.run(task(tmp_path, count=512), options(tmp_path, **changes))
    assert results["loss"] < 2.8 < np.log(20)
    assert results["masked_lm_accuracy"] > 0.25
    folder = tmp_path / "model"
    assert json.loads((folder / "eval_results.json").read_text()) == results
    text = (folder / "eval_results.txt").read_text()
    assert text in capsys.readouterr().out
    assert [line.split(" = ")[0] for line in text.splitlines()] == [
        "global_step",
        "loss",
        "masked_lm_accuracy",
        "masked_lm_loss",
        "sentence_order_accuracy",
        "sentence_order_loss",
    ]
    history = json.loads((folder / "history.json").read_text())["evaluations"]
    assert [past["global_step"] for past in history] == [50, 100, 150, 200, 250]
    assert history[-1] == results
    assert (folder / "model.ckpt-best.index").exists()
    assert list((folder / "train").glob("events*"))
    assert list((folder / "eval").glob("events*"))


def graphs() -> int:
    gc.collect()
    return sum(type(each).__name__ == "FuncGraph" for each in gc.get_objects())


def test_the_graphs_of_a_run_and_so_its_variables_are_freed(tmp_path):
    job = task(tmp_path)
    loop.run(job, options(tmp_path, num_train_steps=1))
    before = graphs()
    loop.run(job, options(tmp_path, num_train_steps=2))
    assert graphs() <= before


def test_checkpoints_and_evaluations_come_every_so_many_steps_and_at_the_end(tmp_path, capsys):
    changes = {"num_train_steps": 10, "save_checkpoints_steps": 4, "iterations_per_loop": 2}
    results = loop.run(task(tmp_path), options(tmp_path, command="run.py --seed=12345", **changes))
    assert saved_steps(tmp_path) == [4, 8, 10]
    page = (tmp_path / "model" / "report.html").read_text()
    assert "Line chart of training loss from step 2 to step 10" in page
    for fact in (
        f"{results['loss']:.4f}",
        "run.py",
        "eval: 1 file",
        "64 records in 1 file",
        "hidden size",
        "lamb",
    ):
        assert fact in page
    evaluations = [line for line in capsys.readouterr().err.splitlines() if "evaluation at" in line]
    assert [int(line.split(":")[0].split()[-1]) for line in evaluations] == [4, 8, 10]


def test_without_a_loss_of_sentences_their_head_is_not_trained_but_measured(tmp_path, capsys):
    made = {"settings": {"random_next_sentence": True}}
    files = [write_records(str(tmp_path / f"{name}.tfrecord"), **made) for name in ("train", "held_out")]
    weights = {}
    for loss in ("none", "nsp"):
        job = PretrainingTask(CONFIG, files[:1], files[1:], SEQ_LENGTH, MASKING, sentence_loss=loss)
        (tmp_path / loss).mkdir()
        results = loop.run(job, options(tmp_path / loss))
        assert results["loss"] == pytest.approx(sum(results[name] for name in job.losses))
        assert {"sentence_order_loss", "sentence_order_accuracy"} <= results.keys()
        said = "whether one is the next is trained (NSP)"
        assert (said in capsys.readouterr().err) == (loss == "nsp")
        weights[loss] = [weights_at(tmp_path / loss / "model" / f"model.ckpt-{step}") for step in (3, 6)]
    heads = [name for name in weights["nsp"][0] if "seq_relationship" in name or "pooler" in name]
    assert len(heads) == 4
    for name in weights["nsp"][0]:
        was_trained = {loss: np.any(first[name] != last[name]) for loss, (first, last) in weights.items()}
        assert was_trained == {"none": name not in heads, "nsp": True}, name


@pytest.mark.parametrize(("kind", "given"), [("nsp", "sop"), ("sop", "nsp")])
def test_records_without_the_pairs_of_the_sentence_loss_are_refused(tmp_path, kind, given):
    made = {"settings": {"random_next_sentence": kind == "nsp"}}
    path = write_records(str(tmp_path / "train.tfrecord"), **made)
    other = write_records(
        str(tmp_path / "held_out.tfrecord"), settings={"random_next_sentence": kind != "nsp"}
    )
    PretrainingTask(CONFIG, [path], [other], SEQ_LENGTH, MASKING).check_inputs()
    job = PretrainingTask(CONFIG, [path], [path], SEQ_LENGTH, MASKING, sentence_loss=given)
    with pytest.raises(InputError, match=f"train.tfrecord is for --sentence_loss={kind}, not for {given}"):
        job.check_inputs()


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    changes = {"num_train_steps": 5, "save_checkpoints_steps": 1, "keep_checkpoint_max": 2}
    loop.run(task(tmp_path), options(tmp_path, **changes))
    assert saved_steps(tmp_path) == [4, 5]
    assert (tmp_path / "model" / "model.ckpt-best.index").exists()


def test_best_checkpoint_is_the_one_with_the_best_metric(tmp_path):
    class FallingAccuracy(PretrainingTask):
        def measure(self, model, batch, training, dropout_seed=None):
            measured = super().measure(model, batch, training, dropout_seed)
            self.steps.assign_add(int(training))
            accuracy = 1.0 - tf.cast(self.steps, tf.float32) / 100
            return measured | {"masked_lm_accuracy": WeightedSum(accuracy, tf.constant(1.0))}

    job = task(tmp_path)
    job.__class__ = FallingAccuracy
    job.steps = tf.Variable(0)
    loop.run(job, options(tmp_path, num_train_steps=9))
    reader = tf.train.load_checkpoint(str(tmp_path / "model" / "model.ckpt-best"))
    assert reader.get_tensor("optimizer/_iterations/.ATTRIBUTES/VARIABLE_VALUE") == 3


def test_a_run_continues_where_it_stopped_and_ends_where_it_should(tmp_path, capsys):
    job = task(tmp_path)
    first = loop.run(job, options(tmp_path, num_train_steps=3))
    assert first["global_step"] == 3
    second = loop.run(job, options(tmp_path, num_train_steps=6))
    assert second["global_step"] == 6
    assert "continues from" in capsys.readouterr().err
    third, sixth = (tf.train.load_checkpoint(str(tmp_path / "model" / f"model.ckpt-{n}")) for n in (3, 6))
    slots = [n for n in third.get_variable_to_shape_map() if n.startswith("optimizer/_variables/")]
    slots = [n for n in slots if third.get_tensor(n).ndim and np.all(third.get_tensor(n) >= 0)]
    assert len(slots) >= 32  # the second moments, which shrink by no more than this in three steps
    for name in slots:
        assert np.all(sixth.get_tensor(name) >= 0.99 * third.get_tensor(name)), name
    before = weights_at(tmp_path / "model" / "model.ckpt-6")
    assert loop.run(job, options(tmp_path)) == pytest.approx(second)
    assert "nothing left to train" in capsys.readouterr().err
    after = weights_at(tmp_path / "model" / "model.ckpt-6")
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])


def test_evaluation_alone_takes_the_best_checkpoint(tmp_path):
    config = dataclasses.replace(CONFIG, hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5)
    job = task(tmp_path, config)
    loop.run(job, options(tmp_path))
    history = json.loads((tmp_path / "model" / "history.json").read_text())["evaluations"]
    trained = max(history, key=lambda results: rank(results, "masked_lm_accuracy"))
    for _ in range(2):  # without dropout: the same numbers each time
        assert loop.run(job, options(tmp_path, do_train=False)) == pytest.approx(trained)
    with pytest.raises(InputError, match=r"no checkpoint in .*: train first, or give --init_checkpoint"):
        loop.run(job, options(tmp_path, output_dir=str(tmp_path / "empty"), do_train=False))


def test_evaluation_counts_every_record_once_whatever_the_batch(tmp_path):
    job = task(tmp_path)
    trained = loop.run(job, options(tmp_path, num_train_steps=3))
    for batch_size in (1, 21, 64):
        again = loop.run(job, options(tmp_path, do_train=False, eval_batch_size=batch_size))
        assert again == pytest.approx(trained, rel=1e-5)


def test_evaluation_ends_after_max_eval_steps(tmp_path):
    job = task(tmp_path)
    whole = loop.run(job, options(tmp_path, num_train_steps=1))
    part = loop.run(job, options(tmp_path, do_train=False, max_eval_steps=1))
    with RecordWriter([str(tmp_path / "eight")]) as writer:
        writer.write({name: values[:8] for name, values in make_features(21, seed=1).items()})
    eight = PretrainingTask(CONFIG, job.input_files, [str(tmp_path / "eight")], SEQ_LENGTH, MASKING)
    assert loop.run(eight, options(tmp_path, do_train=False)) == pytest.approx(part)
    assert part["loss"] != whole["loss"]


def test_divergence_stops_with_the_step_and_keeps_the_last_good_checkpoint(tmp_path):
    job = task(tmp_path)
    loop.run(job, options(tmp_path, num_train_steps=3, do_eval=False))
    changes = {"num_warmup_steps": 0, "allow_changed_flags": True, "do_eval": False}
    bad = options(tmp_path, learning_rate=1e30, num_train_steps=50, **changes)
    with pytest.raises(InputError, match=r"not finite at step \d+.*--learning_rate.*model\.ckpt-3"):
        loop.run(job, bad)
    assert saved_steps(tmp_path) == [3]
    assert all(np.all(np.isfinite(v)) for v in weights_at(tmp_path / "model" / "model.ckpt-3").values())


def test_ruined_weights_are_neither_best_nor_a_result(tmp_path):
    job = task(tmp_path)
    loop.run(job, options(tmp_path, num_train_steps=3))
    before = (tmp_path / "model" / "eval_results.json").read_text()
    best = (tmp_path / "model" / "model.ckpt-best.index").read_bytes()
    # The last update ruins them: neither loss nor gradients of a step show it.
    changes = {"num_warmup_steps": 0, "allow_changed_flags": True}
    bad = options(tmp_path, learning_rate=1e30, num_train_steps=4, **changes)
    with pytest.raises(InputError, match="norm of bert/embeddings/word_embeddings is not finite at step 4"):
        loop.run(job, bad)
    assert saved_steps(tmp_path) == [3]
    assert (tmp_path / "model" / "eval_results.json").read_text() == before
    assert (tmp_path / "model" / "model.ckpt-best.index").read_bytes() == best


def test_another_config_is_refused_on_continuing(tmp_path):
    loop.run(task(tmp_path), options(tmp_path, num_train_steps=1, do_eval=False))
    other = task(tmp_path, dataclasses.replace(CONFIG, num_attention_heads=4))
    with pytest.raises(InputError, match="has num_attention_heads 2, not 4: give those, --allow_changed"):
        loop.run(other, options(tmp_path))


def test_mixed_bfloat16_trains_float32_weights(tmp_path):
    results = loop.run(task(tmp_path), options(tmp_path, mixed_precision="bfloat16"))
    assert np.isfinite(results["loss"])
    weights = weights_at(tmp_path / "model" / "model.ckpt-6")
    assert all(value.dtype == np.float32 for value in weights.values())


def test_training_starts_from_an_original_checkpoint(tmp_path, capsys):
    source = {variable_name(v): v.numpy() for v in AlbertForPreTraining(CONFIG).variables}
    slots = {f"{name}/adam_m": value for name, value in source.items()}
    prefix = write_checkpoint(tmp_path / "model.ckpt-best", source | slots)
    loop.run(task(tmp_path), options(tmp_path, init_checkpoint=prefix, num_train_steps=1, do_eval=False))
    assert "32 variables loaded, 0 missing, 0 unexpected, 32 of an optimizer" in capsys.readouterr().err
    # With warm-up, the first update has rate 0.
    weights = weights_at(tmp_path / "model" / "model.ckpt-1")
    for name, value in source.items():
        np.testing.assert_array_equal(weights[name], value, err_msg=name)


@pytest.mark.parametrize(("pipelines", "devices"), [(1, 1), (1, 4), (2, 2), (4, 4), (2, 4)])
def test_evaluation_gives_each_record_once_in_batches_of_one_shape(tmp_path, pipelines, devices):
    job, labels = task(tmp_path), []
    for i in range(pipelines):
        batches = job.eval_dataset(8, tf.distribute.InputContext(pipelines, i, devices))
        assert batches.element_spec["input_ids"].shape.as_list() == [8 // devices, SEQ_LENGTH]
        own = [batch["next_sentence_labels"] for batch in batches.as_numpy_iterator()]
        assert len(own) % (devices // pipelines) == 0
        labels += np.concatenate(own).tolist()
    assert sum(label >= 0 for label in labels) == 21
