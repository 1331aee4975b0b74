"""The training and the evaluation step, for one device or many, under orbit's controller."""

import itertools
from collections.abc import Callable, Mapping

import orbit
import tensorflow as tf
import tf_keras

from albert_tf.progress import progress_bar
from albert_tf.tasks.task import Task, WeightedSum

_CLIP_NORM = 1.0


class Trainer(orbit.AbstractTrainer):
    """Runs training steps.

    Each loss is normalized over the global batch, gradients are summed over the devices and clipped once
    to a global norm of 1, so that the number of devices changes nothing.

    Args:
      task: what is trained.
      model: its model, made in the scope of `strategy`.
      optimizer: applies the gradients; its `iterations` is the global step.
      strategy: the devices.
      make_batches: called before the first step, gives an endless distributed dataset.
      seed: of dropout; each step and device derives its own from it.
      after_step: called on the host after each step (after each device loop on a TPU) with the number
        of steps it ran.
    """

    def __init__(
        self,
        *,
        task: Task,
        model: tf_keras.Model,
        optimizer: tf_keras.optimizers.Optimizer,
        strategy: tf.distribute.Strategy,
        make_batches: Callable[[], tf.distribute.DistributedDataset],
        seed: int,
        after_step: Callable[[int], None],
    ):
        super().__init__(name="trainer")
        self.task = task
        self.model = model
        self.optimizer = optimizer
        self.strategy = strategy
        self.seed = seed
        self.after_step = after_step
        self._make_batches = make_batches
        self._batches = None
        with strategy.scope():
            self._metrics = _Means(task)
            self._gradient_norm = tf_keras.metrics.Mean()
            self._first_bad_step = tf.Variable(
                -1, dtype=tf.int64, trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA
            )
        self._loops_on_device = isinstance(strategy, tf.distribute.TPUStrategy)

    def train(self, num_steps: tf.Tensor) -> dict[str, tf.Tensor]:
        """Runs steps; returns the means over them."""
        if self._batches is None:
            self._batches = iter(self._make_batches())
        self._metrics.reset()
        self._gradient_norm.reset_state()
        if self._loops_on_device:
            self._device_loop(num_steps)
            self.after_step(int(num_steps))
        else:
            for _ in range(int(num_steps)):
                self._step()
                self.after_step(1)
        return self.results() | {"gradient_norm": self._gradient_norm.result()}

    def results(self) -> dict[str, tf.Tensor]:
        """Means since the current loop began, `loss` and `learning_rate` among them."""
        results = self._metrics.results()
        results["learning_rate"] = tf.identity(self.optimizer.learning_rate)
        return results

    def first_bad_step(self) -> int | None:
        """The first step whose loss or gradients were not finite, if any."""
        step = int(self._first_bad_step.numpy())
        return None if step < 0 else step

    @tf.function
    def _step(self):
        self.strategy.run(self._replica_step, args=(next(self._batches),))

    @tf.function
    def _device_loop(self, num_steps):
        for _ in tf.range(num_steps):
            self.strategy.run(self._replica_step, args=(next(self._batches),))

    def _replica_step(self, batch: Mapping[str, tf.Tensor]) -> None:
        replica = tf.distribute.get_replica_context()
        step = self.optimizer.iterations
        dropout_seed = tf.stack([self.seed, tf.cast(step, tf.int32)])
        dropout_seed = tf.random.fold_in(dropout_seed, replica.replica_id_in_sync_group)
        with tf.GradientTape() as tape:
            measured = self.task.measure(self.model, batch, training=True, dropout_seed=dropout_seed)
            loss = tf.add_n([_share_of_mean(measured[name], replica) for name in self.task.losses])
        variables = self.model.trainable_variables
        gradients = tape.gradient(loss, variables)
        # Variables that the loss does not reach, such as the pooler's, stay as they are.
        variables, gradients = zip(
            *((v, g) for v, g in zip(variables, gradients, strict=True) if g is not None), strict=True
        )
        # The norm of a sparse gradient with repeated rows would be wrong.
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        gradients = replica.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        gradients, norm = tf.clip_by_global_norm(gradients, _CLIP_NORM)

        finite = tf.math.is_finite(norm) & tf.math.is_finite(
            replica.all_reduce(tf.distribute.ReduceOp.SUM, loss)
        )
        is_first_bad = ~finite & (self._first_bad_step < 0)
        self._first_bad_step.assign(tf.where(is_first_bad, step, self._first_bad_step))
        self._gradient_norm.update_state(norm)
        self._metrics.update(measured)
        self.optimizer.apply_gradients(
            zip(gradients, variables, strict=True), skip_gradients_aggregation=True
        )


class Evaluator(orbit.AbstractEvaluator):
    """Runs the evaluation examples once, or the first `num_steps` batches of them.

    Args:
      task: what is evaluated.
      model: its model, made in the scope of `strategy`.
      strategy: the devices.
      batches: distributed dataset that ends.
    """

    def __init__(
        self,
        *,
        task: Task,
        model: tf_keras.Model,
        strategy: tf.distribute.Strategy,
        batches: tf.distribute.DistributedDataset,
    ):
        super().__init__(name="evaluator")
        self.task = task
        self.model = model
        self.strategy = strategy
        self.batches = batches
        with strategy.scope():
            self._metrics = _Means(task)

    def evaluate(self, num_steps: tf.Tensor) -> dict[str, tf.Tensor]:
        """Means over the evaluation examples, `loss` among them."""
        self._metrics.reset()
        batches = itertools.islice(self.batches, int(num_steps))
        for batch in progress_bar(iterable=batches, desc="evaluating", unit="batch", leave=False, delay=2):
            self._step(batch)
        return self._metrics.results()

    @tf.function(reduce_retracing=True)
    def _step(self, batch):
        self.strategy.run(self._replica_step, args=(batch,))

    def _replica_step(self, batch: Mapping[str, tf.Tensor]) -> None:
        self._metrics.update(self.task.measure(self.model, batch, training=False))


class _Means:
    """Running means of a task's metrics, summed over devices; made in the scope of the strategy."""

    def __init__(self, task: Task):
        self._losses = task.losses
        self._means = {name: tf_keras.metrics.Mean(name=name) for name in task.metrics}

    def update(self, measured: Mapping[str, WeightedSum]) -> None:
        for name, mean in self._means.items():
            total, weight, _ = measured[name]
            mean.update_state(tf.math.divide_no_nan(total, weight), sample_weight=weight)

    def reset(self) -> None:
        for mean in self._means.values():
            mean.reset_state()

    def results(self) -> dict[str, tf.Tensor]:
        results = {name: mean.result() for name, mean in self._means.items()}
        return {"loss": tf.add_n([results[name] for name in self._losses])} | results


def _share_of_mean(part: WeightedSum, replica: tf.distribute.ReplicaContext) -> tf.Tensor:
    """This device's share of a mean over the global batch; the shares of all devices add up to it."""
    weight = replica.all_reduce(tf.distribute.ReduceOp.SUM, part.weight)
    return tf.math.divide_no_nan(part.total, weight + part.epsilon)
