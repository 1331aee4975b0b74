"""Groups of text, tokenized: the corpora of each, and what is known of all of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from albert_tf.tokenization import Tokenizer
from data_prep import statistics
from data_prep.corpus import Corpus, tokenize
from data_prep.statistics import TextStatistics
from data_prep.text_files import TextOptions, TextRange
from data_prep.text_groups import TextGroup

_NAMED_LINES = 10  # of those that were skipped


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
    """The results of all groups together, given by their numbers."""
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
