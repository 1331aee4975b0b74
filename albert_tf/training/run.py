"""`Run`: a model in training, its checkpoints and its history in one folder."""

import contextlib
import io
import json
import math
import os
from typing import Any

import orbit
import tensorflow as tf
import tf_keras

from albert_tf.checkpoints.opening import BEST_CHECKPOINT
from albert_tf.checkpoints.sidecars import CONFIG_FILE, write_sidecars
from albert_tf.checkpoints.task_file import TASK_FILE, TRAINING_FILE, read_task
from albert_tf.config import AlbertConfig
from albert_tf.errors import InputError
from albert_tf.flags import flags_of
from albert_tf.options import TrainingOptions
from albert_tf.tasks.benchmark import BenchmarkTask
from albert_tf.tasks.task import Task
from albert_tf.training.history import History
from albert_tf.training.initial_weights import load_initial_weights
from albert_tf.training.optimization import OPTIMIZERS, WarmupPolynomialDecay
from albert_tf.training.prediction import BenchmarkEvaluator, Predictor
from albert_tf.training.report import TrainingProgress, say, write_results
from albert_tf.training.saved import CHECKPOINT_NAME, Saved, best_checkpoint, newest_checkpoint
from albert_tf.training.trainer import Evaluator, Trainer


class Run:
    """The objects of one run and what they do.

    Args:
      task: what is trained.
      options: how.
      strategy: the devices.
      folder: where this process writes.

    Attributes:
      results: of the last evaluation in this process, `global_step` among them; empty if there was none.
      history: all evaluations in the folder.
    """

    def __init__(self, task: Task, options: TrainingOptions, strategy: tf.distribute.Strategy, folder: str):
        self.task = task
        self.options = options
        self.strategy = strategy
        self.folder = folder
        self.results: dict[str, float] = {}
        tf_keras.utils.set_random_seed(options.seed)
        with strategy.scope():
            policy = "mixed_bfloat16" if options.mixed_precision == "bfloat16" else "float32"
            self.model = task.build_model(policy)
            schedule = WarmupPolynomialDecay(
                options.learning_rate,
                options.num_train_steps,
                options.num_warmup_steps,
                options.poly_power,
                options.start_warmup_step,
            )
            self.optimizer = OPTIMIZERS[options.optimizer](schedule)
            self.optimizer.build(self.model.trainable_variables)
        # All workers of a cluster continue from what the first one saved.
        self._newest = newest_checkpoint(options.output_dir) or newest_checkpoint(folder)
        self.checkpoint = tf.train.Checkpoint(model=self.model, optimizer=self.optimizer)
        self.checkpoints = tf.train.CheckpointManager(
            self.checkpoint, folder, options.keep_checkpoint_max, checkpoint_name=CHECKPOINT_NAME
        )
        self.history = History(folder, task.best_metric, task.eval_data())
        self.evaluator = self._make_evaluator() if options.do_eval else None
        self.trainer = self._make_trainer() if options.do_train else None
        if self.trainer or self.evaluator:
            self.controller = orbit.Controller(
                global_step=self.optimizer.iterations,
                trainer=self.trainer,
                evaluator=self.evaluator,
                strategy=strategy,
                train_actions=[self._stop_if_diverged],
                eval_actions=[self._keep_results],
                steps_per_loop=options.iterations_per_loop,
                summary_dir=folder,
                eval_summary_dir=os.path.join(folder, "eval"),
            )
        say(
            f"{self.model.count_params():,} parameters on {strategy.num_replicas_in_sync} device(s), "
            f"{options.mixed_precision}, seed {options.seed}"
        )

    @property
    def step(self) -> int:
        """Updates behind the current weights, over all runs in this folder."""
        return int(self.optimizer.iterations.numpy())

    def find_weights(self) -> None:
        """Takes the newest checkpoint of the folder, else `--init_checkpoint`, else leaves fresh weights."""
        options, best = self.options, best_checkpoint(self.folder)
        newest = self._newest
        if best and not newest and not options.do_train:
            newest = best.path  # all that was kept of a run
        if newest:
            self._check_config()
            self._check_task()
            self._restore(newest)
            say(f"continuing from {newest}")
            self._match_history(best)
            return
        if options.do_train and tf.io.gfile.exists(os.path.join(self.folder, f"{BEST_CHECKPOINT}.index")):
            raise InputError(
                f"{os.path.join(self.folder, BEST_CHECKPOINT)} would be overwritten, and there is no "
                "checkpoint beside it to continue from: choose another --output_dir"
            )
        if options.init_checkpoint:
            report = load_initial_weights(
                self.task,
                self.model,
                options.init_checkpoint,
                init_from_group0=options.init_from_group0,
                with_head=not options.do_train,
            )
            say(f"{report}\n{report.listing()}" if options.verbosity == "info" else str(report))
        elif not options.do_train:
            raise InputError(f"no checkpoint in {self.folder}: train first, or give --init_checkpoint")
        if options.do_train:
            self.history.forget_after(-1)
            self._describe_model()

    def train(self) -> None:
        """Trains to each multiple of `save_checkpoints_steps`, evaluates there if asked, and saves."""
        options = self.options
        interval, last = options.save_checkpoints_steps, options.num_train_steps
        first = self.step
        is_stop = first and (first % interval == 0 or first == last)
        if options.do_eval and is_stop and not self.history.holds(first):
            self.evaluate()  # it was interrupted between saving and recording
        if self.step >= last:
            say(f"nothing left to train: {self.step} of {last} steps done")
            return
        if self._should_stop_early():
            return
        self.progress = TrainingProgress(
            first_step=self.step,
            last_step=last,
            examples_per_step=options.train_batch_size,
            tokens_per_example=self.task.tokens_per_example,
            metrics=self.task.progress_metrics,
            results=self.trainer.results,
        )
        try:
            with contextlib.closing(self.progress):
                while self.step < last:
                    next_stop = (self.step // interval + 1) * interval
                    with _without_orbits_prints(options.verbosity):
                        self.controller.train(min(next_stop, last))
                    # Evaluated before it is saved: weights that are ruined must not be the newest ones.
                    if options.do_eval:
                        self._run_evaluation()
                    self.checkpoints.save(self.step)
                    if options.do_eval:
                        self._record_evaluation()
                    if self._should_stop_early():
                        break
        except KeyboardInterrupt:
            self._stop_if_diverged()
            if self.step > first:
                path = self.checkpoints.save(self.step)
                say(f"saved {path}; the same command continues from there")
            raise

    def evaluate(self) -> None:
        """Evaluates the current weights."""
        self._run_evaluation()
        self._record_evaluation()

    def evaluate_saved(self) -> None:
        """Evaluates those kept checkpoints that were not; leaves the newest weights."""
        saved = self.checkpoints.checkpoints
        for path in saved:
            if not self.history.holds(int(path.rpartition("-")[2])):
                self._restore(path)
                self.evaluate()
        if saved:
            self._restore(saved[-1])

    def restore_best(self) -> bool:
        """Takes the best checkpoint, if there is one; returns whether there was."""
        saved, best = best_checkpoint(self.folder), self.history.best()
        if saved is None or saved.step > self.step or (best and best["global_step"] != saved.step):
            return False
        self._restore(saved.path)
        return True

    def _match_history(self, saved_best: Saved | None) -> None:
        """Makes the history fit the checkpoints that are there.

        It does not where the user went back to an older checkpoint, or the history is lost or of other data.
        """
        if self.options.do_train:
            self.history.forget_after(self.step)
        is_usable = saved_best is not None and saved_best.step <= self.step
        if self.options.do_eval and is_usable and not self.history.holds(saved_best.step):
            newest = self.step
            self._restore(saved_best.path)
            self.evaluate()
            if newest != self.step:
                self._restore(self._newest)
        best = self.history.best()
        if best and not (is_usable and best["global_step"] == saved_best.step):
            self.history.forget_after(-1)

    def _restore(self, path: str) -> None:
        # A checkpoint of its own, because the best one was written without the manager's counter.
        checkpoint = tf.train.Checkpoint(model=self.model, optimizer=self.optimizer)
        try:
            with self.strategy.scope():
                checkpoint.read(path).assert_existing_objects_matched()
        except (tf.errors.OpError, AssertionError, ValueError, IndexError) as error:
            advice = f": to continue from an older checkpoint, name it in {self.folder}/checkpoint"
            raise InputError(
                f"{path} cannot be restored ({str(error).splitlines()[0]})"
                + ("" if path.endswith(BEST_CHECKPOINT) else advice)
            ) from error

    def _check_config(self) -> None:
        path = os.path.join(self.folder, CONFIG_FILE)
        if not tf.io.gfile.exists(path):
            return
        ours, saved = self.task.config.to_dict(), AlbertConfig.from_json_file(path).to_dict()
        differing = sorted(key for key in ours | saved if ours.get(key) != saved.get(key))
        if not self.options.do_train:
            differing = [key for key in differing if not key.endswith("dropout_prob")]
        if differing:
            raise InputError(
                f"the checkpoints in {self.folder} have another config: "
                + ", ".join(f"{key} {saved.get(key)}, not {ours.get(key)}" for key in differing)
            )

    def _check_task(self) -> None:
        ours, saved = self.task.describe(), read_task(self.folder) or {}
        if bool(ours) != bool(saved):
            kinds = ("a benchmark's task", "pretraining")
            raise InputError(
                f"the checkpoints in {self.folder} are of {kinds[not saved]}, not of {kinds[not ours]}: "
                "choose another --output_dir"
            )
        keys = ("task_name", "label_names", "do_lower_case", "vocabulary")
        differing = [key for key in keys if key in saved and saved[key] != ours.get(key)]
        if differing:
            raise InputError(
                f"the checkpoints in {self.folder} are of another task: "
                + ", ".join(f"{key} {_shown(saved[key])}, not {_shown(ours[key])}" for key in differing)
            )

    def _describe_model(self) -> None:
        write_sidecars(self.folder, self.task.config, self.task.spm_model_file, self.task.vocab_file)
        command = {"command": self.options.command, "flags": flags_of(self.options)}
        described = {TRAINING_FILE: command}
        if self.task.describe():
            described[TASK_FILE] = self.task.describe()
        for name, content in described.items():
            with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
                json.dump(content, file, indent=2)

    def _make_trainer(self) -> Trainer:
        options = self.options

        def make_batches():
            first_step = self.step
            return self.strategy.distribute_datasets_from_function(
                lambda context: self.task.train_dataset(
                    options.train_batch_size, options.seed, first_step, context
                )
            )

        return Trainer(
            task=self.task,
            model=self.model,
            optimizer=self.optimizer,
            strategy=self.strategy,
            make_batches=make_batches,
            seed=options.seed,
            after_step=self._after_step,
        )

    def _make_evaluator(self) -> orbit.AbstractEvaluator:
        task, batch_size = self.task, self.options.eval_batch_size
        if isinstance(task, BenchmarkTask):
            predictor = Predictor(task, self.model, self.strategy)
            return BenchmarkEvaluator(task, predictor, batch_size)
        batches = self.strategy.distribute_datasets_from_function(
            lambda context: task.eval_dataset(batch_size, context)
        )
        return Evaluator(task=task, model=self.model, strategy=self.strategy, batches=batches)

    def _after_step(self, steps: int) -> None:
        if self.progress.advance(steps):
            self._stop_if_diverged()

    def _should_stop_early(self) -> bool:
        patience = self.options.early_stopping_patience
        since_best = self.history.evaluations_since_best()
        if patience is None or since_best < patience:
            return False
        say(f"stopped early at step {self.step}: nothing better in the last {since_best} evaluations")
        return True

    def _stop_if_diverged(self, _=None) -> None:
        step = self.trainer.first_bad_step()
        if step is not None:
            raise self._divergence(f"the loss or a gradient is not finite at step {step}")

    def _divergence(self, what: str) -> InputError:
        kept = self.checkpoints.latest_checkpoint
        return InputError(
            f"{what}. Try a lower --learning_rate, more warm-up or a larger --train_batch_size. "
            + (f"The last checkpoint is {kept}" if kept else "No checkpoint was saved before")
        )

    def _run_evaluation(self) -> None:
        with _without_orbits_prints(self.options.verbosity):
            self.controller.evaluate(self.options.max_eval_steps or -1)

    def _keep_results(self, output: dict[str, Any]) -> None:
        results = {"global_step": self.step} | {name: float(value) for name, value in output.items()}
        loss = results.get("loss", results.get("eval_loss", 0.0))
        if not math.isfinite(loss):
            raise self._divergence(f"the loss of the evaluation at step {self.step} is {loss}")
        self.results = results

    def _record_evaluation(self) -> None:
        """Keeps weights that are better than all before, then what the evaluation gave."""
        results = self.results
        is_best = self.history.would_be_best(results)
        if self.step:  # weights of this run, not what it started from
            if is_best:
                self.checkpoint.write(os.path.join(self.folder, BEST_CHECKPOINT))
            self.history.add(results)
        write_results(self.folder, results)
        names = self.task.headline or [name for name in results if name != "global_step"]
        shown = " ".join(f"{name} {results[name]:.4f}" for name in names if name in results)
        say(f"evaluation at step {self.step}: {shown}{' (best so far)' if is_best else ''}")


def _shown(value: Any) -> str:
    return ", ".join(value) or "no classes" if isinstance(value, list) else str(value)


def _without_orbits_prints(verbosity: str) -> contextlib.AbstractContextManager:
    """Orbit prints each of its loops to standard output; our progress line says the same."""
    if verbosity == "info":
        return contextlib.nullcontext()
    return contextlib.redirect_stdout(io.StringIO())
