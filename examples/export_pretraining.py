"""Exports a pretraining as StableHLO for `pretrain_with_jax.py`: masks, step, records and first weights.

Run: python -m examples.export_pretraining --input_file=train.tfrecord --eval_input_file=held_out.tfrecord
  --albert_config_file=config.json --batch_size=256 --output_dir=exported
"""

import dataclasses
import os
import pathlib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

if not __package__:  # run by its path
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

import numpy as np

from albert_tf.cli import flags
from albert_tf.cli.flags import option
from albert_tf.cli.script import script
from albert_tf.config import AlbertConfig
from albert_tf.files import folder_appears_when_complete, write_bytes, write_json
from benchmarks.stablehlo import portable, variables
from benchmarks.training_step import build_trainer

_READ_AT_ONCE = 4096


@dataclasses.dataclass(frozen=True)
class ExportOptions(flags.ScriptOptions):
    """Writes what `pretrain_with_jax.py` needs, from unmasked records of one length."""

    input_file: tuple[str, ...] = option(help="unmasked records to train on")
    eval_input_file: tuple[str, ...] = option(help="unmasked records to evaluate on")
    albert_config_file: str = option(help="the shape of the model; without dropout")
    output_dir: str = option(help="folder for modules and data")
    overwrite: bool = option(False, help="replace what is in output_dir")
    batch_size: int = option(256, at_least=1, help="examples in a step")
    batches: int = option(32, at_least=1, help="batches whose masks are drawn at once")
    optimizer: str = option("adamw", choices=("adamw", "lamb"), help="the optimizer")
    mixed_precision: str = option("bfloat16", choices=("float32", "bfloat16"), help="precision of the layers")


@script(ExportOptions)
def main(options: ExportOptions) -> None:
    """Exports the modules, the records and the first weights."""
    import tensorflow as tf

    from albert_tf.data.dynamic_masking import draw_masks
    from albert_tf.training.optimization import OPTIMIZERS

    task = _make_task(options)
    # The rate is a variable, and so an argument of the module.
    trainer = build_trainer(task, OPTIMIZERS[options.optimizer](0.0), options.mixed_precision)
    train, held_out = _unmasked_records(task), _held_out_examples(task, options.batch_size)
    blocks = [options.batches, options.batch_size]
    rows = options.batches * options.batch_size

    def draw(records: Mapping[str, tf.Tensor], seed: tf.Tensor) -> dict[str, tf.Tensor]:
        chance = tf.random.stateless_uniform([rows, 1 + 4 * task.max_seq_length], seed, alg="philox")
        unmasked = {name: tf.cast(values, tf.int32) for name, values in records.items()}
        return draw_masks(unmasked, chance, task.pieces, task.masking)

    def step(block: Mapping[str, tf.Tensor], number: tf.Tensor) -> None:
        # XLA would take the place of a slice for a constant.
        batches = {name: tf.reshape(values, [*blocks, *values.shape[1:]]) for name, values in block.items()}
        trainer.replica_step({name: tf.gather(values, number) for name, values in batches.items()})

    def zeros(arrays: Mapping[str, np.ndarray]) -> dict[str, tf.Tensor]:
        return {name: tf.zeros([rows, *values.shape[1:]], values.dtype) for name, values in arrays.items()}

    masks_module, _, _ = _export(draw, zeros(train), tf.zeros([2], tf.int32))
    step_module, results, function = _export(step, zeros(held_out), tf.constant(0))
    state = variables(trainer, function)
    about = {
        "batch_size": options.batch_size,
        "batches": options.batches,
        "length": task.max_seq_length,
        "results": results,
        "state": list(state),
        "weights": [variable.name.removesuffix(":0") for variable in trainer.model.trainable_variables],
        "means": _means(list(state), task.metrics),
    }
    with folder_appears_when_complete(options.output_dir, options.overwrite) as folder:
        for name, module in {"masks": masks_module, "step": step_module}.items():
            with write_bytes(os.path.join(folder, f"{name}.vhlo")) as file:
                file.write(module)
        write_json(os.path.join(folder, "about.json"), about)
        np.savez_compressed(os.path.join(folder, "records.npz"), **train)
        np.savez_compressed(os.path.join(folder, "held_out.npz"), **held_out)
        first = {str(number): variable.numpy() for number, variable in enumerate(state.values())}
        np.savez_compressed(os.path.join(folder, "state.npz"), **first)
    number = len(train["input_ids"])
    print(f"{number:,} records of {task.max_seq_length} pieces are in {options.output_dir}")


def _make_task(options: ExportOptions) -> Any:
    from albert_tf.data import record_checks, records
    from albert_tf.errors import InputError
    from albert_tf.tasks.pretraining import PretrainingTask, described_length, masking_of

    config = AlbertConfig.from_json_file(options.albert_config_file)
    if config.hidden_dropout_prob or config.attention_probs_dropout_prob:
        # The exported step also measures the held-out examples.
        raise InputError(f"{options.albert_config_file}: a config without dropout is needed")
    train, held_out = records.record_files(options.input_file), records.record_files(options.eval_input_file)
    files = [*train, *held_out]
    if not record_checks.are_unmasked(files):
        raise InputError(f"{files[0]}: unmasked records are needed, as --masking=dynamic writes them")
    length = described_length(files, "max_seq_length", 512)
    task = PretrainingTask(config, train, held_out, length, masking_of(files, {}))
    task.check_inputs()
    return task


def _export(function: Callable[..., Any], *arguments: Any) -> tuple[bytes, list[int], Any]:
    """A module, the argument that each result replaces, and the traced function.

    The arguments come in the order of their names, and then the variables.
    """
    import tensorflow as tf

    compiled = tf.function(function, autograph=False, jit_compile=True)
    module, results = portable(compiled.experimental_get_compiler_ir(*arguments)(stage="stablehlo"))
    return module, results, compiled.get_concrete_function(*arguments)


def _means(state: Sequence[str], metrics: Sequence[str]) -> dict[str, tuple[int, int]]:
    """The places of total and number of each mean, in the order in which the step makes them."""
    sums = [place for place, name in enumerate(state) if re.match(r"(total|count)\b", name)]
    pairs = zip(sums[::2], sums[1::2], strict=True)
    return dict(zip(("gradient_norm", *metrics), pairs, strict=True))


def _unmasked_records(task: Any) -> dict[str, np.ndarray]:
    """All records to train on, in the smallest types that hold them, by name in order."""
    import tensorflow as tf

    from albert_tf.data.records import parse_unmasked_batch
    from albert_tf.errors import InputError

    sizes = task.max_seq_length, task.config.vocab_size, task.config.type_vocab_size
    batches = tf.data.TFRecordDataset(task.input_files).batch(_READ_AT_ONCE)
    try:
        parsed = list(batches.map(lambda batch: parse_unmasked_batch(batch, *sizes)).as_numpy_iterator())
    except (tf.errors.InvalidArgumentError, tf.errors.DataLossError) as error:
        raise InputError(task.explain_bad_record() or error.message) from error
    found = {name: np.concatenate([batch[name] for batch in parsed]) for name in sorted(parsed[0])}
    return {name: values.astype(np.min_scalar_type(values.max())) for name, values in found.items()}


def _held_out_examples(task: Any, batch_size: int) -> dict[str, np.ndarray]:
    """Whole batches, masked as `run_pretraining.py --do_eval` masks them, by name in order."""
    import tensorflow as tf

    batches = list(task.eval_dataset(batch_size, tf.distribute.InputContext()).as_numpy_iterator())
    return {name: np.concatenate([batch[name] for batch in batches]) for name in sorted(batches[0])}


if __name__ == "__main__":
    sys.exit(main())
