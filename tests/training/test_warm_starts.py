"""The paper's warm starts with the real scripts: depth, groups, and tasks that begin with MNLI."""

import dataclasses
import functools
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

import run_pretraining
from albert_tf import load_weights
from albert_tf.checkpoints import huggingface
from albert_tf.checkpoints.assets import Assets
from albert_tf.models.classification import AlbertForMultipleChoice, AlbertForSequenceClassification
from albert_tf.models.pretraining import AlbertForPreTraining
from albert_tf.tasks.race import RaceTask
from albert_tf.training.initial_weights import load_initial_weights
from tests.support import classifier_runs
from tests.support.checkpoint_files import randomize, weights_of, write_checkpoint, write_hub_module
from tests.support.classifier_runs import mrpc_flags, only
from tests.support.glue_files import write_glue
from tests.support.pretraining_records import CONFIG, PREDICTIONS, SEQ_LENGTH, write_records
from tests.support.race_questions import make_questions
from tests.support.script_runs import run_script

pretrain = functools.partial(run_script, run_pretraining.main)


@pytest.fixture
def flags(tmp_path) -> dict[str, object]:
    """Flags of one step; its learning rate is 0 because of warm-up."""
    return {
        "input_file": write_records(str(tmp_path / "train.tfrecord")),
        "output_dir": tmp_path / "warm",
        "max_seq_length": SEQ_LENGTH,
        "max_predictions_per_seq": PREDICTIONS,
        "train_batch_size": 8,
        "num_train_steps": 1,
        "num_warmup_steps": 1,
    }


def with_config(flags: dict[str, object], **changes) -> dict[str, object]:
    path = flags["output_dir"].parent / "albert_config.json"
    dataclasses.replace(CONFIG, **changes).to_json_file(str(path))
    return flags | {"albert_config_file": path}


def weights_in(folder: pathlib.Path, model) -> dict[str, np.ndarray]:
    load_weights(model, str(folder))
    return weights_of(model)


def test_the_head_of_race_scores_any_number_of_options(tmp_path):
    model = randomize(AlbertForMultipleChoice(CONFIG))
    write_checkpoint(tmp_path / "model.ckpt-best", weights_of(model))
    CONFIG.to_json_file(str(tmp_path / "albert_config.json"))
    (tmp_path / "task.json").write_text(
        json.dumps({"task_name": "race", "label_names": ["A", "B", "C", "D"]})
    )
    three = make_questions("The boats.", "Which?", ["a", "b", "c"])
    task = RaceTask({"test": three}, {}, config=CONFIG, max_seq_length=SEQ_LENGTH)
    assert task.label_names == ("A", "B", "C")
    ours = task.build_model()
    load_initial_weights(task, ours, str(tmp_path), init_from_group0=False, with_head=True)
    for name, values in weights_of(model).items():
        np.testing.assert_array_equal(weights_of(ours)[name], values)


@pytest.mark.parametrize("kind", ["run", "original", "huggingface", "hub"])
def test_a_deeper_model_starts_from_a_shallower_one(flags, tmp_path, capsys, kind):
    shallow = randomize(AlbertForPreTraining(CONFIG))
    weights, source = weights_of(shallow), tmp_path / "shallow"
    source.mkdir()
    if kind == "huggingface":
        huggingface.write_folder(str(source), Assets(config=CONFIG), weights, "pretraining")
    elif kind == "hub":
        write_hub_module(source, weights, CONFIG)
    else:
        write_checkpoint(source / "model.ckpt-best", weights)
        CONFIG.to_json_file(str(source / "albert_config.json"))
    if kind == "run":  # one more, which leaves the weights as they are
        first = with_config(flags)
        assert pretrain({**first, "init_checkpoint": source, "output_dir": tmp_path / "first"}) == 0
        source = tmp_path / "first"
    capsys.readouterr()
    deep = with_config(flags, num_hidden_layers=3)
    assert pretrain({**deep, "init_checkpoint": source}) == 0
    printed = capsys.readouterr().err
    assert "depth        3 layers, with the weights of 1\n" in printed
    assert "warning" not in printed
    started = weights_in(
        tmp_path / "warm", AlbertForPreTraining(dataclasses.replace(CONFIG, num_hidden_layers=3))
    )
    assert started.keys() == weights.keys()
    for name in weights:
        np.testing.assert_array_equal(started[name], weights[name], err_msg=name)
    assert json.loads((tmp_path / "warm" / "albert_config.json").read_text())["num_hidden_layers"] == 3


def test_every_group_starts_from_group_0_of_a_run(flags, tmp_path, capsys):
    first = with_config(flags, num_hidden_layers=1, inner_group_num=2) | {"output_dir": tmp_path / "first"}
    assert pretrain(first) == 0
    one = weights_in(
        tmp_path / "first",
        AlbertForPreTraining(dataclasses.replace(CONFIG, num_hidden_layers=1, inner_group_num=2)),
    )
    grouped = {"num_hidden_layers": 2, "num_hidden_groups": 2, "inner_group_num": 2}
    capsys.readouterr()
    flags = with_config(flags, **grouped) | {"init_checkpoint": tmp_path / "first"}
    assert pretrain(flags, "--init_from_group0") == 0
    printed = capsys.readouterr().err
    assert "depth        2 layers, with the weights of 1\n" in printed
    assert "groups       2, all with the weights of group 0\n" in printed
    assert "warning" not in printed
    both = weights_in(tmp_path / "warm", AlbertForPreTraining(dataclasses.replace(CONFIG, **grouped)))
    assert len(both) > len(one)
    for name, value in both.items():
        stored = name.replace("/group_1/", "/group_0/")
        np.testing.assert_array_equal(value, one[stored], err_msg=name)


def test_weights_of_which_a_part_is_missing_need_a_flag(flags, tmp_path, capsys):
    weights = weights_of(randomize(AlbertForPreTraining(CONFIG)))
    write_checkpoint(tmp_path / "torn", {name: v for name, v in weights.items() if "/ffn_1/" not in name})
    flags = with_config(flags) | {"init_checkpoint": tmp_path / "torn"}
    assert pretrain(flags) == 1
    refused = capsys.readouterr().err
    assert (
        "torn lacks 4 of 32 weights of the model: bert/encoder/transformer/group_0/inner_group_0/ffn"
        in refused
    )
    assert "; --allow_missing trains them from initial values\n" in refused
    assert not list((tmp_path / "warm").glob("model.ckpt*"))
    assert pretrain(flags, "--allow_missing") == 0
    assert "warning: " in capsys.readouterr().err
    started = weights_in(tmp_path / "warm", AlbertForPreTraining(CONFIG))
    for name, value in weights.items():
        assert np.array_equal(started[name], value) == ("/ffn_1/" not in name)


@pytest.fixture(scope="module")
def mnli(tmp_path_factory) -> pathlib.Path:
    """A folder with a run on MNLI, cased, and the files of GLUE beside it."""
    folder = tmp_path_factory.mktemp("mnli")
    flags = mrpc_flags(write_glue(folder / "glue"), folder) | {"task_name": "mnli", "do_lower_case": "false"}
    assert classifier_runs.run(flags, "--do_train", "--do_eval") == 0
    return folder


@pytest.mark.parametrize(("task", "outputs"), [("rte", 2), ("sts-b", 1)])
def test_a_task_begins_with_the_encoder_and_pooler_of_mnli(mnli, tmp_path, capsys, task, outputs):
    flags = {"task_name": task, "data_dir": mnli / "glue", "init_checkpoint": mnli / "run"}
    flags |= {"output_dir": tmp_path / task, "max_seq_length": 16, "train_batch_size": 8}
    flags |= {"train_step": 1, "warmup_step": 1}
    capsys.readouterr()
    assert classifier_runs.run(flags, "--do_train") == 0
    printed = capsys.readouterr().err
    assert f"starts from  {mnli / 'run' / 'model.ckpt-best'} (albert_tf checkpoint, step " in printed
    head = "fresh; the checkpoint has the head of the task mnli (contradiction, entailment, neutral)"
    assert f"head         {head}\n" in printed
    assert "warning" not in printed

    best = tf.train.load_checkpoint(str(mnli / "run" / "model.ckpt-best"))
    tuned = AlbertForSequenceClassification(classifier_runs.CONFIG, 3)
    tf.train.Checkpoint(model=tuned).restore(str(mnli / "run" / "model.ckpt-best")).expect_partial()
    tuned = weights_of(tuned)
    ours = weights_in(tmp_path / task, AlbertForSequenceClassification(classifier_runs.CONFIG, outputs))
    for name, value in ours.items():
        if name.startswith("bert/"):
            np.testing.assert_array_equal(value, tuned[name], err_msg=name)
    step = "optimizer/_iterations/.ATTRIBUTES/VARIABLE_VALUE"
    assert best.get_tensor(step) > 1
    assert tf.train.load_checkpoint(str(tmp_path / task / "model.ckpt-1")).get_tensor(step) == 1
    described = json.loads((tmp_path / task / "task.json").read_text())
    assert described["do_lower_case"] is False
    assert described["vocabulary"] == json.loads((mnli / "run" / "task.json").read_text())["vocabulary"]


def test_fine_tuning_takes_a_deeper_config_than_the_weights_have(mnli, tmp_path, capsys):
    deep = dataclasses.replace(classifier_runs.CONFIG, num_hidden_layers=2)
    deep.to_json_file(str(tmp_path / "deep.json"))
    flags = only(mrpc_flags(mnli / "glue", tmp_path), "task_name", "data_dir", "output_dir", "max_seq_length")
    flags |= {"albert_config_file": tmp_path / "deep.json", "init_checkpoint": mnli / "run", "train_step": 1}
    assert classifier_runs.run(flags, "--do_train") == 0
    printed = capsys.readouterr().err
    assert "depth        2 layers, with the weights of 1\n" in printed
    assert "warning" not in printed
    # Without training, another depth is probably a mistake.
    evaluated = flags | {"output_dir": tmp_path / "other", "task_name": "mnli"}
    assert classifier_runs.run(evaluated, "--do_eval") == 0
    assert "num_hidden_layers is 2 in the model and 1 in the config" in capsys.readouterr().err
