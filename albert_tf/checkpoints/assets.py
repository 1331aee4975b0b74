"""What belongs to weights and lies beside them: config, vocabulary, casing, and the task."""

import os
import shutil
import warnings
from typing import Any, NamedTuple, NotRequired, TypedDict

import tensorflow as tf

from albert_tf.checkpoints.run_folder import TASK_FILE, TRAINING_FILE  # noqa: F401
from albert_tf.checkpoints.weight_source import WeightSource
from albert_tf.config import AlbertConfig
from albert_tf.errors import InputError, InputWarning
from albert_tf.files import read_json
from albert_tf.tokenization import SentencePieceTokenizer, WordPieceTokenizer, load_tokenizer
from albert_tf.tokenization.sentencepiece_training import vocabulary_listing

CONFIG_FILE = "albert_config.json"
# The names that the original's export_to_tfhub looks for.
_SPM_MODEL_FILE, _SPM_VOCAB_FILE = "30k-clean.model", "30k-clean.vocab"
_WORDPIECE_FILE = "vocab_chinese.txt"

_LARGEST = 1 << 26  # bytes; a larger file is a corpus, not a vocabulary


class Sidecars(NamedTuple):
    """Paths of what was found; None for what was not."""

    config_file: str | None = None
    spm_model_file: str | None = None
    vocab_file: str | None = None


def find_sidecars(folder: str) -> Sidecars:
    """Looks in a folder and its `assets`. A file counts by what is in it; of two, neither."""
    paths = []
    for place in (folder, os.path.join(folder, "assets")):
        if os.path.isdir(place):
            visible = sorted(name for name in os.listdir(place) if not name.startswith("."))
            paths += [os.path.join(place, name) for name in visible]
    configs = [path for path in paths if os.path.basename(path) == CONFIG_FILE]
    models = [p for p in paths if p.endswith(".model") and _loads(SentencePieceTokenizer, p)]
    vocabularies = [p for p in paths if p.endswith(".txt") and _loads(WordPieceTokenizer, p)]
    return Sidecars(
        configs[0] if configs else None,
        models[0] if len(models) == 1 else None,
        vocabularies[0] if len(vocabularies) == 1 else None,
    )


def _loads(tokenizer_class: type, path: str) -> bool:
    if not 0 < os.path.getsize(path) < _LARGEST:
        return False
    try:
        tokenizer_class(path)
    except (InputError, OSError):
        return False
    return True


def config_for(source: WeightSource, albert_config_file: str | None) -> AlbertConfig:
    """The config that the user names, else the source's; InputError if there is neither."""
    if albert_config_file:
        return AlbertConfig.from_json_file(albert_config_file)
    if source.config is None:
        raise InputError(f"there is no {CONFIG_FILE} beside {source.path}: pass --albert_config_file")
    return source.config


def vocabulary_for(
    source: WeightSource, spm_model_file: str | None, vocab_file: str | None, config: AlbertConfig
) -> tuple[str | None, str | None]:
    """The SentencePiece model and the WordPiece vocabulary that the user names, else the source's.

    Raises:
      InputError: it has another size than the config says.
    """
    if not (spm_model_file or vocab_file):
        spm_model_file, vocab_file = source.spm_model_file, source.vocab_file
    if not (spm_model_file or vocab_file):
        return None, None
    size = load_tokenizer(spm_model_file, vocab_file).vocab_size
    if size != config.vocab_size:
        raise InputError(
            f"{spm_model_file or vocab_file} has {size} pieces, but the config's vocab_size is "
            f"{config.vocab_size}"
        )
    return spm_model_file, vocab_file


def casing_for(path: str, told: bool | None, do_lower_case: bool | None) -> bool:
    """Whether to lower-case text: as the user says, else as the weights at `path` tell, else yes."""
    if do_lower_case is None:
        return told is not False
    if told not in (None, do_lower_case):
        kind = "lower-cased" if told else "cased"
        flag = str(do_lower_case).lower()
        text = f"{path} is made for {kind} text, but --do_lower_case={flag} is what was asked for and is done"
        warnings.warn(text, InputWarning, stacklevel=2)
    return do_lower_case


def write_sidecars(
    folder: str, config: AlbertConfig, spm_model_file: str | None, vocab_file: str | None
) -> None:
    """Writes config and vocabulary under the names of the released archives."""
    config.to_json_file(os.path.join(folder, CONFIG_FILE))
    if spm_model_file:
        _copy(spm_model_file, os.path.join(folder, _SPM_MODEL_FILE))
        with open(spm_model_file, "rb") as model:
            listing = vocabulary_listing(model.read())
        with open(os.path.join(folder, _SPM_VOCAB_FILE), "w", encoding="utf-8") as file:
            file.write(listing)
    elif vocab_file:
        _copy(vocab_file, os.path.join(folder, _WORDPIECE_FILE))


def _copy(source: str, target: str) -> None:
    if os.path.realpath(source) != os.path.realpath(target):
        shutil.copyfile(source, target)


class _Task(TypedDict):
    """What every `task.json` holds; most hold more."""

    task_name: str
    label_names: list[str]
    max_seq_length: int
    do_lower_case: NotRequired[bool]
    num_texts: NotRequired[int]


def read_task(path: str) -> dict[str, Any] | None:
    """What the weights in a folder, or those of a checkpoint in it, were trained for, if it says."""
    path = os.path.join(folder_of(path), TASK_FILE)
    if not tf.io.gfile.exists(path):
        return None
    return dict(read_json(path, _Task))


def folder_of(path: str) -> str:
    """The folder that weights lie in: that of a checkpoint, or `path` itself."""
    return path if tf.io.gfile.isdir(path) else os.path.dirname(path)
