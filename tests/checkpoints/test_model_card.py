"""The card of a Hugging Face folder says what is known about the weights; the licence is the user's."""

import json
import shutil

import pytest
import tensorflow as tf
import yaml

from albert_tf.checkpoints.conversion import Conversion, convert
from albert_tf.models.classification import AlbertForSequenceClassification
from albert_tf.testing import SPM_MODEL_FILE, tiny_config
from albert_tf.training.optimization import AdamW


@pytest.fixture
def run(tmp_path):
    """The folder of a run of 12 steps."""
    folder = tmp_path / "run"
    model, optimizer = AlbertForSequenceClassification(tiny_config(), num_labels=2), AdamW(0.1)
    optimizer.iterations.assign(12)
    tf.train.Checkpoint(model=model, optimizer=optimizer).write(str(folder / "model.ckpt-best"))
    tiny_config().to_json_file(str(folder / "albert_config.json"))
    shutil.copy(SPM_MODEL_FILE, folder / "spiece.model")
    task = {"task_name": "custom", "label_names": ["a|b", "c\n"], "text_columns": ["title", "body"]}
    results = {"eval_accuracy": 0.75, "baseline_eval_accuracy": 0.5, "eval_loss": 0.25, "global_step": 12}
    training = {
        "command": "run_classifier.py --init_checkpoint=https://anna:secret@host/w.tar.gz --do_train",
        "flags": {"init_checkpoint": "albert-base-v2"},
        "settings": {"train_file": "5349 examples"},
    }
    for name, content in [("task", task), ("eval_results", results), ("training", training)]:
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def converted(source, folder, **more):
    conversion = Conversion(input=str(source), output=str(folder), output_format="huggingface", **more)
    return convert(conversion), (folder / "README.md").read_text(encoding="utf-8")


def test_a_card_has_task_data_results_with_baselines_and_command(run, tmp_path):
    _, card = converted(run, tmp_path / "hf")
    _, front, text = card.split("---\n", 2)
    assert yaml.safe_load(front) == {
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["albert"],
    }
    assert "\n# license: " in front
    for line in (
        "| labels | a\\|b, c\\n |",
        "| texts of an example | title, body |",
        "| training step | 12 |",
        "| training began with | albert-base-v2 |",
        "| train_file | 5349 examples |",
        "| eval_accuracy | 0.7500 | 0.5000 |",
        "| eval_loss | 0.2500 |  |",
        "run_classifier.py --init_checkpoint=https://host/w.tar.gz --do_train",
    ):
        assert f"\n{line}\n" in text


def test_results_of_another_step_are_not_those_of_the_weights(run, tmp_path):
    path = run / "eval_results.json"
    path.write_text(json.dumps({"eval_accuracy": 0.9, "global_step": 11}))
    assert "0.9" not in converted(run, tmp_path / "hf")[1]


def test_a_card_that_is_there_stays_and_a_note_says_so(run, tmp_path):
    folder = tmp_path / "hf"
    folder.mkdir()
    (folder / "README.md").write_text("license: mine")
    with pytest.warns(UserWarning, match=r"README\.md is there and stays as it is"):
        _, card = converted(run, folder, overwrite=True)
    assert card == "license: mine"


def test_of_other_weights_the_card_says_what_is_not_known(run, tmp_path):
    converted(run, tmp_path / "hf")
    _, card = converted(tmp_path / "hf", tmp_path / "again")
    assert "| the weights come from | Hugging Face folder |" in card
    assert card.count("The files do not tell.") == 3
