"""Exports a compiled training step as StableHLO, for any runtime that knows it; see `run_stablehlo.py`.

Run: python -m benchmarks.stablehlo --preset=base_v2 --batch_size=8 --max_seq_length=128 --output_dir=step
"""

import dataclasses
import json
import os
import re
import sys
from typing import Any

import numpy as np

from albert_tf.cli import flags
from albert_tf.cli.flags import option
from albert_tf.cli.script import script
from benchmarks.run_stablehlo import MODULE, NUMBERS, STEP, digest, make_arguments

_SEED = 1
_MOST_STORED = 4096  # numbers of an argument; larger ones are made from the seed


@dataclasses.dataclass(frozen=True)
class ExportOptions(flags.ScriptOptions):
    """Writes the step of a task: its module, its arguments, and the numbers that TensorFlow finds."""

    output_dir: str = option(help="folder for the step")
    task: str = option("pretraining", choices=("pretraining", "classification"), help="LAMB or AdamW")
    preset: str = option("base_v2", help='name of a released size, or "tiny"')
    batch_size: int = option(8, at_least=1, help="examples in a step")
    max_seq_length: int = option(128, at_least=8, help="length of the examples")
    max_predictions_per_seq: int = option(20, at_least=1, help="predictions of a record")
    mixed_precision: str = option(
        "float32", choices=("float32", "bfloat16", "float16"), help="precision of the layers"
    )
    recompute: bool = option(False, help="compute each layer again in the backward pass")
    checked_steps: int = option(3, at_least=0, help="steps whose numbers TensorFlow finds, too; 0 for none")


@script(ExportOptions)
def main(options: ExportOptions) -> None:
    """Exports one step."""
    import tensorflow as tf

    trainer, batch = _make_trainer(options)
    step = tf.function(trainer.replica_step, autograph=False, jit_compile=True)
    concrete = step.get_concrete_function(batch)
    text = step.experimental_get_compiler_ir(batch)(stage="stablehlo")
    variables = _variables(trainer, concrete)
    module, results = _portable(text, len(batch))
    names = [*sorted(batch), *variables]
    about = {
        "title": _title(options),
        "precision": options.mixed_precision,
        "tokens": options.batch_size * options.max_seq_length,
        "flops": _flops(options, trainer.task.config),
        "seed": _SEED,
        "checked_steps": options.checked_steps or 1,
        "arguments": [],
        "results": results,
    }
    stored = {}
    values = [batch[name].numpy() for name in sorted(batch)] + [v.numpy() for v in variables.values()]
    for number, (name, value) in enumerate(zip(names, values, strict=True)):
        kind = "batch" if name in batch else _kind(name, variables[name], trainer)
        argument: dict[str, Any] = {"name": name, "kind": kind}
        argument |= {"shape": list(value.shape), "dtype": str(value.dtype)}
        if value.size and (value == value.flat[0]).all():
            argument["fill"] = value.flat[0].item()
        elif kind == "batch" or value.size <= _MOST_STORED:
            stored[f"argument {number}"] = value
        else:
            argument["normal"] = float(value.std())
        about["arguments"].append(argument)
    if options.checked_steps:
        first = make_arguments(about, stored)
        for variable, value in zip(variables.values(), first[len(batch) :], strict=True):
            variable.assign(value)
        stored |= _tensorflows_numbers(about, trainer, batch, variables)
    os.makedirs(options.output_dir, exist_ok=True)
    with open(os.path.join(options.output_dir, MODULE), "wb") as file:
        file.write(module)
    with open(os.path.join(options.output_dir, STEP), "w") as file:
        json.dump(about, file, indent=1)
    np.savez_compressed(os.path.join(options.output_dir, NUMBERS), **stored)
    print(f"{about['title']}: {len(module) / 1e6:.1f} MB in {options.output_dir}")


def _title(options: ExportOptions) -> str:
    what = f"{options.task} {options.preset} {options.batch_size} x {options.max_seq_length}"
    return f"{what}, recompute" if options.recompute else what


def _make_trainer(options: ExportOptions) -> tuple[Any, dict[str, Any]]:
    """A trainer and a batch by name, whose last example is shorter than the others."""
    import tensorflow as tf
    import tf_keras

    from albert_tf import testing
    from albert_tf.config import AlbertConfig
    from albert_tf.tasks.classification.classification_task import ClassificationTask
    from albert_tf.tasks.classification.glue import TASKS
    from albert_tf.tasks.pretraining import PretrainingTask
    from albert_tf.training.gradients import LossScale
    from albert_tf.training.optimization import LAMB, AdamW
    from albert_tf.training.train_step import Trainer

    tf_keras.utils.set_random_seed(_SEED)
    config = testing.tiny_config() if options.preset == "tiny" else AlbertConfig.from_preset(options.preset)
    examples, length = options.batch_size, options.max_seq_length
    rng = np.random.default_rng(_SEED)
    mask = np.ones([examples, length], np.int32)
    mask[-1, length // 2 :] = 0
    ids = rng.integers(2, config.vocab_size, mask.shape, np.int32) * mask
    batch = {"input_ids": ids, "input_mask": mask, "segment_ids": mask * (np.arange(length) >= length // 4)}
    if options.task == "pretraining":
        task, optimizer = PretrainingTask(config, [], [], length), LAMB(1e-3)
        predictions = options.max_predictions_per_seq
        positions = rng.integers(1, length // 2, [examples, predictions], np.int32)
        batch |= {
            "masked_lm_positions": positions,
            "masked_lm_ids": np.take_along_axis(ids, positions, 1),
            "masked_lm_weights": np.ones(positions.shape, np.float32),
            "next_sentence_labels": rng.integers(0, 2, [examples], np.int32),
        }
    else:
        settings = {"config": config, "max_seq_length": length, "dropout_prob": 0.0}
        task, optimizer = ClassificationTask(TASKS["mnli"], {}, {}, **settings), AdamW(1e-4)
        batch["label_ids"] = rng.integers(0, 3, [examples], np.int32)
    precision = options.mixed_precision
    model = task.build_model(precision if precision == "float32" else f"mixed_{precision}")
    model.encoder.recompute = options.recompute
    optimizer.build(model.trainable_variables)
    trainer = Trainer(
        task=task,
        model=model,
        optimizer=optimizer,
        strategy=tf.distribute.get_strategy(),
        make_batches=lambda: tf.data.Dataset.from_tensors(batch).repeat(),
        seed=_SEED,
        after_step=lambda steps: None,
        loss_scale=LossScale() if precision == "float16" else None,
    )
    return trainer, {
        name: tf.constant(values.astype(np.float32 if values.dtype.kind == "f" else np.int32))
        for name, values in batch.items()
    }


def _variables(trainer: Any, concrete: Any) -> dict[str, Any]:
    """The variables of a step in the order of its arguments, by name; the trainer's own by its attributes."""
    import tensorflow as tf

    own = {id(v): name.lstrip("_") for name, v in vars(trainer).items() if isinstance(v, tf.Variable)}
    by_handle = {id(variable.handle): variable for variable in concrete.graph.variables}
    found: dict[str, Any] = {}
    for handle in concrete.captured_inputs:
        variable = by_handle[id(handle)]
        name = own.get(id(variable), variable.name.removesuffix(":0"))
        found[f"{name} {len(found)}" if name in found else name] = variable
    return found


def _kind(name: str, variable: Any, trainer: Any) -> str:
    if any(variable is v for v in trainer.model.trainable_variables):
        return "weights"
    moment = re.search("adam_[mv]", name)
    return moment[0] if moment else "state"


def _portable(text: str, batch_size: int) -> tuple[bytes, list[int]]:
    """The portable artifact of a module that TensorFlow printed, and the argument that each result replaces.

    TensorFlow leaves copies and attributes of its own dialect in the module, which other runtimes do not
    know. The arguments that results replace may be overwritten; they say so as JAX expects it.
    """
    from tensorflow.compiler.mlir.stablehlo import stablehlo

    aliases = re.findall(
        r"parameter_number = (\d+) : i64\}, output_index = array<i64: (\d+)>", text
    )
    results = [int(argument) for argument, _ in sorted(aliases, key=lambda pair: int(pair[1]))]
    text = text.replace("mhlo.copy", "stablehlo.convert")
    text = re.sub(r" \{mhlo\.frontend_attributes = \{[^}]*\}\}", "", text)
    text = re.sub(r"^(module @\S+) attributes \{.*\} \{$", r"\1 {", text, flags=re.MULTILINE)
    head, main, body = re.split(r"(func\.func @main\(.*\n)", text)
    for result, argument in enumerate(results):
        main = re.sub(
            rf"(%arg{argument}: tensor<[^>]*>)", rf"\1 {{tf.aliasing_output = {result} : i32}}", main
        )
    version = stablehlo.get_current_version()
    return stablehlo.serialize_portable_artifact_str(head + main + body, version), results


def _tensorflows_numbers(about, trainer, batch, variables) -> dict[str, np.ndarray]:
    """What TensorFlow without XLA finds in the first steps."""
    import tensorflow as tf

    step = tf.function(trainer.replica_step, autograph=False)
    losses, norms = [], []
    for _ in range(about["checked_steps"]):
        step(batch)
        losses.append(variables["loss"].numpy())
        norms.append(np.linalg.norm(variables["norms"].numpy()))
    values = [batch[name] for name in sorted(batch)] + [v.numpy() for v in variables.values()]
    found = {"losses": np.array(losses), "gradient norms": np.array(norms)} | digest(about, values)
    return {f"expected {name}": numbers for name, numbers in found.items()}


def _flops(options: ExportOptions, config: Any) -> float:
    """Counts the operations of the products; a multiply-add counts as two, a backward pass as two forward."""
    h, f, t = config.hidden_size, config.intermediate_size, options.max_seq_length
    e, v = config.embedding_size, config.vocab_size
    predictions = options.max_predictions_per_seq if options.task == "pretraining" else 0
    per_token = e * h + config.num_hidden_layers * (4 * h * h + 2 * h * f + 2 * t * h)
    last = predictions + 1
    saved = (t - last) / t * (2 * h * h + 2 * h * f + 2 * t * h)
    head = predictions * (h * e + e * v)
    return 3 * 2 * options.batch_size * (t * (per_token - saved) + head)


if __name__ == "__main__":
    sys.exit(main())
