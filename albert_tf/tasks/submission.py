"""The files of predictions: the original's, and those that the server of GLUE takes."""

import os
from collections.abc import Sequence

import numpy as np

from albert_tf.files import appear_when_complete
from albert_tf.tasks.examples import Examples
from albert_tf.tasks.glue import TextTask

RESULTS_FILE = "test_results.tsv"
LABELS_FILE = "submit_results.tsv"

_SCORE_RANGE = (0.0, 5.0)  # of STS-B, the one score among the tasks with a server


def write_predictions(
    output_dir: str, task: TextTask, examples: Examples, predictions: np.ndarray
) -> list[str]:
    """Writes what a model says of the test split.

    `test_results.tsv` has the probabilities of the classes or the score, a line an example and no header;
    `submit_results.tsv` the names of examples with their labels or scores; the server's files the same, one
    for each part of the split, with scores brought into the range of the labels.

    Args:
      output_dir: folder of the files.
      task: what was predicted.
      examples: of which.
      predictions: float32 probabilities [examples, classes] or scores [examples].

    Returns:
      The paths of the files.
    """
    if task.is_score:
        shown = predictions.astype(np.float32).astype(str)
        rows, labels = shown, shown
        submitted = [f"{score:.3f}" for score in np.clip(predictions, *_SCORE_RANGE)]
    else:
        rows = map("\t".join, predictions.astype(np.float32).astype(str))
        labels = submitted = np.array(task.label_names)[predictions.argmax(axis=1)]
    contents = {RESULTS_FILE: rows, LABELS_FILE: _answers(examples.names, labels)}
    for part, where in examples.parts.items():
        if part in task.submission_files:
            contents[task.submission_files[part]] = _answers(examples.names[where], submitted[where])
    paths = [os.path.join(output_dir, name) for name in contents]
    with appear_when_complete(paths) as temporary:
        for name, lines in zip(temporary, contents.values(), strict=True):
            with open(name, "w", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines)
    return paths


def _answers(names: Sequence[str], answers: Sequence[str]) -> list[str]:
    lines = zip(names, answers, strict=True)
    return ["index\tprediction", *(f"{name}\t{answer}" for name, answer in lines)]
