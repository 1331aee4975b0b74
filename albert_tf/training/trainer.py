"""The training and the evaluation step, for one device or many, under orbit's controller."""

import itertools
from collections.abc import Callable, Mapping

import numpy as np
import orbit
import tensorflow as tf
import tf_keras

from albert_tf.layers.variables import variable_name
from albert_tf.progress import progress_bar
from albert_tf.tasks.task import Task, WeightedSum
from albert_tf.training.divergence import Diverged, explain_gradients
from albert_tf.training.norms import GroupNorms, norms_of

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
            self._metrics = _Means(task, strategy)
            self._gradient_norm = tf_keras.metrics.Mean()
            self._first_bad_step = _on_all_devices(-1, tf.int64)
            # Of the last step, until one is bad: then of that one and the one before it.
            self._loss = _on_all_devices(0.0, tf.float32)
            self._norms, self._norms_before = (
                _on_all_devices(tf.zeros(len(model.trainable_variables)), tf.float32) for _ in range(2)
            )
        self._reached: list[int] = []  # the variables that the loss reaches, known when a step is traced
        self._group_norms = GroupNorms(model.trainable_variables)
        self._loops_on_device = isinstance(strategy, tf.distribute.TPUStrategy)

    def train(self, num_steps: tf.Tensor) -> dict[str, tf.Tensor]:
        """Runs steps; returns the means over them, and the sizes of the last one (see `GroupNorms`).

        Raises:
          Diverged: loss, gradients or weights are not finite.
        """
        if self._batches is None:
            self._batches = iter(self._make_batches())
        self._metrics.reset()
        self._gradient_norm.reset_state()
        if self._loops_on_device:
            self._device_loop(self._batches, num_steps)
            self.after_step(int(num_steps))
        else:
            for _ in range(int(num_steps)):
                self._step(self._batches)
                self.after_step(1)
        sizes = self.check()
        return self.results() | {"gradient_norm": self._gradient_norm.result()} | sizes

    def close_input(self) -> None:
        """Ends the reading of batches; another step would make them anew.

        A thread that reads runs Python: where it still does when the interpreter ends, the process hangs.
        """
        del self._batches  # a tf.Module keeps what is only replaced by None
        self._batches = None

    def start_over(self) -> None:
        """Forgets divergence, and has the batches made anew before the next step."""
        self.close_input()
        self._first_bad_step.assign(-1)
        self._norms.assign(tf.zeros_like(self._norms))

    def results(self) -> dict[str, tf.Tensor]:
        """Means since the current loop began, `loss` and `learning_rate` among them."""
        return self._metrics.results() | {"learning_rate": tf.identity(self.optimizer.learning_rate)}

    def own_results(self) -> dict[str, tf.Tensor]:
        """The same over the devices of this process, which may be asked for at a step of its own."""
        return self._metrics.own_results() | {"learning_rate": tf.identity(self.optimizer.learning_rate)}

    def check(self) -> dict[str, float]:
        """The sizes of the last step, after at least one in this process; see `GroupNorms`.

        Raises:
          Diverged: loss or gradients of a step were not finite, or the weights are not.
        """
        self.check_steps()
        updates, weights = (norms.numpy() for norms in self._norms_of_last_step())
        bad = np.flatnonzero(~np.isfinite(weights))
        if bad.size:
            step = int(self.optimizer.iterations.numpy())
            raise Diverged(
                f"the norm of {self._variable_names()[bad[0]]} is not finite at step {step}", step - 1
            )
        return self._group_norms.scalars(self._norms.numpy(), updates, weights)

    def check_steps(self) -> None:
        """Raises `Diverged` if the loss or the gradients of a step were not finite."""
        step = int(self._first_bad_step.numpy())
        if step >= 0:
            norms, before = self._norms.numpy(), self._norms_before.numpy()
            raise explain_gradients(self._variable_names(), norms, before, float(self._loss.numpy()), step)

    def _variable_names(self) -> list[str]:
        return [variable_name(variable) for variable in self.model.trainable_variables]

    @tf.function(autograph=False)
    def _norms_of_last_step(self):
        """Norms of updates and of weights, float32 [variables]."""
        variables = self.model.trainable_variables
        updates = norms_of([self.optimizer.last_update(variables[i]) for i in self._reached])
        updates = tf.scatter_nd([[i] for i in self._reached], updates, self._norms.shape)
        return updates, norms_of(variables)

    @tf.function(autograph=False)
    def _step(self, batches):
        self.strategy.run(self._replica_step, args=(next(batches),))

    @tf.function
    def _device_loop(self, batches, num_steps):
        for _ in tf.range(num_steps):
            self.strategy.run(self._replica_step, args=(next(batches),))

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
        # The others, such as the pooler's of some tasks, stay as they are.
        self._reached = [i for i, gradient in enumerate(gradients) if gradient is not None]
        # The norm of a sparse gradient with repeated rows would be wrong.
        gradients = [tf.convert_to_tensor(gradients[i]) for i in self._reached]
        gradients = replica.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        norms = norms_of(gradients)
        norm = tf.norm(norms)
        gradients, _ = tf.clip_by_global_norm(gradients, _CLIP_NORM, use_norm=norm)

        self._watch(replica.all_reduce(tf.distribute.ReduceOp.SUM, loss), norms, step)
        self._gradient_norm.update_state(norm)
        self._metrics.update(measured)
        self.optimizer.apply_gradients(
            zip(gradients, [variables[i] for i in self._reached], strict=True),
            skip_gradients_aggregation=True,
        )

    def _watch(self, loss: tf.Tensor, norms: tf.Tensor, step: tf.Tensor) -> None:
        """Remembers loss and gradient norms of a step, unless one before it was bad."""
        norms = tf.scatter_nd([[i] for i in self._reached], norms, self._norms.shape)
        is_finite = tf.reduce_all(tf.math.is_finite(norms)) & tf.math.is_finite(loss)
        was_finite = self._first_bad_step < 0
        self._norms_before.assign(tf.where(was_finite, self._norms, self._norms_before))
        self._norms.assign(tf.where(was_finite, norms, self._norms))
        self._loss.assign(tf.where(was_finite, loss, self._loss))
        self._first_bad_step.assign(tf.where(was_finite & ~is_finite, step, self._first_bad_step))


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
            self._metrics = _Means(task, strategy)

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
        self.strategy.run(self._replica_step, args=(batch,))

    def _replica_step(self, batch: Mapping[str, tf.Tensor]) -> None:
        self._metrics.update(self.task.measure(self.model, batch, training=False))


def _on_all_devices(value, dtype: tf.DType) -> tf.Variable:
    """A variable that has the same value on all devices; made in the scope of the strategy."""
    return tf.Variable(
        value, dtype=dtype, trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA
    )


class _Means:
    """Running means of a task's metrics, summed over devices; made in the scope of the strategy."""

    def __init__(self, task: Task, strategy: tf.distribute.Strategy):
        self._losses = task.losses
        self._local_results = strategy.experimental_local_results
        self._means = {name: tf_keras.metrics.Mean(name=name) for name in task.metrics}

    def update(self, measured: Mapping[str, WeightedSum]) -> None:
        for name, mean in self._means.items():
            total, weight, _ = measured[name]
            mean.update_state(tf.math.divide_no_nan(total, weight), sample_weight=weight)

    def reset(self) -> None:
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


def _share_of_mean(part: WeightedSum, replica: tf.distribute.ReplicaContext) -> tf.Tensor:
    """This device's share of a mean over the global batch; the shares of all devices add up to it."""
    weight = replica.all_reduce(tf.distribute.ReduceOp.SUM, part.weight)
    return tf.math.divide_no_nan(part.total, weight + part.epsilon)
