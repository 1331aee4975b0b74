"""What the models with a head for a task have in common."""

from typing import Any, ClassVar

import tf_keras

from albert_tf.config import AlbertConfig
from albert_tf.models.encoder import AlbertEncoder


class HeadModel(tf_keras.Model):
    """An encoder, to which a subclass adds a head.

    Attributes:
      arguments: names of the constructor's further arguments, each kept as an attribute.
    """

    arguments: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: AlbertConfig, **kwargs):
        super().__init__(**kwargs)
        self.config = config
        self.encoder = AlbertEncoder(config, dtype=self.dtype_policy)
        self.built = True

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, as JSON values."""
        arguments = {name: getattr(self, name) for name in self.arguments}
        return {
            "config": self.config.to_dict(),
            **arguments,
            "name": self.name,
            "dtype": self.dtype_policy.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects=None) -> "HeadModel":
        """Builds the model that `get_config` describes."""
        return cls(**{**config, "config": AlbertConfig.from_dict(config["config"])})
