"""Checkpoints of the original release: TF1, name-based, under the names our variables carry."""

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from albert_tf.checkpoints import model_garden, native
from albert_tf.checkpoints.source import NATIVE, ORIGINAL, WeightSource, split_slots, without_hub_prefix
from albert_tf.errors import InputError

_ERRORS = (ValueError, RuntimeError, LookupError, tf.errors.OpError)


def read_checkpoint(prefix: str, path: str) -> WeightSource:
    """The weights of a TensorFlow checkpoint, name-based (the original's) or object-based (this package's).

    Args:
      prefix: path of the checkpoint without `.index`.
      path: what the user gave, for the report.

    Raises:
      InputError: it is no checkpoint, or a file of it is missing or broken.
    """
    try:
        reader = tf.train.load_checkpoint(prefix)
        shapes = {name: tuple(shape) for name, shape in reader.get_variable_to_shape_map().items()}
    except _ERRORS as error:
        raise InputError(f"{prefix} is no checkpoint that can be read: {_one_line(error)}") from None
    get_tensor = _reader_of_tensors(reader, prefix)
    if native.OBJECT_GRAPH in shapes:
        graph = native.read_object_graph(get_tensor(native.OBJECT_GRAPH))
        weights = {name: shapes[key] for name, key in graph.weights.items()}
        slots, keys, kind, head = graph.state, graph.weights, NATIVE, graph.head
        do_lower_case = bool(get_tensor(native.CASING)) if native.CASING in shapes else None
    else:
        keys = without_hub_prefix(shapes)
        weights, slots = split_slots({name: shapes[key] for name, key in keys.items()})
        kind, head, do_lower_case = ORIGINAL, None, None
    source = WeightSource(
        path=path,
        kind=kind,
        shapes=weights,
        read=lambda name: get_tensor(keys[name]),
        slots=slots,
        do_lower_case=do_lower_case,
        head=head,
    )
    return model_garden.with_our_names(source)


def _reader_of_tensors(reader, prefix: str) -> Callable[[str], np.ndarray]:
    def read(key: str) -> np.ndarray:
        try:
            return reader.get_tensor(key)
        except _ERRORS as error:
            if not tf.io.gfile.glob(f"{prefix}.data-*"):
                raise InputError(
                    f"{prefix}.index is there, but its data files ({prefix}.data-*) are not"
                ) from None
            raise InputError(
                f"{prefix}: {key} cannot be read, a file is damaged: {_one_line(error)}"
            ) from None

    return read


def _one_line(error: Exception) -> str:
    return " ".join(str(getattr(error, "message", error)).split())


def write_original(prefix: str, weights: Mapping[str, np.ndarray]) -> None:
    """Writes a TF1 checkpoint that the original code restores: the weights and a `global_step` of 0."""
    tensors = {**weights, "global_step": np.int64(0)}
    names = sorted(tensors)
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tensors[name] for name in names],
    )
