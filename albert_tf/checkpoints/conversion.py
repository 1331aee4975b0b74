"""`convert`: weights of any kind in, a folder or checkpoint of one kind out, with all that belongs to it."""

import dataclasses
import filecmp
import os
import shutil
import tempfile
from collections.abc import Callable

import numpy as np
import tf_keras

from albert_tf.checkpoints import huggingface
from albert_tf.checkpoints.assets import Assets, vocabularies_in
from albert_tf.checkpoints.loading import assign, warn_of
from albert_tf.checkpoints.report import LoadReport
from albert_tf.checkpoints.run_folder import TASK_FILE
from albert_tf.checkpoints.sources import open_source
from albert_tf.checkpoints.tensorflow import write_native, write_original
from albert_tf.checkpoints.weight_source import WeightSource
from albert_tf.errors import InputError
from albert_tf.files import problem_for_tensorflow
from albert_tf.layers.variables import variable_name
from albert_tf.models import heads
from albert_tf.tokenization import Tokenizer

FORMATS = ("original", "huggingface", "tf2")
_NATIVE_NAME = "model.ckpt"
# By whether the head has one output. The names of the original's weights do not tell its heads apart.
_ASSUMED = {
    True: "taken for a regression; if it is multiple choice (RACE), pass --head=multiple_choice",
    False: "taken for a classification of texts; if it is one of pieces, pass --head=token_classification",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conversion:
    """What to convert into what.

    Attributes:
      input: see `albert_tf.load_weights`.
      output: a folder; for "original", the prefix of the checkpoint.
      output_format: one of `FORMATS`.
      albert_config_file: the config, where the input carries none; it overrides the input's.
      spm_model_file: the SentencePiece model, likewise.
      vocab_file: the WordPiece vocabulary, likewise.
      do_lower_case: whether text is lower-cased, likewise.
      head: which model the weights belong to, where names cannot tell (see `heads.SHARED_NAMES`).
      best: accepted and not needed: the folder of a run means its best checkpoint.
      overwrite: whether files that exist may be replaced.
    """

    input: str
    output: str
    output_format: str
    albert_config_file: str | None = None
    spm_model_file: str | None = None
    vocab_file: str | None = None
    do_lower_case: bool | None = None
    head: str | None = None
    best: bool = False
    overwrite: bool = False


@dataclasses.dataclass(frozen=True)
class Converted:
    """What came out: the model, its head and tokenizer, the report of the load, and the files, in order."""

    model: tf_keras.Model
    head: str
    tokenizer: Tokenizer | None
    report: LoadReport
    files: tuple[str, ...]


def convert(conversion: Conversion) -> Converted:
    """Converts; the output appears when it is complete.

    What the input lacks is not written, except in the format "tf2", which holds whole models: there it has
    its initial value, and the report names it.

    Raises:
      InputError: see `load_weights`; or the output exists, the config is missing, the vocabulary does not
        fit, or the format cannot express the model.
    """
    folder, _ = _folder_and_name(conversion)
    _check_output(conversion)
    with open_source(conversion.input) as source:
        assets = source.assets.overridden(
            albert_config_file=conversion.albert_config_file,
            spm_model_file=conversion.spm_model_file,
            vocab_file=conversion.vocab_file,
            do_lower_case=conversion.do_lower_case,
        )
        config = assets.needed_config()
        tokenizer = assets.tokenizer() if assets.vocabulary else None
        head = _head(conversion, source)
        model = heads.build_model(head, config, source.shapes)
        if head == "encoder":
            assets = dataclasses.replace(assets, task={})  # which is that of a head
        report = assign(model, source)
        notes = [*report.notes, *_notes(conversion, source, head)]
        if not tokenizer:
            notes.append(
                "no vocabulary was found, so none is written; --spm_model_file or --vocab_file adds one"
            )
        report = dataclasses.replace(report, notes=tuple(notes))

        def write(place: str) -> None:
            _write(conversion, place, model, head, set(report.loaded), assets)

        files = _appear(folder, write, conversion.overwrite)
    warn_of(report)
    return Converted(model, head, tokenizer, report, tuple(files))


def written_weights(conversion: Conversion) -> str:
    """The path of what a conversion writes, as `load_weights` takes it."""
    if conversion.output_format == "tf2":
        return os.path.join(conversion.output, _NATIVE_NAME)
    return conversion.output


def _folder_and_name(conversion: Conversion) -> tuple[str, str]:
    if conversion.output_format == "original":
        folder, name = os.path.split(conversion.output)
        if not name or os.path.isdir(conversion.output):
            raise InputError(
                f"--output={conversion.output} is a folder; for the format original it is the prefix of the "
                "checkpoint, such as folder/model.ckpt-best"
            )
        return folder or ".", name
    return conversion.output.rstrip("/") or "/", _NATIVE_NAME


def _check_output(conversion: Conversion) -> None:
    problem = problem_for_tensorflow(conversion.output)
    if problem and conversion.output_format != "huggingface":
        raise InputError(f"--output={problem}")
    if conversion.overwrite:
        return
    taken = conversion.output
    if conversion.output_format == "original":
        exists = os.path.exists(f"{taken}.index")
    else:
        exists = os.path.isfile(taken) or (os.path.isdir(taken) and bool(os.listdir(taken)))
    if exists:
        raise InputError(f"--output={taken} exists; --overwrite replaces it")


def _head(conversion: Conversion, source: WeightSource) -> str:
    told = heads.head_of(source.shapes, source.head)
    if not conversion.head or conversion.head == told.name:
        return told.name
    wanted = heads.find_head(conversion.head)
    unsaid = source.head is None and wanted in heads.same_names(told)
    if wanted.weights and not unsaid:
        raise InputError(f"--head={wanted.name}: the weights are those of {told.name}")
    return wanted.name


def _notes(conversion: Conversion, source: WeightSource, head: str) -> list[str]:
    notes = []
    labels = source.shapes.get("output_weights", (0,))[0]
    is_told = source.head or conversion.head or "task_name" in source.assets.task
    if head == "classification" and not is_told:
        notes.append(_ASSUMED[labels == 1])
    if head == "question_answering_v2" and conversion.output_format == "huggingface":
        notes.append(
            "Hugging Face's ALBERT has no head like that of SQuAD 2.0: it is kept in model.safetensors under "
            "its own names, and `from_pretrained` loads the encoder alone"
        )
    return notes


def _write(
    conversion: Conversion, place: str, model: tf_keras.Model, head: str, loaded: set[str], assets: Assets
) -> None:
    """Writes all files into an empty folder."""
    values = {variable_name(v): v.numpy() for v in model.variables}
    weights: dict[str, np.ndarray] = {name: value for name, value in values.items() if name in loaded}
    if conversion.output_format == "huggingface":
        dropout = getattr(model, "classifier_dropout_prob", 0.1)
        huggingface.write_folder(place, assets, weights, head, dropout)
        return
    folder, name = _folder_and_name(conversion)
    if conversion.output_format == "original":
        write_original(os.path.join(place, name), weights)
    else:
        write_native(os.path.join(place, name), model)
    assets.write(place, names_from=folder)


def _appear(folder: str, write: Callable[[str], None], overwrite: bool) -> list[str]:
    """Lets `write` fill a temporary folder beside or in `folder`, then moves its files there.

    Returns:
      The paths of the files.

    Raises:
      InputError: the folder cannot be written, or a file is there with other content.
    """
    exists = os.path.isdir(folder)
    parent = folder if exists else os.path.dirname(os.path.abspath(folder))
    try:
        os.makedirs(parent, exist_ok=True)
        temporary = tempfile.mkdtemp(prefix=".incomplete_", dir=parent)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}") from None
    try:
        write(temporary)
        mask = _umask()
        for name in os.listdir(temporary):  # temporary files and folders are for their owner alone
            os.chmod(os.path.join(temporary, name), 0o666 & ~mask)
        # The index of a checkpoint last: without it there is no checkpoint.
        names = sorted(os.listdir(temporary), key=lambda name: (name.endswith(".index"), name))
        if not exists:
            os.chmod(temporary, 0o777 & ~mask)
            os.rename(temporary, folder)
            return [os.path.join(folder, name) for name in names]
        replaced = _left_over(folder, temporary)
        for name in names:
            target = os.path.join(folder, name)
            same = os.path.exists(target) and filecmp.cmp(
                target, os.path.join(temporary, name), shallow=False
            )
            if os.path.exists(target) and not (same or overwrite):
                raise InputError(f"{target} exists with other content; --overwrite replaces it")
        if replaced and not overwrite:
            raise InputError(f"{replaced[0]} belongs to other weights; --overwrite removes it")
        for path in replaced:
            os.remove(path)
        for name in names:
            os.replace(os.path.join(temporary, name), os.path.join(folder, name))
        return [os.path.join(folder, name) for name in names]
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _left_over(folder: str, written: str) -> list[str]:
    """The files in a folder that would be taken for assets of what is in the folder `written`."""
    new = {os.path.basename(path) for path in vocabularies_in(written)}
    found = [path for path in vocabularies_in(folder) if new and os.path.basename(path) not in new]
    task = os.path.join(folder, TASK_FILE)
    if os.path.exists(task) and not os.path.exists(os.path.join(written, TASK_FILE)):
        found.append(task)
    return found


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
