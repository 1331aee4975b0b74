"""Groups of ranges of text files, their tokenization, and the outcome of all groups."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple

from albert_tf.errors import InputError
from albert_tf.files import file_size, open_file
from albert_tf.tokenization import Tokenizer
from data_prep import statistics
from data_prep.corpus import Corpus, tokenize
from data_prep.options import SIZES, Options, Sizes
from data_prep.statistics import ExampleStatistics, TextStatistics
from data_prep.text_files import (
    BadLine,
    LineBlock,
    TextOptions,
    TextRange,
    is_indivisible,
    is_json,
    lines_before,
    read_lines,
)

_GROUPS_WANTED = 64  # of a small corpus, so that workers have something to share
_SEARCHED = 1 << 16  # bytes in which a border is looked for at a time
_LONGEST_BLANK_LINE = 256  # bytes; behind a longer one no file is divided
_NAMED_IN_A_GROUP, _NAMED_LINES = 5, 10  # lines that are left out, of a group and of all groups


def divide_into_groups(paths: Sequence[str], sizes: Sizes = SIZES) -> list[list[TextRange]]:
    """Divides files into groups of ranges that can be read independently, in order.

    A group has 1 to 16 MB of plain text. A plain file is divided behind blank lines, a JSON file behind any
    line, a compressed one or a table not at all.
    """
    file_sizes = [file_size(path) for path in paths]
    least, most = sizes.group_bytes
    wanted = min(max(sum(file_sizes) // _GROUPS_WANTED, least), most)
    groups: list[list[TextRange]] = []
    room = 0
    for path, size in zip(paths, file_sizes, strict=True):
        for text_range in _ranges_of_file(path, size, wanted):
            if room <= 0:
                groups.append([])
                room = wanted
            groups[-1].append(text_range)
            room -= text_range.end - text_range.begin
    return groups


def _ranges_of_file(path: str, size: int, wanted: int) -> Iterator[TextRange]:
    begin = 0
    if not is_indivisible(path) and size > 2 * wanted:
        border = re.compile(rb"\n" if is_json(path) else rb"\n[ \t\r]*\n")
        with open_file(path) as file:
            while size - begin > 2 * wanted:
                end = _next_border(file, begin + wanted, border)
                yield TextRange(path, begin, end)
                begin = end
    if begin < size:
        yield TextRange(path, begin, size)


def _next_border(file: IO[bytes], offset: int, border: re.Pattern[bytes]) -> int:
    """The end of the first match from `offset` on, or the end of the file."""
    file.seek(offset)
    end = offset
    window = b""
    while data := file.read(_SEARCHED):
        window = window[-_LONGEST_BLANK_LINE:] + data
        end += len(data)
        found = border.search(window)
        if found:
            return end - len(window) + found.end()
    return end


class SkippedLine(NamedTuple):
    """A line that was left out: its range in the group, its number in the range, and why."""

    source: int
    line: int
    reason: str


class TextGroup:
    """The ranges of files that are read together.

    Attributes:
      lines: how many lines each of the ranges has, as far as they are read.
      skipped_lines: how many lines were left out.
      skipped: the first of them.
    """

    def __init__(self, ranges: Sequence[TextRange], options: TextOptions):
        self._ranges = ranges
        self._options = options
        self.lines = [0] * len(ranges)
        self.skipped_lines = 0
        self.skipped: list[SkippedLine] = []

    def read(self) -> Iterator[Iterator[LineBlock]]:
        """The lines of each range; InputError names a line that cannot be used, unless it is skipped."""
        return map(self._read_range, range(len(self._ranges)))

    def _read_range(self, source: int) -> Iterator[LineBlock]:
        text_range = self._ranges[source]

        def on_bad_line(bad: BadLine) -> None:
            if self._options.on_error == "fail":
                line = lines_before(text_range) + bad.number + 1
                raise InputError(
                    f"{text_range.path}, line {line}: {bad.reason} (--on_error=skip leaves such lines out)"
                )
            self.skipped_lines += 1
            if len(self.skipped) < _NAMED_IN_A_GROUP:
                self.skipped.append(SkippedLine(source, *bad))

        for block in read_lines(text_range, self._options, on_bad_line):
            yield block
            self.lines[source] = block.next_number


# --------------------------------------------------------------------------------------------- tokenized text


class TokenizedGroup:
    """The corpora of a group of text, made while they are iterated over.

    Args:
      ranges: where the text is.
      tokenizer: makes the ids.
      options: how the text is read.
      on_progress: called with the bytes and the pieces of each block.
    """

    def __init__(
        self,
        ranges: Sequence[TextRange],
        tokenizer: Tokenizer,
        options: TextOptions,
        on_progress: Callable[[int, int], None],
    ):
        self._text = TextGroup(ranges, options)
        self._tokenizer = tokenizer
        self._on_progress = on_progress
        self._statistics = TextStatistics.empty()
        self._corpora: list[tuple[int, int]] = []

    def __iter__(self) -> Iterator[Corpus]:
        for located in tokenize(self._text.read(), self._tokenizer, self._on_progress):
            self._corpora.append((located.corpus.ids.size, located.corpus.documents))
            self._statistics += TextStatistics.of(located, self._tokenizer.unk_id)
            yield located.corpus

    @property
    def result(self) -> dict[str, Any]:
        """What is known in the end.

        Its values: statistics of the text; corpora, pieces and documents of each; lines, how many each range
        has; skipped_lines, how many were; skipped, the first of them.
        """
        return {
            "statistics": statistics.to_json(self._statistics),
            "corpora": self._corpora,
            "lines": self._text.lines,
            "skipped_lines": self._text.skipped_lines,
            "skipped": self._text.skipped,
        }


class TokenizedText(NamedTuple):
    """What is known of all groups.

    Attributes:
      statistics: the sources of documents are paths, and lines are counted from their begin.
      skipped_lines: how many lines were left out.
      skipped: some of them.
    """

    statistics: TextStatistics
    skipped_lines: int
    skipped: list[str]


def joined_results(
    groups: Sequence[Sequence[TextRange]], results: Mapping[int, Mapping[str, Any]]
) -> TokenizedText:
    """Joins the results of all groups; `results` has them by the number of the group."""
    total = TextStatistics.empty()
    skipped = []
    lines: dict[str, int] = {}  # of each file so far
    for group, ranges in enumerate(groups):
        result = results[group]
        begins = []
        for text_range, count in zip(ranges, result["lines"], strict=True):
            before = lines.get(text_range.path, 0)
            begins.append((text_range.path, before))
            lines[text_range.path] = before + count
        total += statistics.from_json(TextStatistics, result["statistics"]).placed(begins)
        for source, line, reason in result["skipped"]:
            path, before = begins[source]
            skipped.append(f"{path}, line {before + line + 1}: {reason}")
    skipped_lines = sum(result["skipped_lines"] for result in results.values())
    return TokenizedText(total, skipped_lines, skipped[:_NAMED_LINES])


# ------------------------------------------------------------------------------------------- the end of a run


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
    """Raises PointlessRunError if there are no pieces."""
    if not pieces:
        names = ", ".join(options.input_file)
        raise PointlessRunError(f"no text in {names}: nothing to make examples of")


def require_examples(records: Sequence[int], options: Options) -> None:
    """Raises PointlessRunError if a file has no records; `records` has the number for each file."""
    if not any(records):
        names = ", ".join(options.input_file)
        raise PointlessRunError(f"no examples: {names} has no line of two words")
    if not all(records):
        raise PointlessRunError(f"{sum(records)} examples are too few for {len(records)} output files")
