#!/usr/bin/env python3
"""Converts ALBERT weights between the original release, Hugging Face and this package."""

import dataclasses
import sys

from albert_tf.cli.flags import former_option, option
from albert_tf.cli.options import SidecarOptions
from albert_tf.cli.script import script
from albert_tf.errors import escaped


@dataclasses.dataclass(frozen=True)
class ConversionOptions(SidecarOptions):
    """Converts ALBERT weights, with config and vocabulary, and reports what became of every tensor.

    The content of the input tells its kind. The output appears when it is complete.
    """

    input: str = option(
        is_weights=True,
        help="checkpoint (prefix, .index or folder), .tar.gz, Hugging Face folder, hub module, the "
        "--output_dir of a training script, or a name or address as for --init_checkpoint",
    )
    output: str = option(help="folder to write; for --output_format=original the prefix of the checkpoint")
    output_format: str = option(choices=("original", "huggingface", "tf2"), help="what to write")
    best: bool | None = former_option("best")
    head: str | None = option(
        None,
        help="which model it is, if names cannot tell (classification, multiple_choice or "
        "token_classification: these have an output_weights), or encoder for the encoder alone",
    )
    dtype: str = option(
        "float32",
        choices=("float32", "float16"),
        help="type of the written numbers; float16 halves the files of --output_format=huggingface",
    )
    verify: bool = option(False, help="run both sides, tokenizers too, and print the differences")
    list_tensors: bool = option(False, help="print the name of every tensor and what became of it")
    overwrite: bool = option(False, help="replace files that exist")

    @property
    def needed_paths(self) -> tuple[str, ...]:
        """See `ScriptOptions`."""
        return ("input", *super().needed_paths)


@script(ConversionOptions)
def main(options: ConversionOptions) -> None:
    """Converts, and prints the report."""
    from albert_tf.checkpoints.conversion import Conversion, convert
    from albert_tf.checkpoints.verification import check

    fields = dataclasses.fields(Conversion)
    conversion = Conversion(**{field.name: getattr(options, field.name) for field in fields})
    converted = convert(conversion)
    print(converted.report)
    if options.list_tensors:
        print(converted.report.listing())
    print(escaped(f"{converted.head} written: {', '.join(converted.files)}"))
    if options.verify:
        print(check(conversion, converted))


if __name__ == "__main__":
    sys.exit(main())
