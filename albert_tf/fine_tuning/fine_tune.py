"""Fine-tuning: trains a benchmark's task, evaluates and predicts with its best checkpoint, and reports."""

import dataclasses
import gc
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
import tensorflow as tf

from albert_tf import html_report
from albert_tf.asking.prompt import answer_at_prompt
from albert_tf.checkpoints.assets import folder_of
from albert_tf.checkpoints.run_folder import (
    PREDICTION_RESULTS,
    PREDICTIONS_FILE,
    RESULTS,
    RESULTS_FILE,
    SEEDS_FILE,
    SERIES_FILE,
    results_of,
)
from albert_tf.cli.hyperparameters import Hyperparameters
from albert_tf.cli.options import FineTuningOptions, TrainingOptions
from albert_tf.cli.text import results_table, results_tables, say
from albert_tf.data.batching import LENGTHS_MULTIPLE
from albert_tf.errors import InputError, InputWarning
from albert_tf.export.serving.saved_model import serve, write_saved_model
from albert_tf.export.trained_model import open_trained_model
from albert_tf.files import read_json, write_json
from albert_tf.fine_tuning.ensemble import judge_together
from albert_tf.fine_tuning.starting_point import StartingPoint, open_starting_point
from albert_tf.tasks.benchmark import Benchmark, BenchmarkTask, under_one_name, write_files
from albert_tf.tasks.overview import with_mean_and_deviation
from albert_tf.training.distribution import check_batch_size, make_strategy
from albert_tf.training.evaluation import Predictor
from albert_tf.training.history import rank
from albert_tf.training.loop import open_session, try_steps
from albert_tf.training.report import write_results
from albert_tf.training.run_report import notes_on_loss, write_run_report
from albert_tf.training.scalars import training_losses
from albert_tf.training.session import Session
from albert_tf.training.workers import Workers, workers_of


class _BestOfSeeds(TypedDict):
    """The fields of `eval_results.json` that several seeds add."""

    best_seed: str
    num_seeds: int


def fine_tune(options: FineTuningOptions, make_benchmark: Callable[[StartingPoint], Benchmark]) -> None:
    """Trains, evaluates, predicts, exports or asks, as the options say; raises `InputError` if it cannot.

    `make_benchmark` makes the benchmark from what the weights say.
    """
    if options.interactive:
        return answer_at_prompt(options, getattr(options, "task_name", None), options.export_settings)
    if not options.splits:
        return export(options)
    series = options.series()
    strategy = make_strategy(options)  # a cluster must be set up before TensorFlow computes anything
    if options.ensemble:
        return judge_together(options, make_benchmark, strategy)
    rows: dict[str, dict[str, float]] = {}
    for name, todo in (series.runs or {"": options}).items():
        if rows:
            gc.collect()  # the model of the run before
        if name:
            say(f"\n{name}, run {len(rows) + 1} of {len(series.runs)}")
        with open_starting_point(todo) as start:
            task, chosen = start.prepare(make_benchmark(start))
            todo = dataclasses.replace(start.options, do_eval="dev" in task.features)
            rows[name] = run(task, todo, chosen, strategy)
        if name and rows[name] and workers_of(strategy).is_chief:
            write_json(os.path.join(options.output_dir, SERIES_FILE), rows)
    if series.runs and not options.dry_run and workers_of(strategy).is_chief:
        _summarize_series(task, options, rows, series.are_alike)


def run(
    task: BenchmarkTask, options: FineTuningOptions, chosen: Hyperparameters, strategy: tf.distribute.Strategy
) -> dict[str, float]:
    """Runs each seed, then shows their mean and exports the best; returns the results, or their mean.

    A seed has failed if all examples of the dev split get the same answer.
    """
    task.check_inputs()
    if options.jit_compile and not options.lengths_of_batches(task.max_seq_length):
        text = (
            f"--jit_compile compiles each step once for each of the lengths of its batches, up to "
            f"{-(-task.max_seq_length // LENGTHS_MULTIPLE)} of them; --length_buckets makes them few"
        )
        warnings.warn(text, InputWarning, stacklevel=2)
    workers = workers_of(strategy)
    with workers.words(options.output_dir, options.dry_run):
        if options.do_train:
            print(task.overview(), flush=True)
            if options.hparams:
                say("hyperparameters: those of the paper's Table 14, unless flags give others")
        if options.dry_run:
            _run_once(task, options.training_options(chosen), options, strategy, workers)
            return {}
        results: dict[str, dict[str, float]] = {}
        failed: dict[str, str] = {}
        suffix = ""
        while len(results) < options.num_seeds:
            if results or failed:
                gc.collect()  # the model of the run before
            training = options.training_options(chosen, len(results) + len(failed) * options.discard_failed)
            name = os.path.relpath(training.output_dir, options.output_dir) if options.num_seeds > 1 else ""
            found, suffix, failure = _run_once(task, training, options, strategy, workers)
            if failure:
                failed[name] = failure
            if not (failure and options.discard_failed):
                results[name] = found
            elif len(failed) > options.num_seeds:
                raise InputError(f"{len(failed)} seeds failed: {failure}; --discard_failed replaces no more")
    if options.num_seeds > 1:
        for name, failure in failed.items():
            say(f"{name}{' is left out' * options.discard_failed}: {failure}")
    if workers.is_chief:
        if options.num_seeds > 1 and options.do_eval:
            _summarize(task, options.output_dir, results, suffix)
        if options.export_dir:
            export(options)
    return with_mean_and_deviation(results)["mean"]


def export(options: FineTuningOptions) -> None:
    """Exports the best weights of the run, or of its best seed; raises `InputError` if none is known."""
    assert options.export_dir
    folder = options.output_dir
    if options.num_seeds > 1:
        path = os.path.join(folder, RESULTS_FILE)
        if not os.path.exists(path):
            raise InputError("--export_dir needs --do_eval, which finds the best of the seeds")
        if "best_seed" not in read_json(path, dict[str, Any]):
            raise InputError(f"{path} is of one run, but --num_seeds is {options.num_seeds}")
        folder = os.path.join(folder, read_json(path, _BestOfSeeds)["best_seed"])
    with open_trained_model(folder) as trained:
        target = write_saved_model(serve(trained, options.export_settings), trained, options.export_dir)
    say(f"exported to {target}")


def _run_once(
    task: BenchmarkTask,
    training: TrainingOptions,
    options: FineTuningOptions,
    strategy: tf.distribute.Strategy,
    workers: Workers,
) -> tuple[dict[str, float], str, str]:
    """Runs one seed.

    Returns:
      The results on the dev split, the suffix of their files (see `Session`), and what `only_answer` says.
    """
    with open_session(task, training, strategy, workers) as session:
        same = {"do_predict": options.do_predict, "predict_batch_size": options.predict_batch_size}
        workers.check_same_flags(same)
        predictor = Predictor(task, session.model, strategy, options.jit_compile)
        if options.do_predict:
            check_batch_size("predict_batch_size", options.predict_batch_size, strategy)
        session.find_weights()
        if options.dry_run:
            predict = {"prediction step": lambda: predictor.try_one_batch("test", options.predict_batch_size)}
            try_steps(session, predict if options.do_predict else None)
            return {}, "", ""
        if options.do_eval and task.compares_with_start:
            task.start = session.start_results()
        if options.do_train:
            session.train()
            if options.do_eval:  # without evaluations, an old best checkpoint would replace the new weights
                session.restore_best()
        elif options.do_eval:
            session.evaluate_saved()
        losses, failure = training_losses(session.folder), ""
        paths, notes = [], notes_on_loss(session, losses)
        if options.do_eval:
            session.evaluate_chosen()
            assert session.evaluator
            by_part = session.evaluator.results_by_part
            _print_results(task, "dev", session.step, by_part, session.evaluator.outputs)
            failure = task.only_answer("dev", session.evaluator.outputs)
            notes = [failure, *notes] if failure else notes
            paths.append(_write_report(task, session, losses, notes))
        if options.do_predict:
            task.use_results(_results_of_weights(session))
            is_evaluated = options.do_eval and task.features["test"] is task.features["dev"]
            if is_evaluated and session.evaluator:
                outputs = session.evaluator.outputs
            else:
                outputs = predictor.predict("test", options.predict_batch_size, "predicting")
            paths += task.write_predictions(session.folder, outputs)
            if task.has_labels("test") and not is_evaluated:
                by_part = task.results_by_part("test", outputs)
                results = under_one_name(by_part) | task.baseline_results("test")
                write_results(session.folder, results, PREDICTION_RESULTS)
                _print_results(task, "test", session.step, by_part, outputs)
            if not is_evaluated and (note := task.only_answer("test", outputs)):
                notes.append(f"{note} in the test split")
        session.say_where_all_is(*paths)
        for note in notes:
            say(note)
    return session.results if options.do_eval else {}, session.suffix, failure


def _results_of_weights(session: Session) -> dict[str, Any] | None:
    """The results of the evaluation of the current weights, from the run or from where it started."""
    found, start = results_of(session.folder, session.step), session.options.init_checkpoint
    return found if found or session.step or not start else results_of(folder_of(start), None)


def _print_results(
    task: BenchmarkTask,
    split: str,
    step: int,
    by_part: Mapping[str, Mapping[str, float]],
    outputs: Mapping[str, np.ndarray],
) -> None:
    shown = results_tables(by_part, task.baseline(split))
    print(f"\n{task.name}, {split} split, step {step}\n{shown}", flush=True)
    for title, rows in task.breakdowns(split, outputs).items():
        only = f": {next(iter(rows))}" if len(rows) == 1 else ""  # a table of one row has no names
        print(f"\n{title}{only}\n{results_table(rows)}", flush=True)


def _write_report(
    task: BenchmarkTask, session: Session, losses: Mapping[int, float], notes: Sequence[str]
) -> str:
    evaluator = session.evaluator
    assert evaluator
    results = html_report.results(evaluator.results_by_part, task.baseline("dev"), notes)
    sections = task.report_sections(evaluator.outputs)
    return write_run_report(session, f"{task.name}: fine-tuning report", losses, results, sections)


def _summarize_series(
    task: BenchmarkTask, options: FineTuningOptions, results: Mapping[str, dict[str, float]], are_alike: bool
) -> None:
    """Shows the results of the runs of a series; of runs that are alike the mean, else the best of them."""
    rows = {name: {key: row[key] for key in row if key != "global_step"} for name, row in results.items()}
    shown = {name: {key: row[key] for key in task.headline or row} for name, row in rows.items()}
    path = os.path.join(options.output_dir, SERIES_FILE)
    if not are_alike:
        best = max(rows, key=lambda name: rank(rows[name], task.best_metric))
        print(f"\n{task.name}, dev split, {len(rows)} runs\n{results_table(shown)}", flush=True)
        return say(f"the best by {task.best_metric} is {best}; all results are in {path}")
    write_json(path, with_mean_and_deviation(rows))
    print(f"\n{task.name}, {len(rows)} folds\n{results_table(with_mean_and_deviation(shown))}", flush=True)
    joined = _join_predictions(options.output_dir, list(results))
    say(f"all results are in {path}, all predictions in {joined}")


def _join_predictions(folder: str, names: Sequence[str]) -> str:
    """Writes the predictions of all runs in the order of their numbers; returns the path."""
    lines: list[str] = []
    for name in names:
        with open(os.path.join(folder, name, PREDICTIONS_FILE), encoding="utf-8") as file:
            header, *found = file.read().removesuffix("\n").split("\n")
            lines += found
    lines.sort(key=lambda line: int(line.partition("\t")[0]))
    [path] = write_files(folder, {PREDICTIONS_FILE: "".join(f"{line}\n" for line in [header, *lines])})
    return path


def _summarize(
    task: BenchmarkTask, folder: str, results: Mapping[str, Mapping[str, float]], suffix: str
) -> None:
    """Shows and writes the results of all seeds and their mean; with a suffix it chooses no best seed."""
    rows = {name: {key: row[key] for key in row if key != "global_step"} for name, row in results.items()}
    rows = with_mean_and_deviation(rows)
    name, parts = task.baseline("dev")
    shown = rows | ({name: under_one_name(parts)} if parts else {})
    print(f"\n{task.name}, dev split, {len(results)} seeds\n{results_table(shown)}", flush=True)
    flat = {f"{key}_{kind}": value for kind in ("mean", "std") for key, value in rows[kind].items()}
    best = max(results, key=lambda name: rank(results[name], task.best_metric))
    chosen = {} if suffix else {"best_seed": best}
    flat |= task.baseline_results()
    write_results(folder, {**flat, **chosen, "num_seeds": len(results)}, f"{RESULTS}{suffix}")
    stem, ending = os.path.splitext(SEEDS_FILE)
    path = os.path.join(folder, f"{stem}{suffix}{ending}")
    write_json(path, rows)
    say(f"{'all' if suffix else f'the best is {best}; all'} results are in {path}")
