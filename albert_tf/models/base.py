"""What all models have in common: a config, and being rebuilt from it."""

from typing import Any, ClassVar

import tf_keras

from albert_tf.config import AlbertConfig


class ConfiguredModel(tf_keras.Model):
    """A Keras model that is made, saved and rebuilt from an `AlbertConfig`.

    Attributes:
      arguments: names of the constructor's further arguments, each kept as an attribute.
    """

    arguments: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: AlbertConfig, **kwargs):
        super().__init__(**kwargs)
        self.config = config
        self.built = True  # the constructors make all variables

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, as JSON values."""
        arguments = {name: getattr(self, name) for name in self.arguments}
        keras = {"name": self.name, "dtype": self.dtype_policy.name}
        return {"config": self.config.to_dict(), **arguments, **keras}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects=None) -> "ConfiguredModel":
        """Builds the model that `get_config` describes."""
        return cls(**{**config, "config": AlbertConfig.from_dict(config["config"])})
