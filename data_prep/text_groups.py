"""Groups of ranges of text files, their tokenization, and the outcome of all groups."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple

from albert_tf.errors import InputError
from albert_tf.files import file_size, open_file
from albert_tf.tokenization import Tokenizer
from data_prep import statistics, text_files
from data_prep.corpus import Corpus, tokenize
from data_prep.data_sets import is_table
from data_prep.options import GROUP_BYTES, Options
from data_prep.segments import Lost
from data_prep.statistics import ExampleStatistics, TextStatistics
from data_prep.text_files import LineBlock, TextOptions, TextRange, is_compressed, is_json

_GROUPS_WANTED = 64  # of a small corpus, so that workers have something to share
_LONGEST_BLANK_LINE = 256  # bytes; a file is not divided after a longer one
_NAMED_IN_A_GROUP, _NAMED_LINES = 5, 10  # lines that are left out, of a group and of all groups


def divide_into_groups(
    paths: Sequence[str], group_bytes: tuple[int, int] = GROUP_BYTES, window: int = 1 << 16
) -> list[list[TextRange]]:
    """Divides files into groups of ranges that can be read independently, in order.

    A plain file is divided after blank lines, a JSON file after any line; compressed files and tables stay
    whole. `window` bytes are searched for a border at a time. Raises InputError as `check_formats` does.
    """
    text_files.check_formats(paths)
    file_sizes = [file_size(path) for path in paths]
    least, most = group_bytes
    wanted = min(max(sum(file_sizes) // _GROUPS_WANTED, least), most)
    groups: list[list[TextRange]] = []
    room = 0
    for path, size in zip(paths, file_sizes, strict=True):
        for text_range in _ranges_of_file(path, size, wanted, window):
            if room <= 0:
                groups.append([])
                room = wanted
            groups[-1].append(text_range)
            room -= text_range.end - text_range.begin
    return groups


def _ranges_of_file(path: str, size: int, wanted: int, window: int) -> Iterator[TextRange]:
    begin = 0
    if size > 2 * wanted and not (is_compressed(path) or is_table(path)):
        border = re.compile(rb"\n" if is_json(path) else rb"\n[ \t\r]*\n")
        with open_file(path) as file:
            while size - begin > 2 * wanted:
                end = _next_border(file, begin + wanted, border, window)
                yield TextRange(path, begin, end)
                begin = end
    if begin < size:
        yield TextRange(path, begin, size)


def _next_border(file: IO[bytes], offset: int, border: re.Pattern[bytes], window: int) -> int:
    """The end of the first match from `offset` on, or the end of the file."""
    file.seek(offset)
    end = offset
    searched = b""
    while data := file.read(window):
        searched = searched[-_LONGEST_BLANK_LINE:] + data
        end += len(data)
        found = border.search(searched)
        if found:
            return end - len(searched) + found.end()
    return end


class TextGroup:
    """The ranges of files that are read together.

    Attributes:
      lines: how many lines of each range have been read.
      skipped_lines: how many lines were left out.
      skipped: the first of these lines: the range of each, its number in the range (from 0), and the reason.
    """

    def __init__(self, ranges: Sequence[TextRange], options: TextOptions):
        self._ranges = ranges
        self._options = options
        self._corpora: list[tuple[int, int]] = []
        self._statistics = TextStatistics.empty()
        self.lines = [0] * len(ranges)
        self.skipped_lines = 0
        self.skipped: list[tuple[int, int, str]] = []

    def read(self) -> Iterator[Iterator[LineBlock]]:
        """The lines of each range; InputError names a line that cannot be used, unless it is skipped."""
        return map(self._read_range, range(len(self._ranges)))

    def _read_range(self, source: int) -> Iterator[LineBlock]:
        text_range = self._ranges[source]

        def on_bad_line(number: int, reason: str) -> None:
            if self._options.on_error == "fail":
                line = text_files.lines_before(text_range) + number + 1
                raise InputError(
                    f"{text_range.path}, line {line}: {reason} (--on_error=skip leaves such lines out)"
                )
            self.skipped_lines += 1
            if len(self.skipped) < _NAMED_IN_A_GROUP:
                self.skipped.append((source, number, reason))

        for block in text_files.read_lines(text_range, self._options, on_bad_line):
            yield block
            self.lines[source] = block.next_number

    def tokenize(self, tokenizer: Tokenizer, on_progress: Callable[[int, int], None]) -> Iterator[Corpus]:
        """Yields the corpora; `on_progress` is called with the bytes and the pieces of each block."""
        for located in tokenize(self.read(), tokenizer, on_progress):
            self._corpora.append((located.corpus.ids.size, located.corpus.documents))
            self._statistics += TextStatistics.of(located, tokenizer.unk_id)
            yield located.corpus

    @property
    def result(self) -> dict[str, Any]:
        """What is known after the last corpus; `corpora` has the pieces and documents of each corpus."""
        return {
            "statistics": statistics.to_json(self._statistics),
            "corpora": self._corpora,
            "lines": self.lines,
            "skipped_lines": self.skipped_lines,
            "skipped": self.skipped,
        }


class TokenizedText(NamedTuple):
    """What is known of all groups; `skipped` names some of the skipped lines."""

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


class Outcome(NamedTuple):
    """Files with all examples: names so far (`complete`); records, bytes and sha256 of each (`shards`)."""

    text: TokenizedText
    examples: ExampleStatistics
    lost: Lost
    shards: list[dict[str, Any]]
    complete: list[str]


class PointlessRunError(InputError):
    """The text gives no output, however often the command is run."""


def require_text(text: TokenizedText, options: Options) -> None:
    """Raises PointlessRunError if there are no pieces."""
    if not text.statistics.pieces:
        names = ", ".join(options.input_file)
        raise PointlessRunError(f"no text in {names}: nothing to make examples of")


def require_examples(records: Sequence[int], options: Options) -> None:
    """Raises PointlessRunError if a file has no records; `records` has the number for each file."""
    if not any(records):
        names = ", ".join(options.input_file)
        raise PointlessRunError(f"no examples: {names} has no line of two words")
    if not all(records):
        raise PointlessRunError(f"{sum(records)} examples are too few for {len(records)} output files")
