"""`AlbertConfig`: the shape of a model, read from and written to the original's `albert_config.json`."""

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any

from albert_tf.errors import InputError, InputWarning
from albert_tf.files import read_json, write_json

# The largest sizes that a file may ask for, so that nonsense is told before anything is built. The largest
# released model has 2.2e8 parameters; 2**35 parameters are 128 GiB.
LARGEST_SIZE, MOST_LAYERS, MOST_PARAMETERS = 2**24, 1000, 2**35
ACTIVATIONS = ("gelu", "relu", "tanh", "linear")
SHARING_MODES = ("all", "attention", "ffn", "none")

# Keys of released files that change nothing in the graph; they are written back as they came.
_DEAD_KEYS = ("down_scale_factor", "net_structure_type", "gap_size", "num_memory_blocks", "layers_to_keep")


_LAYERS = ("num_hidden_layers", "num_hidden_groups", "inner_group_num")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlbertConfig:
    """The shape of an ALBERT model. Sizes without a default are required; `InputError` if one is impossible.

    Sizes are at most 2**24, numbers of layers, groups and inner groups at most 1000, and all parameters
    together at most 2**35.

    Args:
      vocab_size: rows of the word embedding table.
      embedding_size: E, the width of the embedding tables (paper 3.1, factorized embedding).
      hidden_size: H, the width of the encoder. Equal to E means no projection between the two.
      num_hidden_layers: L, layers applied.
      num_attention_heads: attention heads of H / heads each.
      intermediate_size: width inside the feed-forward network.
      num_hidden_groups: distinct sets of weights; layer i uses group floor(i / L * groups).
      inner_group_num: blocks with weights of their own inside each layer.
      cross_layer_sharing: what the layers of a group share: "all", "attention" only, "ffn" only or "none"
        (paper, Table 4). What is not shared has weights for every layer.
      hidden_act: "gelu" (the tanh form), "relu", "tanh" or "linear".
      hidden_dropout_prob: dropout on the embeddings and on both outputs of a block.
      attention_probs_dropout_prob: dropout on the attention probabilities.
      max_position_embeddings: longest sequence.
      type_vocab_size: number of segments.
      initializer_range: standard deviation of the truncated-normal initializer.
      lora_rank: rank of each layer's own difference to its projections of queries and values; None for none.
      carried: keys of released files without meaning; they are written back.
    """

    vocab_size: int
    embedding_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    num_hidden_groups: int = 1
    inner_group_num: int = 1
    cross_layer_sharing: str = "all"
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    lora_rank: int | None = None
    carried: Mapping[str, Any] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self):
        for field in dataclasses.fields(self):
            name, value = field.name, getattr(self, field.name)
            if field.type is int and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise InputError(f"{name} must be a whole number of at least 1, not {_shown(value)}")
            most = MOST_LAYERS if name in _LAYERS else LARGEST_SIZE
            if field.type is int and value > most:
                raise InputError(f"{name} must be at most {most:,}, not {_shown(value)}")
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if field.type is float and not (is_number and abs(value) <= LARGEST_SIZE):
                raise InputError(f"{name} must be a number, not {_shown(value)}")
        rank = self.lora_rank
        if rank is not None and (type(rank) is not int or not 1 <= rank <= self.hidden_size):
            raise InputError(f"lora_rank must be a whole number from 1 to hidden_size, not {_shown(rank)}")
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 0 and below 1, not {getattr(self, name)}")
        if not self.initializer_range > 0:
            raise InputError(f"initializer_range must be above 0, not {self.initializer_range}")
        for name, allowed in (("hidden_act", ACTIVATIONS), ("cross_layer_sharing", SHARING_MODES)):
            if getattr(self, name) not in allowed:
                value = _shown(getattr(self, name))
                raise InputError(f"{name} must be one of {', '.join(allowed)}, not {value}")
        width, heads = self.hidden_size, self.num_attention_heads
        if width % heads:
            raise InputError(f"hidden_size {width} is not divisible by num_attention_heads {heads}")
        groups, layers = self.num_hidden_groups, self.num_hidden_layers
        if groups > layers:
            raise InputError(f"num_hidden_groups {groups} is more than num_hidden_layers {layers}")
        if (count := sum(self.parameter_count().values())) > MOST_PARAMETERS:
            raise InputError(f"{count:,} parameters are more than {MOST_PARAMETERS:,}: look at the sizes")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "AlbertConfig":
        """Makes a config from the keys of an `albert_config.json`; a warning names unknown keys."""
        fields = {f.name: f for f in dataclasses.fields(cls) if f.name != "carried"}
        missing = [n for n, f in fields.items() if f.default is dataclasses.MISSING and n not in values]
        if missing:
            raise InputError(f"missing {', '.join(missing)}")
        carried = {k: values[k] for k in _DEAD_KEYS if _is_flat(values.get(k))}
        unknown = [k for k in values if k not in fields and k not in carried]
        if unknown:
            message = f"config keys without meaning are ignored: {', '.join(unknown)}"
            warnings.warn(message, InputWarning, stacklevel=2)
        known = {k: v for k, v in values.items() if k in fields}
        if known.get("hidden_act", "linear") in ("", None):  # so the original writes the identity
            known["hidden_act"] = "linear"
        return cls(**known, carried=carried)

    @classmethod
    def from_json_file(cls, path: str) -> "AlbertConfig":
        """Reads an `albert_config.json`; an `InputError` names the path."""
        values = read_json(path, dict[str, Any])
        try:
            return cls.from_dict(values)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    @classmethod
    def from_preset(cls, name: str, **changes: Any) -> "AlbertConfig":
        """The config of a released model: "base_v1", ..., "xxlarge_zh" (see `PRESETS`), with other fields.

        "bert_base" and "bert_large" are the models that the paper compares with.
        """
        if name not in PRESETS:
            raise InputError(f"no preset named {name!r}; there are {', '.join(PRESETS)}")
        return dataclasses.replace(PRESETS[name], **changes)

    def to_dict(self) -> dict[str, Any]:
        """The config as the keys of an `albert_config.json`.

        `cross_layer_sharing` and `lora_rank` are left out at their defaults, so that the original release can
        read the file.
        """
        values = dataclasses.asdict(self)
        carried = values.pop("carried")
        if self.cross_layer_sharing == "all":
            del values["cross_layer_sharing"]
        if self.lora_rank is None:
            del values["lora_rank"]
        return values | carried

    def to_json_file(self, path: str) -> None:
        """Writes an `albert_config.json`."""
        write_json(path, self.to_dict(), sort_keys=True)

    @property
    def has_layers_of_their_own(self) -> bool:
        """Whether no two layers share weights."""
        layers = range(self.num_hidden_layers)
        groups = ({group(i) for i in layers} for group in (self.attention_group, self.ffn_group))
        return all(len(distinct) == self.num_hidden_layers for distinct in groups)

    @property
    def has_projection(self) -> bool:
        """Whether embeddings are projected from E to H: they are unless the two are equal."""
        return self.embedding_size != self.hidden_size

    def attention_group(self, layer: int) -> int:
        """The set of attention weights that layer number `layer` (from 0) uses."""
        return self._group(layer, shared=self.cross_layer_sharing in ("all", "attention"))

    def ffn_group(self, layer: int) -> int:
        """The set of feed-forward weights that layer number `layer` (from 0) uses."""
        return self._group(layer, shared=self.cross_layer_sharing in ("all", "ffn"))

    def _group(self, layer: int, shared: bool) -> int:
        # In floating point, as the original: the same layers change group for every L and G.
        return int(layer / self.num_hidden_layers * self.num_hidden_groups) if shared else layer

    def parameter_count(self) -> dict[str, int]:
        """The parameters of each part; a model has the sum over its parts."""
        v, e, h, f = self.vocab_size, self.embedding_size, self.hidden_size, self.intermediate_size
        layers = range(self.num_hidden_layers)
        attention = (4 * h * h + 4 * h + 2 * h) * len({self.attention_group(i) for i in layers})
        ffn = (2 * h * f + f + h + 2 * h) * len({self.ffn_group(i) for i in layers})
        lora = 4 * h * (self.lora_rank or 0) * self.num_hidden_layers
        projection = e * h + h if self.has_projection else 0
        return {
            "embeddings": (v + self.type_vocab_size + self.max_position_embeddings + 2) * e,
            "encoder": projection + self.inner_group_num * (attention + ffn + lora),
            "pooler": h * h + h,
            "masked_lm": h * e + e + 2 * e + v,
            "sentence_order": 2 * h + 2,
        }


def _shown(value: Any) -> str:
    """A value of a file in a message."""
    if isinstance(value, int) and value.bit_length() > 64:  # Python may refuse to write it
        return f"a number of {value.bit_length()} bits"
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}..."


def _is_flat(value: Any) -> bool:
    """Whether a value of a file is a number, a text, or a list of these."""
    parts = value if isinstance(value, list) else [value]
    return all(isinstance(part, int | float | str) for part in parts)


def _released_sizes() -> dict[str, AlbertConfig]:
    """The released models; v1 and v2 differ in dropout only.

    The releases disagree whether xlarge v2 has 16 heads or 32. The initializer range of xxlarge zh is not
    certain; only fresh weights depend on it.
    """
    presets = {}
    for name, hidden, layers, heads, intermediate, initializer_range_zh in (
        ("base", 768, 12, 12, 3072, 0.02),
        ("large", 1024, 24, 16, 4096, 0.02),
        ("xlarge", 2048, 24, 16, 8192, 0.014),
        ("xxlarge", 4096, 12, 64, 16384, 0.01),
    ):
        english = AlbertConfig(
            vocab_size=30000,
            embedding_size=128,
            hidden_size=hidden,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=intermediate,
        )
        dropout = 0.0 if name == "xxlarge" else 0.1
        dropouts: dict[str, Any] = dict.fromkeys(
            ("hidden_dropout_prob", "attention_probs_dropout_prob"), dropout
        )
        presets[f"{name}_v1"] = dataclasses.replace(english, **dropouts)
        presets[f"{name}_v2"] = english
        presets[f"{name}_zh"] = dataclasses.replace(
            english,
            vocab_size=21128,
            num_attention_heads=min(heads, 16),
            hidden_act="relu",
            initializer_range=initializer_range_zh,
        )
        if name in ("base", "large"):
            unshared: dict[str, Any] = {"embedding_size": hidden, "cross_layer_sharing": "none"}
            presets[f"bert_{name}"] = dataclasses.replace(english, **unshared, **dropouts)
    return presets


PRESETS: Mapping[str, AlbertConfig] = _released_sizes()
