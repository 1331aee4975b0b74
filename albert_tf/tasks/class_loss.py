"""`ClassLoss`: what training minimizes for classes: plain, weighted, smoothed or focal cross-entropy."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from albert_tf.errors import InputError
from albert_tf.files import read_json
from albert_tf.tasks.task import nll

BALANCED = "balanced"
_FOCUS = 2.0  # the exponent of the focal loss, as its paper recommends (Lin et al. 2017)


@dataclasses.dataclass(frozen=True)
class LossSettings:
    """The flags of the loss.

    Attributes:
      loss: "cross_entropy" or "focal".
      label_smoothing: the share of a label's weight that is spread over all classes, below 1.
      class_weights: "balanced", or a JSON file of an object, label -> weight; None for equal weights.
    """

    loss: str = "cross_entropy"
    label_smoothing: float = 0.0
    class_weights: str | None = None


@dataclasses.dataclass(frozen=True)
class ClassLoss:
    """A loss over labels; its mean is over examples, whatever their weights, so that steps stay comparable.

    Attributes:
      settings: how it was chosen.
      weights: of the classes by number; of several labels at once, of those that are set. Empty if equal.
    """

    settings: LossSettings = LossSettings()
    weights: tuple[float, ...] = ()

    @classmethod
    def chosen(
        cls, settings: LossSettings, label_names: Sequence[str], labels: np.ndarray | None
    ) -> "ClassLoss":
        """The loss for the labels to train on: class numbers `[examples]`, or 0 and 1 `[examples, labels]`.

        Balanced weights are examples / (classes * examples of the class), as in scikit-learn; of several
        labels at once, those without the label / those with it. A class without examples has the weight 1.
        Without labels there is nothing to train, and weights are equal.

        Raises:
          InputError: the file cannot be read, lacks a class or names another, or a weight is not positive.
        """
        if settings.class_weights is None or labels is None:
            return cls(settings)
        if settings.class_weights != BALANCED:
            return cls(settings, _weights_in(settings.class_weights, label_names))
        if labels.ndim == 2:
            counts = labels.sum(axis=0, dtype=np.int64)
            weights = (len(labels) - counts) / np.maximum(counts, 1)
        else:
            counts = np.bincount(labels, minlength=len(label_names))
            weights = len(labels) / (len(label_names) * np.maximum(counts, 1))
        return cls(settings, tuple(np.where((counts == 0) | (weights == 0), 1.0, weights).tolist()))

    @property
    def name(self) -> str:
        """What it is called in logs."""
        plain = "focal_loss" if self.settings.loss == "focal" else "cross_entropy"
        weighted = f"weighted_{plain}" if self.weights else plain
        return f"smoothed_{weighted}" if self.settings.label_smoothing else weighted

    def of_class(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """float32 `[...]`: the loss of each label, int32 `[...]`, under `logits` `[..., classes]`."""
        losses = nll(labels, logits)
        if self.settings.loss == "focal":
            losses *= (1.0 - tf.exp(-losses)) ** _FOCUS
        if smoothing := self.settings.label_smoothing:
            everywhere = -tf.reduce_mean(tf.nn.log_softmax(logits), axis=-1)
            losses = (1.0 - smoothing) * losses + smoothing * everywhere
        return losses * tf.gather(tf.constant(self.weights), labels) if self.weights else losses

    def of_labels(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """float32 `[batch]`: the mean over labels that are set or not, 0 or 1 `[batch, labels]`."""
        is_set = tf.cast(labels, tf.float32)
        smoothing = self.settings.label_smoothing
        targets = (1.0 - smoothing) * is_set + smoothing / 2.0
        losses = tf.nn.sigmoid_cross_entropy_with_logits(targets, logits)
        if self.settings.loss == "focal":
            losses *= tf.abs(is_set - tf.sigmoid(logits)) ** _FOCUS
        if self.weights:
            losses *= tf.where(is_set > 0, tf.constant(self.weights), 1.0)
        return tf.reduce_mean(losses, axis=-1)


def _weights_in(path: str, label_names: Sequence[str]) -> tuple[float, ...]:
    found = read_json(path, dict[str, float])
    for name in label_names:
        if name not in found:
            raise InputError(f"{path} lacks a weight for {name!r}")
    for name, weight in found.items():
        if name not in label_names:
            raise InputError(f"{path}: {name!r} is not one of the labels {', '.join(label_names)}")
        if not 0 < weight < math.inf:
            raise InputError(f"{path}: the weight of {name!r} must be more than 0, not {weight}")
    return tuple(found[name] for name in label_names)
