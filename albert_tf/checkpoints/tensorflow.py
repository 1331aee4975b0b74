"""TensorFlow's checkpoints: the original's (TF1, by name), ours (TF2, by object), the Model Garden's.

Each is read by name, without making the objects, under the names of our variables.
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import trackable_object_graph_pb2

from albert_tf.checkpoints.assets import Assets
from albert_tf.checkpoints.run_folder import STEP
from albert_tf.checkpoints.weight_source import NATIVE, ORIGINAL, WeightSource
from albert_tf.errors import InputError
from albert_tf.files import files_that_begin_with, problem_for_tensorflow
from albert_tf.models.heads import HEADS

_ERRORS = (ValueError, RuntimeError, LookupError, tf.errors.OpError)
_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_CASING = "do_lower_case/.ATTRIBUTES/VARIABLE_VALUE"  # of a hub module: a variable, but no weight
_OPTIMIZER_STATE = re.compile(
    r"(^|/)(optimizer|_?optimizer_weights|loss_scale|save_counter|global_step|keras_api|_?metrics)/"
    r"|/\.OPTIMIZER_SLOT/"
)
_HEADS = {head.attribute: head.name for head in HEADS.values() if head.attribute}


def read_checkpoint(prefix: str, path: str) -> WeightSource:
    """The weights of a TensorFlow checkpoint, stored by name (the original's) or by object (ours).

    `prefix` is the path of the checkpoint without `.index`, `path` is what the user gave.
    """
    if problem := problem_for_tensorflow(prefix, to_write=False):
        raise InputError(problem)
    try:
        reader = tf.train.load_checkpoint(prefix)
        shapes = {name: tuple(shape) for name, shape in reader.get_variable_to_shape_map().items()}
    except _ERRORS as error:
        raise InputError(f"{prefix} is no checkpoint that can be read: {_one_line(error)}") from None

    def read(key: str) -> np.ndarray:
        try:
            return reader.get_tensor(key)
        except _ERRORS as error:
            problem = f"{prefix}: {key} cannot be read, a file is damaged: {_one_line(error)}"
            if not files_that_begin_with(prefix, ".data-*"):
                problem = f"{prefix}.index is there, but its data files ({prefix}.data-*) are not"
            raise InputError(problem) from None

    def read_scalar(key: str) -> Any:
        value = read(key) if key in shapes else None
        if value is not None and (shapes[key] or np.asarray(value).dtype.kind not in "biu"):
            raise InputError(f"{prefix}: {key} is damaged: it is not one whole number")
        return value

    if _OBJECT_GRAPH in shapes:
        keys, slots, head = _read_object_graph(read(_OBJECT_GRAPH), prefix)
        if lost := next((key for key in keys.values() if key not in shapes), None):
            raise InputError(f"{prefix} is damaged: its object graph names {lost!r:.200}, which it lacks")
        kind, casing = NATIVE, read_scalar(_CASING)
        do_lower_case = None if casing is None else bool(casing)
    else:
        kind, head, do_lower_case = ORIGINAL, None, None
        keys = {name.removeprefix("module/"): name for name in shapes}  # as after fine-tuning of a hub module
        # A slot is called <variable>/<slot>; counters such as `global_step` are scalars.
        slots = {name for name, key in keys.items() if name.rpartition("/")[0] in keys or not shapes[key]}
        keys = {name: key for name, key in keys.items() if name not in slots}
    step = read_scalar(STEP)
    source = WeightSource(
        path=path,
        kind=kind,
        shapes={name: shapes[key] for name, key in keys.items()},
        read=lambda name: read(keys[name]),
        slots=tuple(sorted(slots)),
        assets=Assets(do_lower_case=do_lower_case),
        head=head,
        step=None if step is None else int(step),
    )
    return _with_our_names(source)


def _one_line(error: Exception) -> str:
    return " ".join(str(getattr(error, "message", error)).split())


def write_original(prefix: str, weights: Mapping[str, np.ndarray]) -> None:
    """Writes a TF1 checkpoint that the original code restores: the weights and a `global_step` of 0."""
    tensors = {**weights, "global_step": np.int64(0)}
    names = sorted(tensors)
    values, whole = [tensors[name] for name in names], [""] * len(names)
    tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=whole, tensors=values)


def _read_object_graph(serialized: Any, prefix: str) -> tuple[dict[str, str], set[str], str | None]:
    """What an object-based checkpoint or SavedModel holds, by its object graph.

    Returns:
      The key in the checkpoint of each variable by its name; the names of optimizer state and counters; and
      the head that an attribute tells, or None.
    """
    try:
        graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(serialized)
    except (DecodeError, TypeError):
        raise InputError(f"{prefix} is damaged: its object graph cannot be read") from None
    weights, state, head = {}, set(), None
    for attribute in (attribute for node in graph.nodes for attribute in node.attributes):
        name, key = attribute.full_name, attribute.checkpoint_key
        if key == _CASING:
            continue
        if not name or _OPTIMIZER_STATE.search(key):
            state.add(name or key)
        else:
            weights[name] = key
            if found := re.search(r"(?:^|/)(\w+)/output_weights/\.ATTRIBUTES/", key):
                head = _HEADS.get(found[1], head)
    return weights, state, head


def write_native(prefix: str, model: tf.Module) -> None:
    """Writes the weights of a model as the training of this package does, without optimizer state."""
    tf.train.Checkpoint(model=model).write(prefix)


_LAYER = "bert/encoder/transformer/group_0/inner_group_0"
_NAMES = {
    "word_embeddings/embeddings": "bert/embeddings/word_embeddings",
    "type_embeddings/embeddings": "bert/embeddings/token_type_embeddings",
    "position_embedding/embeddings": "bert/embeddings/position_embeddings",
    "cls/predictions/output_bias/bias": "cls/predictions/output_bias",
}
_STEMS = {
    "embeddings/layer_norm": "bert/embeddings/LayerNorm",
    "embedding_projection": "bert/encoder/embedding_hidden_mapping_in",
    "transformer/self_attention/query": f"{_LAYER}/attention_1/self/query",
    "transformer/self_attention/key": f"{_LAYER}/attention_1/self/key",
    "transformer/self_attention/value": f"{_LAYER}/attention_1/self/value",
    "transformer/self_attention/attention_output": f"{_LAYER}/attention_1/output/dense",
    "transformer/self_attention_layer_norm": f"{_LAYER}/LayerNorm",
    "transformer/intermediate": f"{_LAYER}/ffn_1/intermediate/dense",
    "transformer/output": f"{_LAYER}/ffn_1/intermediate/output/dense",
    "transformer/output_layer_norm": f"{_LAYER}/LayerNorm_1",
    "pooler_transform": "bert/pooler/dense",
}
_QUERY = f"{_LAYER}/attention_1/self/query/kernel"
_SPLIT = re.compile(r"/attention_1/(self/\w+|output/dense)/kernel$")  # by heads


def _with_our_names(source: WeightSource) -> WeightSource:
    """The source with the original's names and shapes, if it has those of the Model Garden."""
    if "transformer/self_attention/query/kernel" not in source.shapes:
        return source
    names = {_renamed(name): name for name in source.shapes}
    for name, stored in names.items():
        if _SPLIT.search(name) and len(source.shapes[stored]) != 3:
            raise InputError(
                f"{source.path}: {stored} must have 3 dimensions, not {len(source.shapes[stored])}"
            )
    shapes = {ours: _flat(ours, source.shapes[theirs]) for ours, theirs in names.items()}
    _, heads, _ = source.shapes[names[_QUERY]]

    def read(name: str) -> np.ndarray:
        return source.read(names[name]).reshape(shapes[name])

    return dataclasses.replace(source, shapes=shapes, read=read, num_attention_heads=heads)


def _renamed(name: str) -> str:
    stem, _, last = name.rpartition("/")
    return _NAMES.get(name) or (f"{_STEMS[stem]}/{last}" if stem in _STEMS else name)


def _flat(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape with the dimension of the heads and that of their width multiplied into one."""
    if re.search(r"/self/\w+/bias$", name):
        return (math.prod(shape),)
    if re.search(r"/self/\w+/kernel$", name):
        return shape[0], math.prod(shape[1:])
    if name.endswith("attention_1/output/dense/kernel"):
        return math.prod(shape[:2]), shape[2]
    return shape
