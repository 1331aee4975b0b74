"""Checkpoints of the original release: TF1, name-based, under the names our variables carry."""

import dataclasses
import re
from collections.abc import Sequence

import tensorflow as tf

from albert_tf.errors import InputError
from albert_tf.layers.variables import variable_name

_GROUP = re.compile(r"/group_\d+/")


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """What a load did, by variable name.

    Attributes:
      loaded: variables that got their values.
      missing: variables of the model that the checkpoint lacks; they keep their values.
      unexpected: tensors of the checkpoint that the model has no variable for.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]

    def __str__(self) -> str:
        counts = f"{len(self.loaded)} variables loaded, {len(self.unexpected)} tensors not needed"
        if not self.missing:
            return counts
        return f"{counts}, {len(self.missing)} left at their initial values: {', '.join(self.missing)}"


def load_original(
    variables: Sequence[tf.Variable], prefix: str, init_from_group0: bool = False
) -> LoadReport:
    """Gives variables the tensors of the same name in a TF1 checkpoint.

    Args:
      variables: of a model.
      prefix: path of the checkpoint without `.index`.
      init_from_group0: every group of layers gets the weights of group 0.

    Raises:
      InputError: there is no such checkpoint, a shape differs, or nothing of the encoder is in it.
    """
    prefix = prefix.removesuffix(".index")
    try:
        reader = tf.train.load_checkpoint(prefix)
    except (ValueError, tf.errors.OpError) as error:
        raise InputError(f"{prefix} is no checkpoint that can be read: {error}") from None
    shapes = reader.get_variable_to_shape_map()
    loaded, missing, used = [], [], set()
    for variable in variables:
        name = variable_name(variable)
        source = _GROUP.sub("/group_0/", name) if init_from_group0 else name
        if source not in shapes:
            missing.append(name)
            continue
        if shapes[source] != variable.shape.as_list():
            raise InputError(
                f"{prefix}: {source} has shape {shapes[source]}, the config asks for "
                f"{variable.shape.as_list()}"
            )
        variable.assign(reader.get_tensor(source))
        loaded.append(name)
        used.add(source)
    if not any(name.startswith("bert/") for name in loaded):
        raise InputError(f"{prefix} holds no weights of an ALBERT encoder")
    return LoadReport(tuple(loaded), tuple(missing), tuple(sorted(set(shapes) - used)))
