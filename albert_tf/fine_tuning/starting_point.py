"""The start of fine-tuning: weights, with the config and vocabulary of flags or beside the weights."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping
from typing import Any

from albert_tf.checkpoints.assets import Assets
from albert_tf.checkpoints.run_folder import best_checkpoint, find_checkpoints
from albert_tf.checkpoints.sources import open_source
from albert_tf.cli.hyperparameters import Hyperparameters
from albert_tf.cli.options import FROM_HUB, FineTuningOptions
from albert_tf.cli.text import say
from albert_tf.data.feature_cache import cached_features
from albert_tf.data.features import Features
from albert_tf.errors import InputError
from albert_tf.files import file_digest, file_stem
from albert_tf.tasks.benchmark import Benchmark, BenchmarkTask, ExamplesOfSplit
from albert_tf.tasks.task import check_length
from albert_tf.tokenization import Tokenizer


@dataclasses.dataclass(frozen=True)
class StartingPoint:
    """The user's options, the assets of the weights to start from, and the tokenizer of their vocabulary."""

    options: FineTuningOptions
    assets: Assets
    tokenizer: Tokenizer

    @property
    def kept(self) -> Mapping[str, Any]:
        """What the weights say of their task; empty if they are trained further."""
        return {} if self.options.do_train else self.assets.task

    def prepare(self, benchmark: Benchmark) -> tuple[BenchmarkTask, Hyperparameters]:
        """Reads the files, chooses the hyperparameters, makes the features, and makes the task from them."""
        examples = benchmark.read(self.options.splits)
        num_examples = len(examples["train"]) if "train" in examples else 0
        name = benchmark.task_name(examples)
        chosen = self._choose(name, num_examples)
        features: dict[str, Features] = {}
        for split, part in examples.items():
            same = [features[other] for other in features if examples[other] is part]
            settings = benchmark.settings(split, chosen.max_seq_length)
            file = benchmark.feature_files.get(split) or f"{name.replace('/', '_')}_{split}"
            features[split] = same[0] if same else self._features(benchmark, part, settings, file)
        config, rate = self.assets.needed_config(), chosen.encoder_dropout_prob
        if rate is not None:
            config = dataclasses.replace(config, hidden_dropout_prob=rate, attention_probs_dropout_prob=rate)
        if rank := self.options.lora_rank:
            if config.lora_rank not in (None, rank):
                raise InputError(f"--lora_rank={rank}: the weights have factors of rank {config.lora_rank}")
            config = dataclasses.replace(config, lora_rank=rank)
        if layers := self.options.num_hidden_layers:
            config = dataclasses.replace(config, num_hidden_layers=layers)
        task = benchmark.task(
            examples,
            features,
            config=config,
            max_seq_length=chosen.max_seq_length,
            dropout_prob=chosen.dropout_prob,
            pad_to=self.options.lengths_of_batches(chosen.max_seq_length),
            do_lower_case=self.assets.do_lower_case,
            keep_accents=bool(self.assets.keep_accents),
            spm_model_file=self.assets.spm_model_file,
            vocab_file=self.assets.vocab_file,
        )
        if metric := self.options.best_metric or self.kept.get("best_metric"):
            task.choose_best_by(metric)
        if benchmark.eval_file:
            task.eval_name = file_stem(benchmark.eval_file)
        return task, chosen

    def _features(
        self, benchmark: Benchmark, examples: ExamplesOfSplit, settings: Mapping[str, Any], file: str
    ) -> Features:
        """The features, from the cache or new; a file without a folder is in `cached_dir`."""
        key = {
            "examples": examples.digest,
            "vocabulary": file_digest(self.tokenizer.source),
            "do_lower_case": self.assets.do_lower_case,
            **({"keep_accents": True} if self.assets.keep_accents else {}),
            **settings,
        }
        given, name = os.path.split(file.removesuffix(".tf_record"))
        folder = given or self.options.cached_dir
        return cached_features(
            folder or self.options.output_dir,
            name,
            key,
            lambda: benchmark.features(self.tokenizer, examples, **settings),
            benchmark.features_class,
            keep=not self.options.dry_run or folder is not None,
        )

    def _choose(self, task_name: str, num_examples: int) -> Hyperparameters:
        """Weights that are not trained further decide the length; the config limits a default length."""
        options = self.options
        if options.max_seq_length is None and self.kept:
            options = dataclasses.replace(options, max_seq_length=self.kept.get("max_seq_length"))
        chosen = options.hyperparameters(task_name, num_examples)
        config = self.assets.needed_config()
        positions = config.max_position_embeddings
        if options.max_seq_length is None and chosen.max_seq_length > positions:
            say(f"--max_seq_length is {positions}: the config has no more positions")
            chosen = dataclasses.replace(chosen, max_seq_length=positions)
        check_length(chosen.max_seq_length, config)
        return chosen


@contextlib.contextmanager
def open_starting_point(options: FineTuningOptions) -> Iterator[StartingPoint]:
    """Takes config and vocabulary from flags, else from the folder of the run, else from the first weights.

    An archive is extracted to a temporary folder until the block ends. From then on `init_checkpoint` is the
    checkpoint that was found, whatever the user gave. Raises `InputError` if files are missing or broken.
    """
    with contextlib.ExitStack() as stack:
        path = options.init_checkpoint or options.albert_hub_module_handle
        options = dataclasses.replace(options, init_checkpoint=path, albert_hub_module_handle=None)
        found = _in_run(options)
        if found is None:
            if not (options.do_train or path):
                raise InputError(
                    f"no checkpoint in {options.output_dir}: train first, or give --init_checkpoint"
                )
            if options.num_seeds > 1 and not options.do_train:
                raise InputError(
                    f"--num_seeds={options.num_seeds}: no runs in {options.output_dir}; train first"
                )
            found = Assets(place="fresh weights")
            if path:
                source = stack.enter_context(open_source(path))
                found, options = source.assets, dataclasses.replace(options, init_checkpoint=source.path)
        is_from_hub = options.spm_model_file == FROM_HUB
        assets = found.overridden(
            albert_config_file=options.albert_config_file,
            spm_model_file=None if is_from_hub else options.spm_model_file,
            vocab_file=None if is_from_hub else options.vocab_file,
            do_lower_case=options.do_lower_case,
            keep_accents=options.keep_accents,
        )
        if assets.config is None:
            raise InputError("--albert_config_file is needed: there is no config beside the weights")
        tokenizer = assets.tokenizer()
        assets = dataclasses.replace(assets, do_lower_case=tokenizer.do_lower_case)
        yield StartingPoint(options, assets, tokenizer)


def _in_run(options: FineTuningOptions) -> Assets | None:
    """The assets in the folder of the run, or of its first seed; None if it has no checkpoint."""
    folders = {False: options.output_dir, True: options.seed_folder(0)}
    several = options.num_seeds > 1
    if _has_checkpoint(folders[not several]):
        other = "a run of one seed" if several else "runs of several seeds"
        raise InputError(f"{options.output_dir} holds {other}, but --num_seeds is {options.num_seeds}")
    if not _has_checkpoint(folders[several]):
        return None
    for number in range(options.num_seeds if several and not options.do_train else 0):
        if not _has_checkpoint(folder := options.seed_folder(number)):
            raise InputError(f"no checkpoint in {folder}: train it first, or give a smaller --num_seeds")
    return Assets.read(folders[several])


def _has_checkpoint(folder: str) -> bool:
    return bool(find_checkpoints(folder) or best_checkpoint(folder))
