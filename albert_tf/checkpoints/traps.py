"""What shapes cannot show: values of the config that load silently wrong."""

import re
from collections.abc import Iterable, Mapping

from albert_tf.config import AlbertConfig

_INVISIBLE = ("num_attention_heads", "num_hidden_layers", "hidden_act", "inner_group_num")


def config_notes(config: AlbertConfig, stored: AlbertConfig | None, any_depth: bool = False) -> list[str]:
    """Notes on a model's config, given the one that came with the weights.

    With `any_depth` another number of layers is none.
    """
    notes = []
    for key in _INVISIBLE:
        if any_depth and key == "num_hidden_layers":
            continue
        if stored is not None and getattr(stored, key) != getattr(config, key):
            notes.append(
                f"{key} is {getattr(config, key)} in the model and {getattr(stored, key)} in the config "
                "beside the weights; shapes cannot tell which is right"
            )
    heads = config.num_attention_heads
    released = (config.vocab_size, config.hidden_size, config.num_hidden_layers, config.hidden_dropout_prob)
    if released == (30000, 2048, 24, 0.0):
        notes.append(
            f"num_attention_heads is {heads}: xlarge v2 was published with 16 and with 32. Compare the "
            "outputs, or the results of a task, under both"
        )
    if released[:3] == (21128, 4096, 12) and heads != 16:
        notes.append(
            f"num_attention_heads is {heads}: the Chinese xxlarge works better with 16. Compare the "
            "masked-LM accuracy under both"
        )
    return notes


def name_notes(missing: Iterable[str], unexpected: Mapping[str, object] | Iterable[str]) -> list[str]:
    """Notes on groups of layers that only one side has."""
    notes = []
    if any(re.search(r"/group_[1-9]", name) for name in missing):
        notes.append(
            "the model has more groups of layers than the weights; --init_from_group0 gives each group 0"
        )
    if any(re.search(r"/(inner_)?group_\d+/", name) for name in unexpected):
        notes.append(
            "the weights have more groups of layers than the model: look at num_hidden_groups, "
            "inner_group_num and cross_layer_sharing"
        )
    return notes
