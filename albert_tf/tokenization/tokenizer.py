"""What SentencePiece and WordPiece tokenizers have in common."""

import abc
import dataclasses
from collections.abc import Iterable, Sequence
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
      source: str. The file of the vocabulary.
      pieces: list of str. The vocabulary; a piece's index is its id.
      vocab_size: int.
      pad_id, unk_id, cls_id, sep_id, mask_id: int.
      is_word_start: bool [vocab_size]. Whether a piece begins a word; false where it continues the piece
        before it. True for the special pieces.
      id_dtype: the smallest unsigned numpy type that holds every id.
      do_lower_case: whether text is lower-cased.
    """

    do_lower_case: bool

    def __init__(self, pieces: Sequence[str], special: SpecialPieces, source: str):
        """Takes the vocabulary; `source` names its file in error messages."""
        self.source = source
        self.pieces = list(pieces)
        self._ids = {piece: id for id, piece in enumerate(self.pieces)}
        missing = [p for p in dataclasses.astuple(special) if p not in self._ids]
        if missing:
            raise InputError(f"{source}: the vocabulary lacks {', '.join(missing)}")
        self.vocab_size = len(self.pieces)
        self.id_dtype = np.uint16 if self.vocab_size <= 1 << 16 else np.uint32
        self.special = special
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (
            self._ids[piece] for piece in dataclasses.astuple(special)
        )
        self.is_word_start = np.array([self._starts_word(piece) for piece in self.pieces])
        self.is_word_start[self.special_ids] = True

    @property
    def special_ids(self) -> list[int]:
        """The ids of padding, unknown, [CLS], [SEP] and [MASK]."""
        return [self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id]

    @abc.abstractmethod
    def tokenize(self, text: str) -> list[str]:
        """The pieces of a text. A special piece that the text spells out is unknown, not special."""

    @abc.abstractmethod
    def encode_batch(self, texts: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
        """The ids of many texts, end to end.

        Returns:
          ids: `id_dtype` [pieces]; lengths: int64 [texts], the number of pieces of each text.
        """

    @abc.abstractmethod
    def encode_with_offsets(self, texts: Iterable[str]) -> TokenizedTexts:
        """What `encode_batch` gives, with the range of characters that each piece stands for.

        In a text begins and ends never decrease. No range has white space at an edge, nor what the model
        takes for it (U+200B); a piece of white space alone has an empty range before the next character. A
        character that became several pieces is in the range of each. What tokenization drops (marks,
        control characters) counts to the character before it, at the start of a word to no piece.
        """

    @abc.abstractmethod
    def _starts_word(self, piece: str) -> bool:
        """Whether the piece begins a word."""

    def encode(self, text: str) -> list[int]:
        """The ids of the pieces of a text; special pieces are not added."""
        return self.encode_batch([text])[0].tolist()

    def pieces_to_ids(self, pieces: Iterable[str]) -> list[int]:
        """The id of each piece, `unk_id` for one that is not in the vocabulary."""
        return [self._ids.get(piece, self.unk_id) for piece in pieces]

    def ids_to_pieces(self, ids: Iterable[int]) -> list[str]:
        """The piece of each id."""
        return [self.pieces[id] for id in ids]
