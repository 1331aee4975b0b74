#!/usr/bin/env python3
"""Draws the learning curves of a pretraining run from its TensorBoard scalars."""

import dataclasses
import os
import pathlib
import sys

if not __package__:  # run by its path
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from albert_tf.cli import flags
from albert_tf.cli.flags import option
from albert_tf.cli.script import script
from albert_tf.errors import InputError
from albert_tf.files import appear_when_complete

PANELS = {
    "loss": "loss",
    "masked_lm_accuracy": "masked-LM accuracy",
    "sentence_order_accuracy": "sentence-order accuracy",
}


@dataclasses.dataclass(frozen=True)
class CurvesOptions(flags.ScriptOptions):
    """Draws loss and accuracies by step, on the training data and on held-out data."""

    model_dir: str = option(help="--output_dir of run_pretraining.py")
    output_file: str = option(help="the picture, a .png")
    masked_lm_baseline: float | None = option(None, help="accuracy to draw as a dotted line")


@script(CurvesOptions)
def main(options: CurvesOptions) -> None:
    """Reads the scalars, and draws a panel for each."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    runs = {"training": "train", "held out": "eval"}
    curves = {label: _scalars(os.path.join(options.model_dir, name)) for label, name in runs.items()}
    baselines = {"sentence_order_accuracy": 0.5, "masked_lm_accuracy": options.masked_lm_baseline}
    figure, axes = plt.subplots(1, len(PANELS), figsize=(15, 4.2), layout="constrained")
    for axis, (tag, title) in zip(axes, PANELS.items(), strict=True):
        for label, marker in (("training", None), ("held out", "o")):
            steps, values = curves[label].get(tag, ((), ()))
            axis.plot(steps, values, marker=marker, markersize=3, label=label)
        if baselines.get(tag) is not None:
            axis.axhline(baselines[tag], color="gray", linestyle=":", label="baseline")
        axis.set(title=title, xlabel="step")
        axis.grid(alpha=0.3)
        axis.legend()
    with appear_when_complete([options.output_file]) as [name]:
        figure.savefig(name, format="png", dpi=120)
    print(f"learning curves: {options.output_file}")


def _scalars(folder: str) -> dict[str, tuple[list[int], list[float]]]:
    """Returns the steps and values of each tag; if runs overlap, the later run counts."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    if not os.path.isdir(folder):
        raise InputError(f"{folder} does not exist: run_pretraining.py writes it, with --do_eval")
    events = EventAccumulator(folder, size_guidance={"tensors": 0})
    events.Reload()
    curves = {}
    for tag in set(PANELS).intersection(events.Tags()["tensors"]):
        by_step = {event.step: float(make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)}
        steps = sorted(by_step)
        curves[tag] = (steps, [by_step[step] for step in steps])
    if not curves:
        raise InputError(f"{folder} holds no TensorBoard scalars")
    return curves


if __name__ == "__main__":
    sys.exit(main())
