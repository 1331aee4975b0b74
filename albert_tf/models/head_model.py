"""What the models with a head have in common."""

from albert_tf.config import AlbertConfig
from albert_tf.models.base import ConfiguredModel
from albert_tf.models.encoder import AlbertEncoder


class HeadModel(ConfiguredModel):
    """An encoder, to which a subclass adds its head."""

    def __init__(self, config: AlbertConfig, **kwargs):
        super().__init__(config, **kwargs)
        self.encoder = AlbertEncoder(config, dtype=self.dtype_policy)
