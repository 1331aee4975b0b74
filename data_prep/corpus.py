"""Lines of text as arrays of ids: documents of segments of pieces."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, NamedTuple

import numpy as np

from albert_tf.tokenization import Tokenizer
from data_prep.text_files import LineBlock

LONGEST_DOCUMENT = 1 << 22  # pieces; the rest of a longer document becomes another document


class Corpus(NamedTuple):
    """Documents of segments of pieces; a segment is a line of text.

    Attributes:
      ids: unsigned [pieces].
      segment_starts: int64 [segments + 1]. Segment s is ids[segment_starts[s] : segment_starts[s + 1]].
      document_starts: int64 [documents + 1]. The first segment of each document, and the number of segments.
    """

    ids: np.ndarray
    segment_starts: np.ndarray
    document_starts: np.ndarray

    @property
    def documents(self) -> int:
        """The number of documents."""
        return len(self.document_starts) - 1

    def save(self, file: IO[bytes]) -> None:
        """Writes the corpus to an open file."""
        np.savez(file, **self._asdict())

    @classmethod
    def load(cls, paths: Sequence[str]) -> "Corpus":
        """Joins the corpora of files that `save` has written."""
        parts = []
        for path in paths:
            with np.load(path) as arrays:
                parts.append(cls(**arrays))
        return cls.joined(parts)

    @classmethod
    def joined(cls, parts: Sequence["Corpus"]) -> "Corpus":
        """Joins several corpora, one after another."""
        ids, segments, documents = zip(*parts, strict=True)
        return cls(np.concatenate(ids), _joined(segments), _joined(documents))


def _joined(starts: Sequence[np.ndarray]) -> np.ndarray:
    offsets = itertools.accumulate((part[-1] for part in starts), initial=0)
    shifted = [part[1:] + offset for part, offset in zip(starts, offsets, strict=False)]
    return np.concatenate([[0], *shifted])


class LocatedCorpus(NamedTuple):
    """A corpus; `places`: int64 [documents, 2], the source and the line (from 0) where a document begins."""

    corpus: Corpus
    places: np.ndarray


class _Segments(NamedTuple):
    """Segments of pieces; each has the number of its document, and its place (source and line)."""

    ids: np.ndarray
    lengths: np.ndarray
    documents: np.ndarray
    places: np.ndarray

    def located_corpus(self) -> LocatedCorpus:
        first_segments = np.flatnonzero(np.diff(self.documents, prepend=-1))
        corpus = Corpus(
            self.ids,
            np.concatenate([[0], np.cumsum(self.lengths)]),
            np.append(first_segments, len(self.lengths)),
        )
        return LocatedCorpus(corpus, self.places[first_segments])


def tokenize(
    sources: Iterable[Iterable[LineBlock]],
    tokenizer: Tokenizer,
    on_progress: Callable[[int, int], None] = lambda size, pieces: None,
    longest: int = LONGEST_DOCUMENT,
) -> Iterator[LocatedCorpus]:
    """Encodes the lines of each source into corpora of whole documents; none is empty.

    Lines without pieces are dropped, and so are documents without lines. The end of a source ends a document.
    A corpus has about `longest` pieces (the last one may have fewer); a longer document is divided.
    `on_progress` is called with the bytes and the pieces of each block.
    """
    parts: list[_Segments] = []
    document = 0  # counts the breaks so far
    for source, blocks in enumerate(sources):
        document += 1
        open_lengths = None  # the array whose last element counts the pieces of a line that may go on
        for block in blocks:
            if not block.lines:
                on_progress(block.size, 0)
                continue
            ids, lengths = tokenizer.encode_batch(block.lines)
            blank = np.array([not line or line.isspace() for line in block.lines])
            if block.continues:
                blank[0] = False
                if open_lengths is not None:
                    open_lengths[-1] += lengths[0]
                    lengths[0] = 0
            documents = np.cumsum(blank) + document
            document = documents[-1]
            filled = lengths > 0
            places = np.stack([np.full(len(filled), source), block.numbers], axis=1)
            parts.append(_Segments(ids, lengths[filled], documents[filled], places[filled]))
            if filled[-1]:
                open_lengths = parts[-1].lengths
            elif len(filled) > 1 or not block.continues:
                open_lengths = None
            on_progress(block.size, ids.size)
            if sum(part.ids.size for part in parts) >= longest:
                whole, parts = _divide(parts)
                yield whole.located_corpus()
                open_lengths = parts[-1].lengths if parts and open_lengths is not None else None
    if any(part.ids.size for part in parts):
        yield _concatenated(parts).located_corpus()


def _divide(parts: Sequence[_Segments]) -> tuple[_Segments, list[_Segments]]:
    """Takes the last document apart from the others; a single document stays whole, with no second part."""
    everything = _concatenated(parts)
    first = np.searchsorted(everything.documents, everything.documents[-1])
    if not first:
        return everything, []
    pieces = everything.lengths[:first].sum()
    whole = _Segments(everything.ids[:pieces], *(column[:first] for column in everything[1:]))
    return whole, [_Segments(everything.ids[pieces:], *(column[first:] for column in everything[1:]))]


def _concatenated(parts: Sequence[_Segments]) -> _Segments:
    return _Segments(*map(np.concatenate, zip(*parts, strict=True)))
