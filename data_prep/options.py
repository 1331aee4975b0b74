"""The flags of create_pretraining_data."""

import dataclasses
import os

from albert_tf.cli import flags
from albert_tf.data.masking import MaskingOptions, predictions_for
from data_prep.segments import SegmentOptions
from data_prep.text_files import TextOptions

LOCAL = "local"
_STATIC_PASSES = 40
_BEAM_RUNNERS = ("DirectRunner", "FlinkRunner", "SparkRunner", "DataflowRunner", "PortableRunner")
_LOCAL_FLAGS = ("num_workers", "temp_dir")
GROUP_BYTES = (1 << 20, 1 << 24)  # the least and the most bytes of a group of text, about


@dataclasses.dataclass(frozen=True)
class Options(MaskingOptions, SegmentOptions, TextOptions):
    """Makes TFRecords of sentence order and masked word prediction from raw text of any size.

    The text has one sentence (or other unit) a line and a blank line between documents. The same flags and
    input give the same bytes for any number of workers. A run that was interrupted continues when it is
    started again; what is complete is left alone. Example:

      python -m data_prep.create_pretraining_data --input_file='text/*.txt' --output_file=train.tfrecord \\
        --num_shards=16 --spm_model_file=vocab.model
    """

    output_file: tuple[str, ...] = flags.option(
        help="TFRecord files to write; the examples are dealt out over them in random order"
    )
    num_shards: int | None = flags.option(
        None, at_least=1, help="write one --output_file F as this many files, F-00000-of-00016 and so on"
    )
    spm_model_file: str | None = flags.option(None, help="the SentencePiece model")
    vocab_file: str | None = flags.option(
        None, help="the WordPiece vocabulary; it is used if no SentencePiece model is given"
    )
    do_lower_case: bool = flags.option(True, help="lower-case the text")
    keep_accents: bool = flags.option(False, help="keep the accents and other marks of letters")
    input_file_mode: str | None = flags.former_option("input_file_mode", choices=("r", "rb"))
    random_seed: int = flags.option(12345, at_least=0, help="the seed of pairs, masks and order")
    masking: str = flags.option(
        "static",
        choices=("static", "dynamic"),
        help="static: the records hold the masks. dynamic: they hold none; run_pretraining.py draws masks, "
        "and the order of A and B, anew each time that it reads the data",
    )
    num_workers: int | None = flags.option(
        None, at_least=1, help="number of processes; the output is the same (default: the number of CPUs)"
    )
    temp_dir: str | None = flags.option(
        None, help="the folder of temporary files (default: that of the output)"
    )
    runner: str = flags.option(
        LOCAL,
        choices=(LOCAL, *_BEAM_RUNNERS),
        help="what does the work: processes of this machine, or a runner of Apache Beam, which writes the "
        "same bytes (pip install '.[beam]' in this project's folder)",
    )
    beam_options: str | None = flags.option(
        None, help="options of the runner as Apache Beam names them: '--flink_master=host:8081 ...'"
    )
    overwrite: bool = flags.option(False, help="replace output files that exist")
    verify: bool = flags.option(False, help="only check the output against its manifest")
    inspect: int | None = flags.option(
        None, at_least=1, help="only print this many examples of the output, as text with masks and labels"
    )
    # These three are not flags; the bytes of the output depend on them. A unit has the pieces whose pairs are
    # planned together, in all passes. A small bucket is a bucket of a small text.
    group_bytes: tuple[int, int] = dataclasses.field(default=GROUP_BYTES, kw_only=True)
    unit_pieces: int = dataclasses.field(default=1 << 24, kw_only=True)
    small_bucket_pieces: int = dataclasses.field(default=1 << 20, kw_only=True)

    def __post_init__(self):
        super().__post_init__()
        if self.num_shards is not None and len(self.output_file) > 1:
            raise flags.UsageError("--num_shards takes one --output_file, which becomes so many files")
        if self.is_local and self.beam_options:
            raise flags.UsageError("--beam_options needs a --runner of Apache Beam")
        given = [name for name in _LOCAL_FLAGS if getattr(self, name) is not None]
        if given and not self.is_local:
            raise flags.UsageError(f"--{given[0]} needs --runner={LOCAL}; Apache Beam has --beam_options")
        if self.is_dynamic and self.do_permutation:
            raise flags.UsageError("--do_permutation needs --masking=static")
        object.__setattr__(self, "dupe_factor", self.passes)
        if not isinstance(self.max_predictions_per_seq, int):  # "auto"
            most = predictions_for(self.max_seq_length, self.masked_lm_prob)
            object.__setattr__(self, "max_predictions_per_seq", most)

    @property
    def is_dynamic(self) -> bool:
        """Whether training draws the masks."""
        return self.masking == "dynamic"

    @property
    def passes(self) -> int:
        """How often a run goes through the text."""
        return self.dupe_factor or (1 if self.is_dynamic else _STATIC_PASSES)

    @property
    def is_local(self) -> bool:
        """Whether this machine does the work."""
        return self.runner == LOCAL

    @property
    def shards(self) -> list[str]:
        """The names of the files that are written."""
        if self.num_shards is None:
            return list(self.output_file)
        [name] = self.output_file
        return [f"{name}-{shard:05}-of-{self.num_shards:05}" for shard in range(self.num_shards)]

    @property
    def workers(self) -> int:
        """How many processes may work."""
        return self.num_workers or len(os.sched_getaffinity(0))
