"""Evaluation and prediction, on one device or many: means over batches, or the outputs for every example."""

import itertools
import math
from collections.abc import Mapping

import numpy as np
import orbit
import tensorflow as tf
import tf_keras

from albert_tf.cli.options import TrainingOptions
from albert_tf.cli.progress import progress_bar
from albert_tf.data.batching import FILLER
from albert_tf.tasks.benchmark import BenchmarkTask, under_one_name
from albert_tf.tasks.task import Task, WeightedSum
from albert_tf.training.distribution import device_step


class Evaluator(orbit.AbstractEvaluator):
    """Runs the evaluation examples once, or the first `num_steps` batches of them.

    Args:
      task: what is evaluated.
      model: its model, made in the scope of `strategy`.
      strategy: the devices.
      batches: distributed dataset that ends.
      jit_compile: whether XLA compiles the step.
    """

    def __init__(
        self,
        *,
        task: Task,
        model: tf_keras.Model,
        strategy: tf.distribute.Strategy,
        batches: tf.distribute.DistributedDataset,
        jit_compile: bool = False,
    ):
        super().__init__(name="evaluator")
        self.task = task
        self.model = model
        self.strategy = strategy
        self.batches = batches
        with strategy.scope():
            self._metrics = Means(task, strategy)
        self._run_replica = device_step(self.replica_step, jit_compile)

    def evaluate(self, num_steps: tf.Tensor) -> dict[str, tf.Tensor]:
        """Means over the evaluation examples, `loss` among them."""
        self._metrics.reset()
        batches = itertools.islice(self.batches, int(num_steps))
        for batch in progress_bar(iterable=batches, desc="evaluating", unit="batch", leave=False, delay=2):
            self._step(batch)
        return self._metrics.results()

    def try_one_batch(self) -> None:
        """Runs the first batch, for its time and memory."""
        self._step(next(iter(self.batches)))
        self._metrics.results()["loss"].numpy()

    @tf.function(autograph=False, reduce_retracing=True)
    def _step(self, batch):
        self.strategy.run(self._run_replica, args=(batch,))

    def replica_step(self, batch: Mapping[str, tf.Tensor]) -> None:
        """What a device does in a step, with its share of the batch."""
        self._metrics.update(self.task.measure(self.model, batch, training=False))


class Means:
    """Running means of a task's metrics, summed over devices; made in the scope of the strategy."""

    def __init__(self, task: Task, strategy: tf.distribute.Strategy):
        self._losses = task.losses
        self._local_results = strategy.experimental_local_results
        self._means = {name: tf_keras.metrics.Mean(name=name) for name in task.metrics}

    def update(self, measured: Mapping[str, WeightedSum]) -> None:
        """Adds the results of a batch."""
        for name, mean in self._means.items():
            total, weight, _ = measured[name]
            mean.update_state(tf.math.divide_no_nan(total, weight), sample_weight=weight)

    def reset(self) -> None:
        """Begins anew."""
        for mean in self._means.values():
            mean.reset_state()

    def results(self) -> dict[str, tf.Tensor]:
        """Over all devices; of a cluster all workers must ask at the same step."""
        return self._with_loss({name: mean.result() for name, mean in self._means.items()})

    def own_results(self) -> dict[str, tf.Tensor]:
        """Over the devices of this process."""
        own = {}
        for name, mean in self._means.items():
            total, count = (tf.add_n(self._local_results(part)) for part in (mean.total, mean.count))
            own[name] = tf.math.divide_no_nan(total, count)
        return self._with_loss(own)

    def _with_loss(self, results: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"loss": tf.add_n([results[name] for name in self._losses])} | results


class Predictor:
    """Runs a task's model over a split.

    Args:
      task: gives the data and the outputs.
      model: its model, made in the scope of `strategy`.
      strategy: the devices.
      jit_compile: whether XLA compiles the model, once for each shape of a batch.
    """

    def __init__(
        self,
        task: BenchmarkTask,
        model: tf_keras.Model,
        strategy: tf.distribute.Strategy,
        jit_compile: bool = False,
    ):
        self._task = task
        self._model = model
        self._strategy = strategy
        self._run_replica = device_step(self.replica_step, jit_compile)

    def try_one_batch(self, split: str, batch_size: int) -> None:
        """Runs the batch of the longest examples, for its time and memory."""
        for value in self._step(next(iter(self._batches(split, batch_size)))).values():
            self._strategy.gather(value, axis=0).numpy()

    def predict(self, split: str, batch_size: int, description: str) -> dict[str, np.ndarray]:
        """The outputs for all examples, in the order of the split.

        Args:
          split: "train", "dev" or "test".
          batch_size: examples at a time, over all devices.
          description: of the progress line.
        """
        batches = self._batches(split, batch_size)
        size = len(self._task.features[split])
        parts = []
        unit = f" {self._task.examples_name}"
        with progress_bar(total=size, desc=description, unit=unit, leave=False, delay=2) as bar:
            for batch in batches:
                outputs = self._step(batch)
                parts.append(
                    {name: self._strategy.gather(value, axis=0).numpy() for name, value in outputs.items()}
                )
                bar.update(np.count_nonzero(parts[-1]["example_index"] != FILLER))
        outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        indices = outputs.pop("example_index")
        order = np.argsort(indices)[np.count_nonzero(indices == FILLER) :]
        return {name: values[order] for name, values in outputs.items()}

    def _batches(self, split: str, batch_size: int) -> tf.distribute.DistributedDataset:
        return self._strategy.distribute_datasets_from_function(
            lambda context: self._task.eval_dataset(batch_size, context, split)
        )

    @tf.function(autograph=False, reduce_retracing=True)
    def _step(self, batch):
        return self._strategy.run(self._run_replica, args=(batch,))

    def replica_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """What a device does in a step: the outputs for its share of the batch."""
        return self._task.outputs(self._model, batch)


class BenchmarkEvaluator(orbit.AbstractEvaluator):
    """Evaluates the dev split; orbit writes the results as TensorBoard scalars.

    Attributes:
      outputs: those of the last evaluation.
      results_by_part: what they gave.
    """

    def __init__(self, task: BenchmarkTask, predictor: Predictor, batch_size: int):
        super().__init__(name="evaluator")
        self._task = task
        self._predictor = predictor
        self._batch_size = batch_size
        self.outputs: Mapping[str, np.ndarray] = {}
        self.results_by_part: Mapping[str, Mapping[str, float]] = {}

    def evaluate(self, num_steps: tf.Tensor) -> dict[str, float]:
        """The benchmark's results, always over the whole split; of ruined weights, that the loss is none."""
        self.outputs = self._predictor.predict("dev", self._batch_size, "evaluating")
        if not all(np.isfinite(values).all() for values in self.outputs.values()):
            return {"eval_loss": math.nan}
        self.results_by_part = self._task.results_by_part("dev", self.outputs)
        return under_one_name(self.results_by_part)

    def try_one_batch(self) -> None:
        """Runs the batch of the longest examples, for its time and memory."""
        self._predictor.try_one_batch("dev", self._batch_size)


def make_evaluator(
    task: Task, model: tf_keras.Model, strategy: tf.distribute.Strategy, options: TrainingOptions
) -> orbit.AbstractEvaluator:
    """What evaluates the task: over all examples of a benchmark, else by means over batches."""
    if isinstance(task, BenchmarkTask):
        predictor = Predictor(task, model, strategy, options.jit_compile)
        return BenchmarkEvaluator(task, predictor, options.eval_batch_size)
    batches = strategy.distribute_datasets_from_function(
        lambda context: task.eval_dataset(options.eval_batch_size, context)
    )
    return Evaluator(
        task=task, model=model, strategy=strategy, batches=batches, jit_compile=options.jit_compile
    )


def evaluated_data(task: Task, options: TrainingOptions) -> str:
    """What tells evaluations from those that are not to be compared with them."""
    if not options.do_eval or options.max_eval_steps is None:
        return task.eval_data()
    return f"{task.eval_data()}, {options.max_eval_steps * options.eval_batch_size} examples at most"
