"""The evaluation step, for one device or many, under orbit's controller."""

import itertools
from collections.abc import Mapping

import orbit
import tensorflow as tf
import tf_keras

from albert_tf.progress import progress_bar
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
        self._run_replica = device_step(self._replica_step, jit_compile)

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

    def _replica_step(self, batch: Mapping[str, tf.Tensor]) -> None:
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
