"""Evaluation and prediction on one or many devices: means over batches, or the outputs for each example."""

import itertools
import math
from collections.abc import Iterator, Mapping

import numpy as np
import orbit
import tensorflow as tf
import tf_keras

from albert_tf.cli.options import TrainingOptions
from albert_tf.cli.text import progress_bar
from albert_tf.data.batching import FILLER
from albert_tf.tasks.benchmark import BenchmarkTask, under_one_name
from albert_tf.tasks.task import Task, WeightedSum
from albert_tf.training.distribution import batches_of, device_step


class Evaluator(orbit.AbstractEvaluator):
    """Runs the evaluation examples once, or the first `num_steps` batches of them.

    Args:
      model: the task's model, made in the scope of `strategy`.
      batches: finite distributed dataset.
    """

    def __init__(
        self,
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
        self._measure = device_step(self._measure_on_device, jit_compile)

    def evaluate(self, num_steps: tf.Tensor) -> dict[str, tf.Tensor]:
        """The task's metrics and `loss`, as means over the examples."""
        self._metrics.reset()
        batches = itertools.islice(self.batches, int(num_steps))
        for batch in progress_bar(iterable=batches, desc="evaluating", unit="batch", leave=False, delay=2):
            self._step(batch)
        return self._metrics.results()

    def try_one_batch(self) -> None:
        """Runs the first batch, to measure time and memory."""
        self._step(next(iter(self.batches)))
        self._metrics.results()["loss"].numpy()

    @tf.function(autograph=False, reduce_retracing=True)
    def _step(self, batch):
        self.strategy.run(self.replica_step, args=(batch,))

    def replica_step(self, batch: Mapping[str, tf.Tensor]) -> None:
        """The step of one device, with its share of the batch."""
        self._metrics.update(self._measure(batch))

    def _measure_on_device(self, batch: Mapping[str, tf.Tensor]) -> dict[str, WeightedSum]:
        return self.task.measure(self.model, batch, training=False)


class Means:
    """Running means of a task's metrics over all devices; make it in the scope of the strategy."""

    def __init__(self, task: Task, strategy: tf.distribute.Strategy):
        self._losses = task.losses
        self._local_results = strategy.experimental_local_results
        self._means = {name: tf_keras.metrics.Mean(name=name) for name in task.metrics}

    def update(self, measured: Mapping[str, WeightedSum]) -> None:
        """Adds the metrics of a batch."""
        for name, mean in self._means.items():
            total, weight, _ = measured[name]
            mean.update_state(tf.math.divide_no_nan(total, weight), sample_weight=weight)

    def reset(self) -> None:
        """Forgets all batches."""
        for mean in self._means.values():
            mean.reset_state()

    def results(self) -> dict[str, tf.Tensor]:
        """Means over all devices; all workers of a cluster must ask for them at the same step."""
        return self._with_loss({name: mean.result() for name, mean in self._means.items()})

    def own_results(self) -> dict[str, tf.Tensor]:
        """Means over the devices of this process."""
        own = {}
        for name, mean in self._means.items():
            total, count = (tf.add_n(self._local_results(part)) for part in (mean.total, mean.count))
            own[name] = tf.math.divide_no_nan(total, count)
        return self._with_loss(own)

    def _with_loss(self, results: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"loss": tf.add_n([results[name] for name in self._losses])} | results


class Predictor:
    """Runs a task's model, made in the scope of `strategy`, over a split: "train", "dev" or "test"."""

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
        """Runs the batch of the longest examples, to measure time and memory."""
        next(self._outputs(split, batch_size))

    def predict(self, split: str, batch_size: int, description: str) -> dict[str, np.ndarray]:
        """The outputs for all examples, in the order of the split; `description` heads the progress line."""
        size, name = self._task.predicted(split)
        parts = []
        with progress_bar(total=size, desc=description, unit=f" {name}", leave=False, delay=2) as bar:
            for outputs in self._outputs(split, batch_size):
                parts.append(outputs)
                bar.update(np.count_nonzero(outputs["example_index"] != FILLER))
        outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        indices = outputs.pop("example_index")
        order = np.argsort(indices)[np.count_nonzero(indices == FILLER) :]
        return {name: values[order] for name, values in outputs.items()}

    def _outputs(self, split: str, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
        """The outputs for each batch of a split."""
        batches = batches_of(
            self._strategy, lambda context: self._task.eval_dataset(batch_size, context, split)
        )
        step = self._step.get_concrete_function(batches.element_spec)  # one graph for all their shapes
        for batch in batches:
            outputs = step(batch)
            yield {name: self._strategy.gather(value, axis=0).numpy() for name, value in outputs.items()}

    @tf.function(autograph=False)
    def _step(self, batch):
        return self._strategy.run(self._run_replica, args=(batch,))

    def replica_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The step of one device: the outputs for its share of the batch."""
        return self._task.outputs(self._model, batch)


class BenchmarkEvaluator(orbit.AbstractEvaluator):
    """Evaluates the dev split; orbit writes the results as TensorBoard scalars.

    Attributes:
      outputs: the model's outputs in the last evaluation.
      results_by_part: the results of these outputs.
    """

    def __init__(self, task: BenchmarkTask, predictor: Predictor, batch_size: int):
        super().__init__(name="evaluator")
        self._task = task
        self._predictor = predictor
        self._batch_size = batch_size
        self.outputs: Mapping[str, np.ndarray] = {}
        self.results_by_part: Mapping[str, Mapping[str, float]] = {}

    def evaluate(self, num_steps: tf.Tensor) -> dict[str, float]:
        """The results, always over the whole split; if outputs are not finite, only a loss, which is NaN."""
        self.outputs = self._predictor.predict("dev", self._batch_size, "evaluating")
        if not all(np.isfinite(values).all() for values in self.outputs.values()):
            return {"eval_loss": math.nan}
        self.results_by_part = self._task.results_by_part("dev", self.outputs)
        return under_one_name(self.results_by_part)

    def try_one_batch(self) -> None:
        """Runs the batch of the longest examples, to measure time and memory."""
        self._predictor.try_one_batch("dev", self._batch_size)


def make_evaluator(
    task: Task, model: tf_keras.Model, strategy: tf.distribute.Strategy, options: TrainingOptions
) -> orbit.AbstractEvaluator:
    """The evaluator of a task: by the outputs for each example of a benchmark, else by means over batches."""
    if isinstance(task, BenchmarkTask):
        predictor = Predictor(task, model, strategy, options.jit_compile)
        return BenchmarkEvaluator(task, predictor, options.eval_batch_size)
    batches = batches_of(strategy, lambda context: task.eval_dataset(options.eval_batch_size, context))
    return Evaluator(task, model, strategy, batches, options.jit_compile)


def evaluated_data(task: Task, options: TrainingOptions) -> str:
    """Identifies the data of an evaluation; only evaluations on the same data are compared."""
    if not options.do_eval or options.max_eval_steps is None:
        return task.eval_data()
    return f"{task.eval_data()}, {options.max_eval_steps * options.eval_batch_size} examples at most"
