#!/usr/bin/env python3
"""Writes ALBERT as a TF-Hub module, with the preprocessing module that belongs to it."""

import dataclasses
import sys

from albert_tf.cli.flags import former_option, option
from albert_tf.cli.options import SidecarOptions
from albert_tf.cli.script import script
from albert_tf.errors import escaped


@dataclasses.dataclass(frozen=True)
class HubOptions(SidecarOptions):
    """Writes ALBERT as a TF-Hub module, with the preprocessing module that belongs to it.

    Both are loaded by hub.load and hub.KerasLayer, without this package, and appear when they are complete.
    """

    albert_directory: str = option(
        is_weights=True,
        help="folder with the checkpoint, its albert_config.json and its vocabulary; or a .tar.gz, a Hugging "
        "Face folder, a hub module, the --output_dir of run_pretraining.py, or a name or address as for "
        "--init_checkpoint",
    )
    checkpoint_name: str | None = option(
        None, help="name of a checkpoint in --albert_directory (default: model.ckpt-best, else the newest)"
    )
    export_path: str = option(help="folder of the module")
    preprocessing_export_path: str | None = option(
        None, help="folder of the preprocessing module (default: --export_path with _preprocess behind it)"
    )
    max_seq_length: int | None = option(
        None, at_least=4, help="length of the preprocessing module's outputs (default: 128)"
    )
    overwrite: bool = option(False, help="replace modules that exist")
    use_einsum: bool | None = former_option("use_einsum")

    @property
    def needed_paths(self) -> tuple[str, ...]:
        """See `ScriptOptions`."""
        return ("albert_directory", *super().needed_paths)


@script(HubOptions)
def main(options: HubOptions) -> None:
    """Exports, and prints the report."""
    from albert_tf.export.hub.tfhub import HubExport, export_to_tfhub

    fields = dataclasses.fields(HubExport)
    exported = export_to_tfhub(HubExport(**{field.name: getattr(options, field.name) for field in fields}))
    print(exported.report)
    print(escaped(f"module written: {exported.module}"))
    print(escaped(f"preprocessing module written: {exported.preprocessing}"))


if __name__ == "__main__":
    sys.exit(main())
