"""`Session`: a model in training or evaluation, with its checkpoints and its history in one folder."""

import contextlib
import functools
import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import orbit
import tensorflow as tf
import tf_keras

from albert_tf.checkpoints import run_folder
from albert_tf.cli.options import TrainingOptions
from albert_tf.cli.text import say
from albert_tf.errors import InputError
from albert_tf.files import read_json, write_json
from albert_tf.tasks.task import Task
from albert_tf.training import provenance, summary
from albert_tf.training.checkpointing import Checkpoints
from albert_tf.training.distribution import batches_of
from albert_tf.training.divergence import MOST_ROLLBACKS, Diverged, Rollbacks
from albert_tf.training.evaluation import evaluated_data, make_evaluator
from albert_tf.training.gradients import LossScale
from albert_tf.training.history import History, loss_of
from albert_tf.training.initial_weights import load_initial_weights
from albert_tf.training.optimization import OPTIMIZERS, WarmupPolynomialDecay
from albert_tf.training.report import Forecast, TrainingProgress, without_orbits_prints, write_results
from albert_tf.training.scalars import EVAL_FOLDER, TRAIN_FOLDER, EvaluationScalars, write_flags
from albert_tf.training.single_layers import freeze_layers, layer_rates
from albert_tf.training.train_step import Trainer
from albert_tf.training.workers import Workers


class Session:
    """One run: what it holds and what it does.

    The best weights that training chose stay the best. An evaluation alone on other data than those of the
    history scores the weights that the folder means, and writes its results under names of their own.

    Attributes:
      results: results of the last evaluation in this process, with `global_step`; empty if there was none.
      history: all evaluations in the folder.
      suffix: ends the names of the files of an evaluation; empty if it is on the data of the history.
    """

    def __init__(
        self,
        task: Task,
        options: TrainingOptions,
        strategy: tf.distribute.Strategy,
        workers: Workers,
        folder: str,
        check_interrupted: Callable[[], None],
    ):
        self.task = task
        self.options = options
        self.strategy = strategy
        self.workers = workers
        self.folder = folder
        self._check_interrupted = check_interrupted
        self.results: dict[str, float] = {}
        tf_keras.utils.set_random_seed(options.seed)
        with strategy.scope():
            self.model = task.build_model(options.policy)
            self.model.encoder.recompute = options.recompute
            freeze_layers(options, self.model)
            schedule = WarmupPolynomialDecay(
                options.learning_rate,
                options.num_train_steps,
                options.num_warmup_steps,
                options.poly_power,
                options.start_warmup_step,
            )
            factors = layer_rates(self.model.variables, task.config.num_hidden_layers, options.layer_decay)
            self.optimizer = OPTIMIZERS[options.optimizer](schedule, rate_factors=factors)
            # Checkpoints have moments of all variables, also of those that this task does not train.
            self.optimizer.build(self.model.variables)
            self.loss_scale = LossScale() if options.mixed_precision == "float16" else None
        repair = not options.dry_run
        self._newest = run_folder.newest_whole_checkpoint(folder, repair)
        self._best = run_folder.best_checkpoint(folder, repair)
        self.checkpoints = Checkpoints(
            folder, self.model, self.optimizer, strategy, options.keep_checkpoint_max, self.loss_scale
        )
        self.rollbacks = Rollbacks(folder)
        self.history = History(folder, task.best_metric, evaluated_data(task, options))
        is_trained = self._newest and self._newest.step >= options.num_train_steps
        is_lost = not options.do_train and self._best and not self.history.evaluations
        is_beside = (self.history.is_of_other_data and (is_trained or not options.do_train)) or is_lost
        self.suffix = self.history.name_of_data(task.eval_name) if options.do_eval and is_beside else ""
        self.evaluator = make_evaluator(task, self.model, strategy, options) if options.do_eval else None
        self.trainer = self._make_trainer() if options.do_train else None
        if (self.trainer or self.evaluator) and not options.dry_run:
            eval_folder = os.path.join(folder, f"{EVAL_FOLDER}{self.suffix}")
            self.controller = orbit.Controller(
                global_step=self.optimizer.iterations,
                trainer=self.trainer,
                evaluator=self.evaluator,
                strategy=strategy,
                eval_actions=[self._keep_results],
                # A loop ends at a multiple, wherever the run begins: the means are over the same steps.
                steps_per_loop=lambda step: options.iterations_per_loop - step % options.iterations_per_loop,
                summary_dir=os.path.join(folder, TRAIN_FOLDER),
                eval_summary_dir=eval_folder,
                eval_summary_manager=EvaluationScalars(
                    eval_folder, self.optimizer.iterations, lambda: self.history.is_before(self.step)
                ),
            )

    def close(self) -> None:
        """Ends the threads that read data."""
        if self.trainer:
            self.trainer.close_input()

    @property
    def step(self) -> int:
        """The number of updates of the current weights, over all runs in this folder."""
        return int(self.optimizer.iterations.numpy())

    @property
    def variables(self) -> list[tf.Variable]:
        """The variables of the model and the optimizer."""
        return [*self.model.variables, *self.optimizer.variables]

    def find_weights(self) -> None:
        """Takes a checkpoint of the folder, else `--init_checkpoint`, else leaves fresh weights.

        Training continues from the newest checkpoint; everything else takes the one that the folder means.
        A summary says what will happen. Raises `InputError` if the weights are missing or do not fit.
        """
        options = self.options
        found = self._newest if options.do_train else run_folder.meant_checkpoint(self.folder)
        if found:
            provenance.check(self.folder, self.task, options, found.step)
            self.checkpoints.restore(found.path)
            self._say_what_happens("continues from", self._described(found))
            if not (options.dry_run or self.suffix):
                self._match_history(found)
        else:
            self._start()
        self.workers.check_same_weights(self.variables)

    def _described(self, found: run_folder.Saved) -> str:
        if self.options.do_train:
            return f"{found} of {self.options.num_train_steps:,}"
        kept = self.checkpoints.kept()
        if self.options.do_eval and not self.suffix and len(kept) > 1 and not self._best:
            return f"the best by {self.task.best_metric} of {len(kept)} checkpoints in {self.folder}"
        return str(found)

    def _start(self) -> None:
        """Begins with `--init_checkpoint` or fresh weights."""
        options = self.options
        if options.do_train and self._best:
            raise InputError(
                f"{self._best.path} would be overwritten, and there is no checkpoint beside it to continue "
                "from: choose another --output_dir"
            )
        where = "fresh weights"
        differences: dict[str, str] = {}
        if options.init_checkpoint:
            report, differences = load_initial_weights(
                self.task,
                self.model,
                options.init_checkpoint,
                init_from_group0=options.init_from_group0,
                with_head=not options.do_train,
                allow_missing=options.do_train and options.allow_missing,
            )
            say(f"{report}\n{report.listing()}" if options.verbosity == "info" else str(report))
            where = report.origin
        elif not options.do_train:
            raise InputError(f"no checkpoint in {self.folder}: train first, or give --init_checkpoint")
        self._say_what_happens("starts from", where, differences)
        if options.do_train and not options.dry_run:
            self.history.forget_after(-1)
            provenance.describe(self.folder, self.task, options)

    def _say_what_happens(self, how: str, where: str, differences: Mapping[str, str] | None = None) -> None:
        weights = {how if self.options.do_train else "weights": where, **(differences or {})}
        facts = summary.before(self.task, self.options, self.strategy, self.model, weights, self.folder)
        say(f"\n{facts}\n")

    def say_where_all_is(self, *more: str) -> None:
        """Shows the paths of checkpoints and results; `more` are paths that only the caller knows."""
        kept, best = self.checkpoints.kept(), run_folder.best_checkpoint(self.folder)
        results, metric = self.history.of(best.step) if best else None, self.task.best_metric
        result = f"{metric} {results[metric]:.4f}" if results else ""
        if self.suffix:
            more = (*(self.path_of(run_folder.RESULTS, ending) for ending in (".txt", ".json")), *more)
        say(f"\n{summary.after(self.folder, kept[-1] if kept else None, best, result, more)}")

    def path_of(self, name: str, ending: str) -> str:
        """The path of a file of an evaluation, such as its report."""
        return os.path.join(self.folder, f"{name}{self.suffix}{ending}")

    def train(self) -> None:
        """Trains to the last step; with `--on_divergence=rollback`, past the data that make it diverge."""
        options, last = self.options, self.options.num_train_steps
        self.rollbacks.forget_after(self.step)
        is_stop = self.step and (self.step % options.save_checkpoints_steps == 0 or self.step == last)
        if options.do_eval and is_stop and not (self.suffix or self.history.of(self.step)):
            self.evaluate()  # the run was interrupted after it saved and before it recorded
        if self.step >= last:
            say(f"nothing left to train: {self.step} of {last} steps done")
            return
        if options.on_divergence == "rollback" and not self.checkpoints.newest():
            self.checkpoints.save(self.step)
        while True:
            try:
                return self._train_on()
            except Diverged as diverged:
                self._roll_back(diverged)

    def _train_on(self) -> None:
        """Trains to each multiple of `save_checkpoints_steps`, evaluates there if asked, and saves."""
        options, first = self.options, self.step
        interval, last = options.save_checkpoints_steps, options.num_train_steps
        assert self.trainer
        self.forecast = Forecast(last - first)
        write_flags(self.controller.summary_manager.summary_writer(), options, first)
        self.progress = TrainingProgress(self.task, options, first, self.trainer.own_results)
        try:
            with contextlib.closing(self.progress):
                while self.step < last and not self._should_stop_early():
                    next_stop = (self.step // interval + 1) * interval
                    with without_orbits_prints(options.verbosity):
                        self.controller.train(min(next_stop, last))
                    # The evaluation comes before the checkpoint: ruined weights must not be the newest.
                    if options.do_eval:
                        self._run_evaluation()
                    self.checkpoints.save(self.step)
                    if options.do_eval:
                        self._record_evaluation()
        except KeyboardInterrupt:
            if self.step > first:
                self._save_interrupted()
            raise

    def _save_interrupted(self) -> None:
        newest = self.checkpoints.newest()
        assert self.trainer
        if not (newest and newest.endswith(f"-{self.step}")):
            try:
                self.trainer.check()
            except Diverged as diverged:
                return say(f"{diverged}: these weights are not saved")
            newest = self.checkpoints.save(self.step)
        say(f"saved {newest}; the same command continues from there")

    def _roll_back(self, diverged: Diverged) -> None:
        """Goes back to the newest checkpoint and past bad data; `InputError` if not wanted or too often."""
        kept, done = self.checkpoints.newest(), len(self.rollbacks)
        if self.options.on_divergence == "stop" or done == MOST_ROLLBACKS:
            often = f", after {done} rollbacks" if done else ""
            raise InputError(
                f"{diverged}{often}. Try a lower --learning_rate, more warm-up or a larger "
                "--train_batch_size. "
                + (f"The last checkpoint is {kept}" if kept else "No checkpoint was saved before")
            ) from diverged
        assert kept
        assert self.trainer
        self.checkpoints.restore(kept)
        self.rollbacks.add(self.step, diverged)
        self.trainer.start_over()
        say(
            f"{diverged}: back to {kept} and past the data of the steps from there (rollback {done + 1} of "
            f"{MOST_ROLLBACKS})"
        )

    def evaluate(self) -> None:
        """Evaluates the current weights."""
        self._run_evaluation()
        self._record_evaluation()

    def start_results(self) -> dict[str, float]:
        """The results before the first step, from now or from the file of the run; {} if none are known."""
        path = os.path.join(self.folder, run_folder.START_FILE)
        if self.options.do_train and not (self.step or self.suffix):
            self.evaluate()
            write_json(path, self.results)
        return read_json(path, dict[str, float]) if os.path.exists(path) else {}

    def evaluate_chosen(self) -> None:
        """Evaluates the current weights, unless the last evaluation was of them."""
        if self.results.get("global_step") != self.step:
            self.evaluate()

    def evaluate_saved(self) -> None:
        """Evaluates without training, and leaves the chosen weights in the model.

        It also evaluates each kept checkpoint that the history lacks, and one of these may become the best;
        on other data than those of the history it does neither.
        """
        if not self.suffix:
            for saved in self.checkpoints.kept():
                if not self.history.of(saved.step):
                    self.checkpoints.restore(saved.path)
                    self.evaluate()
        self.restore_best()
        self.evaluate_chosen()

    def restore_best(self) -> None:
        """Takes the best checkpoint, if there is one, and says its step."""
        saved = run_folder.meant_checkpoint(self.folder)
        if saved and os.path.basename(saved.path) == run_folder.BEST_CHECKPOINT:
            self.checkpoints.restore(saved.path)
            say(f"best by {self.task.best_metric}: step {self.step}")

    def _match_history(self, found: run_folder.Saved) -> None:
        """Makes history and best checkpoint fit the checkpoints of the folder; leaves the weights `found`.

        They do not fit if the run was killed after it recorded an evaluation and before it saved the best
        weights, if the user went back to an older checkpoint, or if the history is lost or of other data.
        """
        if self.options.do_train:
            self.history.forget_after(found.step)
        saved = self._best if self._best and self._best.step <= found.step else None
        if self.options.do_eval and saved and not self.history.of(saved.step):
            self.checkpoints.restore(saved.path)
            self.evaluate()
        kept = {checkpoint.step: checkpoint.path for checkpoint in self.checkpoints.kept()}
        while (best := self.history.best()) and not (saved and best["global_step"] == saved.step):
            step = int(best["global_step"])
            if step in kept:
                self.checkpoints.restore(kept[step])
                self.checkpoints.save_best()
                break
            self.history.forget(step)
        if self.step != found.step:
            self.checkpoints.restore(found.path)

    def _make_trainer(self) -> Trainer:
        options = self.options

        def make_batches() -> tf.distribute.DistributedDataset:
            make = functools.partial(self.task.longest_batches, options.train_batch_size)
            if not options.dry_run:
                first_batch = self.rollbacks.batch_of(self.step)
                make = functools.partial(
                    self.task.train_dataset, options.train_batch_size, options.seed, first_batch
                )
            return batches_of(self.strategy, make)

        return Trainer(
            task=self.task,
            model=self.model,
            optimizer=self.optimizer,
            strategy=self.strategy,
            make_batches=make_batches,
            seed=options.seed,
            after_step=self._after_step,
            micro_batches=max(options.gradient_accumulation_steps, self.task.parts),
            loss_scale=self.loss_scale,
            jit_compile=options.jit_compile,
        )

    def _after_step(self, steps: int) -> None:
        if self.options.dry_run:
            return
        if line := self.forecast.advance(steps):
            say(line)
        is_due = self.progress.advance(steps)
        self._check_interrupted()
        # The workers of a cluster must stop at the same step, but show their progress at different steps.
        if is_due and self.workers.is_alone and self.trainer:
            self.trainer.check_steps()

    def _should_stop_early(self) -> bool:
        patience = self.options.early_stopping_patience
        since_best = self.history.evaluations_since_best()
        if patience is None or since_best < patience:
            return False
        say(f"stopped early at step {self.step}: nothing better in the last {since_best} evaluations")
        return True

    def _run_evaluation(self) -> None:
        with without_orbits_prints(self.options.verbosity):
            self.controller.evaluate(self.options.max_eval_steps or -1)

    def _keep_results(self, output: dict[str, Any]) -> None:
        results = {"global_step": self.step} | {name: float(value) for name, value in output.items()}
        if not math.isfinite(loss := loss_of(results)):
            raise Diverged(f"the loss of the evaluation at step {self.step} is {loss}", self.step - 1)
        if (metric := self.task.best_metric) not in results:
            raise InputError(f"--best_metric={metric} is none of the results {', '.join(output)}")
        self.results = results

    def _record_evaluation(self) -> None:
        """Records the results, then saves the weights if they are better than all before."""
        results, is_best = self.results, False
        if not self.suffix and (self.options.do_train or not self.history.of(self.step)):
            is_best = self.history.would_be_best(results)
            if self.step:  # at step 0 the weights are not of this run
                self.history.add(results)
                if is_best:
                    self.checkpoints.save_best()
        results_and_baseline = results | self.task.baseline_results()
        write_results(self.folder, results_and_baseline, f"{run_folder.RESULTS}{self.suffix}")
        names = self.task.headline or [name for name in results if name != "global_step"]
        shown = " ".join(f"{name} {results[name]:.4f}" for name in names if name in results)
        say(f"evaluation at step {self.step}: {shown}{' (best so far)' if is_best else ''}")
