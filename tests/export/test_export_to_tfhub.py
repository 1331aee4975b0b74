"""The TF-Hub module: what it gives, how it trains, what stands in it, what is refused."""

import dataclasses
import functools
import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub as hub
import tf_keras

import export_to_tfhub
from albert_tf import testing
from albert_tf.checkpoints.assets import Assets
from albert_tf.checkpoints.sources import open_source
from albert_tf.export.hub.module import save_hub_module
from albert_tf.layers.variables import variable_name
from albert_tf.models.classification import AlbertForSequenceClassification
from albert_tf.models.encoder import AlbertEncoder
from albert_tf.models.pretraining import AlbertForPreTraining
from albert_tf.tokenization import load_tokenizer
from tests.support.checkpoint_files import (
    assert_same_weights,
    randomize,
    weights_of,
    write_checkpoint,
    write_hub_module,
)
from tests.support.script_runs import refused, run_script

run = functools.partial(run_script, export_to_tfhub.main)
refusal = functools.partial(refused, export_to_tfhub.main)

GROUPED = testing.tiny_config(num_hidden_layers=2, num_hidden_groups=2, inner_group_num=2)
ONE_LAYER = testing.tiny_config(num_hidden_layers=1)
DROPOUT = dataclasses.replace(ONE_LAYER, hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.1)
NAMES = {"input_ids": "input_word_ids", "input_mask": "input_mask", "segment_ids": "input_type_ids"}
BATCH = {
    "input_ids": tf.constant([[2, 14, 46, 3, 23, 3], [2, 100, 3, 0, 0, 0]]),
    "input_mask": tf.constant([[1] * 6, [1, 1, 1, 0, 0, 0]]),
    "segment_ids": tf.constant([[0, 0, 0, 0, 1, 1], [0] * 6]),
}
INPUTS = {hub_name: BATCH[name] for name, hub_name in NAMES.items()}
POSITIONS = tf.constant([[1, 4], [1, 0]])


def checkpoint_of(folder: pathlib.Path, model: tf_keras.Model) -> dict[str, object]:
    """Writes the original's files of a model; returns the flags that export them to `folder`/module."""
    folder.mkdir(exist_ok=True)
    model.config.to_json_file(str(folder / "albert_config.json"))
    (folder / "30k-clean.model").write_bytes(pathlib.Path(testing.SPM_MODEL_FILE).read_bytes())
    write_checkpoint(folder / "model.ckpt-best", weights_of(model))
    return {"albert_directory": folder, "export_path": folder / "module"}


def saved(folder: pathlib.Path, model: AlbertForPreTraining) -> str:
    """The module without the script around it."""
    assets = Assets(config=model.config, spm_model_file=testing.SPM_MODEL_FILE, do_lower_case=True)
    save_hub_module(
        str(folder / "module"),
        model,
        assets,
        with_mlm=True,
        with_sop=True,
    )
    return str(folder / "module")


@pytest.fixture(scope="module")
def grouped(tmp_path_factory) -> tuple[AlbertForPreTraining, str]:
    model = randomize(AlbertForPreTraining(GROUPED))
    flags = checkpoint_of(tmp_path_factory.mktemp("grouped"), model)
    assert run(flags) == 0
    return model, str(flags["export_path"])


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> tuple[AlbertForPreTraining, str]:
    """A module of one layer, for what does not depend on groups: it is traced in a fraction of the time."""
    model = randomize(AlbertForPreTraining(ONE_LAYER))
    return model, saved(tmp_path_factory.mktemp("small"), model)


@pytest.fixture(scope="module")
def with_dropout(tmp_path_factory) -> str:
    return saved(tmp_path_factory.mktemp("dropout"), randomize(AlbertForPreTraining(DROPOUT)))


@pytest.fixture(scope="module")
def loaded(grouped):
    return hub.load(grouped[1])


def classifier(layer: hub.KerasLayer) -> tf_keras.Model:
    inputs = {name: tf_keras.layers.Input([None], dtype=tf.int32, name=name) for name in INPUTS}
    head = tf_keras.layers.Dense(2, kernel_initializer=tf_keras.initializers.RandomNormal(seed=1))
    outputs = head(layer(inputs)["default"])
    model = tf_keras.Model(inputs, outputs)
    model.compile(
        tf_keras.optimizers.SGD(0.01), tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    return model


def test_outputs_are_those_of_the_model(grouped, loaded):
    outputs, expected = loaded(INPUTS), grouped[0].encoder(BATCH, return_all_layers=True)
    assert set(outputs) == {"default", "pooled_output", "sequence_output", "encoder_outputs"}
    for name in ("pooled_output", "sequence_output"):
        np.testing.assert_allclose(outputs[name], expected[name], atol=1e-5)
    np.testing.assert_array_equal(outputs["default"], outputs["pooled_output"])
    layers = expected["all_layer_outputs"][1::2]  # the second block ends a layer
    assert len(outputs["encoder_outputs"]) == len(layers) == GROUPED.num_hidden_layers
    for ours, theirs in zip(outputs["encoder_outputs"], layers, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(("name", "change", "largest"), [
    ("input_word_ids", 1000, GROUPED.vocab_size - 1),
    ("input_mask", 1, 1),
    ("input_mask", -1, 1),
    ("input_type_ids", 1, 1),
])  # fmt: skip
def test_values_that_the_model_does_not_know_are_refused(loaded, name, change, largest):
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"{name} must be from 0 to {largest}"):
        loaded(INPUTS | {name: INPUTS[name] + change})


def test_masked_words_are_predicted_at_positions(grouped, loaded):
    outputs = loaded.mlm(INPUTS | {"masked_lm_positions": POSITIONS})
    expected = grouped[0](BATCH | {"masked_lm_positions": POSITIONS})
    np.testing.assert_allclose(outputs["mlm_logits"], expected["mlm_logits"], atol=1e-4)
    assert outputs["sequence_output"].shape == [2, 6, 16]
    assert {"pooled_output", "encoder_outputs"} < set(outputs)


def test_signatures_are_the_originals(grouped, loaded):
    model, signatures = grouped[0], loaded.signatures
    encoded = model.encoder(BATCH)
    heads = model(BATCH | {"masked_lm_positions": POSITIONS})
    both = {"sequence_output", "pooled_output"}
    tokens, sop = signatures["tokens"](**BATCH), signatures["sop"](**BATCH)
    mlm = signatures["mlm"](**BATCH, mlm_positions=POSITIONS)
    assert [set(o) - both for o in (tokens, sop, mlm)] == [set(), {"sop_log_probs"}, {"mlm_logits"}]
    for outputs in (tokens, sop, mlm):
        for name in both:
            np.testing.assert_allclose(outputs[name], encoded[name], atol=1e-5)
    np.testing.assert_allclose(sop["sop_log_probs"], tf.nn.log_softmax(heads["sop_logits"]), atol=1e-5)
    np.testing.assert_allclose(mlm["mlm_logits"], tf.reshape(heads["mlm_logits"], [4, -1]), atol=1e-4)
    info = signatures["tokenization_info"]()
    vocabulary = pathlib.Path(info["vocab_file"].numpy().decode())
    assert vocabulary.read_bytes() == pathlib.Path(testing.SPM_MODEL_FILE).read_bytes()
    assert info["do_lower_case"].numpy()


def test_what_stands_in_the_folder(grouped, loaded):
    folder = pathlib.Path(grouped[1])
    assert {path.name for path in (folder / "assets").iterdir()} == {
        "30k-clean.model",
        "30k-clean.vocab",
        "albert_config.json",
    }
    assert json.loads((folder / "assets" / "albert_config.json").read_text()) == GROUPED.to_dict()
    assert str(folder.parent).encode() not in (folder / "saved_model.pb").read_bytes()
    assert loaded.sp_model_file.asset_path.numpy().decode().endswith("30k-clean.model")


def test_a_module_loads_as_weights(grouped):
    model, path = grouped
    with open_source(path) as source:
        assert source.assets.do_lower_case is True
        assert source.assets.config == GROUPED
        assert_same_weights(model, {name: source.read(name) for name in source.shapes})


def test_both_modules_take_texts_to_vectors(grouped):
    model, path = grouped
    texts = ["The boats, walking", "in 2009, the market"]
    text = tf_keras.layers.Input([], dtype=tf.string)
    vectors = hub.KerasLayer(path)(hub.KerasLayer(f"{path}_preprocess")(text))["default"]
    found = tf_keras.Model(text, vectors)(tf.constant(texts))
    for row, ids in enumerate(map(load_tokenizer(testing.SPM_MODEL_FILE).encode, texts)):
        alone = model.encoder({"input_ids": tf.constant([[2, *ids, 3]])})
        np.testing.assert_allclose(found[row], alone["pooled_output"][0], atol=1e-5)


def test_the_examples_of_the_documentation_run(grouped, tmp_path, monkeypatch):
    for suffix in ("", "_preprocess"):
        (tmp_path / f"albert_hub{suffix}").symlink_to(grouped[1] + suffix)
    monkeypatch.chdir(tmp_path)
    page = pathlib.Path(export_to_tfhub.__file__).parent / "docs" / "tfhub.md"
    examples = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    names = {}
    exec("".join(examples), names)
    assert names["best"].shape == [5]
    assert names["order"].shape == [1, 2]


def test_fine_tuning_reaches_every_variable(with_dropout):
    layer = hub.KerasLayer(with_dropout, trainable=True)
    module = layer.resolved_object
    names = [variable_name(v) for v in AlbertEncoder(DROPOUT).variables]
    assert sorted(map(variable_name, layer.trainable_weights)) == sorted(names)
    before = [variable.numpy() for variable in layer.trainable_weights]
    classifier(layer).fit(INPUTS, tf.constant([0, 1]), verbose=0)
    for old, variable in zip(before, layer.trainable_weights, strict=True):
        if not variable_name(variable).endswith("self/key/bias"):  # softmax takes no notice of it
            assert not np.array_equal(old, variable), variable.name

    with tf.GradientTape() as tape:  # a loop of one's own, through the masked-LM head
        logits = module.mlm(INPUTS | {"masked_lm_positions": POSITIONS}, training=True)["mlm_logits"]
        loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(tf.constant([[5, 6]] * 2), logits)
        )
    gradients = tape.gradient(loss, module.mlm.trainable_variables)
    assert len(gradients) == len(names) + 5
    assert all(gradient is not None for gradient in gradients)


def test_dropout_is_applied_in_training_only(with_dropout):
    module = hub.load(with_dropout)
    once, again = (module(INPUTS, training=True)["pooled_output"].numpy() for _ in range(2))
    assert not np.allclose(once, again)
    still = module(INPUTS)["pooled_output"]
    np.testing.assert_array_equal(still, module(INPUTS, training=False)["pooled_output"])
    trainable, frozen = (hub.KerasLayer(with_dropout, trainable=on) for on in (True, False))
    assert not np.allclose(trainable(INPUTS, training=True)["default"], still)
    np.testing.assert_array_equal(frozen(INPUTS, training=True)["default"], still)
    assert frozen.trainable_weights == []


def test_two_devices_make_the_step_of_one(small, two_devices):
    model, path = small
    with two_devices.scope():
        distributed = classifier(hub.KerasLayer(path, trainable=True))
    kernel, bias = map(tf.constant, distributed.layers[-1].get_weights())
    variables = model.encoder.trainable_variables
    with tf.GradientTape() as tape:
        logits = model.encoder(BATCH)["pooled_output"] @ kernel + bias
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits([0, 1], logits)
        gradients = tape.gradient(tf.reduce_mean(losses), variables)
    distributed.fit(INPUTS, tf.constant([0, 1]), batch_size=2, verbose=0)
    trained = {variable_name(v): v for v in distributed.trainable_variables}
    for variable, gradient in zip(variables, gradients, strict=True):
        expected = variable - 0.01 * tf.convert_to_tensor(gradient)
        np.testing.assert_allclose(trained[variable_name(variable)], expected, atol=1e-6)


ELSEWHERE = """
import sys
import numpy as np, tensorflow as tf
folder, data = sys.argv[1:]
module = tf.saved_model.load(folder)
inputs = {name: tf.constant(ids) for name, ids in np.load(data).items()}
with tf.GradientTape() as tape:
    loss = tf.reduce_sum(module(inputs, training=True)["default"])
variables = module.trainable_variables
gradients = map(tf.convert_to_tensor, tape.gradient(loss, variables))
np.savez(data, **{variable.name: gradient for variable, gradient in zip(variables, gradients)})
assert not any(name.startswith(("albert_tf", "tf_keras")) for name in sys.modules)
"""


def test_gradients_are_the_same_without_this_package(small, tmp_path):
    model, path = small
    np.savez(tmp_path / "data.npz", **{name: ids.numpy() for name, ids in INPUTS.items()})
    command = [sys.executable, "-c", ELSEWHERE, path, str(tmp_path / "data.npz")]
    elsewhere = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    done = subprocess.run(command, cwd=tmp_path, env=elsewhere, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model.encoder(BATCH)["pooled_output"])
    found = np.load(tmp_path / "data.npz")
    variables = model.encoder.trainable_variables
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        np.testing.assert_allclose(
            found[variable.name], tf.convert_to_tensor(gradient), atol=1e-5, err_msg=variable.name
        )


def test_more_layers_take_no_more_room_for_weights(with_dropout, tmp_path):
    deeper = AlbertForPreTraining(testing.tiny_config(num_hidden_layers=3))
    sizes = []
    for path in (with_dropout, saved(tmp_path, deeper)):
        [data] = (pathlib.Path(path) / "variables").glob("*.data-*")
        sizes.append(data.stat().st_size)
    assert sizes[1] == pytest.approx(sizes[0], rel=0.01)


def test_what_the_weights_lack_is_left_out_with_a_warning(tmp_path, capsys):
    model = AlbertForSequenceClassification(dataclasses.replace(ONE_LAYER, vocab_size=143), num_labels=3)
    flags = checkpoint_of(tmp_path, model) | {"vocab_file": testing.VOCAB_FILE}
    assert run(flags | {"preprocessing_export_path": tmp_path / "texts"}) == 0
    assert (tmp_path / "texts" / "saved_model.pb").exists()
    printed = capsys.readouterr().err
    assert "there is no cls/predictions: the module has neither .mlm nor the signature mlm" in printed
    assert "there is no cls/seq_relationship: the module has no signature sop" in printed
    module = hub.load(str(tmp_path / "module"))
    assert not hasattr(module, "mlm")
    assert set(module.signatures) == {"tokens", "tokenization_info"}
    assert pathlib.Path(module.vocab_file.asset_path.numpy().decode()).name == "tiny_wordpiece.txt"


def test_half_an_encoder_is_refused(tmp_path, capsys):
    flags = checkpoint_of(tmp_path, AlbertForPreTraining(testing.tiny_config()))
    testing.tiny_config(num_hidden_groups=2).to_json_file(str(tmp_path / "albert_config.json"))
    assert "lacks bert/encoder/transformer/group_1/" in refusal(capsys, run(flags))
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == []


def test_a_cased_module_in_tf1_format_becomes_one_in_tf2_format(tmp_path, capsys):
    model = randomize(AlbertForPreTraining(ONE_LAYER))
    old = write_hub_module(tmp_path / "old", weights_of(model), model.config, do_lower_case=False)
    (tmp_path / "new").mkdir()
    for name in ("saved_model.pb", "before.txt"):
        (tmp_path / "new" / name).write_text("")
    flags = {"albert_directory": old, "export_path": tmp_path / "new"}
    assert run(flags, "--use_einsum", "--overwrite") == 0
    assert not (tmp_path / "new" / "before.txt").exists()
    new = hub.load(str(tmp_path / "new"))
    assert not new.signatures["tokenization_info"]()["do_lower_case"]
    assert not new.do_lower_case
    np.testing.assert_allclose(new(INPUTS)["default"], model.encoder(BATCH)["pooled_output"], atol=1e-5)


@pytest.mark.parametrize(("changes", "message"), [
    ({"export_path": "{tmp}"}, "{tmp} exists; --overwrite replaces it"),
    ({"export_path": "{tmp}", "overwrite": True}, "{tmp} holds something that is no module"),
    ({"export_path": "{tmp}/albert_config.json"}, "albert_config.json is a file; the output is a folder"),
    ({"preprocessing_export_path": "{tmp}/module/"}, "are both {tmp}/module"),
    ({"checkpoint_name": "model.ckpt-7"}, "{tmp}/model.ckpt-7 does not exist"),
    ({"albert_directory": "{tmp}/none"}, "{tmp}/none does not exist"),
    ({"vocab_file": "{tmp}/albert_config.json"}, "lacks [PAD]"),
    ({"max_seq_length": 65}, "--max_seq_length 65 is longer than the 64 positions"),
])  # fmt: skip
def test_what_cannot_be_is_one_line_and_leaves_nothing_behind(tmp_path, capsys, changes, message):
    flags = checkpoint_of(tmp_path, AlbertForPreTraining(testing.tiny_config()))
    before = sorted(tmp_path.rglob("*"))
    changes = {k: v.format(tmp=tmp_path) if isinstance(v, str) else v for k, v in changes.items()}
    assert message.format(tmp=tmp_path) in refusal(capsys, run(flags | changes))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_vocabulary_is_needed(tmp_path, capsys):
    flags = checkpoint_of(tmp_path, AlbertForPreTraining(testing.tiny_config()))
    (tmp_path / "30k-clean.model").unlink()
    assert "a vocabulary is needed" in refusal(capsys, run(flags))
