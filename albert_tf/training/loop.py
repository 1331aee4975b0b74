"""One loop for every task: train, evaluate, keep the best, continue where it stopped."""

import contextlib
import io
import os

import orbit
import tensorflow as tf
import tf_keras

from albert_tf.checkpoints.loading import load_weights
from albert_tf.errors import InputError
from albert_tf.flags import TrainingOptions
from albert_tf.tasks.task import Task
from albert_tf.training.distribution import check_batch_size, make_strategy, worker_folder
from albert_tf.training.optimization import OPTIMIZERS, WarmupPolynomialDecay
from albert_tf.training.report import TrainingProgress, format_results, say, write_results
from albert_tf.training.trainer import Evaluator, Trainer

CHECKPOINT_NAME = "model.ckpt"
BEST_CHECKPOINT = "model.ckpt-best"


def run(
    task: Task, options: TrainingOptions, strategy: tf.distribute.Strategy | None = None
) -> dict[str, float]:
    """Trains and evaluates a task as the options say.

    Weights come from the newest checkpoint in `output_dir`, else from `init_checkpoint`, else fresh.
    Checkpoints are `output_dir`/model.ckpt-<step>; the best by the task's metric is model.ckpt-best.

    Args:
      task: what to train.
      options: how.
      strategy: the devices; default: those the options ask for.

    Returns:
      The results of the last evaluation, empty if there was none.

    Raises:
      InputError: bad flags or data, or training that diverged.
    """
    if not (options.do_train or options.do_eval):
        raise InputError("nothing to do: neither --do_train nor --do_eval is given")
    task.check_inputs()
    strategy = strategy or make_strategy(options)
    folder = worker_folder(options.output_dir, strategy)
    _make_folder(folder)
    check_batch_size("train_batch_size", options.train_batch_size, strategy)
    check_batch_size("eval_batch_size", options.eval_batch_size, strategy)
    try:
        with _without_orbits_prints(options.verbosity):
            results = _Run(task, options, strategy, folder).execute()
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError):
        problem = task.explain_bad_record()
        if problem is None:
            raise
        raise InputError(problem) from None
    if results:
        print(format_results(results), end="")
    return results


class _Run:
    """The objects of one run and what they do."""

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
        self.checkpoints = tf.train.CheckpointManager(
            tf.train.Checkpoint(model=self.model, optimizer=self.optimizer),
            self.folder,
            max_to_keep=options.keep_checkpoint_max,
            checkpoint_name=CHECKPOINT_NAME,
            step_counter=self.optimizer.iterations,
            checkpoint_interval=options.save_checkpoints_steps,
            init_fn=self._initialize,
        )
        self.best = orbit.actions.NewBestMetric(
            task.best_metric, filename=os.path.join(self.folder, f"best_{task.best_metric}.json")
        )
        self.trainer = self._trainer() if options.do_train else None
        self.controller = orbit.Controller(
            global_step=self.optimizer.iterations,
            trainer=self.trainer,
            evaluator=self._evaluator() if options.do_eval else None,
            strategy=strategy,
            train_actions=[self._stop_if_diverged],
            eval_actions=[self._keep_results],
            steps_per_loop=min(options.iterations_per_loop, options.save_checkpoints_steps),
            checkpoint_manager=self.checkpoints,
            summary_dir=self.folder,
            eval_summary_dir=os.path.join(self.folder, "eval"),
        )

    @property
    def step(self) -> int:
        """Updates done so far, over all runs in this folder."""
        return int(self.optimizer.iterations.numpy())

    def execute(self) -> dict[str, float]:
        """Trains and evaluates; returns the results of the last evaluation."""
        options = self.options
        if self.checkpoints.latest_checkpoint:
            say(f"continuing from {self.checkpoints.latest_checkpoint}")
        elif not options.do_train and not options.init_checkpoint:
            raise InputError(f"no checkpoint in {self.folder} to evaluate: train first")
        say(
            f"{self.model.count_params():,} parameters on {self.strategy.num_replicas_in_sync} device(s), "
            f"{options.mixed_precision}, seed {options.seed}"
        )
        if options.do_train and self.step < options.num_train_steps:
            self._train()
        else:
            if options.do_train:
                say(f"nothing left to train: {self.step} of --num_train_steps={options.num_train_steps} done")
            if options.do_eval:
                self.controller.evaluate(options.max_eval_steps)
        say(f"checkpoints, results and TensorBoard scalars are in {self.folder}")
        return self.results

    def _train(self) -> None:
        options = self.options
        self.progress = TrainingProgress(
            first_step=self.step,
            last_step=options.num_train_steps,
            tokens_per_step=options.train_batch_size * self.task.tokens_per_example,
            metrics=self.task.progress_metrics,
            results=self.trainer.results,
        )
        try:
            with contextlib.closing(self.progress):
                if options.do_eval:
                    self.controller.train_and_evaluate(
                        options.num_train_steps, options.max_eval_steps, options.save_checkpoints_steps
                    )
                else:
                    self.controller.train(options.num_train_steps)
        except KeyboardInterrupt:
            self._stop_if_diverged()
            self.controller.save_checkpoint()
            say(f"saved step {self.step}; the same command continues from there")
            raise

    def _trainer(self) -> Trainer:
        options = self.options

        def make_batches():
            # A run that continues does not see the beginning of the data again.
            seed = options.seed + self.step
            return self.strategy.distribute_datasets_from_function(
                lambda context: self.task.train_dataset(
                    context.get_per_replica_batch_size(options.train_batch_size), seed, context
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

    def _evaluator(self) -> Evaluator:
        def dataset(context):
            batch_size = context.get_per_replica_batch_size(self.options.eval_batch_size)
            return self.task.eval_dataset(batch_size, context)

        batches = self.strategy.distribute_datasets_from_function(dataset)
        return Evaluator(task=self.task, model=self.model, strategy=self.strategy, batches=batches)

    def _initialize(self) -> None:
        if not self.options.init_checkpoint:
            return
        report = load_weights(self.model, self.options.init_checkpoint, self.options.init_from_group0)
        say(f"{report}\n{report.listing()}" if self.options.verbosity == "info" else str(report))

    def _after_step(self, steps: int) -> None:
        if self.progress.advance(steps):
            self._stop_if_diverged()

    def _stop_if_diverged(self, _=None) -> None:
        step = self.trainer.first_bad_step()
        if step is None:
            return
        kept = self.checkpoints.latest_checkpoint
        raise InputError(
            f"the loss or a gradient is not finite at step {step}. Try a lower --learning_rate, more "
            f"--num_warmup_steps or a larger --train_batch_size. "
            + (f"The last good checkpoint is {kept}" if kept else "No checkpoint was saved before")
        )

    def _keep_results(self, output: dict[str, tf.Tensor]) -> None:
        names = ("loss", *self.task.metrics)
        self.results = {"global_step": self.step} | {name: float(output[name]) for name in names}
        write_results(self.folder, self.results)
        is_best = self.best.test(output)
        if is_best:
            self.checkpoints.checkpoint.write(os.path.join(self.folder, BEST_CHECKPOINT))
            self.best.commit(output)
        shown = " ".join(f"{name} {self.results[name]:.4f}" for name in names)
        say(f"evaluation at step {self.step}: {shown}{' (best so far)' if is_best else ''}")


def _make_folder(folder: str) -> None:
    try:
        tf.io.gfile.makedirs(folder)
        probe = os.path.join(folder, ".writable")
        with tf.io.gfile.GFile(probe, "w") as file:
            file.write("")
        tf.io.gfile.remove(probe)
    except tf.errors.OpError as error:
        raise InputError(f"--output_dir={folder} cannot be written: {error.message}") from None


def _without_orbits_prints(verbosity: str) -> contextlib.AbstractContextManager:
    """Orbit prints each of its loops to standard output; our progress line says the same."""
    if verbosity == "info":
        return contextlib.nullcontext()
    return contextlib.redirect_stdout(io.StringIO())
