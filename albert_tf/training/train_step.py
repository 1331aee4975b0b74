"""The training step on one or many devices, under orbit's controller."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import orbit
import tensorflow as tf
import tf_keras

from albert_tf.layers.variables import variable_name
from albert_tf.tasks.task import Task, WeightedSum
from albert_tf.training.distribution import device_step, on_all_devices
from albert_tf.training.divergence import Diverged, explain_gradients
from albert_tf.training.evaluation import Means
from albert_tf.training.gradients import GroupNorms, LossScale, join_over_parts, norms_of, sum_over_parts
from albert_tf.training.optimization import norm

_CLIP_NORM = 1.0


class Trainer(orbit.AbstractTrainer):
    """Runs training steps.

    Each loss is normalized over the global batch. Gradients are summed over micro-batches and devices, then
    clipped once to a global norm of 1. So the numbers of both change only the dropout.

    Args:
      model: the task's model, made in the scope of `strategy`.
      optimizer: its `iterations` is the global step.
      make_batches: called before the first step; returns an endless distributed dataset.
      seed: seed of dropout, from which each step and micro-batch derives its own.
      after_step: called on the host with a number of steps: after each step, on a TPU after each loop.
      micro_batches: the number of parts of a device's batch, which run one after another.
      loss_scale: for float16; a step that overflows is skipped, unless the scale is at its smallest.
      jit_compile: whether XLA compiles the step; of several devices each one's forward and backward pass,
        without the sums over the devices and the update. A TPU compiles it anyway.
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
        micro_batches: int = 1,
        loss_scale: LossScale | None = None,
        jit_compile: bool = False,
    ):
        super().__init__(name="trainer")
        self.task = task
        self.model = model
        self.optimizer = optimizer
        self.strategy = strategy
        self.seed = seed
        self.after_step = after_step
        self.micro_batches = micro_batches
        self.loss_scale = loss_scale
        self._make_batches = make_batches
        self._batches = None
        with strategy.scope():
            self._metrics = Means(task, strategy)
            self._gradient_norm = tf_keras.metrics.Mean()
            self._first_bad_step = on_all_devices(-1, tf.int64)
            # These belong to the last step; if one was bad, to that step and the one before it.
            self._loss = on_all_devices(0.0, tf.float32)
            zeros = tf.zeros(len(model.trainable_variables))
            self._norms, self._norms_before = (on_all_devices(zeros, tf.float32) for _ in range(2))
        self._reached: list[int] = []  # variables that the loss depends on; known once a step is traced
        self._group_norms = GroupNorms(model.trainable_variables)
        self.loops_on_device = isinstance(strategy, tf.distribute.TPUStrategy)  # `train` is one loop there
        is_alone = strategy.num_replicas_in_sync == 1
        self._compiles_passes = jit_compile and not is_alone
        self._run_replica = device_step(self.replica_step, jit_compile and is_alone)
        self._run_passes = device_step(self._passes, self._compiles_passes)
        # Elsewhere, to trace these few operations takes longer than to run them.
        norms = self._norms_of_last_step
        self._measure_norms = tf.function(norms, autograph=False) if self.loops_on_device else norms

    def train(self, num_steps: tf.Tensor) -> dict[str, tf.Tensor]:
        """Runs steps; returns means over them and the norms of the last one; may raise `Diverged`."""
        if self._batches is None:
            self._batches = iter(self._make_batches())
        self._metrics.reset()
        self._gradient_norm.reset_state()
        if self.loops_on_device:
            self._device_loop(self._batches, num_steps)
            self.after_step(int(num_steps))
        else:
            for _ in range(int(num_steps)):
                self._step(self._batches)
                self.after_step(1)
        sizes = self.check()
        if failure := self.task.failure(means := self.results()):
            step = int(self.optimizer.iterations.numpy())
            raise Diverged(f"{failure} at step {step}", step - 1)
        results = means | {"gradient_norm": self._gradient_norm.result()} | sizes
        if self.loss_scale:
            results["loss_scale"] = tf.identity(self.loss_scale.scale)
            results["skipped_steps"] = tf.identity(self.loss_scale.skipped_steps)
        return results

    def close_input(self) -> None:
        """Ends the threads that read batches: the interpreter could hang at its end if they still ran."""
        del self._batches  # a tf.Module keeps the old value of an attribute that is set to None
        self._batches = None

    def start_over(self) -> None:
        """Forgets a divergence; the next step makes the batches again."""
        self.close_input()
        self._first_bad_step.assign(-1)
        self._norms.assign(tf.zeros_like(self._norms))

    def results(self) -> dict[str, tf.Tensor]:
        """Means since the current loop began, with `loss` and `learning_rate`."""
        return self._metrics.results() | {"learning_rate": tf.identity(self.optimizer.learning_rate)}

    def own_results(self) -> dict[str, tf.Tensor]:
        """The same over the devices of this process; the workers may ask for it at different steps."""
        return self._metrics.own_results() | {"learning_rate": tf.identity(self.optimizer.learning_rate)}

    def check(self) -> dict[str, float]:
        """The norms of the last step, by group; raises `Diverged` if gradients, loss or weights are bad."""
        self.check_steps()
        updates, weights = (norms.numpy() for norms in self._measure_norms())
        bad = np.flatnonzero(~np.isfinite(weights))
        if bad.size:
            step = int(self.optimizer.iterations.numpy())
            name = self._variable_names()[bad[0]]
            raise Diverged(f"the norm of {name} is not finite at step {step}", step - 1)
        return self._group_norms.scalars(self._norms.numpy(), updates, weights)

    def check_steps(self) -> None:
        """Raises `Diverged` if the loss or the gradients of a step were not finite."""
        step = int(self._first_bad_step.numpy())
        if step >= 0:
            norms, before = self._norms.numpy(), self._norms_before.numpy()
            raise explain_gradients(self._variable_names(), norms, before, float(self._loss.numpy()), step)

    def _variable_names(self) -> list[str]:
        return [variable_name(variable) for variable in self.model.trainable_variables]

    def _norms_of_last_step(self):
        """Norms of updates and of weights, float32 `[variables]`."""
        variables = self.model.trainable_variables
        updates = norms_of([self.optimizer.last_update(variables[i]) for i in self._reached])
        updates = tf.scatter_nd([[i] for i in self._reached], updates, self._norms.shape)
        return updates, norms_of(variables)

    @tf.function(autograph=False)
    def _step(self, batches):
        self.strategy.run(self._run_replica, args=(next(batches),))

    @tf.function
    def _device_loop(self, batches, num_steps):
        for _ in tf.range(num_steps):
            self.strategy.run(self._run_replica, args=(next(batches),))

    def replica_step(self, batch: Mapping[str, tf.Tensor]) -> None:
        """The step of one device, with its share of the global batch."""
        replica = tf.distribute.get_replica_context()
        step = self.optimizer.iterations
        weights = replica.all_reduce(tf.distribute.ReduceOp.SUM, self.task.loss_weights(batch))
        step_seed = tf.stack([self.seed, tf.cast(step, tf.int32)])
        first_part = replica.replica_id_in_sync_group * self.micro_batches
        if self.micro_batches > 1 or self._compiles_passes:  # which must not talk to other devices
            whole = batch

            def over_parts(function):
                def run(number, part):
                    return function(part, _seed_of_part(step_seed, first_part, number))

                return join_over_parts(run, whole, self.micro_batches)

            batch = self.task.before_parts(self.model, whole, over_parts)
        gradients, loss, measured = self._run_passes(batch, weights, step_seed, first_part)
        gradients = [gradients[i] for i in self._reached]
        gradients = replica.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        if self.loss_scale:
            gradients = [gradient / self.loss_scale.scale for gradient in gradients]
        norms = norms_of(gradients)
        total_norm = norm(norms)
        gradients, _ = tf.clip_by_global_norm(gradients, _CLIP_NORM, use_norm=total_norm)

        loss = replica.all_reduce(tf.distribute.ReduceOp.SUM, loss)
        is_finite = tf.reduce_all(tf.math.is_finite(norms)) & tf.math.is_finite(loss)
        self._watch(loss, norms, is_finite, step)
        counted = tf.cast(is_finite, tf.float32)
        self._gradient_norm.update_state(_or_zero(is_finite, total_norm), sample_weight=counted)
        has_loss = tf.math.is_finite(loss)
        self._metrics.update(
            {name: WeightedSum(*(_or_zero(has_loss, x) for x in parts)) for name, parts in measured.items()}
        )
        if self.loss_scale:
            self.loss_scale.update(is_finite)
            replica.merge_call(self._apply_if, args=(is_finite, gradients))
        else:
            self._apply(gradients)

    def _passes(
        self,
        batch: Mapping[str, tf.Tensor],
        weights: Mapping[str, tf.Tensor],
        step_seed: tf.Tensor,
        first_part: tf.Tensor,
    ):
        """`_measure` of a device's batch, which is the sum over its micro-batches."""

        def measure(number, part):
            return self._measure(part, weights, _seed_of_part(step_seed, first_part, number))

        variables = self.model.trainable_variables
        zeros = [tf.zeros_like(v) for v in variables], 0.0, dict.fromkeys(self.task.metrics, (0.0, 0.0))
        used = self.task.used_parts(batch, self.micro_batches)
        return sum_over_parts(measure, batch, self.micro_batches, zeros, used)

    def _measure(self, batch: Mapping[str, tf.Tensor], weights: Mapping[str, tf.Tensor], seed: tf.Tensor):
        """Gradients of all trainable variables; the part's share of the loss; metric -> (total, weight)."""
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            measured = self.task.measure(self.model, batch, training=True, dropout_seed=seed)
            shares = [
                tf.math.divide_no_nan(measured[name].total, weights[name] + measured[name].epsilon)
                for name in self.task.losses
            ]
            loss = tf.add_n(shares)
            differentiated = loss * self.loss_scale.scale if self.loss_scale else loss
        gradients = tape.gradient(differentiated, variables)
        # The other variables, such as the pooler's in some tasks, are not updated.
        self._reached = [i for i, gradient in enumerate(gradients) if gradient is not None]
        # The norm of a sparse gradient with repeated rows would be wrong.
        gradients = [
            tf.zeros_like(variable) if gradient is None else tf.convert_to_tensor(gradient)
            for variable, gradient in zip(variables, gradients, strict=True)
        ]
        return gradients, loss, {name: tuple(measured[name][:2]) for name in self.task.metrics}

    def _apply(self, gradients: Sequence[tf.Tensor]) -> None:
        variables = [self.model.trainable_variables[i] for i in self._reached]
        pairs = zip(gradients, variables, strict=True)
        self.optimizer.apply_gradients(pairs, skip_gradients_aggregation=True)

    def _apply_if(
        self, strategy: tf.distribute.Strategy, is_finite: tf.Tensor, gradients: Sequence[tf.Tensor]
    ) -> None:
        """Updates the variables, or only counts the step if it is not finite.

        This branch is outside the devices, because an optimizer must not talk to all of them inside a branch.
        """

        def apply() -> None:
            strategy.extended.call_for_each_replica(self._apply, args=(gradients,))

        def skip() -> None:
            self.optimizer.iterations.assign_add(1)

        tf.cond(strategy.experimental_local_results(is_finite)[0], apply, skip)

    def _watch(self, loss: tf.Tensor, norms: tf.Tensor, is_finite: tf.Tensor, step: tf.Tensor) -> None:
        """Remembers loss and gradient norms of a step, unless it is skipped or an earlier one was bad."""
        norms = tf.scatter_nd([[i] for i in self._reached], norms, self._norms.shape)
        is_bad = ~is_finite
        if self.loss_scale:
            is_bad &= self.loss_scale.is_least
        is_news = (self._first_bad_step < 0) & (is_finite | is_bad)
        self._norms_before.assign(tf.where(is_news, self._norms, self._norms_before))
        self._norms.assign(tf.where(is_news, norms, self._norms))
        self._loss.assign(tf.where(is_news, loss, self._loss))
        self._first_bad_step.assign(tf.where(is_news & is_bad, step, self._first_bad_step))


def _seed_of_part(step_seed: tf.Tensor, first_part: tf.Tensor, number: tf.Tensor | int) -> tf.Tensor:
    """The parts are numbered over all devices, so that the seed does not depend on the device."""
    return tf.random.fold_in(step_seed, first_part + number)


def _or_zero(condition: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    return tf.where(condition, value, tf.zeros_like(value))
