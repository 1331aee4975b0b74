"""TF-Hub modules: SavedModels whose variables are a checkpoint, and which tell the casing of text."""

import dataclasses
import os

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from albert_tf.checkpoints.assets import Assets
from albert_tf.checkpoints.tensorflow import read_checkpoint
from albert_tf.checkpoints.weight_source import HUB_TF1, HUB_TF2, ORIGINAL, WeightSource
from albert_tf.errors import InputError

_SAVED_MODEL = "saved_model.pb"


def is_module(folder: str) -> bool:
    """Whether a folder is a SavedModel."""
    return tf.io.gfile.exists(os.path.join(folder, _SAVED_MODEL))


def read_module(folder: str, path: str) -> WeightSource:
    """The weights and the casing of a module in TF1 or TF2 format; `path` is what the user gave."""
    prefix = os.path.join(folder, "variables", "variables")
    if not tf.io.gfile.exists(f"{prefix}.index"):
        raise InputError(f"{path} has no variables/variables.index, which a hub module keeps its weights in")
    source = read_checkpoint(prefix, path)
    if source.kind == ORIGINAL:
        assets = Assets(do_lower_case=_casing_in_graph(folder))
        return dataclasses.replace(source, kind=HUB_TF1, assets=assets)
    return dataclasses.replace(source, kind=HUB_TF2)


def _casing_in_graph(folder: str) -> bool | None:
    """`do_lower_case` of the signature `tokenization_info` of a TF1 module, if it is a constant."""
    path = os.path.join(folder, _SAVED_MODEL)
    with tf.io.gfile.GFile(path, "rb") as file:
        try:
            saved = saved_model_pb2.SavedModel.FromString(file.read())
        except DecodeError:
            raise InputError(f"{path} is no SavedModel, or a damaged one") from None
    for variant in saved.meta_graphs:
        output = variant.signature_def["tokenization_info"].outputs["do_lower_case"].name.partition(":")[0]
        for node in variant.graph_def.node:
            if node.name == output and node.op == "Const":
                return bool(tf.make_ndarray(node.attr["value"].tensor))
    return None
