"""Several trained models that judge together: the mean of their probabilities, or of their scores."""

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from albert_tf.checkpoints.run_folder import PREDICTION_RESULTS, RESULTS, meant_checkpoint, results_of
from albert_tf.cli.options import FineTuningOptions
from albert_tf.cli.text import results_table, results_tables, say
from albert_tf.errors import InputError
from albert_tf.fine_tuning.starting_point import StartingPoint, open_starting_point
from albert_tf.tasks.benchmark import Benchmark, BenchmarkTask, under_one_name
from albert_tf.training.evaluation import Predictor
from albert_tf.training.initial_weights import load_initial_weights
from albert_tf.training.report import write_results
from albert_tf.training.workers import workers_of


def judge_together(
    options: FineTuningOptions,
    make_benchmark: Callable[[StartingPoint], Benchmark],
    strategy: tf.distribute.Strategy,
) -> None:
    """Evaluates and predicts with the average of several models, which may differ in size and vocabulary.

    Writes the results and predictions of a run into `output_dir`, which then holds no weights.

    Raises:
      InputError: the folder holds a run, or the models are of different tasks or have different labels.
    """
    if meant_checkpoint(options.output_dir):
        raise InputError(f"{options.output_dir} holds a run: choose another --output_dir for the ensemble")
    splits = [split for split in options.splits if split in ("dev", "test")]
    votes: dict[str, list[Any]] = {split: [] for split in splits}
    rows: dict[str, dict[str, float]] = {}
    first: BenchmarkTask | None = None
    for path in options.ensemble or ():
        todo = dataclasses.replace(options, init_checkpoint=path, ensemble=None)
        with open_starting_point(todo) as start:
            task, _ = start.prepare(make_benchmark(start))
            first = first or task
            for what, ours, theirs in (
                ("of another task", task.name, first.name),
                ("with other labels", task.label_names, first.label_names),
            ):
                if ours != theirs:
                    raise InputError(f"{path} is a model {what} than {(options.ensemble or ('',))[0]}")
            predictor = _predictor(task, start.options, strategy)
            for split in splits:
                size = options.eval_batch_size if split == "dev" else options.predict_batch_size
                outputs = predictor.predict(split, size, os.path.basename(path))
                votes[split].append(task.votes(split, outputs))
                if split == "dev":
                    rows[path] = next(iter(task.results_by_part("dev", outputs).values()))
    if not workers_of(strategy).is_chief:
        return
    os.makedirs(options.output_dir, exist_ok=True)
    if "dev" in splits:
        average = task.averaged("dev", votes["dev"])
        by_part = task.results_by_part("dev", average)
        results = under_one_name(by_part) | task.baseline_results()
        write_results(options.output_dir, results, RESULTS)
        print(f"\n{task.name}, dev split\n{results_table(rows | {'together': next(iter(by_part.values()))})}")
        print(f"\n{task.name}, dev split\n{results_tables(by_part, task.baseline('dev'))}")
    if "test" in splits:
        task.use_results(results_of(options.output_dir, None))
        average = task.averaged("test", votes["test"])
        task.write_predictions(options.output_dir, average)
        if task.has_labels("test"):
            by_part = task.results_by_part("test", average)
            results = under_one_name(by_part) | task.baseline_results("test")
            write_results(options.output_dir, results, PREDICTION_RESULTS)
            print(f"\n{task.name}, test split\n{results_tables(by_part, task.baseline('test'))}")
    say(f"results and predictions are in {options.output_dir}")


def _predictor(
    task: BenchmarkTask, options: FineTuningOptions, strategy: tf.distribute.Strategy
) -> Predictor:
    """Runs one model of the ensemble."""
    task.check_inputs()
    task.is_voting = True
    with strategy.scope():
        model = task.build_model(options.policy)
    report, _ = load_initial_weights(
        task, model, options.init_checkpoint or "", init_from_group0=False, with_head=True
    )
    say(str(report))
    return Predictor(task, model, strategy, options.jit_compile)
