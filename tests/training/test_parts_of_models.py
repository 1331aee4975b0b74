"""Runs that train a part of the model: LoRA, frozen layers, rates by layer."""

import dataclasses
import json

import numpy as np
import pytest

from albert_tf import open_model
from albert_tf.checkpoints.assets import Assets
from albert_tf.checkpoints.sources import open_source
from albert_tf.models.encoder import AlbertEncoder
from tests.support.checkpoint_files import randomize, weights_of, write_checkpoint
from tests.support.classifier_runs import CONFIG, mrpc_flags, refusal, results_in, run
from tests.support.glue_files import write_glue


@pytest.fixture
def flags(tmp_path) -> dict[str, object]:
    write_glue(tmp_path / "glue")
    return mrpc_flags(tmp_path / "glue", tmp_path)


def weights_in(folder):
    with open_source(str(folder)) as source:
        return {name: source.weight(name) for name in source.shapes}


def test_lora_trains_factors_pooler_and_head_alone(flags, tmp_path, capsys):
    config = dataclasses.replace(CONFIG, num_hidden_layers=2)
    base = weights_of(randomize(AlbertEncoder(config)))
    start = write_checkpoint(tmp_path / "base", base)
    config.to_json_file(str(tmp_path / "albert_config.json"))
    given = flags | {"init_checkpoint": start, "lora_rank": 2, "train_step": 2}
    assert run(given, "--do_train", "--do_eval") == 0
    printed = capsys.readouterr().err
    assert "parameters (" in next(line for line in printed.splitlines() if line.startswith("trained"))
    folder = tmp_path / "run"
    assert Assets.read(str(folder)).config.lora_rank == 2
    trained = weights_in(folder)
    for name, value in base.items():
        assert np.array_equal(trained[name], value) == ("pooler" not in name), name
    seconds = [value for name, value in trained.items() if name.endswith("/b")]
    assert len(seconds) == 4
    assert all(np.any(value) for value in seconds)

    # The folder says that the weights have factors: evaluations and predictions need no flag.
    results = results_in(folder)
    again = {name: value for name, value in flags.items() if name != "albert_config_file"}
    assert run(again | {"train_step": None}, "--do_eval", "--do_predict") == 0
    assert results_in(folder) == results
    label = open_model(folder).predict(["the river"], ["boats"])[0]["label"]
    assert label in ("0", "1")
    assert "--lora_rank 2, not 3" in refusal(
        capsys, run(given | {"lora_rank": 3, "train_step": 4}, "--do_train")
    )


@pytest.mark.parametrize(
    ("flag", "reason"),
    [
        ({"layer_decay": 0.9}, "--layer_decay: layers of the model share their weights"),
        ({"freeze_layers": 1}, "--freeze_layers: layers of the model share their weights"),
        ({"freeze_layers": 3}, "--freeze_layers=3: the model has 2 layers"),
    ],
)
def test_shared_layers_are_not_told_apart(flags, tmp_path, capsys, flag, reason):
    sharing = {} if "share" in reason else {"cross_layer_sharing": "none"}
    config = dataclasses.replace(CONFIG, num_hidden_layers=2, **sharing)
    config.to_json_file(str(tmp_path / "albert_config.json"))
    assert reason in refusal(capsys, run(flags | flag, "--do_train"))


def test_layers_of_their_own_have_rates_and_can_be_frozen(flags, tmp_path):
    config = dataclasses.replace(CONFIG, num_hidden_layers=2, cross_layer_sharing="none")
    start = write_checkpoint(tmp_path / "base", base := weights_of(randomize(AlbertEncoder(config))))
    config.to_json_file(str(tmp_path / "albert_config.json"))
    given = flags | {"init_checkpoint": start, "freeze_layers": 1, "layer_decay": 0.5, "train_step": 2}
    assert run(given, "--do_train") == 0
    trained = weights_in(tmp_path / "run")
    same = {name: np.array_equal(trained[name], value) for name, value in base.items()}
    frozen = {name for name in same if "/group_0/" in name or "embedding" in name}
    no_gradient = {name for name in same if name.endswith("key/bias")}
    assert frozen <= {name for name in same if same[name]} <= frozen | no_gradient
    described = json.loads((tmp_path / "run/training.json").read_text())
    assert (described["flags"]["freeze_layers"], described["flags"]["layer_decay"]) == (1, 0.5)
