"""Weights as other people's files hold them."""

import os
import pathlib
import shutil

import numpy as np
import tensorflow as tf
import tf_keras

from albert_tf import testing
from albert_tf.checkpoints.assets import Assets
from albert_tf.config import AlbertConfig
from albert_tf.layers.variables import variable_name


def weights_of(model: tf_keras.Model) -> dict[str, np.ndarray]:
    return {variable_name(v): v.numpy() for v in model.variables}


def randomize(model: tf_keras.Model, seed: int = 0) -> tf_keras.Model:
    """Every variable gets values of its own, biases and gammas too, at which the model is far from linear."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        offset = 1.0 if variable_name(variable).endswith("gamma") else 0.0
        variable.assign(offset + 0.2 * rng.standard_normal(variable.shape))
    return model


def assert_same_weights(model: tf_keras.Model, expected: dict[str, np.ndarray]) -> None:
    ours = weights_of(model)
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(ours[name], value, err_msg=name)


def write_checkpoint(prefix: pathlib.Path, tensors: dict[str, np.ndarray], shards: int = 1) -> str:
    """A TF1 name-based checkpoint, as the original's Saver writes it."""
    names = sorted(tensors)
    parts = [str(prefix)] if shards == 1 else [f"{prefix}_{i}" for i in range(shards)]
    for i, part in enumerate(parts):
        mine = names[i::shards]
        tf.raw_ops.SaveV2(
            prefix=part,
            tensor_names=mine,
            shape_and_slices=[""] * len(mine),
            tensors=[tensors[name] for name in mine],
        )
    if shards > 1:
        tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts, destination_prefix=str(prefix))
    return str(prefix)


def write_hub_module(
    folder: pathlib.Path,
    tensors: dict[str, np.ndarray],
    config: AlbertConfig | None = None,
    do_lower_case: bool = True,
) -> str:
    """A SavedModel in TF1 format with the variants and signatures of the original's hub modules.

    With a config, that and the tiny vocabulary are its assets.
    """
    builder = tf.compat.v1.saved_model.Builder(str(folder))
    info, make = tf.compat.v1.saved_model.build_tensor_info, tf.compat.v1.saved_model.build_signature_def
    for number, tags in enumerate([[], ["train"]]):
        graph = tf.Graph()
        with graph.as_default(), tf.compat.v1.Session() as session:
            for name, value in tensors.items():
                tf.compat.v1.get_variable(name, initializer=value, use_resource=False)
            session.run(tf.compat.v1.global_variables_initializer())
            ids = info(tf.compat.v1.placeholder(tf.int32, [None, None], "input_ids"))
            maps = {name: make({"input_ids": ids}, {"output": ids}) for name in ("tokens", "sop", "mlm")}
            told = {"vocab_file": tf.constant("30k-clean.model"), "do_lower_case": tf.constant(do_lower_case)}
            maps["tokenization_info"] = make({}, {name: info(tensor) for name, tensor in told.items()})
            if number == 0:
                builder.add_meta_graph_and_variables(session, tags, signature_def_map=maps)
            else:
                builder.add_meta_graph(tags, signature_def_map=maps)
    builder.save()
    (folder / "tfhub_module.pb").write_bytes(b"\x08\x03")
    os.makedirs(folder / "assets", exist_ok=True)
    if config:
        shutil.copy(testing.SPM_MODEL_FILE, folder / "assets" / "30k-clean.model")
        Assets(config=config).write(str(folder / "assets"))
    return str(folder)
