"""What a run says before it begins, and the places of its files that it shows at its end."""

import math
import os
from collections.abc import Mapping, Sequence

import tensorflow as tf
import tf_keras

from albert_tf.checkpoints import run_folder
from albert_tf.checkpoints.run_folder import Saved
from albert_tf.cli.options import TrainingOptions
from albert_tf.cli.text import aligned, percent
from albert_tf.tasks.task import Task, TrainingData


def before(
    task: Task,
    options: TrainingOptions,
    strategy: tf.distribute.Strategy,
    model: tf_keras.Model,
    weights: Mapping[str, str],
    folder: str,
) -> str:
    """What the run will do, a line for each fact; `weights` are the facts about the weights by name."""
    config = task.config
    groups = f" in {config.num_hidden_groups} groups" if config.num_hidden_groups > 1 else ""
    layers = f"{config.num_hidden_layers} layers{groups} of width {config.hidden_size}"
    facts = {
        "devices": _devices(strategy, model),
        "strategy": options.distribution_strategy,
        "precision": options.mixed_precision,
        "model": f"{model.count_params():,} parameters, {layers}",
    }
    if options.do_train:
        data = task.training_data()
        risen = options.start_warmup_step + options.num_warmup_steps
        warmup = f", warm-up until step {risen:,}" if options.num_warmup_steps else ""
        if config.lora_rank or options.freeze_layers is not None:
            trained = sum(math.prod(variable.shape) for variable in model.trainable_variables)
            facts["trained"] = f"{trained:,} parameters ({percent(trained, model.count_params())})"
        facts |= {
            "optimizer": f"{options.optimizer}, learning rate {options.learning_rate:.4g}{warmup}",
            "batch": _batch(options, strategy, data),
            "data": data.described,
            **task.facts(),
            "training": _amount(options, data),
            "seed": str(options.seed),
        }
    return aligned(facts | dict(weights) | {"folder": folder})


def after(folder: str, newest: Saved | None, best: Saved | None, result: str, more: Sequence[str]) -> str:
    """Where the files of a run are; `result` belongs to the best checkpoint, `more` are further paths."""
    facts = {"folder": folder}
    if best:
        why = f"step {best.step:,}, {result}" if result else f"step {best.step:,}"
        facts["best checkpoint"] = f"{run_folder.BEST_CHECKPOINT} ({why})"
    if newest:
        facts["newest checkpoint"] = os.path.basename(newest.path)
    stems = (run_folder.RESULTS, run_folder.PREDICTION_RESULTS)
    names = [*(f"{stem}{ending}" for stem in stems for ending in (".txt", ".json")), run_folder.HISTORY_FILE]
    there = [name for name in names if os.path.exists(os.path.join(folder, name))]
    there += [os.path.relpath(path, folder) for path in more]
    if there:
        facts["results"] = ", ".join(dict.fromkeys(there))
    return aligned(facts | {"TensorBoard": f"tensorboard --logdir={folder}"})


def _devices(strategy: tf.distribute.Strategy, model: tf_keras.Model) -> str:
    own = sorted({part.device for part in strategy.experimental_local_results(model.variables[0])})
    workers = strategy.num_replicas_in_sync // len(own)
    kind = own[0].rpartition("device:")[2].partition(":")[0]
    shown = f"{len(own)} {kind}{'s' if len(own) > 1 else ''}"
    if kind == "CPU":
        shown += f" ({len(os.sched_getaffinity(0))} cores)"
    elif kind == "GPU":
        details = map(tf.config.experimental.get_device_details, tf.config.list_physical_devices(kind))
        shown += f" ({', '.join(dict.fromkeys(d.get('device_name', '?') for d in details))})"
    return f"{shown} in each of {workers} workers" if workers > 1 else shown


def _batch(options: TrainingOptions, strategy: tf.distribute.Strategy, data: TrainingData) -> str:
    size, devices = options.train_batch_size, strategy.num_replicas_in_sync
    each = f" ({size // devices:,} on each device)" if devices > 1 else ""
    if options.gradient_accumulation_steps > 1:
        each += f" in {options.gradient_accumulation_steps} parts"
    return f"{size:,}{each}, {_tokens(size * data.tokens_per_example, data)} a step"


def _amount(options: TrainingOptions, data: TrainingData) -> str:
    examples = options.num_train_steps * options.train_batch_size
    passes = examples / max(1, data.examples)
    shown = f"{passes:,.0f}" if passes >= 100 else f"{passes:.2g}"
    tokens = _tokens(examples * data.tokens_per_example, data)
    return f"{options.num_train_steps:,} steps, {tokens}, the data {shown} times"


def _tokens(count: float, data: TrainingData) -> str:
    about = "" if float(data.tokens_per_example).is_integer() else "about "
    return f"{about}{count:,.0f} tokens"
