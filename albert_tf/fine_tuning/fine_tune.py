"""Fine-tuning a benchmark's task: train, find the best checkpoint, evaluate and predict with it, report."""

import dataclasses
import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from albert_tf import html_report
from albert_tf.cli.options import FineTuningOptions, Hyperparameters, TrainingOptions
from albert_tf.cli.text import aligned, results_table, say
from albert_tf.data.batching import LENGTHS_MULTIPLE
from albert_tf.errors import InputError, InputWarning
from albert_tf.export.serving.saved_model import serve, write_saved_model
from albert_tf.export.trained_model import RESULTS_FILE, open_trained_model
from albert_tf.files import read_json, write_json
from albert_tf.fine_tuning.starting_point import StartingPoint, open_starting_point
from albert_tf.tasks.benchmark import Benchmark, BenchmarkTask, under_one_name
from albert_tf.tasks.overview import with_mean_and_deviation
from albert_tf.training.distribution import check_batch_size, make_strategy
from albert_tf.training.evaluation import Predictor
from albert_tf.training.loop import open_run, try_steps
from albert_tf.training.report import write_results
from albert_tf.training.session import Run
from albert_tf.training.workers import check_same_flags, check_same_weights, is_first, words


def fine_tune(options: FineTuningOptions, make_benchmark: Callable[[StartingPoint], Benchmark]) -> None:
    """Reads what is needed, trains, evaluates, predicts and exports, as the options say.

    Args:
      options: what to do.
      make_benchmark: gives the benchmark, once the weights have said what they know.

    Raises:
      InputError: bad flags or data, or training that diverged.
    """
    if not options.splits:
        return export(options)
    strategy = make_strategy(options)  # first: a cluster is set up before anything is computed
    with open_starting_point(options) as start:
        task, chosen = start.prepare(make_benchmark(start))
        todo = dataclasses.replace(start.options, do_eval="dev" in task.features)
        run(task, todo, chosen, strategy)


def run(
    task: BenchmarkTask,
    options: FineTuningOptions,
    chosen: Hyperparameters,
    strategy: tf.distribute.Strategy,
) -> dict[str, dict[str, float]]:
    """Does what the options ask for, once for each seed.

    Args:
      task: with the features of the splits that are needed.
      options: what to do.
      chosen: the hyperparameters.
      strategy: the devices.

    Returns:
      Seed's folder name (or "") -> results of the best checkpoint on the dev split; empty if not evaluated.

    Raises:
      InputError: bad flags or data, or training that diverged.
    """
    task.check_inputs()
    if options.jit_compile and not options.has_static_shapes:
        text = (
            f"--jit_compile compiles each step once for each of the lengths of its batches, up to "
            f"{-(-task.max_seq_length // LENGTHS_MULTIPLE)} of them; with --pad_to_max_length there is one"
        )
        warnings.warn(text, InputWarning, stacklevel=2)
    with words(options.output_dir, strategy, options.dry_run):
        if options.do_train:
            print(task.overview(), flush=True)
            if options.hparams:
                say("hyperparameters: the paper's, Table 14, but for those that flags give")
        if options.dry_run:
            return {"": _run_once(task, options.training_options(chosen), options, strategy)}
        results = {}
        for number in range(options.num_seeds):
            training = options.training_options(chosen, number)
            name = os.path.relpath(training.output_dir, options.output_dir) if options.num_seeds > 1 else ""
            results[name] = _run_once(task, training, options, strategy)
    if is_first(strategy):
        if options.num_seeds > 1 and options.do_eval:
            _summarize(task, options.output_dir, results)
        if options.export_dir:
            export(options)
    return results


def export(options: FineTuningOptions) -> None:
    """Exports the best weights in the run's folder, or those of the best seed, to `export_dir`.

    Raises:
      InputError: there are no weights, or several seeds of which none is known to be the best.
    """
    folder = options.output_dir
    if options.num_seeds > 1:
        path = os.path.join(folder, RESULTS_FILE)
        if not os.path.exists(path):
            raise InputError("--export_dir needs --do_eval, which finds the best of the seeds")
        results = read_json(path, dict[str, Any])
        if "best_seed" not in results:
            raise InputError(f"{path} is of one run, but --num_seeds is {options.num_seeds}")
        folder = os.path.join(folder, str(results["best_seed"]))
    with open_trained_model(folder) as trained:
        target = write_saved_model(serve(trained, options.export_settings), trained, options.export_dir)
    say(f"exported to {target}")


def _run_once(
    task: BenchmarkTask,
    training: TrainingOptions,
    options: FineTuningOptions,
    strategy: tf.distribute.Strategy,
) -> dict[str, float]:
    with open_run(task, training, strategy) as this_run:
        prediction = ("do_predict", "predict_batch_size")
        check_same_flags(strategy, {name: getattr(options, name) for name in prediction})
        predictor = Predictor(task, this_run.model, strategy, options.jit_compile)
        if options.do_predict:
            check_batch_size("predict_batch_size", options.predict_batch_size, strategy)
        this_run.find_weights()
        check_same_weights(strategy, this_run.variables)
        if options.dry_run:
            predict = {"prediction step": lambda: predictor.try_one_batch("test", options.predict_batch_size)}
            say(aligned(try_steps(this_run, predict if options.do_predict else None)))
            return {}
        if options.do_train:
            this_run.train()
        elif options.do_eval:
            this_run.evaluate_saved()
        # What was just trained without being evaluated is not passed over for something older.
        if (options.do_eval or not options.do_train) and this_run.restore_best():
            say(f"best by {task.best_metric}: step {this_run.step}")
        results, paths = {}, []
        if options.do_eval:
            results = _evaluate(task, this_run)
            paths.append(_write_report(task, this_run))
        if options.do_predict:
            is_evaluated = options.do_eval and task.features["test"] is task.features["dev"]
            if is_evaluated:
                outputs = this_run.evaluator.outputs
            else:
                outputs = predictor.predict("test", options.predict_batch_size, "predicting")
            paths += task.write_predictions(this_run.folder, outputs)
            if task.has_labels("test") and not is_evaluated:
                by_part = task.results_by_part("test", outputs)
                write_results(this_run.folder, under_one_name(by_part), "predict_results")
                _print_results(task, "test", this_run.step, by_part, outputs)
        this_run.say_where_all_is(*paths)
    return results


def _evaluate(task: BenchmarkTask, this_run: Run) -> dict[str, float]:
    """Evaluates the current weights, if that was not the last thing done, and shows the results."""
    if this_run.results.get("global_step") != this_run.step:
        this_run.evaluate()
    by_part = this_run.evaluator.results_by_part
    _print_results(task, "dev", this_run.step, by_part, this_run.evaluator.outputs)
    return this_run.results


def _write_report(task: BenchmarkTask, this_run: Run) -> str:
    path = os.path.join(this_run.folder, "report.html")
    sections = [
        html_report.results(this_run.evaluator.results_by_part),
        *_curves(this_run),
        *task.report_sections(this_run.evaluator.outputs),
        html_report.facts(_facts(task, this_run)),
    ]
    html_report.write_report(path, f"{task.name}: fine-tuning report", sections)
    return path


def _print_results(
    task: BenchmarkTask,
    split: str,
    step: int,
    by_part: Mapping[str, Mapping[str, float]],
    outputs: Mapping[str, np.ndarray],
) -> None:
    print(f"\n{task.name}, {split} split, step {step}\n{results_table(by_part)}", flush=True)
    for title, rows in task.breakdowns(split, outputs).items():
        only = f": {next(iter(rows))}" if len(rows) == 1 else ""  # a table of one row does not name it
        print(f"\n{title}{only}\n{results_table(rows)}", flush=True)


def _curves(this_run: Run) -> list[html_report.Section]:
    evaluations = this_run.history.evaluations
    if not evaluations:
        return []
    history = [{"step": results["global_step"], **results} for results in evaluations]
    metrics = [name for name in evaluations[-1] if name != "global_step"]
    return [html_report.curves(history, metrics, this_run.history.best()["global_step"])]


def _facts(task: BenchmarkTask, this_run: Run) -> Mapping[str, object]:
    options = this_run.options
    facts = {
        "task": task.name,
        "folder": this_run.folder,
        "step": this_run.step,
        "parameters": f"{this_run.model.count_params():,}",
        "longest sequence": task.max_seq_length,
        "precision": options.mixed_precision,
    }
    if options.do_train:
        facts |= {
            "started from": options.init_checkpoint or "fresh weights",
            "seed": options.seed,
            "steps": f"{options.num_train_steps}, {options.num_warmup_steps} of them warm-up",
            "batch": options.train_batch_size,
            "learning rate": options.learning_rate,
            "optimizer": options.optimizer,
        }
    return facts | {"versions": f"TensorFlow {tf.__version__}, tf_keras {tf_keras.__version__}"}


def _summarize(task: BenchmarkTask, folder: str, results: Mapping[str, Mapping[str, float]]) -> None:
    """Prints and writes the results of all seeds with their mean and deviation."""
    rows = {
        name: {key: value for key, value in row.items() if key != "global_step"}
        for name, row in results.items()
    }
    rows = with_mean_and_deviation(rows)
    print(f"\n{task.name}, dev split, {len(results)} seeds\n{results_table(rows)}", flush=True)
    best = max(results, key=lambda name: results[name][task.best_metric])
    flat = {f"{key}_{kind}": value for kind in ("mean", "std") for key, value in rows[kind].items()}
    write_results(folder, {**flat, "best_seed": best, "num_seeds": len(results)})
    path = os.path.join(folder, "seeds.json")
    write_json(path, rows)
    say(f"the best is {best}; all results are in {path}")
