"""What has come of the stages of a run, whoever did them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from albert_tf.errors import InputError
from data_prep.options import Options
from data_prep.statistics import ExampleStatistics
from data_prep.tokenized_groups import TokenizedText


class Outcome(NamedTuple):
    """Complete files that have not got their names yet.

    Attributes:
      text: what is known of the text.
      examples: statistics of the examples.
      left_out: how many chunks made no example because they are one single word.
      shards: records, bytes and sha256 of each file.
      complete: the names that the files have so far.
    """

    text: TokenizedText
    examples: ExampleStatistics
    left_out: int
    shards: list[dict[str, Any]]
    complete: list[str]


class PointlessRunError(InputError):
    """The text gives no output, however often the command is run."""


def require_text(pieces: int, options: Options) -> None:
    """Raises PointlessRunError where there are no pieces."""
    if not pieces:
        names = ", ".join(options.input_file)
        raise PointlessRunError(f"no text in {names}: nothing to make examples of")


def require_examples(records: Sequence[int], options: Options) -> None:
    """Raises PointlessRunError where a file, of which the numbers of records are given, has none."""
    if not any(records):
        names = ", ".join(options.input_file)
        raise PointlessRunError(f"no examples: {names} has no line of two words")
    if not all(records):
        raise PointlessRunError(f"{sum(records)} examples are too few for {len(records)} output files")
