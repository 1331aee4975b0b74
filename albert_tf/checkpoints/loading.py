"""`load_weights`: loads any weights into any model, with a `LoadReport` on every variable."""

import dataclasses
import re
import warnings
from collections.abc import Collection, Sequence

import tensorflow as tf

from albert_tf.checkpoints.sources import open_source
from albert_tf.checkpoints.weight_source import WeightSource
from albert_tf.config import AlbertConfig
from albert_tf.errors import InputError, InputWarning, escaped
from albert_tf.layers.lora import SCOPE
from albert_tf.layers.variables import variable_name
from albert_tf.models.classification import AlbertForMultipleChoice, AlbertForSequenceClassification

_NAMED = 8  # the most names in a line; the others are counted


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """What loading did. `str` gives counts, `listing` every name.

    Attributes:
      path, kind, slots, step: see `WeightSource`.
      loaded: variables that got their values.
      missing: variables of the model that the source lacks; they keep their values.
      torn: those of `missing` without which the weights are not whole: of the encoder, of a head of which the
        source has a part, and of the pooler if the source has a head that reads it.
      unexpected: weights of the source for which the model has no variable.
      notes: what the user should look at; also issued as warnings.
    """

    path: str
    kind: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    slots: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    step: int | None = None
    torn: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """The path, kind and step of the weights."""
        step = "" if self.step is None else f", step {self.step:,}"
        return f"{escaped(self.path)} ({self.kind}{step})"

    def __str__(self) -> str:
        lines = [
            f"{self.origin}: {len(self.loaded)} variables loaded, {len(self.missing)} missing, "
            f"{len(self.unexpected)} unexpected, {len(self.slots)} of an optimizer"
        ]
        if self.missing:
            lines.append(f"  missing, left at their initial values: {_some(self.missing)}")
        if self.unexpected:
            lines.append(f"  unexpected, ignored: {_some(self.unexpected)}")
        return "\n".join(lines)

    def listing(self) -> str:
        """A line for every name: what happened to it, and the name."""
        parts = {"loaded": self.loaded, "missing": self.missing, "unexpected": self.unexpected}
        parts["of an optimizer"] = self.slots
        return "\n".join(f"{part}: {escaped(name)}" for part, names in parts.items() for name in names)


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(map(escaped, names[:_NAMED])) + (f" and {more} more" if more > 0 else "")


_MORE_GROUPS = "the model has more groups of layers than the weights; --init_from_group0 gives each group 0"
_GROUP = re.compile(r"/group_\d+/")
_GROUPS = re.compile(r"/group_\d+/inner_group_\d+/")
_LAYERS = "bert/encoder/transformer/"

# The config keys of each dimension, by the first pattern that a name contains.
_KEYS = (
    (r"word_embeddings$", ("vocab_size", "embedding_size")),
    (r"token_type_embeddings$", ("type_vocab_size", "embedding_size")),
    (r"position_embeddings$", ("max_position_embeddings", "embedding_size")),
    (r"bert/embeddings/LayerNorm|transform/LayerNorm|transform/dense/bias", ("embedding_size",)),
    (r"transform/dense/kernel", ("hidden_size", "embedding_size")),
    (r"predictions/output_bias", ("vocab_size",)),
    (r"embedding_hidden_mapping_in/kernel", ("embedding_size", "hidden_size")),
    (r"intermediate/dense/kernel", ("hidden_size", "intermediate_size")),
    (r"intermediate/dense/bias", ("intermediate_size",)),
    (r"intermediate/output/dense/kernel", ("intermediate_size", "hidden_size")),
    (r"exits/output_weights", ("num_hidden_layers", "the number of labels", "hidden_size")),
    (r"exits/output_bias", ("num_hidden_layers", "the number of labels")),
    (r"(^|seq_relationship/|squad/)output_weights", ("the number of labels", "hidden_size")),
    (r"(^|seq_relationship/|squad/)output_bias", ("the number of labels",)),
    (r"/lora/.*/a$", ("hidden_size", "lora_rank")),
    (r"/lora/.*/b$", ("lora_rank", "hidden_size")),
)


def load_weights(model: tf.Module, path: str, init_from_group0: bool = False) -> LoadReport:
    """Loads weights into a model; the kind of the weights is told by their content.

    Args:
      model: an encoder, or a model with a head.
      path: a checkpoint of the original or of this package (prefix, `.index` file or folder), a released
        archive (`.tar.gz`, or unpacked), a Hugging Face folder, or a TF-Hub module (TF1 or TF2 format). The
        folder of a run means its best checkpoint, else its newest whole one. Names and addresses of published
        weights are fetched, see `albert_tf.published.local_weights`.
      init_from_group0: whether every group of layers gets the weights of group 0.

    Returns:
      What happened to each variable. The notes are also issued as `InputWarning`s.

    Raises:
      InputError: there are no weights of an encoder, a file is damaged, or a shape differs. The model then
        stays as it was.
    """
    with open_source(path) as source:
        report = assign(model, source, init_from_group0)
    warn_of(report)
    return report


def warn_of(report: LoadReport) -> None:
    """Issues the notes of a report as warnings, at the place that called the calling function."""
    for note in report.notes:
        warnings.warn(f"{report.path}: {note}", InputWarning, stacklevel=3)


def assign(
    model: tf.Module, source: WeightSource, init_from_group0: bool = False, any_depth: bool = False
) -> LoadReport:
    """Gives the model's variables the weights of the same name; see `load_weights`.

    With `any_depth` no note says that model and weights have different numbers of layers.
    """
    variables = {variable_name(variable): variable for variable in model.variables}
    wanted = {name: _GROUP.sub("/group_0/", name) if init_from_group0 else name for name in variables}
    found = {name: stored for name, stored in wanted.items() if stored in source.shapes}
    if not any(name.startswith(_LAYERS) for name in found):
        place = f"{source.path} ({source.kind})"
        raise InputError(f"{place} holds no weights of an ALBERT encoder{_foreign(source)}")
    _check_shapes(found, variables, source)
    heads = model.config.num_attention_heads
    if source.num_attention_heads not in (None, heads):
        raise InputError(
            f"{source.path} has {source.num_attention_heads} attention heads, the model {heads}: look at "
            "num_attention_heads of the config"
        )
    # Everything is read before anything is assigned, so that a damaged file does not change the model.
    values = {stored: source.weight(stored) for stored in set(found.values())}
    for name, stored in found.items():
        variables[name].assign(values[stored])
    missing = tuple(name for name in variables if name not in found)
    parts = {_ENCODER, *map(_part, found)}
    if "cls/seq_relationship" in parts or (_HEAD in parts and isinstance(model, _ON_POOLED_OUTPUT)):
        parts.add("bert/pooler")
    torn = tuple(name for name in missing if _part(name) in parts)
    unexpected = tuple(sorted(source.shapes.keys() - found.values()))
    if model.config.lora_rank is None and any(_part(name) == SCOPE for name in unexpected):
        raise InputError(
            f"{source.path} has LoRA factors, without which its weights mean something else: the config of "
            "the model needs their lora_rank"
        )
    on_config = config_notes(model.config, source.assets.config, any_depth)
    notes = [*source.notes, *on_config, *_name_notes(variables, source.shapes, torn, unexpected)]
    return LoadReport(
        path=source.path,
        kind=source.kind,
        loaded=tuple(found),
        missing=missing,
        unexpected=unexpected,
        slots=source.slots,
        notes=tuple(notes),
        step=source.step,
        torn=torn,
    )


_ENCODER, _HEAD = "bert", "the head of a task"
_ON_POOLED_OUTPUT = (AlbertForSequenceClassification, AlbertForMultipleChoice)


def _part(name: str) -> str:
    """The part of a model that a variable belongs to: the encoder, the pooler or a head."""
    if name.startswith(f"{SCOPE}/"):
        return SCOPE
    first, second = [*name.split("/"), ""][:2]
    if first == "bert" and second != "pooler":
        return _ENCODER
    return f"{first}/{second}" if first in ("bert", "cls") else _HEAD


def check_is_whole(report: LoadReport, advice: str = "") -> None:
    """Raises `InputError` if the weights are not whole; see `LoadReport.torn`."""
    if report.torn:
        cause = f"; {_MORE_GROUPS}" if _MORE_GROUPS in report.notes else ""
        lacking = f"{len(report.torn)} of {len(report.torn) + len(report.loaded)} weights of the model"
        raise InputError(f"{report.path} lacks {lacking}: {_some(report.torn)}{cause}{advice}")


def _check_shapes(found: dict[str, str], variables: dict[str, tf.Variable], source: WeightSource) -> None:
    wrong = [n for n, stored in found.items() if tuple(variables[n].shape) != tuple(source.shapes[stored])]
    if not wrong:
        return
    name = wrong[0]
    stored, wanted = list(source.shapes[found[name]]), variables[name].shape.as_list()
    more = f"; {len(wrong) - 1} more differ" if len(wrong) > 1 else ""
    raise InputError(
        f"{source.path}: {found[name]} has shape {stored}, the model asks for {wanted}: "
        f"look at {_config_keys(name, stored, wanted)}{more}"
    )


def _config_keys(name: str, stored: list[int], wanted: list[int]) -> str:
    keys = next((keys for pattern, keys in _KEYS if re.search(pattern, name)), ())
    if len(keys) != len(stored) or len(stored) != len(wanted):
        return "hidden_size of the config"
    differing = [key for key, a, b in zip(keys, stored, wanted, strict=True) if a != b]
    return " and ".join(f"{key} of the config" if "label" not in key else key for key in differing)


def _foreign(source: WeightSource) -> str:
    """What the weights seem to be."""
    if any(name.startswith("bert/encoder/layer_0/") for name in source.shapes):
        return ": this is BERT"
    if any(name.startswith("bert/encoder/layer_shared/") for name in source.shapes):
        return ": this is an ALBERT of the repository albert_zh, another architecture"
    names = sorted(source.shapes)[:3]
    return f"; it has {', '.join(names)}" if names else ""


def config_notes(config: AlbertConfig, stored: AlbertConfig | None, any_depth: bool = False) -> list[str]:
    """Notes on a model's config, given the config that came with the weights; see `assign`."""
    notes = [
        f"{key} is {getattr(config, key)} in the model and {getattr(stored, key)} in the config "
        "beside the weights; shapes cannot tell which is right"
        for key in ("num_attention_heads", "num_hidden_layers", "hidden_act", "inner_group_num")
        if stored is not None and getattr(stored, key) != getattr(config, key)
        if not (any_depth and key == "num_hidden_layers")
    ]
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


def _name_notes(
    variables: Collection[str], stored: Collection[str], torn: Sequence[str], unexpected: Sequence[str]
) -> list[str]:
    """Notes on variables that only the model or only the weights have."""
    notes = []
    if torn and all(_GROUP.sub("/group_0/", name) in stored for name in torn):
        notes.append(_MORE_GROUPS)
    elif torn:
        notes.append(f"{len(torn)} weights of the model are missing, and keep their values: {_some(torn)}")
    first = (name for name in unexpected if _GROUPS.sub("/group_0/inner_group_0/", name) in variables)
    if any(first):
        notes.append(
            "the weights have more groups of layers than the model: look at num_hidden_groups, "
            "inner_group_num and cross_layer_sharing"
        )
    return notes
