"""The table of heads is complete, and what a source says of its head decides."""

import json

import pytest

from albert_tf.checkpoints.assets import Assets
from albert_tf.checkpoints.conversion import Conversion, convert
from albert_tf.checkpoints.huggingface import write_folder
from albert_tf.checkpoints.sources import open_source
from albert_tf.checkpoints.tensorflow import write_native
from albert_tf.checkpoints.verification import random_batch
from albert_tf.errors import InputError, InputWarning
from albert_tf.models import heads
from albert_tf.testing import SPM_MODEL_FILE, tiny_config
from tests.support.checkpoint_files import randomize, weights_of, write_checkpoint

CONFIG = tiny_config()


def model_with(head: str, labels: int = 1):
    return randomize(heads.build_model(head, CONFIG, {"output_weights": (labels, 16)}))


@pytest.mark.parametrize("head", heads.HEADS.values(), ids=lambda head: head.name)
def test_a_row_names_the_models_variables_and_outputs(head):
    model = model_with(head.name)
    own = [name for name in weights_of(model) if not name.startswith("bert/")]
    assert all(name.startswith(head.weights) for name in own)
    assert heads.head_of(weights_of(model), head.name) is heads.head_of_model(model) is head
    assert set(head.outputs) <= set(model(random_batch(model, head.name)))
    if head.attribute:
        assert {"output_weights", "output_bias"} == set(own)
        assert hasattr(getattr(model, head.attribute), "output_weights")
    assert all(hasattr(model, name) for name in head.settings)


def test_heads_of_other_names_are_told_apart():
    weights = [head.weights for head in heads.HEADS.values() if not head.attribute]
    assert len(set(weights)) == len(weights)
    assert len({head.attribute for head in heads.HEADS.values() if head.attribute}) == len(heads.SHARED_NAMES)
    names = [name for head in heads.HEADS.values() for name in head.task_names]
    assert len(set(names)) == len(names)


def test_a_table_by_head_must_be_complete():
    values = dict.fromkeys((name for name, head in heads.HEADS.items() if head.task_names), 1)
    assert heads.of_exported(values) == values
    with pytest.raises(ValueError, match="encoder"):
        heads.of_exported({name: 1 for name in values if name != "encoder"})


def test_fine_tuned_weights_that_still_hold_the_heads_of_pretraining_are_of_the_task():
    names = [*weights_of(model_with("pretraining")), *weights_of(model_with("classification"))]
    assert heads.head_of(names).name == "classification"


@pytest.mark.parametrize("kind", ["native", "huggingface"])
@pytest.mark.parametrize("head", heads.SHARED_NAMES)
def test_what_the_source_says_of_its_head_overrides_the_names(kind, head, tmp_path):
    path = written(tmp_path, kind, head)
    with open_source(path) as source:
        assert source.head == head
    conversion = Conversion(input=path, output=str(tmp_path / "out"), output_format="tf2")
    assert convert(conversion).head == head
    other = next(name for name in heads.SHARED_NAMES if name != head)
    with pytest.raises(InputError, match=f"--head={other}: the weights are those of {head}"):
        convert(Conversion(**{**vars(conversion), "head": other, "output": str(tmp_path / "other")}))


def written(folder, kind: str, head: str, labels: int = 1) -> str:
    """A folder with weights of a kind."""
    model, place = model_with(head, labels), folder / kind
    place.mkdir()
    assets = Assets(config=CONFIG, spm_model_file=SPM_MODEL_FILE)
    if kind == "huggingface":
        write_folder(str(place), assets, weights_of(model), head)
        return str(place)
    assets.write(str(place))
    if kind == "native":
        write_native(str(place / "model.ckpt"), model)
    else:
        write_checkpoint(place / "model.ckpt", weights_of(model))
    return str(place)


def test_where_nothing_is_told_what_is_assumed_is_said(tmp_path):
    one, three = (written(tmp_path, kind, "classification", n) for kind, n in (("one", 1), ("three", 3)))
    with pytest.warns(InputWarning, match="taken for a regression; if it is multiple choice"):
        assert convert(Conversion(input=one, output=str(tmp_path / "a"), output_format="tf2")).head
    with pytest.warns(InputWarning, match="taken for a classification of texts; if it is one of pieces"):
        assert convert(Conversion(input=three, output=str(tmp_path / "b"), output_format="tf2")).head


def test_a_task_that_lies_beside_the_weights_tells_the_head(tmp_path):
    path = written(tmp_path, "original", "multiple_choice")
    (tmp_path / "original" / "task.json").write_text(json.dumps({"task_name": "race"}))
    with open_source(path) as source:
        assert source.head == "multiple_choice"


def test_an_unknown_head_is_refused_with_those_there_are(tmp_path):
    path = written(tmp_path, "native", "encoder")
    with pytest.raises(InputError, match=r"no head 'tagger'; there are encoder, classification, "):
        convert(Conversion(input=path, output=str(tmp_path / "out"), output_format="tf2", head="tagger"))
