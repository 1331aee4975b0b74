"""A folder with all that a device needs: the model in several formats, checked, its vocabulary and task."""

import dataclasses
import os
from collections.abc import Callable, Sequence

from albert_tf.cli.progress import progress_bar
from albert_tf.errors import InputError
from albert_tf.export.device.converters import (
    LiteRTConverter,
    check_packages,
    convert_to_onnx,
    missing_packages,
)
from albert_tf.export.device.device_check import SENTENCES, DeviceCheck, check_equal
from albert_tf.export.device.token_model import TokenModel
from albert_tf.export.trained_model import TrainedModel
from albert_tf.files import folder_appears_when_complete, write_json

FILES = {
    "litert_float32": "model_float32.tflite",
    "litert_float16": "model_float16.tflite",
    "litert_int8": "model_int8.tflite",
    "onnx": "model.onnx",
}
REPORT_FILE = "export_report.json"

_USUAL_LENGTHS = (32, 128, 512)
_NOT_EXACT = ("litert_float16", "litert_int8")


@dataclasses.dataclass(frozen=True)
class Exported:
    """A line of the report.

    Attributes:
      format: a key of `FILES`.
      file: its name.
      size_mb: of the file.
      largest_difference: from the Keras model, relative to numbers above 1.
      agreement: share of decisions that are the Keras model's; None where it makes none.
      milliseconds: of a batch on one thread, by the length of its sequences; the median.
      memory_mb: of a process that runs all lengths, at its peak.
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
) -> list[Exported]:
    """Writes the formats into a folder that appears when all have been checked.

    Config, vocabulary, `task.json` and the report, `export_report.json`, lie beside them.

    Args:
      trained: the model.
      output_dir: the folder.
      formats: keys of `FILES`; by default all for which the packages are installed.
      max_seq_lengths: lengths of the LiteRT files' sequences, and those that are checked; by default 32, 128
        and 512, as far as the model has positions.
      batch_size: of the LiteRT files, and that which is checked.
      sentences: to check with.
      overwrite: whether an earlier export is replaced.

    Raises:
      InputError: the folder exists, a format cannot be made, or a file in float32 is not equal to the model.
    """
    _check_folder(output_dir, overwrite)
    formats = formats or formats_here()
    if "onnx" in formats:
        check_packages()
    lengths = _lengths(trained, max_seq_lengths)
    model = TokenModel(trained)
    litert = LiteRTConverter(model, batch_size, lengths)
    exported = []
    with folder_appears_when_complete(output_dir, overwrite) as folder:
        with progress_bar(total=len(formats), desc="converting and checking", unit=" formats") as bar:
            check = DeviceCheck(model, trained, batch_size, lengths, sentences)
            for name in formats:
                exported.append(_export(name, model, litert, check, folder))
                bar.update()
        trained.assets.write(folder)
        write_json(os.path.join(folder, REPORT_FILE), [*map(dataclasses.asdict, exported)])
    return exported


def _check_folder(path: str, overwrite: bool) -> None:
    """InputError if it holds anything that is not to be replaced."""
    if not os.path.isdir(path) or not os.listdir(path):
        return
    if not overwrite:
        raise InputError(f"--output_dir={path} exists; --overwrite replaces it")
    if not os.path.exists(os.path.join(path, REPORT_FILE)):
        raise InputError(f"--output_dir={path} is no earlier export (it lacks {REPORT_FILE}): not replaced")


def formats_here() -> list[str]:
    """Those for which the packages are installed."""
    return [name for name in FILES if name != "onnx" or not missing_packages()]


def _export(
    name: str, model: TokenModel, litert: LiteRTConverter, check: DeviceCheck, folder: str
) -> Exported:
    path = os.path.join(folder, FILES[name])
    content = convert_to_onnx(model) if name == "onnx" else litert.convert(name.removeprefix("litert_"))
    with open(path, "wb") as file:
        file.write(content)
    run, comparison = check.run(path)
    if name not in _NOT_EXACT:
        check_equal(comparison, FILES[name])
    size = len(content) / 1e6
    return Exported(name, FILES[name], size, *comparison, run.milliseconds, run.memory_mb)


def _lengths(trained: TrainedModel, wanted: Sequence[int] | None) -> list[int]:
    """In ascending order, each once."""
    positions = trained.config.max_position_embeddings
    if wanted is None:
        wanted = [min(length, positions) for length in _USUAL_LENGTHS]
    longest = max(wanted)
    if longest > positions:
        raise InputError(
            f"--max_seq_lengths: {longest} is longer than the {positions} positions of the config "
            "(max_position_embeddings)"
        )
    return sorted(set(wanted))


def table(exported: Sequence[Exported]) -> str:
    """The report as a Markdown table."""
    lengths = list(exported[0].milliseconds)
    columns: dict[str, Callable[[Exported], str]] = {
        "file": lambda row: row.file,
        "MB": lambda row: f"{row.size_mb:.1f}",
        "largest difference": lambda row: f"{row.largest_difference:.1e}",
        "same decisions": lambda row: "" if row.agreement is None else f"{row.agreement:.1%}",
    }
    for length in lengths:
        columns[f"{length} pieces, ms"] = lambda row, length=length: f"{row.milliseconds[length]:.1f}"
    columns["peak memory MB"] = lambda row: f"{row.memory_mb:.0f}"
    rows = [list(columns), ["---"] * len(columns)]
    rows += [[cell(row) for cell in columns.values()] for row in exported]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
