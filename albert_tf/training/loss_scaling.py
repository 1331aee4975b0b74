"""Loss scaling: keeps the small gradients of float16 from vanishing."""

from collections.abc import Sequence

import tensorflow as tf

from albert_tf.training.distribution import on_all_devices

_START, _FLOOR = 2.0**15, 1.0
_GROWS_AFTER = 2000  # steps


class LossScale(tf.Module):
    """What the loss is multiplied by, and gradients are divided by again once they are float32.

    It is halved at a step whose gradients are not finite, down to 1, and doubled after 2000 finite steps in a
    row. Made in the scope of the strategy.

    Attributes:
      scale: float32 variable, a power of 2.
      good_steps: int64 variable, finite steps since it last changed.
      skipped_steps: int64 variable, steps of the run that were not finite.
    """

    def __init__(self):
        super().__init__()
        self.scale = on_all_devices(_START, tf.float32)
        self.good_steps = on_all_devices(0, tf.int64)
        self.skipped_steps = on_all_devices(0, tf.int64)

    @property
    def is_least(self) -> tf.Tensor:
        """Whether it cannot be lowered any more."""
        return self.scale <= _FLOOR

    def scaled(self, loss: tf.Tensor) -> tf.Tensor:
        """The loss to differentiate."""
        return loss * self.scale

    def unscaled(self, gradients: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The gradients of the loss itself, of those of the scaled one."""
        return [gradient / self.scale for gradient in gradients]

    def update(self, is_finite: tf.Tensor) -> None:
        """Counts a step, on each device alike; `is_finite` is whether its gradients were."""
        good_steps = tf.where(is_finite, self.good_steps + 1, 0)
        is_due = good_steps == _GROWS_AFTER
        raised = tf.where(is_due, 2 * self.scale, self.scale)
        self.scale.assign(tf.where(is_finite, raised, tf.maximum(self.scale / 2, _FLOOR)))
        self.good_steps.assign(tf.where(is_due, tf.zeros([], tf.int64), good_steps))
        self.skipped_steps.assign_add(tf.where(is_finite, tf.zeros([], tf.int64), 1))
