"""AdamW, LAMB and the learning-rate schedule, exactly as in the original.

Neither optimizer corrects the bias of its moments. Variables whose names match `EXCLUDED` are not decayed
and, in LAMB, not adapted. The training loop clips the gradients once, after it has summed them; under `fit`,
`global_clipnorm=1.0` does the same.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf
import tf_keras

from albert_tf.errors import InputError, refuse_keras_3
from albert_tf.layers.variables import variable_name

EXCLUDED = ("LayerNorm", "layer_norm", "bias")


@tf_keras.saving.register_keras_serializable(package="albert_tf")
class WarmupPolynomialDecay(tf_keras.optimizers.schedules.LearningRateSchedule):
    """Polynomial decay to 0 over all steps, replaced by a linear rise during warm-up.

    The rise ends at the full rate, not at the decayed one, so the rate drops a little after warm-up. With
    warm-up, step 0 has rate 0.

    Args:
      learning_rate: the peak.
      num_train_steps: the step at which the rate reaches 0.
      power: exponent of the decay.
      start_warmup_step: the step at which the rise starts; before it the rate is 0 (in the original below 0).
    """

    def __init__(
        self,
        learning_rate: float,
        num_train_steps: int,
        num_warmup_steps: int = 0,
        power: float = 1.0,
        start_warmup_step: int = 0,
    ):
        super().__init__()
        self.learning_rate = learning_rate
        self.num_train_steps = num_train_steps
        self.num_warmup_steps = num_warmup_steps
        self.power = power
        self.start_warmup_step = start_warmup_step

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The rate of the update after `step` updates, float32."""
        step = tf.cast(step, tf.float32)
        done = tf.minimum(step, self.num_train_steps) / self.num_train_steps
        rate = self.learning_rate * (1.0 - done) ** self.power
        if self.num_warmup_steps:
            since_start = step - self.start_warmup_step
            rise = self.learning_rate * tf.maximum(since_start, 0.0) / self.num_warmup_steps
            rate = tf.where(since_start < self.num_warmup_steps, rise, rate)
        return rate

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        names = ("learning_rate", "num_train_steps", "num_warmup_steps", "power", "start_warmup_step")
        return {name: getattr(self, name) for name in names}


def norm(tensor: tf.Tensor) -> tf.Tensor:
    """The Euclidean norm over all elements, as `tf.norm`, which takes twice as long to trace."""
    return tf.sqrt(tf.reduce_sum(tf.square(tensor)))


@tf_keras.saving.register_keras_serializable(package="albert_tf")
class AdamW(tf_keras.optimizers.Optimizer):
    """Adam with decoupled weight decay and without bias correction.

    Args:
      weight_decay_rate: share of the weights that is added to each update.
      beta_1, beta_2: decay of the first and the second moment.
      epsilon: added to the root of the second moment.
      excluded: regular expressions; variables that match one are not decayed.
      rate_factors: what the learning rate of a variable is multiplied with, by its name; 1 for others.
      **kwargs: arguments of `tf_keras.optimizers.Optimizer`, except `weight_decay`.
    """

    def __init__(
        self,
        learning_rate: float | tf_keras.optimizers.schedules.LearningRateSchedule,
        weight_decay_rate: float = 0.01,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-6,
        excluded: Sequence[str] = EXCLUDED,
        rate_factors: Mapping[str, float] | None = None,
        name: str | None = None,
        **kwargs,
    ):
        if kwargs.pop("weight_decay", None):
            raise InputError(
                f"{type(self).__name__} has no weight_decay: it is called weight_decay_rate here"
            )
        refuse_keras_3("learning_rate", learning_rate)
        super().__init__(name=name or type(self).__name__, weight_decay=None, **kwargs)
        self._learning_rate = self._build_learning_rate(learning_rate)
        self.weight_decay_rate = weight_decay_rate
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.excluded = tuple(excluded)
        self.rate_factors = dict(rate_factors or {})

    def build(self, var_list: Sequence[tf.Variable]) -> None:
        """Creates the moments `adam_m` and `adam_v` of each variable."""
        super().build(var_list)
        if getattr(self, "_built", False):
            return
        self._built = True
        self._moments = [
            [self.add_variable_from_reference(v, slot) for v in var_list] for slot in ("adam_m", "adam_v")
        ]

    @tf.autograph.experimental.do_not_convert  # for `fit`
    def apply_gradients(
        self, grads_and_vars: Iterable[tuple[Any, tf.Variable]], *args: Any, **kwargs: Any
    ) -> Any:
        """Makes sparse gradients dense, so that clipping sees their true norm; then as in Keras."""
        dense = [(g if g is None else tf.convert_to_tensor(g), variable) for g, variable in grads_and_vars]
        return super().apply_gradients(dense, *args, **kwargs)

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        """Applies a dense gradient to a variable."""
        index = self._index_dict[self._var_key(variable)]
        m, v = self._moments[0][index], self._moments[1][index]
        new_m = self.beta_1 * m + (1.0 - self.beta_1) * gradient
        new_v = self.beta_2 * v + (1.0 - self.beta_2) * tf.square(gradient)
        m.assign(new_m)
        v.assign(new_v)
        variable.assign_sub(self._update(variable, new_m, new_v))

    def last_update(self, variable: tf.Variable) -> tf.Tensor:
        """The update that the moments give: what the last step subtracted from a variable."""
        index = self._index_dict[self._var_key(variable)]
        return self._update(variable, self._moments[0][index], self._moments[1][index])

    def _update(self, variable: tf.Variable, m: tf.Tensor, v: tf.Tensor) -> tf.Tensor:
        update = m / (tf.sqrt(v) + self.epsilon)
        included = not any(re.search(pattern, variable_name(variable)) for pattern in self.excluded)
        if included:
            update += self.weight_decay_rate * variable
        rate = tf.cast(self.learning_rate, variable.dtype)
        if factor := self.rate_factors.get(variable_name(variable)):
            rate = rate * factor
        return (self._scaled(rate, variable, update) if included else rate) * update

    def _scaled(self, rate: tf.Tensor, variable: tf.Variable, update: tf.Tensor) -> tf.Tensor:
        return rate

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        numbers = ("weight_decay_rate", "beta_1", "beta_2", "epsilon")
        return {
            **super().get_config(),
            "learning_rate": self._serialize_hyperparameter(self._learning_rate),
            **{name: getattr(self, name) for name in numbers},
            "excluded": list(self.excluded),
            **({"rate_factors": self.rate_factors} if self.rate_factors else {}),
        }


@tf_keras.saving.register_keras_serializable(package="albert_tf")
class LAMB(AdamW):
    """AdamW with an update scaled by |w| / |update| for each variable (arXiv 1904.00962).

    The ratio is 1 if either norm is 0, and for excluded variables. A weight that layers share has one ratio.
    """

    def _scaled(self, rate: tf.Tensor, variable: tf.Variable, update: tf.Tensor) -> tf.Tensor:
        weight_norm, update_norm = norm(variable), norm(update)
        return rate * tf.where((weight_norm > 0) & (update_norm > 0), weight_norm / update_norm, 1.0)


OPTIMIZERS = {"adamw": AdamW, "lamb": LAMB}
