"""Checks and times training steps that `benchmarks.stablehlo` exported, with JAX's runtime.

It needs jax and numpy, and neither TensorFlow nor albert_tf: this file and the folders can be copied alone.

Run: python run_stablehlo.py FOLDER... [--highest] [--table=table.md]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

MODULE, STEP, NUMBERS = "module.vhlo", "step.json", "numbers.npz"
_COLUMNS = (
    *("step", "products in", "first loss", "from TensorFlow", "ms a step", "tokens/s", "TFLOP/s"),
    *("of a large product", "planned GB", "peak GB", "compiled in s"),
)
# By the precision of the products: a larger difference from TensorFlow is no rounding.
_TOLERANCES = {"float32": 1e-4, "tensor float32": 3e-2, "bfloat16": 1e-1, "float16": 5e-2}
_SAMPLED = 64
_ROUNDS, _ROUND_SECONDS = 7, 0.5


def make_arguments(step: Mapping[str, Any], stored: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The step's first arguments: stored numbers, constants, and normal numbers made from the seed."""
    arguments = []
    for number, argument in enumerate(step["arguments"]):
        if "normal" in argument:
            generator = np.random.default_rng([step["seed"], number])
            numbers = generator.standard_normal(argument["shape"], np.float32)
            arguments.append(numbers * np.float32(argument["normal"]))
        elif "fill" in argument:
            arguments.append(np.full(argument["shape"], argument["fill"], argument["dtype"]))
        else:
            arguments.append(stored[f"argument {number}"])
    return arguments


def digest(step: Mapping[str, Any], arguments: Sequence[Any]) -> dict[str, np.ndarray]:
    """Norms and some elements of all weights, of all first and of all second moments."""
    found: dict[str, list[Any]] = {}
    for argument, values in zip(step["arguments"], arguments, strict=True):
        if (kind := argument["kind"]) in ("weights", "adam_m", "adam_v"):
            flat = np.asarray(values, np.float64).ravel()
            found.setdefault(kind, []).extend(flat[:: max(1, flat.size // _SAMPLED)])
            found.setdefault(f"norms of {kind}", []).append(np.linalg.norm(flat))
    return {name: np.array(numbers) for name, numbers in found.items()}


def differences(expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The largest difference of each kind of numbers, divided by the largest number of that kind.

    A gradient that is 0 but for rounding has no relative error of its own.
    """
    return {
        name: float(np.abs(numbers - expected[name]).max() / np.abs(expected[name]).max())
        for name, numbers in found.items()
    }


class Step:
    """An exported step, compiled for one device, with its arguments there.

    Args:
      folder: what `benchmarks.stablehlo` wrote.
      platform: JAX's name of the devices, such as "cpu" or "cuda"; by default the best that JAX finds.
      highest: whether products of float32 have float32's precision, on devices that round them otherwise.
    """

    def __init__(self, folder: str, platform: str | None = None, highest: bool = False):
        import jax

        jax.config.update("jax_enable_x64", True)  # the step counts in int64
        with open(os.path.join(folder, STEP)) as file:
            self.about = json.load(file)
        with np.load(os.path.join(folder, NUMBERS)) as stored:
            self.stored = dict(stored)
        self.device = jax.devices(platform)[0]
        with open(os.path.join(folder, MODULE), "rb") as file:
            module = file.read()
        started = time.perf_counter()
        self._executable = _compile(module, self.device, highest)
        self.seconds_to_compile = time.perf_counter() - started
        self.start_over()

    def start_over(self) -> None:
        """Takes the first arguments again."""
        import jax

        self.arguments = None  # frees the memory of the last ones
        self.arguments = jax.device_put(make_arguments(self.about, self.stored), self.device)

    def run(self) -> None:
        """One step: its results replace arguments."""
        results = self._executable.execute_sharded(self.arguments).disassemble_into_single_device_arrays()
        for number, result in zip(self.about["results"], results, strict=True):
            self.arguments[number] = result[0]

    def value(self, name: str) -> np.ndarray:
        """The present value of a variable; it waits for the step."""
        names = [argument["name"] for argument in self.about["arguments"]]
        return np.asarray(self.arguments[names.index(name)])

    def numbers(self) -> dict[str, np.ndarray]:
        """What TensorFlow's numbers of the first steps are compared with; leaves the step at their end."""
        losses, norms = [], []
        for _ in range(self.about["checked_steps"]):
            self.run()
            losses.append(self.value("loss"))
            norms.append(np.linalg.norm(self.value("norms")))
        found = {"losses": np.array(losses), "gradient norms": np.array(norms)}
        return found | digest(self.about, self.arguments) if self.expected() else found

    def expected(self) -> dict[str, np.ndarray]:
        """TensorFlow's numbers of the first steps; empty if they were not exported."""
        named = [(name.removeprefix("expected "), name) for name in self.stored]
        return {short: self.stored[name] for short, name in named if short != name}

    def seconds(self) -> list[float]:
        """Seconds of a step, in each of some rounds, of which the first one is left out."""
        steps, measured = 1, []
        while len(measured) <= _ROUNDS:
            started = time.perf_counter()
            for _ in range(steps):
                self.run()
            self.value("loss")
            seconds = time.perf_counter() - started
            measured.append(seconds / steps)
            if len(measured) == 1 and seconds < _ROUND_SECONDS:
                steps, measured = 2 * steps, []
        return measured[1:]

    def memory(self) -> tuple[int, int | None]:
        """Bytes that the compiler planned, and the most that the device held if it counts them."""
        sizes = self._executable.get_compiled_memory_stats()
        both = sizes.argument_size_in_bytes + sizes.output_size_in_bytes - sizes.alias_size_in_bytes
        counted = self.device.memory_stats() or {}
        return both + sizes.temp_size_in_bytes, counted.get("peak_bytes_in_use")


def _compile(serialized: bytes, device: Any, highest: bool) -> Any:
    from jax.extend.backend import get_compile_options
    from jaxlib import xla_client
    from jaxlib.mlir import ir
    from jaxlib.mlir.dialects import stablehlo

    with ir.Context() as context:
        stablehlo.register_dialect(context)
        module = stablehlo.deserialize_portable_artifact(context, serialized)
        if highest:
            full = ir.ArrayAttr.get([stablehlo.PrecisionAttr.get("HIGHEST")] * 2)

            def demand(operation: Any) -> Any:
                if operation.name in ("stablehlo.dot", "stablehlo.dot_general"):
                    operation.attributes["precision_config"] = full
                return ir.WalkResult.ADVANCE

            module.operation.walk(demand)
        devices = xla_client.DeviceList((device,))
        options = get_compile_options(num_replicas=1, num_partitions=1, device_assignment=[[device.id]])
        return device.client.compile_and_load(module, devices, options)


def _products_in(about: Mapping[str, Any], platform: str, highest: bool) -> str:
    if about["precision"] == "float32" and platform != "cpu" and not highest:
        return "tensor float32"
    return about["precision"]


def _peak(device: Any, products_in: str) -> float:
    """The floating-point operations a second of a large matrix product in this precision."""
    import jax

    size = 2048 if device.platform == "cpu" else 8192
    dtype = "float32" if "float32" in products_in else products_in
    precision = "highest" if products_in == "float32" else "default"
    numbers = np.random.default_rng(0).standard_normal([size, size], np.float32)
    matrix = jax.device_put(numbers, device).astype(dtype)
    multiply = jax.jit(lambda a: jax.numpy.matmul(a, matrix, precision=precision) / size**0.5)
    product = multiply(matrix).block_until_ready()
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(5):
            product = multiply(product)
        product.block_until_ready()
        seconds.append((time.perf_counter() - started) / 5)
    return 2 * size**3 / min(seconds)


def measure(folder: str, platform: str | None, highest: bool) -> tuple[dict[str, str], str, bool]:
    """A row of the table, what measured it, and whether the numbers are right."""
    import jax

    step = Step(folder, platform, highest)
    about, device = step.about, step.device
    products_in = _products_in(about, device.platform, highest)
    found, expected = step.numbers(), step.expected()
    if expected:
        apart = differences(expected, found)
        details = ", ".join(f"{name} {difference:.1e}" for name, difference in apart.items())
        print(f"{about['title']}, products in {products_in}: {details}", file=sys.stderr, flush=True)
    largest = max(apart.values()) if expected else 0.0
    seconds = statistics.median(times := step.seconds())
    is_right = bool(largest <= _TOLERANCES[products_in] and step.value("first_bad_step") < 0)
    planned, peak = step.memory()
    flops = about["flops"] / seconds
    shown = (
        about["title"],
        products_in,
        f"{found['losses'][0]:.4f}",
        f"{largest:.0e}" if expected else "",
        f"{1000 * seconds:.2f} ({1000 * min(times):.2f} to {1000 * max(times):.2f})",
        f"{about['tokens'] / seconds:,.0f}",
        f"{flops / 1e12:.2f}",
        f"{flops / _peak(device, products_in):.0%}",
        f"{planned / 1e9:.2f}",
        f"{peak / 1e9:.2f}" if peak else "",
        f"{step.seconds_to_compile:.1f}",
    )
    version = device.client.platform_version.splitlines()[0]
    measured_by = f"{device.device_kind}, jax {jax.__version__} ({version})"
    return dict(zip(_COLUMNS, shown, strict=True)), measured_by, is_right


def main(argv: Sequence[str] | None = None) -> int:
    """Measures each folder in a process of its own; returns 1 if numbers of one are wrong, or it fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", nargs="+", help="folders that benchmarks.stablehlo wrote")
    parser.add_argument("--platform", help="JAX's name of the devices: cpu, cuda, tpu")
    parser.add_argument("--highest", action="store_true", help="products of float32 in float32 on any device")
    parser.add_argument("--table", help="a file for the table")
    parser.add_argument("--one", action="store_true", help="measure in this process and print JSON")
    options = parser.parse_args(argv)
    if options.one:
        print(json.dumps(measure(options.folders[0], options.platform, options.highest)))
        return 0
    rows, are_right = [], True
    for folder in options.folders:
        more = [f"--platform={options.platform}"] if options.platform else []
        more += ["--highest"] if options.highest else []
        command = [sys.executable, os.path.abspath(__file__), folder, "--one", *more]
        result = subprocess.run(command, stdout=subprocess.PIPE)
        if result.returncode:
            print(f"{folder}: failed", file=sys.stderr)
            are_right = False
            continue
        row, device, is_right = json.loads(result.stdout.splitlines()[-1])
        if not is_right:
            print(f"{folder}: wrong numbers: {row}", file=sys.stderr)
            are_right = False
        rows.append(row.values())
        lines = [device, "", *_table(rows)]
        print(lines[-1], file=sys.stderr, flush=True)
        if options.table:
            with open(options.table, "w") as file:
                file.write("\n".join(lines) + "\n")
    if rows:
        print("\n".join(lines))
    return 0 if are_right else 1


def _table(rows: Sequence[Iterable[str]]) -> list[str]:
    rule = ["---"] * len(_COLUMNS)
    return [f"| {' | '.join(cells)} |" for cells in (_COLUMNS, rule, *rows)]


if __name__ == "__main__":
    sys.exit(main())
