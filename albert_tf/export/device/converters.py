"""Conversion to LiteRT (TensorFlow Lite) and to ONNX, for phones and other small machines."""

import importlib.util
import tempfile
from collections.abc import Sequence

import tensorflow as tf

from albert_tf.errors import InputError
from albert_tf.export.device.runtimes import signature_name, silent_native_code
from albert_tf.export.device.token_model import TokenModel


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


_OPSET = 17  # the newest that tf2onnx 1.17 writes without experiments; ONNX Runtime reads it since 1.12
_PACKAGES = ("tf2onnx", "onnx", "onnxruntime")


def missing_packages() -> list[str]:
    """What would have to be installed first."""
    return [name for name in _PACKAGES if importlib.util.find_spec(name) is None]


def check_packages() -> None:
    """InputError if some are missing."""
    missing = missing_packages()
    if missing:
        raise InputError(f"ONNX needs {', '.join(missing)}: pip install 'albert-tf[export]'")


def convert_to_onnx(model: TokenModel) -> bytes:
    """The content of a file with one graph for batches and sequences of any size."""
    from tf2onnx import convert

    specs = model.specs(batch_size=None, length=None)

    def predict(*values: tf.Tensor) -> dict[str, tf.Tensor]:
        return model(**{spec.name: value for spec, value in zip(specs, values, strict=True)})

    with silent_native_code():
        converted, _ = convert.from_function(tf.function(predict, autograph=False), specs, opset=_OPSET)
    return converted.SerializeToString()
