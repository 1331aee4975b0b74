"""Conversion to LiteRT (TensorFlow Lite), for phones and other small machines."""

import tempfile
from collections.abc import Sequence

import tensorflow as tf

from albert_tf.export.device_runtimes import signature_name, silent_native_code
from albert_tf.export.token_model import TokenModel


class LiteRTConverter:
    """Converts a model into files with a signature for each length, which share one copy of the weights.

    The shapes are static, because only then XNNPACK runs the whole encoder.

    Args:
      model: what is converted.
      batch_size: of every signature.
      lengths: of sequences.
    """

    def __init__(self, model: TokenModel, batch_size: int, lengths: Sequence[int]):
        self._model = model
        self._functions = {signature_name(length): model.function(batch_size, length) for length in lengths}

    def convert(self, precision: str) -> bytes:
        """The content of a file.

        Args:
          precision: "float32", "float16" or "int8", of the weights. With "int8" products are of integers
            too, for which activations are scaled when they are known.
        """
        # Through a SavedModel, for the converter loses signatures and variables of bare functions.
        with tempfile.TemporaryDirectory() as folder:
            tf.saved_model.save(self._model, folder, signatures=self._functions)
            converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(self._functions))
            if precision != "float32":
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
            if precision == "float16":
                converter.target_spec.supported_types = [tf.float16]
            with silent_native_code():
                return converter.convert()
