"""What TensorBoard shows of a run: its flags as text, and the scalars of training and of evaluations.

Both have the same names, and folders of their own in the folder of the run: so each metric has one chart.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

import orbit
import tensorflow as tf

from albert_tf.cli.flags import ScriptOptions, flags_of
from albert_tf.cli.text import without_secrets
from albert_tf.files import files_that_begin_with

TRAIN_FOLDER, EVAL_FOLDER = "train", "eval"


class EvaluationScalars(orbit.utils.SummaryManager):
    """Writes the scalars of evaluations: "eval_accuracy" becomes "accuracy", as in training.

    `is_later` says whether the step comes after all evaluations before: a curve must not go back.
    """

    def __init__(self, folder: str, step: tf.Variable, is_later: Callable[[], bool]):
        super().__init__(folder, tf.summary.scalar, global_step=step)
        self._is_later = is_later

    def write_summaries(self, summary_dict: Mapping[str, Any]) -> None:
        """Writes the results of an evaluation by name."""
        if self._is_later():
            super().write_summaries(
                {name.replace("eval_", ""): value for name, value in summary_dict.items()}
            )


def write_flags(writer: tf.summary.SummaryWriter, options: ScriptOptions, step: int) -> None:
    """Writes the command and a table of the flags."""
    rows = "\n".join(f"| {name} | {value} |" for name, value in without_secrets(flags_of(options)).items())
    with writer.as_default():
        tf.summary.text("command", f"    {options.command or ''}", step)
        tf.summary.text("flags", f"| flag | value |\n|---|---|\n{rows}", step)
    writer.flush()


def training_losses(folder: str) -> dict[int, float]:
    """Step -> mean loss since the step before it; where runs overlap, the later one counts."""
    losses: dict[int, float] = {}
    for path in files_that_begin_with(os.path.join(folder, TRAIN_FOLDER, "events.out.tfevents.")):
        try:
            for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
                event = tf.compat.v1.Event.FromString(record)
                for value in event.summary.value:
                    if value.tag == "loss":
                        losses[event.step] = float(tf.make_ndarray(value.tensor))
        except tf.errors.DataLossError:
            pass  # a run that was killed may leave half a record at the end
    return dict(sorted(losses.items()))
