"""Statistics of text and of examples, which add up, and the figures of a run as text."""

import dataclasses
import heapq
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from albert_tf.data.masking import SPECIAL_PIECES
from albert_tf.errors import escaped
from data_prep.corpus import LocatedCorpus
from data_prep.options import Options
from data_prep.segments import Lost

_NAMED_DOCUMENTS = 5
_POWERS = 32
_BAR = 40  # characters of the longest bar
_BINS = 10  # of the lengths of examples

_Statistics = TypeVar("_Statistics", "TextStatistics", "ExampleStatistics")

# The pieces of a document, and the source (a number or a name) and the line (from 0) where it begins.
Document = tuple[int, Any, int]


@dataclasses.dataclass(frozen=True)
class TextStatistics:
    """The statistics of tokenized text.

    Attributes:
      pieces: the number of all pieces, with the unknown ones.
      segment_pieces: int64 [32]. How many segments have 1, 2 to 3, 4 to 7, ... pieces.
      document_segments: int64 [32]. How many documents have 1, 2 to 3, 4 to 7, ... segments.
      longest, shortest: the documents with the most and the fewest pieces.
    """

    documents: int
    segments: int
    pieces: int
    unknown: int
    segment_pieces: np.ndarray
    document_segments: np.ndarray
    longest: list[Document]
    shortest: list[Document]

    @classmethod
    def of(cls, located: LocatedCorpus, unknown_id: int) -> "TextStatistics":
        """The statistics of a corpus."""
        corpus = located.corpus
        pieces = np.diff(corpus.segment_starts[corpus.document_starts])
        order = np.argsort(pieces, kind="stable")
        documents = np.column_stack([pieces, located.places])
        return cls(
            corpus.documents,
            len(corpus.segment_starts) - 1,
            corpus.ids.size,
            int(np.count_nonzero(corpus.ids == unknown_id)),
            _powers_of_two(np.diff(corpus.segment_starts)),
            _powers_of_two(np.diff(corpus.document_starts)),
            [tuple(document) for document in documents[order[: -_NAMED_DOCUMENTS - 1 : -1]].tolist()],
            [tuple(document) for document in documents[order[:_NAMED_DOCUMENTS]].tolist()],
        )

    @classmethod
    def empty(cls) -> "TextStatistics":
        """The statistics of no text."""
        return cls(0, 0, 0, 0, np.zeros(_POWERS, np.int64), np.zeros(_POWERS, np.int64), [], [])

    def placed(self, begins: Sequence[tuple[str, int]]) -> "TextStatistics":
        """The same statistics with names of sources; `begins` has the name and first line of each source."""
        longest, shortest = (
            [(pieces, begins[source][0], begins[source][1] + line) for pieces, source, line in documents]
            for documents in (self.longest, self.shortest)
        )
        return dataclasses.replace(self, longest=longest, shortest=shortest)

    def __add__(self, other: "TextStatistics") -> "TextStatistics":
        total = _sum(self, other)
        longest = heapq.nlargest(_NAMED_DOCUMENTS, total.longest)
        shortest = heapq.nsmallest(_NAMED_DOCUMENTS, total.shortest)
        return dataclasses.replace(total, longest=longest, shortest=shortest)


def _powers_of_two(values: np.ndarray) -> np.ndarray:
    return np.bincount(np.frexp(values)[1] - 1, minlength=_POWERS)


@dataclasses.dataclass(frozen=True)
class ExampleStatistics:
    """The statistics of written examples.

    Attributes:
      swapped: the number of examples with label 1.
      masked: the number of pieces to predict.
      lengths: int64 [max_seq_length + 1]. How many examples have each number of pieces, with special pieces.
      ngrams: int64 [ngram + 1]. How many n-grams of n words are masked.
    """

    swapped: int
    masked: int
    lengths: np.ndarray
    ngrams: np.ndarray

    @classmethod
    def of(cls, features: Mapping[str, np.ndarray], ngrams: np.ndarray) -> "ExampleStatistics":
        """The statistics of a batch of features, masked or not."""
        segments = features["segment_ids"]
        lengths = segments.shape[1] - np.argmax(segments[:, ::-1], axis=1)  # up to the last 1
        return cls(
            int(features["next_sentence_labels"].sum()),
            int(np.count_nonzero(features.get("masked_lm_weights", 0))),
            np.bincount(lengths, minlength=segments.shape[1] + 1),
            ngrams,
        )

    @property
    def examples(self) -> int:
        """The number of examples."""
        return int(self.lengths.sum())

    @property
    def pieces(self) -> int:
        """The number of pieces, with special pieces and without padding."""
        return int(self.lengths @ np.arange(len(self.lengths)))

    def __add__(self, other: "ExampleStatistics") -> "ExampleStatistics":
        return _sum(self, other)


def _sum(one: _Statistics, other: _Statistics) -> _Statistics:
    return type(one)(*(getattr(one, f.name) + getattr(other, f.name) for f in dataclasses.fields(one)))


def to_json(statistics: TextStatistics | ExampleStatistics) -> dict[str, Any]:
    """The fields of statistics, with lists instead of arrays."""
    fields = dataclasses.asdict(statistics)
    return {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in fields.items()}


def from_json(kind: type[_Statistics], fields: Mapping[str, Any]) -> _Statistics:
    """Makes statistics of what `to_json` returned."""
    arrays = {field.name for field in dataclasses.fields(kind) if field.type is np.ndarray}
    values: dict[str, Any] = {n: np.array(v) if n in arrays else v for n, v in fields.items()}
    return kind(**values)


def summarize(
    text: TextStatistics,
    skipped_lines: int,
    examples: ExampleStatistics,
    lost: Lost,
    seconds: float,
    options: Options,
) -> dict[str, Any]:
    """The figures of a run by name; figures of masks are None if training draws the masks.

    Pieces are kept or cut off by truncation, in all passes and without special ones.
    """
    count, pieces = examples.examples, examples.pieces
    kept = pieces - count * SPECIAL_PIECES
    masked = None if options.is_dynamic else examples.masked
    return {
        "documents": text.documents,
        "segments": text.segments,
        "corpus_pieces": text.pieces,
        "unknown_share": round(text.unknown / text.pieces, 6),
        "examples": count,
        "skipped_lines": skipped_lines,
        **lost._asdict(),
        "kept_pieces": kept,
        "cut_off_share": round(lost.cut_off_pieces / (kept + lost.cut_off_pieces), 4),
        "label_1_share": round(examples.swapped / count, 4),
        "mean_fill": round(pieces / (count * options.max_seq_length), 4),
        "padding": count * options.max_seq_length - pieces,
        "masked_pieces": masked,
        "masked_share": None if masked is None else round(masked / pieces, 4),
        "pieces": pieces,
        "seconds": round(seconds, 2),
        "pieces_per_second": round(pieces / seconds),
    }


def histograms(text: TextStatistics, examples: ExampleStatistics) -> dict[str, dict[str, int]]:
    """Title -> range -> how many are in it; empty ranges at the ends are left out."""
    longest = len(examples.lengths) - 1
    ends = np.unique(np.arange(1, _BINS + 1) * longest // _BINS)
    bins = {
        f"{before + 1}-{end}": int(examples.lengths[before + 1 : end + 1].sum())
        for before, end in itertools.pairwise([0, *ends.tolist()])
        if end
    }
    counts = {
        "pieces in an example": bins,
        "pieces in a line": _counts_by_power(text.segment_pieces),
        "lines in a document": _counts_by_power(text.document_segments),
    }
    if examples.masked:
        ngrams = enumerate(examples.ngrams.tolist())
        counts["words masked together"] = {str(n): count for n, count in ngrams if n}
    return counts


def _counts_by_power(counts: np.ndarray) -> dict[str, int]:
    filled = np.flatnonzero(counts)
    return {
        str(1 << power) if not power else f"{1 << power}-{(2 << power) - 1}": int(counts[power])
        for power in range(filled[0], filled[-1] + 1)
    }


def render(manifest: Mapping[str, Any]) -> str:
    """The summary, histograms and extreme documents of a manifest as text."""
    lines = []
    for title, counts in manifest["histograms"].items():
        lines.append(title)
        total, most = sum(counts.values()), max(counts.values(), default=0)
        for name, count in counts.items():
            bar = "#" * round(_BAR * count / max(most, 1))
            lines.append(f"{name:>20}  {count / max(total, 1):6.1%}  {bar}")
        lines.append("")
    for title in ("longest_documents", "shortest_documents"):
        documents = [f"{document['pieces']:>20,}  {escaped(document['at'])}" for document in manifest[title]]
        lines += [f"{title.replace('_', ' ')}, in pieces", *documents, ""]
    if manifest["skipped"]:
        lines += ["skipped lines, the first of them", *map(escaped, manifest["skipped"]), ""]
    for name, value in manifest["summary"].items():
        figure = "drawn while training" if value is None else f"{value:,}"
        lines.append(f"{name.replace('_', ' '):>22}  {figure}")
    if manifest["summary"].get("masked_pieces") is None:
        lines.append(f"{'order of A and B':>22}  drawn while training, where the label may change")
    return "\n".join(lines)
