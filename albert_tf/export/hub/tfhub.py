"""`export_to_tfhub`: weights of any kind in, a TF-Hub module and its preprocessing module out."""

import contextlib
import dataclasses
import os

from albert_tf.checkpoints.loading import LoadReport, assign, warn_of
from albert_tf.checkpoints.sources import is_module, open_source
from albert_tf.errors import InputError
from albert_tf.export.hub.module import save_hub_module, save_hub_preprocessing
from albert_tf.files import folder_appears_when_complete
from albert_tf.models.pretraining import AlbertForPreTraining
from albert_tf.tasks.task import check_length

_SEQ_LENGTH = 128  # of the published preprocessing modules
_MLM, _SOP = "cls/predictions", "cls/seq_relationship"
# Parts that weights may lack -> what follows.
_OPTIONAL = {
    _MLM: "the module has neither .mlm nor the signature mlm",
    _SOP: "the module has no signature sop",
    "bert/pooler": "pooled_output and default are of random weights",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class HubExport:
    """What to make modules of, and where.

    Attributes:
      albert_directory: weights, see `albert_tf.load_weights`.
      checkpoint_name: of a checkpoint in that folder; default: the best if there is one, else the newest.
      export_path: the folder of the module.
      preprocessing_export_path: that of the preprocessing module; default: `export_path` + "_preprocess".
      albert_config_file, spm_model_file, vocab_file, do_lower_case, keep_accents: override what belongs to
        the weights.
      max_seq_length: of the preprocessing module's outputs; default: 128, or what the model can take.
      overwrite: whether modules that exist are replaced.
    """

    albert_directory: str
    checkpoint_name: str | None = None
    export_path: str
    preprocessing_export_path: str | None = None
    albert_config_file: str | None = None
    spm_model_file: str | None = None
    vocab_file: str | None = None
    do_lower_case: bool | None = None
    keep_accents: bool | None = None
    max_seq_length: int | None = None
    overwrite: bool = False


@dataclasses.dataclass(frozen=True)
class HubExported:
    """What came out: the report of the load, and the folders of the two modules."""

    report: LoadReport
    module: str
    preprocessing: str


def export_to_tfhub(export: HubExport) -> HubExported:
    """Writes both modules; each appears when it is complete.

    A head that the weights lack is left out with a warning.

    Raises:
      InputError: see `load_weights`; or a folder exists, config or vocabulary are missing or do not fit, or
        the encoder is not whole.
    """
    module = export.export_path.rstrip("/") or "/"
    preprocessing = export.preprocessing_export_path or f"{module}_preprocess"
    if os.path.realpath(module) == os.path.realpath(preprocessing):
        raise InputError(f"--export_path and --preprocessing_export_path are both {module}")
    for path in (module, preprocessing):
        if export.overwrite and os.path.isdir(path) and os.listdir(path) and not is_module(path):
            raise InputError(f"{path} holds something that is no module: --overwrite does not replace it")
    with contextlib.ExitStack() as stack:
        module_folder, preprocessing_folder = (
            stack.enter_context(folder_appears_when_complete(path, export.overwrite))
            for path in (module, preprocessing)
        )
        weights = export.albert_directory
        if export.checkpoint_name:
            weights = os.path.join(weights, export.checkpoint_name)
        source = stack.enter_context(open_source(weights))
        names = ("albert_config_file", "spm_model_file", "vocab_file", "do_lower_case", "keep_accents")
        assets = source.assets.overridden(**{name: getattr(export, name) for name in names})
        config = assets.needed_config()
        tokenizer = assets.tokenizer()
        assets = dataclasses.replace(assets, do_lower_case=tokenizer.do_lower_case, task={})  # of a head
        seq_length = export.max_seq_length or min(_SEQ_LENGTH, config.max_position_embeddings)
        check_length(seq_length, config)
        model = AlbertForPreTraining(config)
        report = assign(model, source)
        if rest := sorted(name for name in report.missing if not name.startswith(tuple(_OPTIONAL))):
            raise InputError(f"{report.path} lacks {', '.join(rest)}: a module would have random weights")
        lacking = [part for part in _OPTIONAL if any(name.startswith(part) for name in report.missing)]
        notes = [f"there is no {part}: {_OPTIONAL[part]}" for part in lacking]
        report = dataclasses.replace(report, notes=(*report.notes, *notes))
        save_hub_preprocessing(preprocessing_folder, tokenizer, seq_length)
        with_mlm, with_sop = (part not in lacking for part in (_MLM, _SOP))
        save_hub_module(module_folder, model, assets, with_mlm=with_mlm, with_sop=with_sop)
    warn_of(report)
    return HubExported(report, module, preprocessing)
