"""What fine-tuning starts from: config and vocabulary, named by flags or found beside the weights."""

import contextlib
import dataclasses
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_hub

from albert_tf.checkpoints.archive import is_archive
from albert_tf.checkpoints.opening import open_source
from albert_tf.checkpoints.sidecars import find_sidecars
from albert_tf.config import AlbertConfig
from albert_tf.errors import InputError
from albert_tf.options import FineTuningOptions, Hyperparameters
from albert_tf.tasks.feature_cache import cached_features
from albert_tf.tasks.features import Features
from albert_tf.tokenization import Tokenizer, load_tokenizer
from albert_tf.training.initial_weights import read_task

# What the original's users write where the vocabulary is that of the hub module.
_FROM_HUB = "from_tf_hub"


@dataclasses.dataclass(frozen=True)
class StartingPoint:
    """What a task is made with.

    Attributes:
      options: what the user asked for.
      config: the model's shape.
      tokenizer: of the vocabulary.
      spm_model_file, vocab_file: the vocabulary's file; one of them is None.
      task: what earlier weights were trained for (see `albert_tf.training.initial_weights`), if they say.
    """

    options: FineTuningOptions
    config: AlbertConfig
    tokenizer: Tokenizer
    spm_model_file: str | None
    vocab_file: str | None
    task: dict[str, Any] | None

    def features(
        self, name: str, digest: str, settings: Mapping[str, Any], make: Callable[[], Features]
    ) -> Features:
        """The features of a split from the cache, or made.

        Args:
          name: of the file, to which a key is added; in `cached_dir` unless it has a folder of its own.
          digest: of the examples.
          settings: of `make`, besides the vocabulary.
          make: makes them.
        """
        with open(self.spm_model_file or self.vocab_file, "rb") as file:
            vocabulary = hashlib.file_digest(file, "sha256").hexdigest()
        key = {
            "examples": digest,
            "vocabulary": vocabulary,
            "do_lower_case": self.options.do_lower_case,
            **settings,
        }
        folder, name = os.path.split(name.removesuffix(".tf_record"))
        return cached_features(folder or self.options.cached_dir or self.options.output_dir, name, key, make)

    def task_arguments(self, chosen: Hyperparameters) -> dict[str, Any]:
        """The arguments of every `BenchmarkTask`."""
        return {
            "max_seq_length": chosen.max_seq_length,
            "dropout_prob": chosen.dropout_prob,
            "pad_to_max_length": self.options.pad_to_max_length,
            "do_lower_case": self.options.do_lower_case,
            "spm_model_file": self.spm_model_file,
            "vocab_file": self.vocab_file,
        }


class _Beside(NamedTuple):
    """What lies beside weights."""

    config: AlbertConfig | None = None
    spm_model_file: str | None = None
    vocab_file: str | None = None
    task: dict[str, Any] | None = None


def find_starting_point(options: FineTuningOptions) -> StartingPoint:
    """Takes what flags name, else what lies in the folder of the run, else what lies beside the weights.

    Raises:
      InputError: there is none, or a file is broken.
    """
    with contextlib.ExitStack() as stack:
        beside = _in_run(options) or stack.enter_context(_beside_weights(options.init_checkpoint))
        config = beside.config
        if options.albert_config_file:
            config = AlbertConfig.from_json_file(options.albert_config_file)
        if config is None:
            raise InputError("--albert_config_file is needed: there is no config beside the weights")
        if options.encoder_dropout_prob is not None:
            rate = options.encoder_dropout_prob
            config = dataclasses.replace(config, hidden_dropout_prob=rate, attention_probs_dropout_prob=rate)
        spm_model_file, vocab_file = options.spm_model_file, options.vocab_file
        if spm_model_file == _FROM_HUB or not (spm_model_file or vocab_file):
            spm_model_file, vocab_file = beside.spm_model_file, beside.vocab_file
        tokenizer = load_tokenizer(spm_model_file, vocab_file, options.do_lower_case)
        if spm_model_file:
            vocab_file = None
        if tokenizer.vocab_size > config.vocab_size:
            raise InputError(
                f"{spm_model_file or vocab_file} has {tokenizer.vocab_size} pieces, but the config's "
                f"vocab_size is {config.vocab_size}"
            )
        if options.init_checkpoint and is_archive(options.init_checkpoint):
            # What was extracted goes when this block ends.
            spm_model_file, vocab_file = (_kept(f, options.output_dir) for f in (spm_model_file, vocab_file))
    return StartingPoint(options, config, tokenizer, spm_model_file, vocab_file, beside.task)


def resolve_hub_module(options: FineTuningOptions) -> FineTuningOptions:
    """The options with the hub module's folder, downloaded if need be, as the checkpoint to start from."""
    handle = options.albert_hub_module_handle
    if handle is None:
        return options
    try:
        path = tensorflow_hub.resolve(handle)
    except (OSError, RuntimeError, ValueError, tf.errors.OpError) as error:
        raise InputError(
            f"--albert_hub_module_handle={handle} could not be fetched ({' '.join(str(error).split())}): "
            "give the folder of a downloaded module"
        ) from None
    return dataclasses.replace(options, albert_hub_module_handle=None, init_checkpoint=path)


def _in_run(options: FineTuningOptions) -> _Beside | None:
    """What the folder of the run keeps, or that of its first seed; None if it has no checkpoint."""
    for folder in (options.output_dir, os.path.join(options.output_dir, f"seed-{options.seed}")):
        if tf.train.latest_checkpoint(folder):
            found = find_sidecars(folder)
            config = AlbertConfig.from_json_file(found.config_file) if found.config_file else None
            return _Beside(config, found.spm_model_file, found.vocab_file, read_task(folder))
    return None


@contextlib.contextmanager
def _beside_weights(path: str | None) -> Iterator[_Beside]:
    """What weights to start from bring along."""
    if path is None:
        yield _Beside()
        return
    with open_source(path) as source:
        task = None if is_archive(path) else read_task(path if os.path.isdir(path) else os.path.dirname(path))
        yield _Beside(source.config, source.spm_model_file, source.vocab_file, task)


def _kept(file: str | None, folder: str) -> str | None:
    """A copy of the file in a folder that stays."""
    if file is None or os.path.dirname(os.path.abspath(file)) == os.path.abspath(folder):
        return file
    os.makedirs(folder, exist_ok=True)
    return shutil.copy(file, folder)
