"""Damaged, hostile and confused files of every kind of weights: one line each."""

import json
import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2, trackable_object_graph_pb2

from albert_tf.checkpoints import huggingface
from albert_tf.checkpoints.assets import Assets
from albert_tf.checkpoints.loading import assign, load_weights
from albert_tf.checkpoints.run_folder import STEP
from albert_tf.checkpoints.sources import open_source
from albert_tf.errors import InputError
from albert_tf.models import heads
from albert_tf.models.classification import AlbertForSequenceClassification
from albert_tf.models.encoder import AlbertEncoder
from albert_tf.models.pretraining import AlbertForPreTraining
from albert_tf.testing import SPM_MODEL_FILE, tiny_config
from tests.support.checkpoint_files import (
    assert_same_weights,
    randomize,
    weights_of,
    write_checkpoint,
    write_hub_module,
)

CONFIG = tiny_config()
QUERY = "bert/encoder/transformer/group_0/inner_group_0/attention_1/self/query/kernel"


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    return weights_of(randomize(AlbertForPreTraining(CONFIG)))


def use(path: pathlib.Path) -> None:
    with open_source(str(path)) as source:
        config = source.assets.needed_config()
        if source.assets.vocabulary:
            source.assets.tokenizer()
        head = heads.head_of(source.shapes, source.head).name
        assign(heads.build_model(head, config, source.shapes), source)


def refusal(path: pathlib.Path) -> str:
    """The message of the `InputError` that opening, building and loading raise."""
    with pytest.raises(InputError) as error:
        use(path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1000
    return str(error.value)


def write_source(kind: str, folder: pathlib.Path, weights: dict[str, np.ndarray]) -> pathlib.Path:
    if kind == "huggingface":
        huggingface.write_folder(str(folder), Assets(config=CONFIG), weights, "pretraining")
    elif kind == "hub":
        write_hub_module(folder / "module", weights, CONFIG)
    elif kind == "original":
        write_checkpoint(folder / "model.ckpt", weights)
    else:
        model = AlbertForPreTraining(CONFIG)
        names = weights_of(model)
        for variable, name in zip(model.variables, names, strict=True):
            variable.assign(weights[name])
        tf.train.Checkpoint(model=model).write(str(folder / "model.ckpt"))
    return folder


@pytest.mark.parametrize("kind", ["original", "native", "huggingface", "hub"])
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_values_that_are_not_finite_are_refused_from_every_kind(kind, value, weights, tmp_path):
    broken = weights[QUERY].copy()
    broken[3, 2] = value
    write_source(kind, tmp_path, weights | {QUERY: broken})
    model = AlbertForPreTraining(CONFIG)
    before = weights_of(model)
    with pytest.raises(InputError, match=rf"{QUERY} holds values that are not finite numbers"):
        load_weights(model, str(tmp_path))
    assert_same_weights(model, before)


@pytest.mark.parametrize(("kind", "is_taken"), [
    (np.float16, True), (np.float64, True), (np.complex64, False), (np.int8, False), (np.bool_, False),
])  # fmt: skip
def test_only_floating_point_numbers_are_weights(kind, is_taken, weights, tmp_path):
    write_checkpoint(tmp_path / "m", weights | {QUERY: weights[QUERY].astype(kind)})
    model = AlbertForPreTraining(CONFIG)
    if is_taken:
        load_weights(model, str(tmp_path))
        assert_same_weights(model, weights | {QUERY: weights[QUERY].astype(kind).astype(np.float32)})
    else:
        name = np.dtype(kind).name
        with pytest.raises(InputError, match=rf"{QUERY} holds {name} values, but weights are float16"):
            load_weights(model, str(tmp_path))


def test_a_number_too_large_for_float32_is_not_finite(weights, tmp_path):
    write_checkpoint(tmp_path / "m", weights | {QUERY: weights[QUERY].astype(np.float64) + 1e300})
    with pytest.raises(InputError, match="not finite"):
        load_weights(AlbertForPreTraining(CONFIG), str(tmp_path))


@pytest.fixture
def theirs(weights, tmp_path) -> pathlib.Path:
    assets = Assets(config=CONFIG, spm_model_file=SPM_MODEL_FILE, do_lower_case=True)
    huggingface.write_folder(str(tmp_path), assets, weights, "pretraining")
    return tmp_path


@pytest.mark.parametrize(("name", "change", "message"), [
    ("config.json", [], "expected `object`, got `array`"),
    ("config.json", {"model_type": 1}, "model_type: expected `str`, got `int`"),
    ("config.json", {"architectures": "AlbertModel"}, "architectures: expected `array | null`"),
    ("config.json", {"architectures": [None]}, "architectures[0]: expected `str`"),
    ("config.json", {"id2label": ["a"]}, "id2label: expected `object | null`"),
    ("config.json", {"layer_norm_eps": None}, "layer_norm_eps: expected `float`"),
    ("config.json", {"vocab_size": "50"}, "vocab_size must be a whole number of at least 1, not '50'"),
    ("config.json", {"vocab_size": 10**30}, "vocab_size must be at most 16,777,216, not a number of"),
    ("config.json", {"num_hidden_layers": 10**9}, "num_hidden_layers must be at most 1,000"),
    ("config.json", {"hidden_act": [[]]}, "hidden_act: expected `str | null`"),
    ("tokenizer.json", None, "expected `object`, got `null`"),
    ("tokenizer.json", {"normalizer": "NFKC"}, "normalizer: expected `object | null`"),
    ("tokenizer_config.json", {"do_lower_case": "yes"}, "do_lower_case: expected `bool | null`"),
    ("task.json", {"label_names": {}}, "label_names: expected `array`"),
    ("model.safetensors.index.json", [], "expected `object`, got `array`"),
    ("model.safetensors.index.json", {"weight_map": ["part"]}, "weight_map: expected `object`"),
    ("model.safetensors.index.json", {"weight_map": {"a": 1}}, "expected `str`, got `int`"),
    ("model.safetensors.index.json", {"weight_map": {"a": "../other/w"}}, "names '../other/w', which is no"),
    ("model.safetensors.index.json", {"weight_map": {"a": "/etc/passwd"}}, "names '/etc/passwd', which"),
    ("model.safetensors.index.json", {"weight_map": {"a": ".."}}, ".. does not exist, though"),
    ("model.safetensors.index.json", {"weight_map": {"a": ""}}, " does not exist, though"),
    ("model.safetensors.index.json", {"weight_map": {"a": "b\0"}}, " does not exist, though"),
])  # fmt: skip
def test_json_of_any_type_in_a_hugging_face_folder_is_one_line(theirs, name, change, message):
    path = theirs / name
    whole = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(whole | change if isinstance(change, dict) else change))
    refused = refusal(theirs)
    assert name in refused
    assert message in refused


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors.index.json"])
def test_json_that_is_nested_too_deeply_is_one_line(theirs, name):
    (theirs / name).write_text('{"normalizer": ' + '{"normalizers": [' * 50_000 + "]}" * 50_000 + "}")
    assert f"{name} is not JSON that can be read: too deep" in refusal(theirs)


def test_normalizers_inside_each_other_are_read_to_any_depth_of_json(theirs):
    steps = '{"normalizers": [' * 400 + '{"type": "Lowercase"}' + "]}" * 400
    (theirs / "tokenizer.json").write_text(f'{{"normalizer": {steps}}}')
    (theirs / "tokenizer_config.json").unlink()
    with open_source(str(theirs)) as source:
        assert source.assets.do_lower_case is True


def test_safetensors_with_other_headers_are_one_line(theirs):
    path = theirs / "model.safetensors"
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + size]), content[8 + size :]
    name = "albert.pooler.weight"
    changes = [[], {name: None}, {name: []}, {name: {**header[name], "dtype": "F99"}}]
    changes += [{name: {**header[name], "shape": shape}} for shape in (None, [-1], [10**30], [3, 3], "x")]
    changes += [{name: {**header[name], "data_offsets": given}} for given in ([0], [9, 1], [0, 2**70], None)]
    for change in changes:
        written = json.dumps(header | change if isinstance(change, dict) else change).encode()
        path.write_bytes(len(written).to_bytes(8, "little") + written + data)
        assert "model.safetensors is damaged: " in refusal(theirs)
    path.write_bytes(b"\xff" * 8 + content[8:])
    assert "model.safetensors is damaged: " in refusal(theirs)


def test_a_head_of_any_shape_is_one_line(tmp_path):
    weights = weights_of(AlbertForSequenceClassification(CONFIG, num_labels=3))
    CONFIG.to_json_file(str(tmp_path / "albert_config.json"))
    for shape in [(3,), (3, 16, 1), (0, 16), (2**20 + 1, 1)]:
        write_checkpoint(tmp_path / "m", weights | {"output_weights": np.zeros(shape, np.float32)})
        assert f"output_weights has shape {list(shape)}, not [labels, hidden_size]" in refusal(tmp_path)


GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint of this package, its object graph among them."""
    prefix = tf.train.Checkpoint(model=AlbertEncoder(CONFIG)).write(str(tmp_path_factory.mktemp("n") / "m"))
    reader = tf.train.load_checkpoint(prefix)
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


@pytest.mark.parametrize(("name", "value", "message"), [
    (GRAPH, b"\xff" * 50, "its object graph cannot be read"),
    (GRAPH, np.int64(10**12), "its object graph cannot be read"),
    (GRAPH, np.array([b"a", b"b"]), "its object graph cannot be read"),
    (STEP, np.array([1, 2]), "is damaged: it is not one whole number"),
    (STEP, np.float32(np.nan), "is damaged: it is not one whole number"),
    (STEP, b"7", "is damaged: it is not one whole number"),
    ("do_lower_case/.ATTRIBUTES/VARIABLE_VALUE", np.array([True]), "is damaged: it is not one whole number"),
])  # fmt: skip
def test_garbage_in_a_checkpoint_of_objects_is_one_line(ours, name, value, message, tmp_path):
    write_checkpoint(tmp_path / "m", {**ours, name: value})
    assert message in refusal(tmp_path)


def test_an_object_graph_that_names_what_is_not_there_is_one_line(ours, tmp_path):
    graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(ours[GRAPH])
    next(a for node in graph.nodes for a in node.attributes).checkpoint_key = "../other"
    write_checkpoint(tmp_path / "m", {**ours, GRAPH: graph.SerializeToString()})
    assert "its object graph names '../other', which it lacks" in refusal(tmp_path)


def test_weights_of_the_model_garden_with_other_dimensions_are_one_line(tmp_path):
    stem = "transformer/self_attention"
    tensors = {f"{stem}/query/kernel": np.ones([4, 2, 2]), f"{stem}/attention_output/kernel": np.ones(3)}
    write_checkpoint(tmp_path / "m", tensors)
    assert f"{stem}/attention_output/kernel must have 3 dimensions, not 1" in refusal(tmp_path)


def test_a_casing_that_is_no_truth_value_is_one_line(weights, tmp_path):
    path = pathlib.Path(write_hub_module(tmp_path / "module", weights, CONFIG)) / "saved_model.pb"
    whole = path.read_bytes()
    for change in (
        lambda tensor: tensor.tensor_shape.dim.add(size=93 * 10**9),
        lambda tensor: setattr(tensor, "dtype", 99),
        lambda tensor: setattr(tensor, "dtype", tf.float32.as_datatype_enum),
        lambda tensor: tensor.bool_val.append(True),
    ):
        saved = saved_model_pb2.SavedModel.FromString(whole)
        for variant in saved.meta_graphs:
            name = variant.signature_def["tokenization_info"].outputs["do_lower_case"].name.partition(":")[0]
            [node] = [node for node in variant.graph_def.node if node.name == name]
            change(node.attr["value"].tensor)
        path.write_bytes(saved.SerializeToString())
        assert "saved_model.pb is damaged: its do_lower_case is not one truth value" in refusal(path.parent)


def test_folders_inside_each_other_and_names_that_are_not_utf8_are_one_line(tmp_path):
    inner = tmp_path / "deep"
    inner.mkdir()
    (inner / os.fsdecode(b"\xff")).touch()
    assert "holds no weights" in refusal(inner)
    shutil.rmtree(inner)
    inner.joinpath(*"d" * 500).mkdir(parents=True)
    assert "holds no weights" in refusal(tmp_path)
