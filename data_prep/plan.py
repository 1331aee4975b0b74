"""What a run will read, make and need, estimated from a sample of the text."""

import collections
import itertools
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from albert_tf.cli.text import duration, megabytes
from albert_tf.data.masking import SPECIAL_PIECES
from albert_tf.errors import InputWarning
from albert_tf.files import has_scheme
from albert_tf.tokenization import Tokenizer
from data_prep.corpus import tokenize
from data_prep.options import Options
from data_prep.stages import PAIR, Unit, bucket_examples, deal_unit
from data_prep.text_files import LineBlock, TextRange, read_lines

_SAMPLES = 8
_SAMPLE_CHARACTERS = 1 << 16  # of each
_TOKENIZED_BYTES = 3  # of a piece, with its share of where lines and documents begin
_FRAME_BYTES = 16  # of a TFRecord around each record
_COMPLETING_SPEED = 9e8  # bytes a second that a core adds to a file and hashes


class Plan(NamedTuple):
    """Estimates of a run; `seconds` are those of one core for each stage.

    `pieces` are those of one pass; `kept`, `cut_off` and `padding` those of all examples.
    """

    files: int
    input_bytes: int
    pieces: int
    examples: int
    kept: int
    cut_off: int
    padding: int
    output_bytes: int
    temporary_bytes: int
    seconds: dict[str, float]

    def describe(self, options: Options) -> str:
        """The plan as text."""
        output = _files(len(options.shards))
        rows = {
            "input": f"{megabytes(self.input_bytes)} in {_files(self.files)}, about {self.pieces:,} pieces",
            "output": f"about {self.examples:,} examples, {megabytes(self.output_bytes)} in {output}",
            "pieces": f"about {self.kept:,} kept, {self.cut_off:,} cut off, {self.padding:,} of padding",
        }
        if options.is_local:
            seconds = sum(self.seconds.values()) / options.workers
            rows["temporary"] = f"about {megabytes(self.temporary_bytes)}"
            rows["time"] = f"about {duration(seconds)}, {options.workers} at work"
        else:
            rows["runner"] = options.runner
        return "\n".join(f"{name:>22}  {text}" for name, text in rows.items())

    def warn_of_full_disks(self, options: Options) -> None:
        """Warns if a folder has less space than the run will need."""
        output = options.shards[0]
        beside = tempfile.gettempdir() if has_scheme(output) else os.path.dirname(output) or "."
        needs: collections.Counter[str] = collections.Counter({beside: self.output_bytes})
        needs[options.temp_dir or beside] += self.temporary_bytes
        for folder, needed in needs.items():
            free = shutil.disk_usage(folder).free
            if needed > free:
                text = f"{folder} has {megabytes(free)} free, but about {megabytes(needed)} are needed"
                warnings.warn(text, InputWarning, stacklevel=2)


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


def make_plan(
    inputs: Sequence[Mapping[str, Any]],
    groups: Sequence[Sequence[TextRange]],
    tokenizer: Tokenizer,
    options: Options,
) -> Plan:
    """Takes a sample of the text through all stages and scales the figures up."""
    input_bytes = sum(file["bytes"] for file in inputs)
    blocks = _sample(groups, options)
    clock = [time.perf_counter()]
    located = next(tokenize([[block] for block in blocks], tokenizer), None)
    clock.append(time.perf_counter())
    pieces = kept = cut_off = examples = record_bytes = 0
    if located:
        corpus = located.corpus
        pieces = corpus.ids.size
        pairs, _, lost = deal_unit(corpus, Unit(0, (0,), 0, 1), 1, tokenizer, options)
        kept, cut_off = int(pairs.lengths.sum()), lost.cut_off_pieces
        clock.append(time.perf_counter())
        for serialized, counted in bucket_examples(corpus.ids, pairs, 0, tokenizer, options):
            record_bytes += sum(map(len, serialized)) + _FRAME_BYTES * len(serialized)
            examples += counted.examples
        clock.append(time.perf_counter())
    scale = input_bytes / max(1, sum(block.size for block in blocks))
    passes = scale * options.passes
    pieces = round(pieces * scale)
    row_bytes = PAIR.itemsize / (options.budget / 2)  # of a piece; pairs are rarely less than half full
    dealt_bytes = options.passes * (np.dtype(tokenizer.id_dtype).itemsize + row_bytes)
    temporary = pieces * (_TOKENIZED_BYTES + dealt_bytes)
    tokenizing, shuffling, writing = np.append(np.diff(clock), [0, 0])[:3].tolist()
    seconds = {
        "tokenizing": tokenizing * scale,
        "shuffling": shuffling * passes,
        "writing": writing * passes,
        "completing": record_bytes * passes / _COMPLETING_SPEED,
    }
    output_bytes = round(record_bytes * passes)
    padding = examples * options.max_seq_length - kept - examples * SPECIAL_PIECES
    return Plan(
        files=len(inputs),
        input_bytes=input_bytes,
        pieces=pieces,
        examples=round(examples * passes),
        kept=round(kept * passes),
        cut_off=round(cut_off * passes),
        padding=round(padding * passes),
        output_bytes=output_bytes,
        temporary_bytes=round(temporary),
        seconds=seconds,
    )


def _sample(groups: Sequence[Sequence[TextRange]], options: Options) -> list[LineBlock]:
    """The beginnings of some evenly spaced ranges, without unusable lines."""
    ranges = [text_range for group in groups for text_range in group]
    return [
        _beginning(block)
        for text_range in ranges[:: max(1, len(ranges) // _SAMPLES)][:_SAMPLES]
        for block in itertools.islice(read_lines(text_range, options, lambda *bad: None), 1)
    ]


def _beginning(block: LineBlock) -> LineBlock:
    """The first lines of a block, with their share of its bytes."""
    ends = np.cumsum([len(line) + 1 for line in block.lines])
    count = min(int(np.searchsorted(ends, _SAMPLE_CHARACTERS)) + 1, len(ends))
    share = ends[count - 1] / ends[-1] if count else 1
    return block._replace(
        lines=block.lines[:count], numbers=block.numbers[:count], size=round(block.size * share)
    )
