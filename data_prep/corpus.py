"""Raw text, one sentence a line and a blank line between documents, read into one array of ids."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from albert_tf.errors import InputError
from albert_tf.tokenization import Tokenizer

_BLOCK = 1 << 20  # bytes read and encoded at a time


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Documents of segments of pieces; a segment is what one line of text holds.

    Attributes:
      ids: unsigned [pieces].
      segment_starts: int64 [segments + 1]. Segment s is ids[segment_starts[s] : segment_starts[s + 1]].
      document_starts: int64 [documents + 1]. The same, of documents in segments.
    """

    ids: np.ndarray
    segment_starts: np.ndarray
    document_starts: np.ndarray

    @property
    def documents(self) -> int:
        """The number of documents."""
        return len(self.document_starts) - 1

    @property
    def segments(self) -> int:
        """The number of segments."""
        return len(self.segment_starts) - 1


def read_corpus(
    files: Sequence[str], tokenizer: Tokenizer, on_progress: Callable[[int], None] = lambda n: None
) -> Corpus:
    """Reads and encodes text files; lines without pieces are dropped, and so are documents without lines.

    Args:
      files: names of UTF-8 files. A file's end also ends its last document.
      tokenizer: makes the ids.
      on_progress: called with a number of bytes as they are read.

    Raises:
      InputError: a file is not UTF-8 (names the line), or there is no text in any.
    """
    ids, lengths, documents = [], [], []
    document = 0  # counts the breaks so far
    for path in files:
        document += 1
        for block, size in read_blocks(path):
            lines = block.split("\n")
            breaks = np.cumsum([not line or line.isspace() for line in lines]) + document
            block_ids, block_lengths = tokenizer.encode_batch(lines)
            filled = block_lengths > 0
            ids.append(block_ids)
            lengths.append(block_lengths[filled])
            documents.append(breaks[filled])
            document = breaks[-1]
            on_progress(size)
    lengths = np.concatenate(lengths) if lengths else np.zeros(0, np.int64)
    if not lengths.size:
        raise InputError(f"no text in {', '.join(files)}: nothing to make examples of")
    segment_starts = np.concatenate([[0], np.cumsum(lengths)])
    first_segments = np.flatnonzero(np.diff(np.concatenate(documents), prepend=-1))
    return Corpus(np.concatenate(ids), segment_starts, np.append(first_segments, len(lengths)))


def read_blocks(path: str) -> Iterator[tuple[str, int]]:
    """The text of a UTF-8 file in blocks of whole lines (no line end at the end), each with its bytes.

    Raises:
      InputError: the file is not UTF-8; the message names the line.
    """
    lines_before = 0
    with open(path, "rb") as file:
        while lines := file.readlines(_BLOCK):
            block = b"".join(lines)
            try:
                text = block.decode("utf-8")
            except UnicodeDecodeError as error:
                line = lines_before + block[: error.start].count(b"\n") + 1
                raise InputError(f"{path}, line {line}: not UTF-8 ({error.reason})") from None
            if not lines_before:
                text = text.removeprefix("\ufeff")
            lines_before += len(lines)
            yield text.removesuffix("\n"), len(block)
