"""Weights of which a part is missing: told when they load, refused by conversions."""

import dataclasses
import warnings

import numpy as np
import pytest

import albert_tf
from albert_tf.checkpoints.conversion import Conversion, convert
from albert_tf.checkpoints.loading import LoadReport
from albert_tf.checkpoints.verification import check
from albert_tf.errors import InputError, InputWarning
from albert_tf.models import heads
from albert_tf.testing import tiny_config
from tests.support.checkpoint_files import randomize, weights_of, write_checkpoint

CONFIG = tiny_config()
LABELS = {"output_weights": (3, 16)}
GROUPS = "more groups of layers than"


def load(tmp_path, head: str, lacks: tuple[str, ...], config=CONFIG, of: str = "") -> LoadReport:
    """Loads into a model with that head the weights of a model with the head `of`, but for some parts."""
    weights = weights_of(randomize(heads.build_model(of or head, CONFIG, LABELS)))
    kept = {name: value for name, value in weights.items() if not any(part in name for part in lacks)}
    write_checkpoint(tmp_path / "model.ckpt", kept)
    CONFIG.to_json_file(str(tmp_path / "albert_config.json"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        return albert_tf.load_weights(heads.build_model(head, config, LABELS), str(tmp_path))


@pytest.mark.parametrize(("head", "lacks", "number"), [
    ("pretraining", ("/ffn_1/",), 4),
    ("pretraining", ("LayerNorm_1",), 2),
    ("pretraining", ("embedding_hidden_mapping_in/bias",), 1),
    ("pretraining", ("cls/predictions/transform/",), 4),
    ("pretraining", ("bert/pooler",), 2),  # the head of the sentence order reads it
    ("pretraining", ("pooler/dense/kernel",), 1),
    ("classification", ("output_bias",), 1),
    ("classification", ("bert/pooler",), 2),
    ("question_answering_v2", ("end_logits/",), 6),
])  # fmt: skip
def test_a_part_that_is_missing_is_told_and_not_converted(head, lacks, number, tmp_path):
    report = load(tmp_path, head, lacks)
    assert len(report.torn) == len(report.missing) == number
    [note] = report.notes
    assert note.startswith(f"{number} weights of the model are missing, and keep their values: ")
    assert report.torn[0] in note
    conversion = Conversion(input=str(tmp_path), output=str(tmp_path / "out"), output_format="huggingface")
    with pytest.raises(InputError, match=rf"lacks {number} of \d+ weights of the model: {report.torn[0]}"):
        convert(conversion)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("head", "lacks", "of"), [
    ("pretraining", ("cls/seq_relationship",), ""),
    ("pretraining", ("cls/seq_relationship", "bert/pooler"), ""),  # a masked LM of Hugging Face
    ("encoder", ("bert/pooler",), ""),
    ("token_classification", ("bert/pooler",), ""),
    ("question_answering", ("bert/pooler",), ""),
    ("classification", (), "encoder"),
    ("classification", ("bert/pooler",), "pretraining"),
    ("pretraining", (), "classification"),
])  # fmt: skip
def test_whole_heads_and_poolers_may_be_missing(head, lacks, of, tmp_path):
    report = load(tmp_path, head, lacks, of=of)
    assert report.missing
    assert report.torn == report.notes == ()


def test_the_note_on_groups_appears_only_where_groups_are_the_cause(tmp_path):
    grouped = dataclasses.replace(CONFIG, num_hidden_groups=2)
    assert GROUPS in load(tmp_path, "encoder", (), grouped).notes[-1]
    unshared = dataclasses.replace(CONFIG, cross_layer_sharing="ffn")
    assert GROUPS in load(tmp_path, "encoder", (), unshared).notes[-1]
    torn = load(tmp_path, "encoder", ("/ffn_1/",), grouped)
    assert [GROUPS in note for note in torn.notes] == [False]
    assert len(torn.torn) == 16 + 4


def test_other_unexpected_weights_of_a_layer_are_no_sign_of_groups(tmp_path):
    model = heads.build_model("encoder", CONFIG, {})
    name = "bert/encoder/transformer/group_0/inner_group_0/adapter/kernel"
    write_checkpoint(tmp_path / "m", weights_of(model) | {name: np.ones([2, 2], np.float32)})
    report = albert_tf.load_weights(model, str(tmp_path / "m"))
    assert report.unexpected == (name,)
    assert report.notes == ()


def test_outputs_that_are_no_numbers_are_not_verified(tmp_path):
    weights = weights_of(randomize(heads.build_model("encoder", CONFIG, {})))
    huge = {name: np.full_like(value, 3e38) for name, value in weights.items() if "LayerNorm/gamma" in name}
    write_checkpoint(tmp_path / "m", weights | huge)
    CONFIG.to_json_file(str(tmp_path / "albert_config.json"))
    conversion = Conversion(input=str(tmp_path / "m"), output=str(tmp_path / "out"), output_format="tf2")
    with pytest.warns(InputWarning, match="no vocabulary"):
        converted = convert(conversion)
    with pytest.raises(InputError, match="largest difference from the input: nan"):
        check(conversion, converted)
