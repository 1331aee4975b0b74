"""Freezing single layers, and slower rates for them, if layers have weights of their own."""

import re
from collections.abc import Iterable

import tensorflow as tf
import tf_keras

from albert_tf.cli.options import TrainingOptions
from albert_tf.config import AlbertConfig
from albert_tf.errors import InputError
from albert_tf.layers.variables import variable_name


def freeze_layers(options: TrainingOptions, model: tf_keras.Model) -> None:
    """Freezes what `--freeze_layers` asks for.

    Raises:
      InputError: the flags mean single layers of a model whose layers share their weights, or too many.
    """
    config: AlbertConfig = model.config
    layers, frozen = config.num_hidden_layers, options.freeze_layers
    some = frozen not in (None, 0, layers)
    for flag, is_given in {"--layer_decay": options.layer_decay != 1, "--freeze_layers": some}.items():
        if is_given and not config.has_layers_of_their_own:
            raise InputError(
                f"{flag}: layers of the model share their weights, so that what holds for one of them "
                "holds for others; the flag is for cross_layer_sharing=none"
            )
    if frozen is None:
        return
    if frozen > layers:
        raise InputError(f"--freeze_layers={frozen}: the model has {layers} layers")
    model.encoder.freeze(frozen)


def layer_rates(variables: Iterable[tf.Variable], num_layers: int, decay: float) -> dict[str, float] | None:
    """The `rate_factors` of layer-wise decay: `decay` for the last layer, its square for the one below.

    And so on down to the embeddings. Pooler and heads have the full rate. None if the decay is 1.
    """
    if decay == 1:
        return None
    factors = {}
    for name in map(variable_name, variables):
        if found := re.match(r"bert/encoder/transformer/group_(\d+)/", name):
            factors[name] = decay ** (num_layers - int(found[1]))
        elif name.startswith(("bert/embeddings/", "bert/encoder/embedding_hidden_mapping_in/")):
            factors[name] = decay ** (num_layers + 1)
    return factors
