#!/usr/bin/env python3
"""Exports a trained model for phones and other small machines: LiteRT and ONNX."""

import dataclasses
import sys

from albert_tf.cli.export_options import TrainedModelOptions
from albert_tf.cli.flags import option
from albert_tf.cli.script import script
from albert_tf.errors import escaped

_FORMATS = ("litert_float32", "litert_float16", "litert_int8", "onnx")


@dataclasses.dataclass(frozen=True)
class DeviceOptions(TrainedModelOptions):
    """Exports a trained model as LiteRT (TensorFlow Lite) and ONNX files: ids of pieces in, numbers out.

    Every file is run and compared with the Keras model on real sentences before the folder appears; size,
    difference and latency are printed and written to export_report.json. Config, vocabulary and labels lie
    beside the files.
    """

    output_dir: str = option(help="folder to write")
    formats: tuple[str, ...] | None = option(
        None,
        choices=_FORMATS,
        help=f"some of {', '.join(_FORMATS)} (default: all; onnx only where the extra `export` is installed)",
    )
    max_seq_lengths: tuple[int, ...] | None = option(
        None,
        at_least=2,
        help="lengths of sequences that LiteRT files take, a signature for each (default: 32,128,512, if the "
        "model has so many positions)",
    )
    batch_size: int = option(1, at_least=1, help="sequences, or questions, that LiteRT files take at once")
    sentences_file: str | None = option(
        None, help="text to compare with, one sentence a line, up to 50 (default: some English ones)"
    )
    overwrite: bool = option(False, help="replace an earlier export")

    @property
    def needed_paths(self) -> tuple[str, ...]:
        """See `ScriptOptions`."""
        return (*super().needed_paths, "sentences_file")


@script(DeviceOptions)
def main(options: DeviceOptions) -> None:
    """Loads, exports, and prints the table."""
    from albert_tf.export.device.device_check import SENTENCES, read_sentences
    from albert_tf.export.device.to_device import export_to_device, table
    from albert_tf.export.trained_model import arguments_of, open_trained_model

    sentences = read_sentences(options.sentences_file) if options.sentences_file else SENTENCES
    names = ("output_dir", "formats", "max_seq_lengths", "batch_size", "overwrite")
    given = {name: getattr(options, name) for name in names}
    with open_trained_model(**arguments_of(options)) as trained:
        exported = export_to_device(trained, sentences=sentences, **given)
    print(table(exported))
    print(escaped(f"One thread, batches of {options.batch_size}. Written to {options.output_dir}"))


if __name__ == "__main__":
    sys.exit(main())
