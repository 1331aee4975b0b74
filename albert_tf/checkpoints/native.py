"""Checkpoints of this package: TF2, object-based. They are read by name, without building the objects."""

import re
from typing import NamedTuple

import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"

CASING = "do_lower_case/.ATTRIBUTES/VARIABLE_VALUE"  # of a hub module: a variable, but no weight

_OPTIMIZER_STATE = re.compile(
    r"(^|/)(optimizer|_?optimizer_weights|loss_scale|save_counter|global_step|keras_api|_?metrics)/"
)
_HEADS = {
    "classifier": "classification",
    "choice": "multiple_choice",
    "token_classifier": "token_classification",
}


class ObjectGraph(NamedTuple):
    """What an object-based checkpoint holds.

    Attributes:
      weights: the key in the checkpoint of each variable, by the variable's name.
      state: names of optimizer state and counters.
      head: the model whose head the attribute names tell, or None.
    """

    weights: dict[str, str]
    state: tuple[str, ...]
    head: str | None


def read_object_graph(serialized: bytes) -> ObjectGraph:
    """Finds the variables in the object graph that TensorFlow stores with a checkpoint or SavedModel."""
    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    graph.ParseFromString(serialized)
    weights, state, head = {}, set(), None
    for node in graph.nodes:
        for attribute in node.attributes:
            name, key = attribute.full_name, attribute.checkpoint_key
            if key == CASING:
                continue
            if not name or _OPTIMIZER_STATE.search(key) or "/.OPTIMIZER_SLOT/" in key:
                state.add(name or key)
            else:
                weights[name] = key
                found = re.search(r"(?:^|/)(\w+)/output_weights/\.ATTRIBUTES/", key)
                head = _HEADS.get(found[1], head) if found else head
    return ObjectGraph(weights, tuple(sorted(state)), head)


def write_native(prefix: str, model: tf.Module) -> None:
    """Writes the weights of a model as this package's training does, without optimizer state."""
    tf.train.Checkpoint(model=model).write(prefix)
