"""Conversion to ONNX, for ONNX Runtime and what else reads it; needs the extra `export`."""

import importlib.util

import tensorflow as tf

from albert_tf.errors import InputError
from albert_tf.export.device_runtimes import silent_native_code
from albert_tf.export.token_model import TokenModel

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
