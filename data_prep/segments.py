"""Documents into pairs of texts: chunks, A and B, their order, their truncation.

Pairs are planned for many documents and passes at once, as ranges of `Corpus.ids`; no text is copied.
"""

import dataclasses
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from albert_tf.cli import flags
from albert_tf.data.masking import SPECIAL_PIECES
from data_prep.corpus import Corpus


@dataclasses.dataclass(frozen=True)
class SegmentOptions(flags.ScriptOptions):
    """How documents become pairs of texts."""

    max_seq_length: int = flags.option(
        512, at_least=SPECIAL_PIECES + 2, help="number of pieces in an example, with [CLS] and two [SEP]"
    )
    dupe_factor: int | None = flags.option(
        None,
        at_least=1,
        help="passes over the text, each with other pairs and masks (default: 40; 1 with dynamic masking)",
    )
    short_seq_prob: float = flags.option(
        0.1,
        at_least=0,
        at_most=1,
        help="the share of documents whose examples get a random shorter length, in each pass",
    )
    random_next_sentence: bool = flags.option(
        False,
        help="next sentence prediction as BERT's, B from another document, instead of sentence order",
    )
    single_segment_chunks: str = flags.option(
        "split",
        choices=("split", "random_document"),
        help="what to do in sentence order prediction if one line fills an example: split it between words, "
        "or take B from another document, as the original does",
    )

    @property
    def budget(self) -> int:
        """Pieces that A and B may have together."""
        return self.max_seq_length - SPECIAL_PIECES


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Where A and B of each example lie in `Corpus.ids`.

    Attributes:
      starts: int64 [pairs, 2]. The first piece of A and of B.
      lengths: int32 [pairs, 2]. The pieces of A and of B, at least one each.
      labels: uint8 [pairs]. 0 in order, 1 swapped (SOP) or from another document.
      may_swap: uint8 [pairs]. 1 if the label is about the order of A and B, which are of one text.
    """

    starts: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray
    may_swap: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray | slice) -> "Pairs":
        """The pairs at these indices, in their order."""
        return Pairs(
            self.starts[indices], self.lengths[indices], self.labels[indices], self.may_swap[indices]
        )

    def in_text_order(self) -> "Pairs":
        """The same pairs; swapped ones are in text order again."""
        swapped = (self.may_swap & self.labels).astype(bool)
        starts, lengths = (
            np.where(swapped[:, None], column[:, ::-1], column) for column in (self.starts, self.lengths)
        )
        return Pairs(starts, lengths, self.labels * ~swapped, self.may_swap)


class Lost(NamedTuple):
    """Text that is in no example: chunks that are one single word, and pieces that truncation drops."""

    single_words_left_out: int = 0
    cut_off_pieces: int = 0

    @classmethod
    def in_all(cls, parts: Iterable["Lost"]) -> "Lost":
        """The sums."""
        return cls(*map(sum, zip(*parts, strict=True)))


def span_indices(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """int64 [sum of lengths]. For each start, as many consecutive numbers as its length, end to end."""
    ends = np.cumsum(lengths, dtype=np.int64)
    return np.arange(ends[-1] if ends.size else 0) + np.repeat(starts - (ends - lengths), lengths)


def plan_pairs(
    corpus: Corpus, is_word_start: np.ndarray, passes: int, options: SegmentOptions, rng: np.random.Generator
) -> tuple[Pairs, Lost]:
    """All pairs of some passes, not shuffled; `is_word_start` is bool [vocab_size]."""
    documents = np.tile(np.arange(corpus.documents), passes)
    targets = np.full(documents.size, options.budget)
    short = rng.random(documents.size) < options.short_seq_prob
    targets[short] = rng.integers(2, options.budget, np.count_nonzero(short), endpoint=True)

    chunks = _divide_into_chunks(corpus, documents, targets, options.random_next_sentence, rng)
    row, *borders, from_elsewhere = chunks
    documents, targets = documents[row], targets[row]
    begin, cut, end = (corpus.segment_starts[border] for border in borders)
    left_out = 0
    if not options.random_next_sentence and options.single_segment_chunks == "split":
        cut = _cut_between_words(corpus, is_word_start, begin, cut, end, rng)
        from_elsewhere = np.zeros(len(cut), bool)
        kept = cut < end
        left_out = int(kept.size - np.count_nonzero(kept))
        begin, cut, end, from_elsewhere = begin[kept], cut[kept], end[kept], from_elsewhere[kept]
        documents, targets = documents[kept], targets[kept]

    starts = np.stack([begin, cut], axis=1)
    ends = np.stack([cut, end], axis=1)
    elsewhere = np.flatnonzero(from_elsewhere)
    wanted = targets[elsewhere] - (cut - begin)[elsewhere]
    starts[elsewhere, 1], ends[elsewhere, 1] = _other_texts(corpus, documents[elsewhere], wanted, rng)
    if options.random_next_sentence:
        may_swap = swapped = np.zeros(len(starts), bool)
    else:
        may_swap = ~from_elsewhere
        swapped = may_swap & (rng.random(len(starts)) < 0.5)
    starts[swapped], ends[swapped] = starts[swapped, ::-1], ends[swapped, ::-1]
    planned = ends - starts
    starts, lengths = _truncate(starts, planned, options.budget, rng)
    lost = Lost(left_out, int(planned.sum() - lengths.sum()))
    labels = (from_elsewhere | swapped).astype(np.uint8)
    return Pairs(starts, lengths.astype(np.int32), labels, may_swap.astype(np.uint8)), lost


def _divide_into_chunks(
    corpus: Corpus, documents: np.ndarray, targets: np.ndarray, random_next: bool, rng: np.random.Generator
) -> list[np.ndarray]:
    """Takes segments until a chunk has its target of pieces or the document ends.

    Each step of the loop finds the next chunk of every document in every pass. Returns for each chunk: the
    index in `documents`; the first segment of A, after A and after B; whether B comes from elsewhere.
    """
    pieces = corpus.segment_starts
    row = np.arange(documents.size)
    begin, last = corpus.document_starts[documents], corpus.document_starts[documents + 1]
    found = []
    while row.size:
        end = np.minimum(np.searchsorted(pieces, pieces[begin] + targets), last)
        chance = rng.random((2, row.size))
        cut = begin + 1 + (chance[0] * (end - begin - 1)).astype(np.int64)
        elsewhere = cut == end
        if random_next:
            elsewhere |= chance[1] < 0.5
        found.append((row, begin, cut, end, elsewhere))
        begin = np.where(elsewhere, cut, end)  # segments that B does not use begin the next chunk
        more = begin < last
        row, begin, last, targets = row[more], begin[more], last[more], targets[more]
    columns = [np.concatenate(column) for column in zip(*found, strict=True)]
    order = np.argsort(columns[0], kind="stable")
    return [column[order] for column in columns]


def _cut_between_words(
    corpus: Corpus,
    is_word_start: np.ndarray,
    begin: np.ndarray,
    cut: np.ndarray,
    end: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Moves the cut of a single-segment chunk to the start of a random word inside, if there is one."""
    single = np.flatnonzero(cut == end)
    if not single.size:
        return cut
    small = np.uint32 if corpus.ids.size < 1 << 32 else np.int64
    words = np.flatnonzero(is_word_start[corpus.ids]).astype(small)
    first = np.searchsorted(words, begin[single].astype(small), side="right")
    count = np.searchsorted(words, end[single].astype(small)) - first
    chosen = first + (rng.random(single.size) * count).astype(np.int64)
    divisible = count > 0
    cut[single[divisible]] = words[chosen[divisible]]
    return cut


def _other_texts(
    corpus: Corpus, documents: np.ndarray, wanted: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends of texts of `wanted` pieces at random segments of other documents, if there are any."""
    chance = rng.random((2, documents.size))
    if corpus.documents > 1:
        other = (chance[0] * (corpus.documents - 1)).astype(np.int64)
        documents = other + (other >= documents)
    first, last = corpus.document_starts[documents], corpus.document_starts[documents + 1]
    begin = first + (chance[1] * (last - first)).astype(np.int64)
    pieces = corpus.segment_starts
    end = np.searchsorted(pieces, pieces[begin] + np.maximum(wanted, 1))
    return pieces[begin], pieces[np.minimum(end, last)]


def _truncate(
    starts: np.ndarray, lengths: np.ndarray, budget: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Drops pieces until A and B have `budget` together.

    The original drops one piece after the other from the longer text (from B if they are equal), at its front
    or its back with equal chance. So the number from each text is certain; that from its front is binomial.
    """
    excess = np.maximum(lengths.sum(axis=1) - budget, 0)
    difference = lengths[:, 0] - lengths[:, 1]
    levelling = np.minimum(excess, np.abs(difference))
    rest = excess - levelling
    drop_a = np.where(difference > 0, levelling, 0) + rest // 2
    drop = np.stack([drop_a, excess - drop_a], axis=1)
    return starts + rng.binomial(drop, 0.5), lengths - drop
