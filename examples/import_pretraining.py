"""Turns the weights that `pretrain_with_jax.py` wrote into a folder that every script of the project reads.

Run: python -m examples.import_pretraining --weights=weights.npz --output_dir=pretrained
  --albert_config_file=config.json --spm_model_file=vocab.model
"""

import dataclasses
import os
import pathlib
import sys
import tempfile
import zipfile

if not __package__:  # run by its path
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

import numpy as np

from albert_tf.cli import flags
from albert_tf.cli.flags import option
from albert_tf.cli.script import script


@dataclasses.dataclass(frozen=True)
class ImportOptions(flags.ScriptOptions):
    """Writes weights, config and vocabulary as one folder."""

    weights: str = option(help="the .npz file of the weights")
    albert_config_file: str = option(help="the shape of the model")
    spm_model_file: str = option(help="the SentencePiece model of the records")
    output_dir: str = option(help="folder for model.ckpt, config and vocabulary")


@script(ImportOptions)
def main(options: ImportOptions) -> None:
    """Writes the folder."""
    from albert_tf.checkpoints.conversion import Conversion, convert
    from albert_tf.checkpoints.tensorflow import write_original
    from albert_tf.errors import InputError

    try:
        with np.load(options.weights) as stored:
            weights = dict(stored)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{options.weights} is damaged, or no .npz file: {error}") from error
    with tempfile.TemporaryDirectory() as folder:
        prefix = os.path.join(folder, "model.ckpt")
        write_original(prefix, weights)
        converted = convert(
            Conversion(
                input=prefix,
                output=options.output_dir,
                output_format="tf2",
                albert_config_file=options.albert_config_file,
                spm_model_file=options.spm_model_file,
            )
        )
    print(", ".join(converted.files))


if __name__ == "__main__":
    sys.exit(main())
