"""What SentencePiece and WordPiece tokenizers have in common."""

import abc
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from albert_tf.errors import InputError


@dataclasses.dataclass(frozen=True)
class SpecialPieces:
    """How a vocabulary spells the special pieces."""

    pad: str
    unk: str
    cls: str = "[CLS]"
    sep: str = "[SEP]"
    mask: str = "[MASK]"


class TokenizedTexts(NamedTuple):
    """The pieces of many texts, end to end, with the characters of the raw texts that they stand for.

    Attributes:
      ids: `id_dtype` [pieces].
      lengths: int64 [texts], the number of pieces of each text.
      begins, ends: int32 [pieces]. A piece stands for text[begin:end] of its own text.
    """

    ids: np.ndarray
    lengths: np.ndarray
    begins: np.ndarray
    ends: np.ndarray


class Tokenizer(abc.ABC):
    """Text to pieces of a fixed vocabulary, and pieces to ids.

    Attributes:
      source: the file of the vocabulary, as errors name it.
      pieces: the vocabulary; a piece's index is its id.
      is_word_start: bool [vocab_size]. Whether a piece begins a word, as special pieces do; others continue
        the piece before them.
      id_dtype: uint16 or uint32, the smallest type that holds every id.
    """

    do_lower_case: bool

    def __init__(
        self, pieces: Sequence[str], special: SpecialPieces, source: str, starts_word: Callable[[str], bool]
    ):
        self.source = source
        self.pieces = list(pieces)
        self._ids = {piece: id for id, piece in enumerate(self.pieces)}
        missing = [p for p in dataclasses.astuple(special) if p not in self._ids]
        if missing:
            raise InputError(f"{source}: the vocabulary lacks {', '.join(missing)}")
        self.vocab_size = len(self.pieces)
        self.id_dtype = np.uint16 if self.vocab_size <= 1 << 16 else np.uint32
        self.special = special
        special_ids = [self._ids[piece] for piece in dataclasses.astuple(special)]
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = special_ids
        self.is_word_start = np.array(list(map(starts_word, self.pieces)))
        self.is_word_start[self.special_ids] = True

    @property
    def special_ids(self) -> list[int]:
        """The ids of padding, unknown, [CLS], [SEP] and [MASK]."""
        return self.pieces_to_ids(dataclasses.astuple(self.special))

    @abc.abstractmethod
    def tokenize(self, text: str) -> list[str]:
        """The pieces of a text. A special piece that the text spells out is unknown, not special."""

    @abc.abstractmethod
    def encode_batch(self, texts: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
        """The ids of many texts, end to end, and the number of each text's ids; as in `TokenizedTexts`."""

    @abc.abstractmethod
    def encode_with_offsets(self, texts: Iterable[str]) -> TokenizedTexts:
        """What `encode_batch` gives, with the range of characters that each piece stands for.

        Within a text, begins and ends never decrease. No range has white space at an edge, nor U+200B, which
        the model treats as white space. A piece of white space alone has an empty range before the next
        character. A character that became several pieces is in the range of each. What tokenization drops
        (marks, control characters) counts to the character before it; at the start of a word, to no piece.
        """

    def _end_to_end(self, ids: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
        """What `encode_batch` gives for texts with these ids."""
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        return np.fromiter(itertools.chain.from_iterable(ids), self.id_dtype, lengths.sum()), lengths

    def encode(self, text: str) -> list[int]:
        """The ids of the pieces of a text; special pieces are not added."""
        return self.encode_batch([text])[0].tolist()

    def pieces_to_ids(self, pieces: Iterable[str]) -> list[int]:
        """The id of each piece, `unk_id` for one that is not in the vocabulary."""
        return [self._ids.get(piece, self.unk_id) for piece in pieces]

    def ids_to_pieces(self, ids: Iterable[int]) -> list[str]:
        """The piece of each id."""
        return [self.pieces[id] for id in ids]
