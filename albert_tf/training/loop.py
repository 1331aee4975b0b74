"""One loop for every task: train, evaluate, keep the best, continue where it stopped."""

import contextlib
import io
import math
import os

import orbit
import tensorflow as tf
import tf_keras

from albert_tf.checkpoints.loading import load_weights
from albert_tf.checkpoints.opening import BEST_CHECKPOINT
from albert_tf.checkpoints.sidecars import CONFIG_FILE
from albert_tf.config import AlbertConfig
from albert_tf.errors import InputError
from albert_tf.flags import TrainingOptions
from albert_tf.tasks.task import Task
from albert_tf.training.distribution import check_batch_size, make_strategy, worker_folder
from albert_tf.training.optimization import OPTIMIZERS, WarmupPolynomialDecay
from albert_tf.training.report import TrainingProgress, format_results, say, write_results
from albert_tf.training.trainer import Evaluator, Trainer

CHECKPOINT_NAME = "model.ckpt"

# What TensorFlow raises for records that it cannot read or use.
_READING_ERRORS = (
    tf.errors.DataLossError,
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.OutOfRangeError,
)


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
    if options.do_train:
        check_batch_size("train_batch_size", options.train_batch_size, strategy)
    if options.do_eval:
        check_batch_size("eval_batch_size", options.eval_batch_size, strategy)
    folder = worker_folder(options.output_dir, strategy)
    _make_folder(folder)
    try:
        with _without_orbits_prints(options.verbosity):
            results = _Run(task, options, strategy, folder).execute()
    except tf.errors.OpError as error:
        if options.verbosity == "info":
            raise
        problem = None
        if isinstance(error, _READING_ERRORS):
            problem = task.explain_bad_record()
        raise InputError(problem or f"TensorFlow: {_reason(error)}") from error
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
        self.checkpoint = tf.train.Checkpoint(model=self.model, optimizer=self.optimizer)
        try:
            self.checkpoints = tf.train.CheckpointManager(
                self.checkpoint, folder, options.keep_checkpoint_max, checkpoint_name=CHECKPOINT_NAME
            )
        except UnicodeDecodeError:
            raise InputError(f"{folder}/checkpoint is no list of checkpoints") from None
        self.best = _best_metric(task.best_metric, folder)
        self.trainer = self._trainer() if options.do_train else None
        self.controller = orbit.Controller(
            global_step=self.optimizer.iterations,
            trainer=self.trainer,
            evaluator=self._evaluator() if options.do_eval else None,
            strategy=strategy,
            train_actions=[self._stop_if_diverged],
            eval_actions=[self._keep_results],
            steps_per_loop=options.iterations_per_loop,
            summary_dir=folder,
            eval_summary_dir=os.path.join(folder, "eval"),
        )

    @property
    def step(self) -> int:
        """Updates done so far, over all runs in this folder."""
        return int(self.optimizer.iterations.numpy())

    def execute(self) -> dict[str, float]:
        """Trains and evaluates; returns the results of the last evaluation."""
        options = self.options
        say(
            f"{self.model.count_params():,} parameters on {self.strategy.num_replicas_in_sync} device(s), "
            f"{options.mixed_precision}, seed {options.seed}"
        )
        self._find_weights()
        if options.do_train and self.step < options.num_train_steps:
            self._train()
        else:
            if options.do_train:
                say(f"nothing left to train: {self.step} of --num_train_steps={options.num_train_steps} done")
            if options.do_eval:
                self.controller.evaluate(options.max_eval_steps)
        say(f"checkpoints, results and TensorBoard scalars are in {self.folder}")
        return self.results

    def _find_weights(self) -> None:
        """Takes the newest checkpoint of the folder, else `--init_checkpoint`, else leaves fresh weights."""
        # All workers of a cluster continue from what the first one saved.
        newest = tf.train.latest_checkpoint(self.options.output_dir) or self.checkpoints.latest_checkpoint
        if newest:
            self._check_config()
            try:
                with self.strategy.scope():
                    self.checkpoint.restore(newest).assert_existing_objects_matched()
            except (tf.errors.OpError, AssertionError, ValueError, IndexError) as error:
                raise InputError(
                    f"{newest} cannot be restored ({str(error).splitlines()[0]}): to continue from an older "
                    f"checkpoint, name it in {self.folder}/checkpoint"
                ) from error
            say(f"continuing from {newest}")
            return
        if tf.io.gfile.glob(os.path.join(self.folder, f"{CHECKPOINT_NAME}-[0-9]*.index")):
            raise InputError(
                f"{self.folder} holds checkpoints, but its state file 'checkpoint' is missing or damaged"
            )
        if self.options.init_checkpoint:
            report = load_weights(self.model, self.options.init_checkpoint, self.options.init_from_group0)
            say(f"{report}\n{report.listing()}" if self.options.verbosity == "info" else str(report))
        elif not self.options.do_train:
            raise InputError(f"no checkpoint in {self.folder} to evaluate: train first")
        self.task.config.to_json_file(os.path.join(self.folder, CONFIG_FILE))

    def _check_config(self) -> None:
        path = os.path.join(self.folder, CONFIG_FILE)
        if not tf.io.gfile.exists(path):
            return
        ours, saved = self.task.config.to_dict(), AlbertConfig.from_json_file(path).to_dict()
        differing = sorted(key for key in ours | saved if ours.get(key) != saved.get(key))
        if differing:
            raise InputError(
                f"the checkpoints in {self.folder} have another config: "
                + ", ".join(f"{key} {saved.get(key)}, not {ours.get(key)}" for key in differing)
            )

    def _train(self) -> None:
        """Trains to each multiple of `save_checkpoints_steps`, evaluates there if asked, and saves."""
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
                while self.step < options.num_train_steps:
                    interval = options.save_checkpoints_steps
                    next_stop = (self.step // interval + 1) * interval
                    self.controller.train(min(next_stop, options.num_train_steps))
                    # Evaluated before it is saved: weights that are ruined must not be the newest ones.
                    if options.do_eval:
                        self.controller.evaluate(options.max_eval_steps)
                    self.checkpoints.save(self.step)
        except KeyboardInterrupt:
            self._stop_if_diverged()
            path = self.checkpoints.save(self.step)
            say(f"saved {path}; the same command continues from there")
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

    def _after_step(self, steps: int) -> None:
        if self.progress.advance(steps):
            self._stop_if_diverged()

    def _stop_if_diverged(self, _=None) -> None:
        step = self.trainer.first_bad_step()
        if step is not None:
            raise self._divergence(f"the loss or a gradient is not finite at step {step}")

    def _divergence(self, what: str) -> InputError:
        kept = self.checkpoints.latest_checkpoint
        return InputError(
            f"{what}. Try a lower --learning_rate, more --num_warmup_steps or a larger --train_batch_size. "
            + (f"The last checkpoint is {kept}" if kept else "No checkpoint was saved before")
        )

    def _keep_results(self, output: dict[str, tf.Tensor]) -> None:
        names = ("loss", *self.task.metrics)
        results = {"global_step": self.step} | {name: float(output[name]) for name in names}
        if not math.isfinite(results["loss"]):
            raise self._divergence(f"the loss of the evaluation at step {self.step} is {results['loss']}")
        self.results = results
        write_results(self.folder, results)
        is_best = self.best.test(output)
        if is_best:
            self.checkpoint.write(os.path.join(self.folder, BEST_CHECKPOINT))
            self.best.commit(output)
        shown = " ".join(f"{name} {results[name]:.4f}" for name in names)
        say(f"evaluation at step {self.step}: {shown}{' (best so far)' if is_best else ''}")


def _best_metric(name: str, folder: str) -> orbit.actions.NewBestMetric:
    path = os.path.join(folder, f"best_{name}.json")
    try:
        return orbit.actions.NewBestMetric(name, filename=path)
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from None


def _reason(error: tf.errors.OpError) -> str:
    """The line of TensorFlow's message that says what is wrong, without where it came about."""
    context = ("Graph execution error", "Detected at", "File ", "[[", "(", "Stack trace")
    lines = [line.strip() for line in error.message.splitlines()]
    told = [line for line in lines if line and not line.startswith(context)]
    return told[-1] if told else error.message


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
