"""Exports a folder with all that a device needs: LiteRT and ONNX files, the vocabulary and the task."""

import dataclasses
import importlib.util
import os
import tempfile
from collections.abc import Sequence

import tensorflow as tf

from albert_tf.cli.text import markdown_table, progress_bar
from albert_tf.errors import InputError
from albert_tf.export.device.device_check import SENTENCES, DeviceCheck
from albert_tf.export.device.runtimes import signature_name, silent_native_code
from albert_tf.export.device.token_model import TokenModel
from albert_tf.export.trained_model import TrainedModel
from albert_tf.files import folder_appears_when_complete, write_json

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


FILES = {
    "litert_float32": "model_float32.tflite",
    "litert_float16": "model_float16.tflite",
    "litert_int8": "model_int8.tflite",
    "onnx": "model.onnx",
}
REPORT_FILE = "export_report.json"

_USUAL_LENGTHS = (32, 128, 512)
_EXACT = ("litert_float32", "onnx")


@dataclasses.dataclass(frozen=True)
class Exported:
    """A line of the report.

    Attributes:
      format, file: a key and a value of `FILES`.
      size_mb: size of the file.
      largest_difference: largest difference from a number of the Keras model; above 1 relative to the number.
      agreement: share of decisions that equal the Keras model's; None if the model makes no decisions.
      milliseconds: length of the sequences -> median time of a batch on one thread.
      memory_mb: peak memory of a process that runs all lengths.
    """

    format: str
    file: str
    size_mb: float
    largest_difference: float
    agreement: float | None
    milliseconds: dict[int, float]
    memory_mb: float


def export_to_device(
    trained: TrainedModel,
    output_dir: str,
    *,
    formats: Sequence[str] | None = None,
    max_seq_lengths: Sequence[int] | None = None,
    batch_size: int = 1,
    sentences: Sequence[str] = SENTENCES,
    overwrite: bool = False,
    tolerance: float = 1e-4,
) -> list[Exported]:
    """Writes a file of each format into a folder, which appears when all files have passed the check.

    The folder also holds config, vocabulary, `task.json` and the report, `export_report.json`.

    Args:
      trained: the model.
      output_dir: the folder.
      formats: keys of `FILES`; by default all whose packages are installed.
      max_seq_lengths, batch_size: of the LiteRT files and of the check; the lengths are 32, 128 and 512 by
        default, but no more than the model has positions.
      sentences: texts for the check.
      overwrite: whether to replace an earlier export.
      tolerance: largest difference from the Keras model that rounding explains in a file in float32.

    Raises:
      InputError: the folder exists, a format cannot be made, or a file in float32 differs from the model.
    """
    is_earlier = os.path.exists(os.path.join(output_dir, REPORT_FILE))
    if overwrite and not is_earlier and os.path.isdir(output_dir) and os.listdir(output_dir):
        raise InputError(
            f"--output_dir={output_dir} is not an earlier export (it lacks {REPORT_FILE}): it is not replaced"
        )
    exported = []
    with folder_appears_when_complete(output_dir, overwrite) as folder:
        formats = formats or formats_here()
        if "onnx" in formats and (missing := missing_packages()):
            what = ", ".join(missing)
            raise InputError(f"ONNX needs {what}: pip install '.[export]' in this project's folder")
        lengths = _lengths(trained, max_seq_lengths)
        model = TokenModel(trained)
        litert = LiteRTConverter(model, batch_size, lengths)
        with progress_bar(total=len(formats), desc="converting and checking", unit=" formats") as bar:
            check = DeviceCheck(model, trained, batch_size, lengths, sentences)
            for name in formats:
                precision = name.removeprefix("litert_")
                content = convert_to_onnx(model) if name == "onnx" else litert.convert(precision)
                exported.append(_write(name, content, check, folder, tolerance))
                bar.update()
        trained.assets.write(folder)
        write_json(os.path.join(folder, REPORT_FILE), [*map(dataclasses.asdict, exported)])
    return exported


def formats_here() -> list[str]:
    """The formats whose packages are installed."""
    return [name for name in FILES if name != "onnx" or not missing_packages()]


def _write(name: str, content: bytes, check: DeviceCheck, folder: str, tolerance: float) -> Exported:
    path = os.path.join(folder, FILES[name])
    with open(path, "wb") as file:
        file.write(content)
    run, comparison = check.run(path)
    if name in _EXACT and not comparison.largest_difference <= tolerance:
        raise InputError(
            f"{FILES[name]} differs from the Keras model by {comparison.largest_difference:.2g}, more than "
            f"the {tolerance:g} that rounding explains: nothing is written"
        )
    size = len(content) / 1e6
    return Exported(name, FILES[name], size, *comparison, run.milliseconds, run.memory_mb)


def _lengths(trained: TrainedModel, wanted: Sequence[int] | None) -> list[int]:
    """The lengths in ascending order, each once."""
    positions = trained.config.max_position_embeddings
    lengths = sorted({min(length, positions) for length in _USUAL_LENGTHS} if wanted is None else set(wanted))
    if lengths[-1] > positions:
        raise InputError(
            f"--max_seq_lengths: {lengths[-1]} is longer than the {positions} positions of the config "
            "(max_position_embeddings)"
        )
    return lengths


def table(exported: Sequence[Exported]) -> str:
    """Writes the report as a Markdown table."""
    lengths = list(exported[0].milliseconds)
    heads = ["file", "MB", "largest difference", "same decisions"]
    heads += [*(f"{length} pieces, ms" for length in lengths), "peak memory MB"]
    rows = [
        [
            row.file,
            f"{row.size_mb:.1f}",
            f"{row.largest_difference:.1e}",
            "" if row.agreement is None else f"{row.agreement:.1%}",
            *(f"{row.milliseconds[length]:.1f}" for length in lengths),
            f"{row.memory_mb:.0f}",
        ]
        for row in exported
    ]
    return markdown_table(heads, rows)
