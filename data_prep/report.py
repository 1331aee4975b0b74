"""The figures of a run: a summary, and histograms as text."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from data_prep.options import Options
from data_prep.statistics import ExampleStatistics, TextStatistics

_BAR = 40  # characters of the longest
_BINS = 10  # of the lengths of examples


def summarize(
    text: TextStatistics,
    examples: ExampleStatistics,
    left_out: Mapping[str, int],
    seconds: float,
    options: Options,
) -> dict[str, Any]:
    """The figures of a run by name; None for those of masks that training draws."""
    count, pieces = examples.examples, examples.pieces
    masked = None if options.is_dynamic else examples.masked
    return {
        "documents": text.documents,
        "segments": text.segments,
        "corpus_pieces": text.pieces,
        "unknown_share": round(text.unknown / text.pieces, 6),
        "examples": count,
        **left_out,
        "label_1_share": round(examples.swapped / count, 4),
        "mean_fill": round(pieces / (count * options.max_seq_length), 4),
        "masked_pieces": masked,
        "masked_share": None if masked is None else round(masked / pieces, 4),
        "pieces": pieces,
        "seconds": round(seconds, 2),
        "pieces_per_second": round(pieces / seconds),
    }


def histograms(text: TextStatistics, examples: ExampleStatistics) -> dict[str, dict[str, int]]:
    """Title -> range -> how many, without empty ranges at the ends."""
    longest = len(examples.lengths) - 1
    ends = np.unique(np.arange(1, _BINS + 1) * longest // _BINS)
    bins = {
        f"{before + 1}-{end}": int(examples.lengths[before + 1 : end + 1].sum())
        for before, end in itertools.pairwise([0, *ends.tolist()])
        if end
    }
    counts = {
        "pieces in an example": bins,
        "pieces in a line": _powers_of_two(text.segment_pieces),
        "lines in a document": _powers_of_two(text.document_segments),
    }
    if examples.masked:
        counts["words masked together"] = {
            str(n): int(examples.ngrams[n]) for n in range(1, len(examples.ngrams))
        }
    return counts


def _powers_of_two(counts: np.ndarray) -> dict[str, int]:
    filled = np.flatnonzero(counts)
    return {
        str(1 << power) if not power else f"{1 << power}-{(2 << power) - 1}": int(counts[power])
        for power in range(filled[0], filled[-1] + 1)
    }


def render(manifest: Mapping[str, Any]) -> str:
    """The summary, histograms and extreme documents of a manifest as text."""
    return "\n".join(_lines(manifest))


def _lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    for title, counts in manifest["histograms"].items():
        yield title
        total, most = sum(counts.values()), max(counts.values())
        for name, count in counts.items():
            bar = "#" * round(_BAR * count / max(most, 1))
            yield f"{name:>20}  {count / max(total, 1):6.1%}  {bar}"
        yield ""
    for title in ("longest_documents", "shortest_documents"):
        yield f"{title.replace('_', ' ')}, in pieces"
        yield from (f"{document['pieces']:>20,}  {document['at']}" for document in manifest[title])
        yield ""
    if manifest["skipped"]:
        yield "skipped lines, the first of them"
        yield from manifest["skipped"]
        yield ""
    for name, value in manifest["summary"].items():
        yield f"{name.replace('_', ' '):>22}  {'drawn while training' if value is None else f'{value:,}'}"
    if manifest["summary"]["masked_pieces"] is None:
        yield f"{'order of A and B':>22}  drawn while training, where the label may change"
