"""Pretrains with JAX's runtime on what `export_pretraining.py` wrote.

It needs jax and numpy, and neither TensorFlow nor albert_tf: this file and the folder can be copied alone.

Each peak rate is tried first, with the same weights, records and masks. The one with the lowest loss goes on.

Run: python pretrain_with_jax.py exported --steps=10000 --output=weights.npz
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_SEED = 1
_SECONDS_OF_A_LINE, _SECONDS_OF_A_FILE = 5, 60

State = list[Any]  # the variables of a step, in its order


class Records:
    """Unmasked records in blocks; each pass over them has another order."""

    def __init__(self, path: str, rows: int):
        with np.load(path) as stored:
            self._records = dict(stored)
        self._rows = rows

    def block(self, number: int) -> list[np.ndarray]:
        """A block, which depends on its number alone, and the seed of its masks."""
        count = len(self._records["input_ids"])
        passes, places = np.divmod(np.arange(number * self._rows, (number + 1) * self._rows), count)
        chosen = [
            np.random.default_rng([_SEED, one]).permutation(count)[places[passes == one]]
            for one in np.unique(passes)
        ]
        rows = np.concatenate(chosen)
        return [values[rows] for values in self._records.values()] + [np.array([_SEED, number], np.int32)]


class Pretraining:
    """The exported modules, compiled for a device, and their data."""

    def __init__(self, folder: str, device: Any):
        with open(os.path.join(folder, "about.json")) as file:
            self.about = json.load(file)
        self.steps_of_a_block = self.about["batches"]
        self.pieces_of_a_block = self.steps_of_a_block * self.about["batch_size"] * self.about["length"]
        self._rows = self.steps_of_a_block * self.about["batch_size"]
        self._device = device
        self._masks = _compile(os.path.join(folder, "masks.vhlo"), device)
        self._one_step = _compile(os.path.join(folder, "step.vhlo"), device)
        self._records = Records(os.path.join(folder, "records.npz"), self._rows)
        with np.load(os.path.join(folder, "held_out.npz")) as stored:
            self._held_out = dict(stored)
        with np.load(os.path.join(folder, "state.npz")) as stored:
            self.first_state = [stored[str(number)] for number in range(len(self.about["state"]))]

    def train(self, state: State, block: int, rate: Callable[[int], float]) -> State:
        """Draws the masks of a block and trains on it, at the rate of each step."""
        drawn = self._masks.execute_sharded(self._put(self._records.block(block)))
        batches = [result[0] for result in drawn.disassemble_into_single_device_arrays()]
        state = self._forget(state)
        for number in range(self.steps_of_a_block):
            state = self._step(batches, number, state, rate(block * self.steps_of_a_block + number))
        return state

    def evaluate(self, state: State) -> dict[str, float]:
        """Means over the held-out examples; a step at the rate 0 measures them."""
        state = self._forget(state)
        for first in range(0, len(self._held_out["input_ids"]), self._rows):
            block = [values[first : first + self._rows] for values in self._held_out.values()]
            here = len(block[0])
            block = [np.pad(v, [(0, self._rows - here)] + [(0, 0)] * (v.ndim - 1)) for v in block]
            batches = self._put(block)
            for number in range(here // self.about["batch_size"]):
                state = self._step(batches, number, state, 0.0)
        return self.means(state)

    def means(self, state: State) -> dict[str, float]:
        """The means over the last block; it waits for the last step. Not finite if any step was not."""
        if int(state[self.about["state"].index("first_bad_step")]) >= 0:
            return dict.fromkeys(self.about["means"], math.nan)
        return {
            name: float(state[total]) / float(state[count])
            for name, (total, count) in self.about["means"].items()
        }

    def weights(self, state: State) -> dict[str, np.ndarray]:
        """The weights by name."""
        places = {name: self.about["state"].index(name) for name in self.about["weights"]}
        return {name: np.asarray(state[place]) for name, place in places.items()}

    def _put(self, arrays: Sequence[np.ndarray]) -> list[Any]:
        import jax

        return list(jax.device_put(list(arrays), self._device))

    def _forget(self, state: State) -> State:
        """A copy of the state on the device, with the sums of the metrics at 0."""
        sums = {place for pair in self.about["means"].values() for place in pair}
        return self._put([np.zeros_like(v) if place in sums else v for place, v in enumerate(state)])

    def _step(self, batches: list[Any], number: int, state: State, rate: float) -> State:
        state = list(state)
        place = self.about["state"].index("learning_rate")
        which, state[place] = self._put([np.int32(number), np.float32(rate)])
        done = self._one_step.execute_sharded([*batches, which, *state])
        results = done.disassemble_into_single_device_arrays()
        for argument, result in zip(self.about["results"], results, strict=True):
            state[argument - len(batches) - 1] = result[0]
        return state


def _compile(path: str, device: Any) -> Any:
    from jax.extend.backend import get_compile_options
    from jaxlib import xla_client
    from jaxlib.mlir import ir
    from jaxlib.mlir.dialects import stablehlo

    with open(path, "rb") as file:
        serialized = file.read()
    with ir.Context() as context:
        stablehlo.register_dialect(context)
        module = stablehlo.deserialize_portable_artifact(context, serialized)
        devices = xla_client.DeviceList((device,))
        options = get_compile_options(num_replicas=1, num_partitions=1, device_assignment=[[device.id]])
        return device.client.compile_and_load(module, devices, options)


def _try_rates(
    pretraining: Pretraining, options: argparse.Namespace, rate: Callable[[float, int], float]
) -> tuple[float, State]:
    """The peak rate with the lowest loss in the last block of its trial, and the state there."""
    best: tuple[float, float, State] | None = None
    for peak in options.rates:
        state, means = pretraining.first_state, {}
        for block in range(options.trial_blocks):
            state = pretraining.train(state, block, lambda step, peak=peak: rate(peak, step))
            means = pretraining.means(state)
        print(f"peak rate {peak:g}: {_shown(means)}", flush=True)
        loss = means["masked_lm_loss"] + means["sentence_order_loss"]
        if math.isfinite(loss) and (best is None or loss < best[0]):
            best = loss, peak, state
    if best is None:
        sys.exit("error: the losses of all rates became infinite or NaN: try lower --rates")
    return best[1:]


def _shown(means: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in means.items())


def _write(path: str, weights: dict[str, np.ndarray]) -> None:
    with open(f"{path}.incomplete", "wb") as file:
        np.savez(file, **weights)
    os.replace(f"{path}.incomplete", path)


def main(argv: Sequence[str] | None = None) -> int:
    """Compiles, tries the rates, trains, writes and evaluates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", help="what examples.export_pretraining wrote")
    parser.add_argument("--output", required=True, help="the .npz file for the weights")
    parser.add_argument("--steps", type=int, required=True, help="steps; a last block is made whole")
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[1e-4, 3e-4, 1e-3], help="peak rates to try"
    )
    parser.add_argument("--trial_blocks", type=int, default=16, help="blocks for which each rate is tried")
    parser.add_argument("--warmup_steps", type=int, default=150, help="steps in which the rate rises")
    parser.add_argument("--platform", help="JAX's name of the devices: cpu, cuda, tpu")
    options = parser.parse_args(argv)
    if min(options.steps, options.trial_blocks, options.warmup_steps) < 1:
        parser.error("--steps, --trial_blocks and --warmup_steps must be at least 1")
    if os.path.exists(options.output):
        parser.error(f"--output={options.output} exists")
    if not os.path.exists(os.path.join(options.folder, "about.json")):
        parser.error(f"{options.folder} is not what examples.export_pretraining wrote")
    os.makedirs(os.path.dirname(options.output) or ".", exist_ok=True)

    import jax

    jax.config.update("jax_enable_x64", True)  # the step counts in int64
    device = jax.devices(options.platform)[0]
    pretraining = Pretraining(options.folder, device)
    print(f"compiled for {device.device_kind}, jax {jax.__version__}", flush=True)
    blocks = max(options.trial_blocks, math.ceil(options.steps / pretraining.steps_of_a_block))
    steps = blocks * pretraining.steps_of_a_block

    def rate(peak: float, step: int) -> float:
        return peak * min((step + 1) / options.warmup_steps, 1 - step / steps)

    peak, state = _try_rates(pretraining, options, rate)
    shown = written = time.monotonic()
    since = options.trial_blocks
    for block in range(options.trial_blocks, blocks):
        state = pretraining.train(state, block, lambda step: rate(peak, step))
        means, now = pretraining.means(state), time.monotonic()
        if not math.isfinite(means["masked_lm_loss"]):
            kept = f"{options.output} has earlier weights" if os.path.exists(options.output) else "no weights"
            sys.exit(f"error: a loss or gradient became infinite or NaN at the peak rate {peak:g}; {kept}")
        if now - shown >= _SECONDS_OF_A_LINE:
            speed = (block + 1 - since) * pretraining.pieces_of_a_block / (now - shown)
            done = (block + 1) * pretraining.steps_of_a_block
            print(f"step {done:,} of {steps:,}, {speed:,.0f} pieces/s: {_shown(means)}", flush=True)
            shown, since = now, block + 1
        if now - written >= _SECONDS_OF_A_FILE:
            _write(options.output, pretraining.weights(state))
            written = now
    _write(options.output, pretraining.weights(state))
    print(f"held out, {steps:,} steps at the peak rate {peak:g}: {_shown(pretraining.evaluate(state))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
