"""The flags that several scripts share, and the rules that combine them."""

import dataclasses
import os
import typing

from albert_tf.cli.flags import ScriptOptions, UsageError, option, with_flags
from albert_tf.cli.hyperparameters import (
    PAPER_HYPERPARAMETERS,
    SWEPT,
    Hyperparameters,
    combinations,
    warmup_steps,
)
from albert_tf.files import problem_for_tensorflow


@dataclasses.dataclass(frozen=True)
class SidecarOptions(ScriptOptions):
    """What belongs to weights; these flags override the files beside the weights."""

    albert_config_file: str | None = option(None, help="albert_config.json (default: beside the weights)")
    spm_model_file: str | None = option(None, help="SentencePiece model (default: beside the weights)")
    vocab_file: str | None = option(None, help="WordPiece vocabulary, used if --spm_model_file is not given")
    do_lower_case: bool | None = option(None, help="lower-case text (default: as the weights say, else yes)")
    keep_accents: bool | None = option(
        None, help="keep the accents and other marks of letters (default: as the weights say, else no)"
    )

    @property
    def needed_paths(self) -> tuple[str, ...]:
        """See `ScriptOptions`; of two vocabularies the first counts."""
        vocabulary = "spm_model_file" if self.spm_model_file else "vocab_file"
        return (*super().needed_paths, "albert_config_file", vocabulary)


# What --interactive excludes.
_OTHER_WORK = ("do_train", "do_eval", "do_predict", "dry_run", "num_seeds", "export_dir")


@dataclasses.dataclass(frozen=True)
class RunOptions(ScriptOptions):
    """The flags of all `run_*.py` scripts."""

    output_dir: str = option(help="folder for checkpoints, TensorBoard scalars and results")
    init_checkpoint: str | None = option(
        None,
        is_weights=True,
        help="weights to start from, if --output_dir has none: a path, a name such as albert-base-v2, "
        "owner/name[@revision] on Hugging Face's hub, or the address of an archive",
    )
    dry_run: bool = option(
        False,
        help="do not train, but read and check everything, run one step of each kind on its largest batch, "
        "show time and memory, and write nothing to --output_dir",
    )
    init_from_group0: bool = option(False, help="give all groups of layers group 0 of --init_checkpoint")
    allow_missing: bool = option(
        False,
        help="train even if --init_checkpoint lacks weights other than whole heads; they begin at random",
    )
    interactive: bool = option(
        False, help="type texts and read the answers of the trained model, instead of all else"
    )
    do_train: bool = option(True, help="whether to train")
    do_eval: bool = option(False, help="whether to evaluate, while training at every checkpoint")
    eval_batch_size: int = option(8, at_least=1, help="examples in an evaluation step, over all devices")
    optimizer: str = option("adamw", choices=("adamw", "lamb"), help="the optimizer")
    layer_decay: float = option(
        1.0,
        at_least=0.01,
        at_most=1,
        help="factor of the learning rate from each layer to the one below it, down to the embeddings; for "
        "models with cross_layer_sharing=none",
    )
    freeze_layers: int | None = option(
        None,
        at_least=0,
        help="do not train the embeddings and so many of the first layers; more than 0 only for models with "
        "cross_layer_sharing=none",
    )
    save_checkpoints_steps: int = option(1000, at_least=1, help="steps between checkpoints")
    keep_checkpoint_max: int = option(5, at_least=1, help="newest checkpoints to keep, besides the best one")
    iterations_per_loop: int = option(
        100, at_least=1, help="steps between TensorBoard scalars; a TPU runs so many without the host"
    )
    early_stopping_patience: int | None = option(
        None, at_least=1, help="stop after so many evaluations in a row without a better result"
    )
    seed: int = option(12345, at_least=0, help="decides initial weights, order of the data and dropout")
    mixed_precision: str = option(
        "float32",
        choices=("float32", "bfloat16", "float16"),
        help="precision of the layers; variables, softmax, LayerNorm and losses are float32",
    )
    gradient_accumulation_steps: int = option(
        1, at_least=1, help="parts of each device's batch that run in turn, to save memory, for one update"
    )
    recompute: bool = option(False, help="compute layers again in the backward pass: slower, less memory")
    jit_compile: bool = option(False, help="compile the steps with XLA, once for each shape of a batch")
    deterministic: bool = option(False, help="get the same bits from every operation; may be slower")
    on_divergence: str = option(
        "stop",
        choices=("stop", "rollback"),
        help="what to do if loss, gradients or weights are not finite: stop, or go back to the last "
        "checkpoint and skip the data after it, at most 3 times",
    )
    allow_changed_flags: bool = option(False, help="let a run continue with changed flags or data")
    distribution_strategy: str = option(
        "off",
        choices=("off", "one_device", "mirrored", "multi_worker_mirrored", "tpu"),
        help="how training is spread over devices",
    )
    num_gpus: int | None = option(None, at_least=0, help="number of GPUs to use (default: all)")
    tpu_name: str | None = option(None, alias="tpu", help="name or address of the TPU; 'local': this machine")
    tpu_zone: str | None = option(None, help="Google Cloud zone of the TPU (default: from the metadata)")
    gcp_project: str | None = option(None, help="Google Cloud project of the TPU (default: likewise)")
    worker_hosts: str | None = option(
        None, help="multi_worker_mirrored: host:port of every worker, with commas (default: from TF_CONFIG)"
    )
    task_index: int = option(-1, at_least=-1, help="which of --worker_hosts this process is, counted from 0")

    @property
    def policy(self) -> str:
        """Keras's name of --mixed_precision."""
        return self.mixed_precision if self.mixed_precision == "float32" else f"mixed_{self.mixed_precision}"

    def __post_init__(self):
        super().__post_init__()
        self._check_path("output_dir")
        for field in dataclasses.fields(self) if self.interactive else ():
            value = getattr(self, field.name)
            if field.name in _OTHER_WORK and value not in (None, False, field.default):
                raise UsageError(f"--interactive excludes --{field.name}")
            if field.name in _OTHER_WORK and value is True:  # by default
                object.__setattr__(self, field.name, False)
        given = self.init_checkpoint or getattr(self, "albert_hub_module_handle", None)  # only in fine-tuning
        if self.init_from_group0 and not given:
            raise UsageError("--init_from_group0 needs --init_checkpoint")
        if self.early_stopping_patience and self.do_train and not self.do_eval:
            raise UsageError("--early_stopping_patience needs --do_eval")
        if self.jit_compile and self.distribution_strategy == "tpu":
            raise UsageError("--jit_compile is not for TPUs, which compile by themselves")
        if self.mixed_precision == "float16" and self.distribution_strategy == "tpu":
            raise UsageError("--mixed_precision=float16 is not for TPUs: use --mixed_precision=bfloat16")

    @property
    def needed_paths(self) -> tuple[str, ...]:
        """See `ScriptOptions`; a run that continues does not need the weights that it started from."""
        may_continue = os.path.isdir(self.output_dir) and os.listdir(self.output_dir)
        return super().needed_paths if may_continue else (*super().needed_paths, "init_checkpoint")

    def _check_path(self, flag: str) -> None:
        if problem := problem_for_tensorflow(getattr(self, flag) or ""):
            raise UsageError(f"--{flag}={problem}")


@dataclasses.dataclass(frozen=True)
class TrainingOptions(RunOptions):
    """The options of the training loop; also the flags of pretraining."""

    train_batch_size: int = option(32, at_least=1, help="examples in a training step, over all devices")
    learning_rate: float = option(5e-5, at_least=0, help="peak learning rate")
    poly_power: float = option(1.0, at_least=0, help="exponent of the learning rate's decay to 0")
    num_train_steps: int = option(1000, at_least=1, help="training steps; the rate is 0 at the last step")
    num_warmup_steps: int = option(0, at_least=0, help="steps over which the learning rate rises from 0")
    start_warmup_step: int = option(0, at_least=0, help="step at which the learning rate begins to rise")
    max_eval_steps: int | None = option(100, at_least=1, help="the most batches in an evaluation")


class Series(typing.NamedTuple):
    """Several runs for one command, in sub-folders of --output_dir.

    Attributes:
      runs: the options of each run by the name of its folder.
      are_alike: whether they repeat one experiment, so that their mean counts; else the best of them counts.
    """

    runs: dict[str, "FineTuningOptions"]
    are_alike: bool = False


FROM_HUB = "from_tf_hub"  # with the original, this name stands for the hub module's own vocabulary


@dataclasses.dataclass(frozen=True)
class FineTuningOptions(RunOptions, SidecarOptions):
    """The flags of all scripts that fine-tune.

    Hyperparameters that are not given come from `hparams`, else from `DEFAULTS`, which each script sets.
    """

    DEFAULTS: typing.ClassVar[Hyperparameters]

    albert_hub_module_handle: str | None = option(
        None, help="folder or address of a TF-Hub module to start from, with config, vocabulary and casing"
    )
    cached_dir: str | None = option(None, help="folder that keeps the features (default: --output_dir)")
    do_train: bool = option(False, help="whether to train")
    do_eval: bool = option(False, help="whether to evaluate; with --do_train, at every checkpoint")
    do_predict: bool = option(False, help="whether to predict the test split")
    predict_batch_size: int = option(8, at_least=1, help="examples in a prediction step, over all devices")
    hparams: str | None = option(None, choices=("paper",), help="'paper': the row of the paper's Table 14")
    train_batch_size: int | None = option(None, at_least=1, help="examples in a step, over all devices")
    learning_rate: float | None = option(None, at_least=0, help="peak learning rate")
    max_seq_length: int | None = option(
        None, at_least=4, help="the most pieces of a sequence; not more than the config has positions"
    )
    dropout_prob: float | None = option(None, at_least=0, help="dropout before the task's head")
    encoder_dropout_prob: float | None = option(
        None, at_least=0, help="dropout in the encoder (default: the config's)"
    )
    num_hidden_layers: int | None = option(
        None, at_least=1, help="how often the shared layers are applied (default: the config's)"
    )
    train_step: int | None = option(None, at_least=1, help="training steps")
    num_train_epochs: float | None = option(None, at_least=0, help="epochs to train, instead of --train_step")
    warmup_step: int | None = option(None, at_least=0, help="steps over which the learning rate rises from 0")
    warmup_proportion: float | None = option(
        None, at_least=0, help="share of the steps over which the rate rises, instead of --warmup_step"
    )
    pad_to_max_length: bool = option(
        False, help="pad every batch to --max_seq_length, not to its longest sequence; always done for a TPU"
    )
    length_buckets: tuple[int, ...] | None = option(
        None, help="pad every batch to one of these lengths or to --max_seq_length, for few shapes under XLA"
    )
    lora_rank: int | None = option(
        None,
        at_least=1,
        help="train the head, the pooler and LoRA factors of this rank alone: each layer gets its own small "
        "difference to the shared projections of queries and values (default: as the weights say)",
    )
    best_metric: str | None = option(
        None,
        help="the result by which training chooses its best checkpoint; of a loss and of MSE the lowest "
        "(default: the first metric of the task)",
    )
    num_seeds: int = option(
        1, at_least=1, help="runs with --seed, --seed+1, ...: a folder each, and the mean"
    )
    discard_failed: bool = option(
        False, help="replace runs of --num_seeds that end with the same answer for all examples"
    )
    sweep: str | None = option(
        None,
        help="flags with several values, such as 'learning_rate=1e-5,3e-5;train_batch_size=16,32': a run for "
        "each combination, in a folder each, and a table",
    )
    ensemble: tuple[str, ...] | None = option(
        None,
        help="folders of runs or other weights: evaluate and predict with the average of their probabilities "
        "or scores (classes, several labels, scores, RACE)",
    )
    export_dir: str | None = option(
        None, help="folder for a SavedModel of the best weights, as export_saved_model.py makes it"
    )

    def __post_init__(self):
        super().__post_init__()
        self._check_path("export_dir")
        if not (self.splits or self.export_dir is not None or self.interactive):
            work = "--do_train, --do_eval, --do_predict, --export_dir or --interactive"
            raise UsageError(f"nothing to do: give {work}")
        if min(self.length_buckets or (1,)) < 1:
            raise UsageError("--length_buckets must be at least 1")
        if self.dry_run and not self.splits:
            raise UsageError("--dry_run needs --do_train, --do_eval or --do_predict")
        for one, other in [
            ("train_step", "num_train_epochs"),
            ("warmup_step", "warmup_proportion"),
            ("init_checkpoint", "albert_hub_module_handle"),
        ]:
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise UsageError(f"--{one} and --{other} exclude each other")
        for name in ("dropout_prob", "encoder_dropout_prob"):
            if (getattr(self, name) or 0) >= 1:
                raise UsageError(f"--{name} must be below 1, not {getattr(self, name)}")
        if (self.warmup_proportion or 0) > 1:
            raise UsageError(f"--warmup_proportion must be at most 1, not {self.warmup_proportion}")
        if self.discard_failed and not (self.num_seeds > 1 and self.do_eval):
            raise UsageError("--discard_failed needs --num_seeds and --do_eval")
        others = ("do_train", "export_dir", "init_checkpoint", "albert_hub_module_handle")
        for name in (*others, "dry_run", "interactive") if self.ensemble else ():
            if getattr(self, name):
                raise UsageError(f"--ensemble excludes --{name}")
        if self.ensemble and (len(set(self.ensemble)) < max(2, len(self.ensemble)) or self.num_seeds > 1):
            raise UsageError("--ensemble needs at least two different models, and excludes --num_seeds")
        if self.sweep is not None and (self.export_dir or not (self.do_train and self.do_eval)):
            raise UsageError("--sweep needs --do_train and --do_eval, and excludes --export_dir")
        if self.best_metric and not (self.do_train and (self.do_eval or self.do_predict)):
            raise UsageError("--best_metric needs --do_train and --do_eval")
        if self.num_train_epochs == 0:
            raise UsageError("--num_train_epochs must be more than 0")

    @property
    def needed_paths(self) -> tuple[str, ...]:
        """See `ScriptOptions`; an export alone reads the folder of the run."""
        if self.export_dir and not self.splits:
            return ()
        names = super().needed_paths
        if "init_checkpoint" in names:
            names += ("albert_hub_module_handle",)
        return tuple(name for name in names if getattr(self, name) != FROM_HUB)

    @property
    def export_settings(self) -> dict[str, typing.Any]:
        """The given flags of `export_saved_model.py` for the task."""
        return {}

    def lengths_of_batches(self, max_seq_length: int) -> tuple[int, ...]:
        """The lengths that batches may have, in ascending order; empty if all may be.

        A TPU and XLA compile a step again for each new shape.
        """
        if self.pad_to_max_length or self.distribution_strategy == "tpu":
            return (max_seq_length,)
        shorter = {length for length in self.length_buckets or () if length < max_seq_length}
        return (*sorted(shorter), max_seq_length) if self.length_buckets else ()

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits that are needed."""
        wanted = {"train": self.do_train, "dev": self.do_eval, "test": self.do_predict}
        return tuple(split for split, is_wanted in wanted.items() if is_wanted)

    def hyperparameters(self, task_name: str, num_examples: int) -> Hyperparameters:
        """The hyperparameters of a run with so many training examples."""
        row = self.DEFAULTS
        if self.hparams:
            if task_name not in PAPER_HYPERPARAMETERS:
                raise UsageError(f"--hparams={self.hparams} has no row for the task {task_name}")
            row = PAPER_HYPERPARAMETERS[task_name]
        flags = {field.name: getattr(self, field.name) for field in dataclasses.fields(Hyperparameters)}
        given = {name: value for name, value in flags.items() if value is not None}
        batch_size = given.get("train_batch_size", row.train_batch_size)
        if self.num_train_epochs is not None:
            steps = max(1.0, num_examples / batch_size * self.num_train_epochs)
            if steps >= 2**31:
                raise UsageError(f"--num_train_epochs={self.num_train_epochs:g} makes {steps:.0f} steps")
            given["train_step"] = int(steps)
        steps = given.get("train_step", row.train_step)
        if self.warmup_proportion is not None:
            given["warmup_step"] = int(steps * self.warmup_proportion)
        else:
            default = row.warmup_step
            given["warmup_step"] = warmup_steps(
                "warmup_step", self.warmup_step, steps, default, row.train_step
            )
        return dataclasses.replace(row, **given)

    def series(self) -> Series:
        """The runs of a sweep; none if there is no sweep."""
        if self.sweep is None:
            return Series({})
        allowed = [name for name in SWEPT if hasattr(self, name)]
        runs = {
            folder: with_flags(self.in_folder(folder, sweep=None), given)
            for folder, given in combinations(self.sweep, allowed).items()
        }
        return Series(runs)

    def in_folder(self, name: str, **changes: typing.Any) -> "FineTuningOptions":
        """The options of a run in a sub-folder, which shares the features of --output_dir."""
        folder = os.path.join(self.output_dir, name)
        features = self.cached_dir or (None if self.dry_run else self.output_dir)
        return dataclasses.replace(self, output_dir=folder, cached_dir=features, **changes)

    def seed_folder(self, number: int) -> str:
        """The folder of the run with that number, if there are several runs."""
        return os.path.join(self.output_dir, f"seed-{self.seed + number}")

    def training_options(self, chosen: Hyperparameters, number: int = 0) -> TrainingOptions:
        """The options of the training loop for the run with that number, of `num_seeds`."""
        shared = {field.name: getattr(self, field.name) for field in dataclasses.fields(RunOptions)}
        chosen_here = {
            "output_dir": self.seed_folder(number) if self.num_seeds > 1 else self.output_dir,
            "seed": self.seed + number,
            "learning_rate": chosen.learning_rate,
            "train_batch_size": chosen.train_batch_size,
            "num_train_steps": chosen.train_step,
            "num_warmup_steps": chosen.warmup_step,
            "max_eval_steps": None,
        }
        return TrainingOptions(**shared | chosen_here)
