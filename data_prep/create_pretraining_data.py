"""Raw text into the TFRecords of pretraining: python -m data_prep.create_pretraining_data --help."""

import pathlib
import sys

if not __package__:  # run by its path
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from albert_tf.cli.script import script
from albert_tf.data.records import manifest_path
from albert_tf.errors import escaped
from data_prep.inspection import readable_records
from data_prep.manifest import verify
from data_prep.options import Options
from data_prep.pipeline import create_pretraining_data
from data_prep.statistics import render


def run(options: Options) -> None:
    """Makes the records, or verifies or shows them, as the flags say."""
    if options.verify:
        manifest = verify(options.output_file[0])
        records = sum(shard["records"] for shard in manifest["shards"])
        print(f"{len(manifest['shards'])} files, {records:,} records: as they were written")
    if options.inspect:
        vocabulary = options.spm_model_file, options.vocab_file
        for text in readable_records(options.output_file[0], options.inspect, *vocabulary):
            print(text)
    if not (options.verify or options.inspect):
        manifest = create_pretraining_data(options, lambda text: print(text, flush=True))
        print(render(manifest))
        written = [*options.output_file, manifest_path(options.output_file[0])]
        print(escaped(f"{'output':>22}  {', '.join(written)}"))


main = script(Options)(run)

if __name__ == "__main__":
    sys.exit(main())
