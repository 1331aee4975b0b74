"""Exports a compiled training step as StableHLO, for any runtime that knows it; see `run_stablehlo.py`.

Run: python -m benchmarks.stablehlo --preset=base_v2 --batch_size=8 --max_seq_length=128 --output_dir=step
"""

import dataclasses
import os
import pathlib
import re
import sys
from collections.abc import Mapping
from typing import Any

if not __package__:  # run by its path
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

import numpy as np

from albert_tf.cli.flags import option
from albert_tf.cli.script import script
from albert_tf.files import folder_appears_when_complete, write_bytes, write_json
from benchmarks.run_stablehlo import MODULE, NUMBERS, STEP, digest, make_arguments
from benchmarks.training_step import StepOptions, make_trainer, step_flops

_SEED = 1
_MOST_STORED = 128  # numbers of a variable; larger ones are made from the seed


@dataclasses.dataclass(frozen=True)
class ExportOptions(StepOptions):
    """Writes a training step: its module, its arguments, and the numbers that TensorFlow finds."""

    output_dir: str = option(help="folder for the step")
    overwrite: bool = option(False, help="replace what is in output_dir")
    checked_steps: int = option(3, at_least=0, help="steps that TensorFlow runs, too, without XLA")


@script(ExportOptions)
def main(options: ExportOptions) -> None:
    """Exports one step."""
    from albert_tf.training.distribution import device_step

    trainer, batch = make_trainer(options)
    step = device_step(trainer.replica_step, jit_compile=True)
    text = step.experimental_get_compiler_ir(batch)(stage="stablehlo")
    module, results = portable(text)
    inputs = {name: batch[name] for name in sorted(batch)}
    inputs |= variables(trainer, step.get_concrete_function(batch))
    arguments, stored = _describe(trainer, batch, inputs)
    about = {
        "title": _title(options),
        "precision": options.mixed_precision,
        "tokens": options.batch_size * options.max_seq_length,
        "flops": step_flops(options),
        "seed": _SEED,
        "checked_steps": options.checked_steps or 1,
        "arguments": arguments,
        "results": results,
    }
    if options.checked_steps:
        stored |= _tensorflows_numbers(about, stored, trainer, batch, inputs)
    with folder_appears_when_complete(options.output_dir, options.overwrite) as folder:
        with write_bytes(os.path.join(folder, MODULE)) as file:
            file.write(module)
        write_json(os.path.join(folder, STEP), about)
        np.savez_compressed(os.path.join(folder, NUMBERS), **stored)
    print(f"{about['title']}: {len(module) / 1e6:.1f} MB in {options.output_dir}")


def _title(options: ExportOptions) -> str:
    what = f"{options.task} {options.preset} {options.batch_size} x {options.max_seq_length}"
    return f"{what}, recompute" if options.recompute else what


def variables(trainer: Any, concrete: Any) -> dict[str, Any]:
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


def _describe(
    trainer: Any, batch: Mapping[str, Any], inputs: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """What `make_arguments` needs: a description of each argument, and numbers that it cannot make."""
    weights = {id(variable) for variable in trainer.model.trainable_variables}
    arguments, stored = [], {}
    for number, (name, tensor) in enumerate(inputs.items()):
        moment = re.search("adam_[mv]", name)
        kind = "weights" if id(tensor) in weights else moment[0] if moment else "state"
        value = tensor.numpy()
        argument = {"name": name, "kind": kind, "shape": list(value.shape), "dtype": str(value.dtype)}
        if (value == value.flat[0]).all():
            argument["fill"] = value.flat[0].item()
        elif name in batch or value.size <= _MOST_STORED:
            stored[f"argument {number}"] = value
        else:
            argument["normal"] = float(value.std())
        arguments.append(argument)
    return arguments, stored


def portable(text: str) -> tuple[bytes, list[int]]:
    """The portable artifact of a module that TensorFlow printed, and the argument that each result replaces.

    TensorFlow leaves copies and attributes of a dialect of its own in the module. Other runtimes do not know
    them, and none is needed. JAX has another word for the arguments that a result may overwrite.
    """
    from tensorflow.compiler.mlir.stablehlo import stablehlo

    aliases = re.findall(r"parameter_number = (\d+) : i64\}, output_index = array<i64: (\d+)>", text)
    results = [int(argument) for argument, _ in sorted(aliases, key=lambda pair: int(pair[1]))]
    text = text.replace("mhlo.copy", "stablehlo.convert")
    # The size that TensorFlow sets is the one that the tensor has.
    sized = r"stablehlo\.set_dimension_size (%\S+), %\S+, dim = \d+ : \((tensor<\S+>), tensor<i32>\) -> \2"
    text = re.sub(sized, r"stablehlo.convert \1 : \2", text)
    text = re.sub(r" \{mhlo\.frontend_attributes = \{[^}]*\}\}", "", text)
    text = re.sub(r"^(module @\S+) attributes \{.*\} \{$", r"\1 {", text, flags=re.MULTILINE)
    head, main, body = re.split(r"(func\.func @main\(.*\n)", text)
    for result, argument in enumerate(results):
        overwritten = rf"\1 {{tf.aliasing_output = {result} : i32}}"
        main = re.sub(rf"(%arg{argument}: tensor<[^>]*>)", overwritten, main)
    version = stablehlo.get_current_version()
    return stablehlo.serialize_portable_artifact_str(head + main + body, version), results


def _tensorflows_numbers(
    about: Mapping[str, Any],
    stored: Mapping[str, np.ndarray],
    trainer: Any,
    batch: Mapping[str, Any],
    inputs: Mapping[str, Any],
) -> dict[str, np.ndarray]:
    """What TensorFlow without XLA finds in the first steps from the same arguments."""
    import tensorflow as tf

    for tensor, value in zip(inputs.values(), make_arguments(about, stored), strict=True):
        if isinstance(tensor, tf.Variable):
            tensor.assign(value)
    step = tf.function(trainer.replica_step, autograph=False)
    losses, norms = [], []
    for _ in range(about["checked_steps"]):
        step(batch)
        losses.append(inputs["loss"].numpy())
        norms.append(np.linalg.norm(inputs["norms"].numpy()))
    found = {"losses": np.array(losses), "gradient norms": np.array(norms)}
    found |= digest(about, [tensor.numpy() for tensor in inputs.values()])
    return {f"expected {name}": numbers for name, numbers in found.items()}


if __name__ == "__main__":
    sys.exit(main())
