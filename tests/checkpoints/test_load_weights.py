"""Loading weights: every kind of source, told by content, and every way it can be wrong."""

import dataclasses
import json
import os
import pathlib
import shutil
import tarfile

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf
import tf_keras

import albert_tf
from albert_tf.checkpoints import huggingface
from albert_tf.checkpoints.assets import Assets
from albert_tf.checkpoints.loading import LoadReport
from albert_tf.checkpoints.sources import open_source
from albert_tf.checkpoints.tensorflow import write_original
from albert_tf.checkpoints.weight_source import HUB_TF1, HUB_TF2, HUGGINGFACE, NATIVE, ORIGINAL
from albert_tf.config import AlbertConfig
from albert_tf.errors import InputError, InputWarning
from albert_tf.layers.variables import variable_name
from albert_tf.models.classification import AlbertForSequenceClassification
from albert_tf.models.encoder import AlbertEncoder
from albert_tf.models.pretraining import AlbertForPreTraining
from albert_tf.testing import SPM_MODEL_FILE, VOCAB_FILE, tiny_config
from albert_tf.training.optimization import OPTIMIZERS
from tests.support.checkpoint_files import (
    assert_same_weights,
    randomize,
    weights_of,
    write_checkpoint,
    write_hub_module,
)

CONFIG = tiny_config()


@pytest.fixture
def source() -> dict[str, np.ndarray]:
    return weights_of(randomize(AlbertForPreTraining(CONFIG)))


def load(path, model=None, **options) -> tuple[tf_keras.Model, LoadReport]:
    model = model or AlbertForPreTraining(CONFIG)
    return model, albert_tf.load_weights(model, str(path), **options)


def assert_all_loaded(path, source, kind: str) -> None:
    model, report = load(path)
    assert_same_weights(model, source)
    assert report.kind == kind
    assert report.missing == report.unexpected == ()


def write_release(folder: pathlib.Path, source) -> pathlib.Path:
    folder.mkdir(parents=True)
    write_checkpoint(folder / "model.ckpt-best", source)
    CONFIG.to_json_file(str(folder / "albert_config.json"))
    shutil.copy(SPM_MODEL_FILE, folder / "30k-clean.model")
    (folder / "30k-clean.vocab").write_text("<pad>\t0\n")
    return folder


def write_archive(path: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, arcname="albert_tiny")
    return path


@pytest.mark.parametrize("written", ["prefix", "index", "folder", "data file", "sharded"])
def test_an_original_checkpoint_is_found_however_it_is_named(written, source, tmp_path):
    prefix = write_checkpoint(tmp_path / "model.ckpt-1", source, shards=3 if written == "sharded" else 1)
    paths = {
        "index": f"{prefix}.index",
        "folder": tmp_path,
        "data file": f"{prefix}.data-00000-of-00001",
    }
    assert_all_loaded(paths.get(written, prefix), source, ORIGINAL)


def test_a_checkpoint_that_tensorflow_1s_saver_wrote_loads(source, tmp_path):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, value in source.items():
            tf.compat.v1.get_variable(name, initializer=value, use_resource=False)
        tf.compat.v1.train.get_or_create_global_step()
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(tmp_path / "model.ckpt"), global_step=7)
    assert_all_loaded(tmp_path, source, ORIGINAL)


def test_optimizer_slots_are_counted_apart(source, tmp_path):
    slots = {f"{name}/adam_{slot}": value for name, value in source.items() for slot in "mv"}
    path = write_checkpoint(tmp_path / "model.ckpt", source | slots | {"global_step": np.int64(3)})
    model, report = load(path)
    assert_same_weights(model, source)
    assert (len(report.loaded), len(report.slots), report.unexpected) == (32, 65, ())
    assert "32 variables loaded, 0 missing, 0 unexpected, 65 of an optimizer" in str(report)


def test_names_from_a_hub_module_lose_their_prefix(source, tmp_path):
    head = {"output_weights": np.ones([3, 16], np.float32), "output_bias": np.ones(3, np.float32)}
    path = write_checkpoint(tmp_path / "m", {f"module/{n}": v for n, v in source.items()} | head)
    model, report = load(path, AlbertForSequenceClassification(CONFIG, num_labels=3))
    assert len(report.loaded) == 27
    assert all(name.startswith("cls/") for name in report.unexpected)
    np.testing.assert_array_equal(model.classifier.output_weights, head["output_weights"])


def test_a_release_loads_unpacked_and_packed(source, tmp_path):
    folder = write_release(tmp_path / "albert_tiny", source)
    archive = write_archive(tmp_path / "weights", folder)  # told by content: it has no ending
    for path in (folder, tmp_path / "albert_tiny", archive):
        assert_all_loaded(path, source, ORIGINAL)
    with open_source(str(archive)) as opened:
        assert opened.assets.config == CONFIG
        assert opened.path == str(archive)
        assert (
            pathlib.Path(opened.assets.spm_model_file).read_bytes()
            == pathlib.Path(SPM_MODEL_FILE).read_bytes()
        )
        temporary = opened.assets.spm_model_file
    assert not os.path.exists(temporary)


def test_a_chinese_release_brings_its_vocabulary(source, tmp_path):
    folder = write_release(tmp_path / "albert_tiny", source)
    (folder / "30k-clean.model").unlink()
    shutil.copy(VOCAB_FILE, folder / "vocab_chinese.txt")
    with open_source(str(folder)) as opened:
        assert opened.assets.vocab_file == str(folder / "vocab_chinese.txt")
        assert opened.assets.spm_model_file is None


def test_this_packages_checkpoints_load_without_their_optimizer(source, tmp_path):
    model = randomize(AlbertForPreTraining(CONFIG))
    optimizer = OPTIMIZERS["lamb"](0.1)
    optimizer.build(model.trainable_variables)
    prefix = tf.train.Checkpoint(model=model, optimizer=optimizer).write(str(tmp_path / "model.ckpt-3"))
    assert_all_loaded(prefix, source, NATIVE)
    assert len(load(prefix)[1].slots) > 64


def test_a_run_means_its_best_checkpoint_or_its_newest(tmp_path):
    model = AlbertForPreTraining(CONFIG)
    bias = model.masked_lm.output_bias
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(model=model), str(tmp_path), max_to_keep=3)
    for step, value in enumerate([1.0, 2.0]):
        bias.assign(bias * 0 + value)
        manager.save(step)
    tf.train.Checkpoint(model=model).write(str(tmp_path / "model.ckpt-best"))
    bias.assign(bias * 0 + 3.0)
    manager.save(2)
    assert load(tmp_path)[0].masked_lm.output_bias[0] == 2
    (tmp_path / "model.ckpt-best.index").unlink()
    assert load(tmp_path)[0].masked_lm.output_bias[0] == 3
    # Folders move; the state file may hold the old path.
    moved = tmp_path.parent / f"{tmp_path.name}_moved"
    tmp_path.rename(moved)
    assert load(moved)[0].masked_lm.output_bias[0] == 3


def test_a_hub_module_in_tf1_format_loads(source, tmp_path):
    folder = write_hub_module(tmp_path / "module", source, CONFIG, do_lower_case=False)
    assert_all_loaded(folder, source, HUB_TF1)
    with open_source(folder) as opened:
        assert opened.assets.config == CONFIG
        assert opened.assets.spm_model_file.endswith("assets/30k-clean.model")
        assert opened.assets.do_lower_case is False


def test_a_hub_module_with_a_damaged_graph_is_one_line(source, tmp_path):
    folder = write_hub_module(tmp_path / "module", source)
    (tmp_path / "module" / "saved_model.pb").write_bytes(b"\xff" * 99)
    with pytest.raises(InputError, match=r"saved_model\.pb is no SavedModel, or a damaged one"):
        load(folder)


def test_a_hub_module_without_sentence_order_names_what_it_lacks(source, tmp_path):
    folder = write_hub_module(tmp_path / "m", {n: v for n, v in source.items() if "seq_relation" not in n})
    report = load(folder)[1]
    assert report.missing == ("cls/seq_relationship/output_weights", "cls/seq_relationship/output_bias")
    assert "missing, left at their initial values: cls/seq_relationship/output_weights" in str(report)


@pytest.mark.parametrize("saved_by", ["tf", "keras"])
def test_a_saved_model_in_tf2_format_loads(saved_by, tmp_path):
    encoder = randomize(AlbertEncoder(CONFIG))
    encoder({"input_ids": tf.constant([[2, 3]])})
    if saved_by == "tf":
        tf.saved_model.save(encoder, str(tmp_path / "m"))
    else:
        encoder.save(str(tmp_path / "m"))
    model, report = load(tmp_path / "m", AlbertEncoder(CONFIG))
    assert report.kind == HUB_TF2
    assert report.missing == report.unexpected == ()
    assert_same_weights(model, weights_of(encoder))


def test_a_hugging_face_folder_or_its_file_loads(source, tmp_path):
    huggingface.write_folder(str(tmp_path), Assets(config=CONFIG), source, "pretraining")
    assert_all_loaded(tmp_path, source, HUGGINGFACE)
    assert_all_loaded(tmp_path / "model.safetensors", source, HUGGINGFACE)


def test_safetensors_whose_first_byte_is_that_of_a_pickle_load(source, tmp_path):
    huggingface.write_folder(str(tmp_path), Assets(config=CONFIG), source, "pretraining")
    path = tmp_path / "model.safetensors"
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    longer = size + (0x80 - size) % 256  # spaces may follow the JSON header
    header = content[8 : 8 + size].ljust(longer)
    path.write_bytes(longer.to_bytes(8, "little") + header + content[8 + size :])
    assert path.read_bytes()[:1] == b"\x80"
    assert_all_loaded(path, source, HUGGINGFACE)


def test_a_hugging_face_folder_of_several_files_loads(source, tmp_path):
    huggingface.write_folder(str(tmp_path), Assets(config=CONFIG), source, "pretraining")
    whole = tmp_path / "model.safetensors"
    tensors = safetensors.numpy.load_file(whole)
    whole.unlink()
    parts = {name: f"part-{i % 2}.safetensors" for i, name in enumerate(tensors)}
    for part in set(parts.values()):
        mine = {name: value for name, value in tensors.items() if parts[name] == part}
        safetensors.numpy.save_file(mine, tmp_path / part)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    assert_all_loaded(tmp_path, source, HUGGINGFACE)
    (tmp_path / "part-1.safetensors").unlink()
    with pytest.raises(
        InputError, match=r"part-1\.safetensors does not exist, though .*index\.json names it"
    ):
        load(tmp_path)


def test_a_pickle_is_refused_with_the_reason_and_the_way(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "albert"}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK\x03\x04")
    for path in (tmp_path, tmp_path / "pytorch_model.bin"):
        with pytest.raises(InputError, match=r"is a pickle, which can run any code.*save_pretrained"):
            load(path)


def test_a_damaged_data_file_is_one_line_and_leaves_the_model_alone(source, tmp_path):
    prefix = write_checkpoint(tmp_path / "model.ckpt", source)
    data = pathlib.Path(f"{prefix}.data-00000-of-00001")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    model = AlbertForPreTraining(CONFIG)
    before = weights_of(model)
    with pytest.raises(
        InputError, match=r"model\.ckpt: \S+ cannot be read, a file is damaged: .*[Cc]hecksum"
    ) as e:
        load(prefix, model)
    assert "\n" not in str(e.value)
    assert_same_weights(model, before)


def test_half_a_checkpoint_says_which_half(source, tmp_path):
    prefix = write_checkpoint(tmp_path / "model.ckpt", source)
    data, index = (pathlib.Path(prefix + end) for end in (".data-00000-of-00001", ".index"))
    whole = data.read_bytes()
    data.unlink()
    with pytest.raises(InputError, match=r"model\.ckpt\.index is there, but its data files .* are not"):
        load(prefix)
    data.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cannot be read, a file is damaged"):
        load(prefix)
    data.write_bytes(whole)
    index.unlink()
    with pytest.raises(InputError, match=r"has data files but no .*model\.ckpt\.index"):
        load(prefix)
    with pytest.raises(InputError, match=r"has data files of a checkpoint but no \.index"):
        load(tmp_path)


def test_a_missing_shard_is_one_line(source, tmp_path):
    prefix = write_checkpoint(tmp_path / "model.ckpt", source, shards=2)
    pathlib.Path(f"{prefix}.data-00001-of-00002").unlink()
    with pytest.raises(InputError, match=r"model\.ckpt: \S+ cannot be read, a file is damaged"):
        load(prefix)


def test_wrong_places_are_told(tmp_path):
    with pytest.raises(InputError, match=r"none does not exist \(nor does .*none\.index\)"):
        load(tmp_path / "none")
    with pytest.raises(InputError, match=r"holds no weights: neither a checkpoint .* nor model\.safetensors"):
        load(tmp_path)
    (tmp_path / "notes.txt").write_text("nothing of use")
    with pytest.raises(InputError, match=r"notes\.txt is neither a checkpoint, an archive nor safetensors"):
        load(tmp_path / "notes.txt")
    for name in ("a", "b"):
        write_checkpoint(tmp_path / name, {"x": np.ones(1, np.float32)})
    with pytest.raises(InputError, match=r"has several checkpoints; name one of a, b"):
        load(tmp_path)


def test_an_empty_or_garbled_index_is_one_line(tmp_path):
    (tmp_path / "model.ckpt.index").write_bytes(b"nonsense" * 20)
    with pytest.raises(InputError, match=r"model\.ckpt is no checkpoint that can be read"):
        load(tmp_path)


def test_a_foreign_checkpoint_is_named(tmp_path):
    bert = {"bert/embeddings/word_embeddings": np.ones([160, 8], np.float32)}
    bert["bert/encoder/layer_0/attention/self/query/kernel"] = np.ones([16, 16], np.float32)
    with pytest.raises(InputError, match="holds no weights of an ALBERT encoder: this is BERT"):
        load(write_checkpoint(tmp_path / "bert", bert))
    with pytest.raises(InputError, match="holds no weights of an ALBERT encoder; it has resnet/kernel"):
        load(write_checkpoint(tmp_path / "resnet", {"resnet/kernel": np.ones(3, np.float32)}))
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "hf" / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="config of another model: model_type is 'bert'"):
        load(tmp_path / "hf")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": 120}, r"word_embeddings has shape \[160, 8\], .* \[120, 8\]: look at vocab_size of"),
        ({"embedding_size": 4}, r"look at embedding_size of the config; \d+ more differ"),
        ({"intermediate_size": 48}, r"look at intermediate_size of the config"),
        ({"max_position_embeddings": 32}, r"position_embeddings .* look at max_position_embeddings of"),
        ({"type_vocab_size": 3}, r"token_type_embeddings .* look at type_vocab_size of the config"),
        ({"hidden_size": 32}, r"look at hidden_size of the config"),
    ],
)
def test_a_shape_mismatch_names_variable_shapes_and_config_key(change, message, source, tmp_path):
    model = AlbertForPreTraining(dataclasses.replace(CONFIG, **change))
    before = weights_of(model)
    with pytest.raises(InputError, match=message):
        load(write_checkpoint(tmp_path / "m", source), model)
    assert_same_weights(model, before)


def test_another_number_of_labels_is_told(tmp_path):
    weights = weights_of(AlbertForSequenceClassification(CONFIG, num_labels=3))
    path = write_checkpoint(tmp_path / "m", weights)
    with pytest.raises(InputError, match=r"output_weights has shape \[3, 16\].*look at the number of labels"):
        load(path, AlbertForSequenceClassification(CONFIG, num_labels=2))


@pytest.mark.parametrize(
    "change",
    [{}, {"num_hidden_groups": 2, "num_hidden_layers": 4, "inner_group_num": 2}, {"embedding_size": 16}],
)
def test_groups_and_equal_widths_load_from_every_kind(change, tmp_path):
    config = dataclasses.replace(CONFIG, **change)
    model = randomize(AlbertForPreTraining(config))
    expected = weights_of(model)
    (tmp_path / "hf").mkdir()
    huggingface.write_folder(str(tmp_path / "hf"), Assets(config=config), expected, "pretraining")
    write_original(str(tmp_path / "original"), expected)
    tf.train.Checkpoint(model=model).write(str(tmp_path / "native"))
    for kind in ("hf", "original", "native"):
        fresh, report = load(tmp_path / kind, AlbertForPreTraining(config))
        assert_same_weights(fresh, expected)
        assert report.unexpected == ()


def test_every_group_can_start_from_group_0(source, tmp_path):
    path = write_checkpoint(tmp_path / "m", source)
    config = dataclasses.replace(CONFIG, num_hidden_groups=2)
    with pytest.warns(InputWarning, match="more groups of layers than the weights; --init_from_group0"):
        _, report = load(path, AlbertForPreTraining(config))
    assert len(report.missing) == 16
    model, report = load(path, AlbertForPreTraining(config), init_from_group0=True)
    assert report.missing == report.unexpected == ()
    for variable in model.variables:
        name = variable_name(variable).replace("group_1/inner", "group_0/inner")
        np.testing.assert_array_equal(variable, source[name])


def test_weights_with_more_groups_than_the_model_are_told(tmp_path):
    weights = weights_of(AlbertForPreTraining(dataclasses.replace(CONFIG, num_hidden_groups=2)))
    with pytest.warns(InputWarning, match="look at num_hidden_groups"):
        _, report = load(write_checkpoint(tmp_path / "m", weights))
    assert len(report.unexpected) == 16
    assert "and 8 more" in str(report)
    assert report.listing().count("\nunexpected: ") == 16


def test_a_config_beside_the_weights_that_disagrees_earns_a_warning(source, tmp_path):
    folder = write_release(tmp_path / "release", source)
    config = dataclasses.replace(CONFIG, num_attention_heads=4)
    with pytest.warns(InputWarning, match="num_attention_heads is 4 in the model and 2 in the config beside"):
        load(folder, AlbertForPreTraining(config))


@pytest.mark.parametrize(
    ("preset", "heads", "message"),
    [
        ("xlarge_v2", 16, "published with 16 and with 32"),
        ("xlarge_v2", 32, "published with 16 and with 32"),
        ("xxlarge_zh", 64, "works better with 16"),
        ("xxlarge_zh", 16, None),
        ("xlarge_v1", 16, None),
        ("base_v2", 12, None),
    ],
)
def test_known_traps_of_head_counts_are_told(preset, heads, message):
    from albert_tf.checkpoints.loading import config_notes

    config = dataclasses.replace(AlbertConfig.from_preset(preset), num_attention_heads=heads)
    notes = config_notes(config, None)
    assert [message in note for note in notes] == ([True] if message else [])


def test_real_names_and_shapes_of_the_chinese_base_are_those_of_the_preset(shared_data):
    with open_source(str(shared_data / "ckpt_index" / "albert_base")) as opened:
        config = AlbertConfig.from_preset("base_zh")
        model = AlbertForPreTraining(config)
        assert opened.shapes == {variable_name(v): tuple(v.shape) for v in model.variables}
        assert opened.assets.config == config
        assert opened.assets.vocab_file.endswith("vocab_chinese.txt")
        with pytest.raises(InputError, match=r"its data files .* are not"):
            opened.read("bert/pooler/dense/bias")


def test_a_saved_model_of_the_model_garden_loads_and_gives_its_outputs(tmp_path):
    from official.nlp.modeling import networks

    theirs = networks.AlbertEncoder(
        vocab_size=CONFIG.vocab_size,
        embedding_width=CONFIG.embedding_size,
        hidden_size=CONFIG.hidden_size,
        num_layers=CONFIG.num_hidden_layers,
        num_attention_heads=CONFIG.num_attention_heads,
        max_sequence_length=CONFIG.max_position_embeddings,
        type_vocab_size=CONFIG.type_vocab_size,
        intermediate_size=CONFIG.intermediate_size,
        dict_outputs=True,
    )
    theirs.save(str(tmp_path / "m"))
    with pytest.raises(InputError, match="has 2 attention heads, the model 4: look at num_attention_heads"):
        load(tmp_path / "m", AlbertEncoder(dataclasses.replace(CONFIG, num_attention_heads=4)))
    model, report = load(tmp_path / "m", AlbertEncoder(CONFIG))
    assert len(report.loaded) == 25
    assert report.missing == report.unexpected == ()
    ids, segments = tf.constant([[2, 9, 5, 3]]), tf.constant([[0, 0, 1, 1]])
    expected = theirs({"input_word_ids": ids, "input_mask": tf.ones_like(ids), "input_type_ids": segments})
    outputs = model({"input_ids": ids, "segment_ids": segments})
    for name in ("sequence_output", "pooled_output"):
        np.testing.assert_allclose(outputs[name], expected[name], atol=1e-5)
