"""Pretrains with JAX's runtime on what `export_pretraining.py` wrote.

It needs jax and numpy, and neither TensorFlow nor albert_tf: this file and the folder can be copied alone.

Each peak rate is tried first, with the same weights, records and masks. The one with the lowest loss goes on.

Run: python pretrain_with_jax.py exported --steps=10000 --output=weights.npz
"""

import argparse
import itertools
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
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
        """Draws the masks of a block and trains on it, at the rate of each of its steps from 0."""
        drawn = self._masks.execute_sharded(self._put(self._records.block(block)))
        batches = [result[0] for result in drawn.disassemble_into_single_device_arrays()]
        state = self._forget(state)
        for number in range(self.steps_of_a_block):
            state = self._step(batches, number, state, rate(number))
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


class Run:
    """The blocks of all stages, one after another, and the rate of each step."""

    def __init__(self, stages: Sequence[Pretraining], blocks: Sequence[int], warmup_steps: int):
        self._stages, self._blocks, self._warmup_steps = stages, blocks, warmup_steps
        self.steps = sum(n * stage.steps_of_a_block for n, stage in zip(blocks, stages, strict=True))

    def __iter__(self) -> Iterator[tuple[Pretraining, int, int]]:
        """Each block: its stage, its number there, and the number of its first step in the run."""
        step = 0
        for stage, blocks in zip(self._stages, self._blocks, strict=True):
            for block in range(blocks):
                yield stage, block, step
                step += stage.steps_of_a_block

    def rate(self, peak: float, step: int) -> float:
        """It rises for the steps of the warm-up, then falls to 0 at the end of the last stage."""
        return peak * min((step + 1) / self._warmup_steps, 1 - step / self.steps)


def _try_rates(
    pretraining: Pretraining, options: argparse.Namespace, rate: Callable[[float, int], float]
) -> tuple[float, State]:
    """The peak rate with the lowest loss in the last block of its trial, and the state there."""
    best: tuple[float, float, State] | None = None
    for peak in options.rates:
        state, means, start = pretraining.first_state, {}, time.monotonic()
        for block in range(options.trial_blocks):
            first = block * pretraining.steps_of_a_block
            state = pretraining.train(state, block, lambda n, peak=peak, first=first: rate(peak, first + n))
            means = pretraining.means(state)
        speed = options.trial_blocks * pretraining.pieces_of_a_block / (time.monotonic() - start)
        print(f"peak rate {peak:g}, {speed:,.0f} pieces/s: {_shown(means)}", flush=True)
        loss = means["masked_lm_loss"] + means["sentence_order_loss"]
        if math.isfinite(loss) and (best is None or loss < best[0]):
            best = loss, peak, state
    if best is None:
        sys.exit("error: the losses of all rates became infinite or NaN: try lower --rates")
    return best[1:]


def _train(run: Run, peak: float, state: State, options: argparse.Namespace) -> State:
    """The blocks after those of the trial; prints the progress and writes the weights on the way."""
    shown = written = time.monotonic()
    pieces = 0
    for stage, block, first in itertools.islice(run, options.trial_blocks, None):
        state = stage.train(state, block, lambda n, first=first: run.rate(peak, first + n))
        means, now = stage.means(state), time.monotonic()
        pieces += stage.pieces_of_a_block
        if not math.isfinite(means["masked_lm_loss"]):
            kept = f"{options.output} has earlier weights" if os.path.exists(options.output) else "no weights"
            sys.exit(f"error: a loss or gradient became infinite or NaN at the peak rate {peak:g}; {kept}")
        if now - shown >= _SECONDS_OF_A_LINE:
            speed = pieces / (now - shown)
            done = first + stage.steps_of_a_block
            print(f"step {done:,} of {run.steps:,}, {speed:,.0f} pieces/s: {_shown(means)}", flush=True)
            shown, pieces = now, 0
        if now - written >= _SECONDS_OF_A_FILE:
            _write(options.output, stage.weights(state))
            written = now
    return state


def _shown(means: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in means.items())


def _write(path: str, weights: dict[str, np.ndarray]) -> None:
    with open(f"{path}.incomplete", "wb") as file:
        np.savez(file, **weights)
    os.replace(f"{path}.incomplete", path)


def main(argv: Sequence[str] | None = None) -> int:
    """Compiles, tries the rates, trains, writes and evaluates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "folders",
        nargs="+",
        help="what examples.export_pretraining wrote; one for each length, in their order",
    )
    parser.add_argument("--output", required=True, help="the .npz file for the weights")
    parser.add_argument(
        "--steps",
        type=int,
        nargs="+",
        required=True,
        help="steps with each folder; a last block is made whole",
    )
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[1e-4, 3e-4, 1e-3], help="peak rates to try"
    )
    parser.add_argument("--trial_blocks", type=int, default=16, help="blocks for which each rate is tried")
    parser.add_argument("--warmup_steps", type=int, default=150, help="steps in which the rate rises")
    parser.add_argument("--platform", help="JAX's name of the devices: cpu, cuda, tpu")
    options = parser.parse_args(argv)
    if min(*options.steps, options.trial_blocks, options.warmup_steps) < 1:
        parser.error("--steps, --trial_blocks and --warmup_steps must be at least 1")
    if len(options.steps) != len(options.folders):
        parser.error(f"--steps needs {len(options.folders)} numbers, one for each folder")
    if os.path.exists(options.output):
        parser.error(f"--output={options.output} exists")
    for folder in options.folders:
        if not os.path.exists(os.path.join(folder, "about.json")):
            parser.error(f"{folder} is not what examples.export_pretraining wrote")
    os.makedirs(os.path.dirname(options.output) or ".", exist_ok=True)

    import jax

    jax.config.update("jax_enable_x64", True)  # the step counts in int64
    device = jax.devices(options.platform)[0]
    stages = [Pretraining(folder, device) for folder in options.folders]
    print(f"compiled for {device.device_kind}, jax {jax.__version__}", flush=True)
    if any(stage.about["state"] != stages[0].about["state"] for stage in stages):
        parser.error("the folders are not of one model and one optimizer")
    blocks = [math.ceil(n / stage.steps_of_a_block) for n, stage in zip(options.steps, stages, strict=True)]
    blocks[0] = max(blocks[0], options.trial_blocks)
    run = Run(stages, blocks, options.warmup_steps)
    peak, state = _try_rates(stages[0], options, run.rate)
    state = _train(run, peak, state, options)
    _write(options.output, stages[-1].weights(state))
    print(f"{run.steps:,} steps at the peak rate {peak:g}")
    kept = [np.asarray(value) for value in state]  # a step takes the place of the state that it is given
    for stage in stages:
        print(f"held out, length {stage.about['length']}: {_shown(stage.evaluate(kept))}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
