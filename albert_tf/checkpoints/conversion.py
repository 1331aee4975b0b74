"""`convert`: reads weights of any kind, and writes them as one kind with all that belongs to them."""

import dataclasses
import filecmp
import os

import numpy as np
import tf_keras

from albert_tf.checkpoints import huggingface
from albert_tf.checkpoints.assets import Assets, vocabularies_in
from albert_tf.checkpoints.loading import LoadReport, assign, check_is_whole, warn_of
from albert_tf.checkpoints.model_card import CARD_FILE, write_card
from albert_tf.checkpoints.run_folder import TASK_FILE
from albert_tf.checkpoints.sources import open_source
from albert_tf.checkpoints.tensorflow import write_native, write_original
from albert_tf.checkpoints.weight_source import WeightSource, with_merged_lora
from albert_tf.errors import InputError
from albert_tf.files import move_folder, problem_for_tensorflow, temporary_folder
from albert_tf.layers.variables import variable_name
from albert_tf.models import heads
from albert_tf.tokenization import Tokenizer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conversion:
    """What to convert into what.

    Attributes:
      input: see `albert_tf.load_weights`.
      output: a folder; for the format "original", the prefix of the checkpoint.
      output_format: "original", "huggingface" or "tf2".
      albert_config_file, spm_model_file, vocab_file, do_lower_case, keep_accents: override what comes with
        the input.
      head: which model the weights belong to, if names cannot tell (see `heads.SHARED_NAMES`).
      dtype: "float32", or "float16" for the format "huggingface": half the size, rounded.
      overwrite: whether existing files may be replaced.
    """

    input: str
    output: str
    output_format: str
    albert_config_file: str | None = None
    spm_model_file: str | None = None
    vocab_file: str | None = None
    do_lower_case: bool | None = None
    keep_accents: bool | None = None
    head: str | None = None
    dtype: str = "float32"
    overwrite: bool = False


@dataclasses.dataclass(frozen=True)
class Converted:
    """The result: the model, its head and tokenizer, the report of the load, and the files in order."""

    model: tf_keras.Model
    head: str
    tokenizer: Tokenizer | None
    report: LoadReport
    files: tuple[str, ...]


def convert(conversion: Conversion) -> Converted:
    """Converts; the output appears when it is complete.

    Heads and poolers that the input lacks are not written. Only the format "tf2" holds whole models: it has
    their initial values, and the report names them. LoRA factors become part of the weights, and each layer
    has weights of its own.

    Raises:
      InputError: see `load_weights`; or the weights are not whole, the output exists, the config is missing,
        the vocabulary does not fit, or the format cannot express the model or its numbers.
    """
    folder = _check_output(conversion)
    with open_source(conversion.input) as source:
        assets = source.assets.overridden(
            albert_config_file=conversion.albert_config_file,
            spm_model_file=conversion.spm_model_file,
            vocab_file=conversion.vocab_file,
            do_lower_case=conversion.do_lower_case,
            keep_accents=conversion.keep_accents,
        )
        source, assets = with_merged_lora(source, assets)
        config = assets.needed_config()
        tokenizer = assets.tokenizer() if assets.vocabulary else None
        head = _head(conversion, source)
        model = heads.build_model(head, config, source.shapes)
        if head == "encoder":
            assets = dataclasses.replace(assets, task={})  # a task belongs to a head
        report = assign(model, source)
        check_is_whole(report)
        notes = [*report.notes, *_notes(conversion, source, head)]
        if not tokenizer:
            notes.append("no vocabulary was found or written; --spm_model_file or --vocab_file adds one")
        needs_card = conversion.output_format == "huggingface"
        if needs_card and os.path.exists(os.path.join(folder, CARD_FILE)):
            needs_card = False
            notes.append(f"{os.path.join(folder, CARD_FILE)} is there and stays as it is")
        report = dataclasses.replace(report, notes=tuple(notes))
        exists = os.path.isdir(folder)
        with temporary_folder(folder, inside=exists) as temporary:
            _write(conversion, temporary, model, head, set(report.loaded), assets)
            if needs_card:
                write_card(temporary, source, assets, head)
            # The index of a checkpoint comes last: without it there is no checkpoint.
            files = (os.path.join(root, name) for root, _, inside in os.walk(temporary) for name in inside)
            names = [os.path.relpath(path, temporary) for path in files]
            names.sort(key=lambda name: (name.endswith(".index"), name))
            if exists:
                _move_into(folder, temporary, names, conversion.overwrite)
            elif not move_folder(temporary, folder):
                raise InputError(f"--output={folder} exists: another run has written it meanwhile")
    warn_of(report)
    return Converted(model, head, tokenizer, report, tuple(os.path.join(folder, name) for name in names))


def written_weights(conversion: Conversion) -> str:
    """The path of the weights that a conversion writes, as `load_weights` takes it."""
    is_native = conversion.output_format == "tf2"
    return os.path.join(conversion.output, "model.ckpt") if is_native else conversion.output


def _check_output(conversion: Conversion) -> str:
    """The folder to write into; `InputError` if the output cannot be written."""
    output, output_format = conversion.output, conversion.output_format
    if conversion.dtype != "float32" and output_format != "huggingface":
        raise InputError(f"--dtype={conversion.dtype} is for --output_format=huggingface")
    if output_format == "original":
        if not os.path.basename(output) or os.path.isdir(output):
            raise InputError(
                f"--output={output} is a folder; for the format original it is the prefix of the "
                "checkpoint, such as folder/model.ckpt-best"
            )
        folder, exists = os.path.dirname(output) or ".", os.path.exists(f"{output}.index")
    else:
        folder = output.rstrip("/") or "/"
        exists = os.path.isfile(output) or (os.path.isdir(output) and bool(os.listdir(output)))
    problem = problem_for_tensorflow(output)
    if problem and output_format != "huggingface":
        raise InputError(f"--output={problem}")
    if exists and not conversion.overwrite:
        raise InputError(f"--output={output} exists; --overwrite replaces it")
    return folder


def _head(conversion: Conversion, source: WeightSource) -> str:
    told = heads.head_of(source.shapes, source.head)
    if not conversion.head or conversion.head == told.name:
        return told.name
    wanted = heads.find_head(conversion.head)
    is_possible = source.head is None and wanted in heads.same_names(told)
    if wanted.weights and not is_possible:
        raise InputError(f"--head={wanted.name}: the weights are those of {told.name}")
    return wanted.name


def _notes(conversion: Conversion, source: WeightSource, head: str) -> list[str]:
    notes = []
    is_told = source.head or conversion.head or "task_name" in source.assets.task
    if head == "classification" and not is_told:  # names of the original's weights do not tell heads apart
        if source.shapes["output_weights"][0] == 1:
            notes.append(
                "taken for a regression; if it is multiple choice (RACE), pass --head=multiple_choice"
            )
        else:
            what = "taken for a classification of texts; if it is one of pieces"
            notes.append(f"{what}, pass --head=token_classification")
    if head == "question_answering_v2" and conversion.output_format == "huggingface":
        notes.append(
            "Hugging Face's ALBERT has no head like that of SQuAD 2.0: it is kept in model.safetensors under "
            "its own names, and `from_pretrained` loads the encoder alone"
        )
    pooled = head == "similarity" and source.assets.task.get("pooling") == "pooled"
    if pooled and conversion.output_format == "huggingface":
        notes.append(
            "sentence-transformers has no pooled output: the folder has no modules.json; --pooling=mean or "
            "--pooling=cls gives vectors that it can make"
        )
    if "crf/transitions" in source.shapes and conversion.output_format == "huggingface":
        notes.append(
            "Hugging Face's ALBERT has no CRF: it is kept in model.safetensors under its own names, and "
            "`from_pretrained` decides about each piece alone"
        )
    if "exits/output_weights" in source.shapes and conversion.output_format == "huggingface":
        notes.append(
            "Hugging Face's ALBERT does not exit early: the heads behind its layers are kept in "
            "model.safetensors under their own names, and `from_pretrained` loads the last one alone"
        )
    return notes


def _write(
    conversion: Conversion, folder: str, model: tf_keras.Model, head: str, loaded: set[str], assets: Assets
) -> None:
    """Writes all files into an empty folder."""
    values = {variable_name(v): v.numpy() for v in model.variables}
    weights: dict[str, np.ndarray] = {name: value for name, value in values.items() if name in loaded}
    if conversion.output_format == "huggingface":
        dropout = getattr(model, "classifier_dropout_prob", 0.1)
        weights = {name: _as_type(value, conversion.dtype, name) for name, value in weights.items()}
        huggingface.write_folder(folder, assets, weights, head, dropout)
        return
    target, name = os.path.split(written_weights(conversion))
    prefix = os.path.join(folder, name)
    if conversion.output_format == "original":
        write_original(prefix, weights)
    else:
        write_native(prefix, model)
    assets.write(folder, names_from=target or ".")


def _as_type(value: np.ndarray, dtype: str, name: str) -> np.ndarray:
    """The numbers in another type; `InputError` if one is too large for it."""
    if np.abs(value).max(initial=0) > np.finfo(dtype).max:
        raise InputError(f"--dtype={dtype}: {name} holds numbers too large for it")
    return value.astype(dtype)


def _move_into(folder: str, temporary: str, names: list[str], overwrite: bool) -> None:
    """Moves files into a folder, and removes what belongs to the weights that it held before."""
    moves = [(os.path.join(temporary, name), os.path.join(folder, name)) for name in names]
    replaced = _left_over(folder, temporary)
    if not overwrite:
        for new, target in moves:
            if os.path.exists(target) and not filecmp.cmp(target, new, shallow=False):
                raise InputError(f"{target} exists with other content; --overwrite replaces it")
        if replaced:
            raise InputError(f"{replaced[0]} belongs to other weights; --overwrite removes it")
    for path in replaced:
        os.remove(path)
    for new, target in moves:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.replace(new, target)


def _left_over(folder: str, written: str) -> list[str]:
    """The files in a folder that readers would take for assets of what is in the folder `written`."""
    new = {os.path.basename(path) for path in vocabularies_in(written)}
    found = [path for path in vocabularies_in(folder) if new and os.path.basename(path) not in new]
    task = os.path.join(folder, TASK_FILE)
    if os.path.exists(task) and not os.path.exists(os.path.join(written, TASK_FILE)):
        found.append(task)
    return found
