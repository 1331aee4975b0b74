"""Converts models to LiteRT (TensorFlow Lite) and to ONNX, for phones and other small machines."""

import importlib.util
import tempfile
from collections.abc import Sequence

import tensorflow as tf

from albert_tf.export.device.runtimes import signature_name, silent_native_code
from albert_tf.export.device.token_model import TokenModel

_OPSET = 17  # the newest that tf2onnx 1.17 fully supports; ONNX Runtime reads it since 1.12
_ONNX_PACKAGES = ("tf2onnx", "onnx", "onnxruntime")


class LiteRTConverter:
    """Converts a model to LiteRT files, with a signature for each length; all share one copy of the weights.

    The shapes are static, because only then XNNPACK runs the whole encoder.
    """

    def __init__(self, model: TokenModel, batch_size: int, lengths: Sequence[int]):
        self._model = model
        self._functions = {signature_name(length): model.function(batch_size, length) for length in lengths}

    def convert(self, precision: str) -> bytes:
        """Makes the content of a file with weights in "float32", "float16" or "int8".

        With "int8" the products are of integers too; the runtime scales the activations for each input.
        """
        # A SavedModel in between: from bare functions the converter loses signatures and variables.
        with tempfile.TemporaryDirectory() as folder:
            tf.saved_model.save(self._model, folder, signatures=self._functions)
            converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(self._functions))
            if precision != "float32":
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
            if precision == "float16":
                converter.target_spec.supported_types = [tf.float16]
            with silent_native_code():
                return converter.convert()


def convert_to_onnx(model: TokenModel) -> bytes:
    """Makes the content of an ONNX file: one graph for batches and sequences of any size."""
    from tf2onnx import convert

    specs = model.specs(batch_size=None, length=None)

    def predict(*values: tf.Tensor) -> dict[str, tf.Tensor]:
        return model(**{spec.name: value for spec, value in zip(specs, values, strict=True)})

    with silent_native_code():
        converted, _ = convert.from_function(tf.function(predict, autograph=False), specs, opset=_OPSET)
    return converted.SerializeToString()


def missing_packages() -> list[str]:
    """The packages for ONNX that are not installed."""
    return [name for name in _ONNX_PACKAGES if importlib.util.find_spec(name) is None]
