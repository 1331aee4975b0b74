"""What SentencePiece and WordPiece tokenizers have in common."""

import abc
import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from albert_tf.errors import InputError
from albert_tf.files import open_file
from albert_tf.tokenization.sequences import Sequences, Spans, kept_lengths, sequences_of

_LEAST_LENGTH = 4  # [CLS], a piece of each text of a pair, [SEP]; as --max_seq_length


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
    keep_accents: bool

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

    def __call__(
        self,
        texts: str | Iterable[str],
        text_pairs: str | Iterable[str] | None = None,
        *,
        max_length: int | None = None,
        padding: str = "longest",
        offsets: bool = False,
    ) -> dict[str, np.ndarray]:
        """The inputs of a model: [CLS] text [SEP], or [CLS] text [SEP] other text [SEP], for each text.

        Args:
          texts: texts; one text that is no list is a batch of one.
          text_pairs: as many other texts.
          max_length: the most pieces of a sequence; fine-tuning cuts longer ones in the same way. By default
            nothing is cut.
          padding: "longest" makes the batch as wide as its longest sequence, "max_length" as wide as that.
          offsets: whether the result has `offsets`. A model does not take them.

        Returns:
          `input_ids`, `input_mask` and `segment_ids`, int32 [texts, width]. `offsets`, int32
          [texts, width, 2], are the begin and the end of the characters that each piece stands for in its own
          text, as in `encode_with_offsets`; both are 0 for [CLS], [SEP] and padding.

        Raises:
          InputError: an argument is of another kind, or there are not as many other texts as texts.
        """
        if max_length is not None and max_length < _LEAST_LENGTH:
            raise InputError(f"max_length must be at least {_LEAST_LENGTH}, not {max_length}")
        if padding not in ("longest", "max_length") or (padding == "max_length" and max_length is None):
            needed = "'longest', or 'max_length' together with max_length"
            raise InputError(f"padding must be {needed}, not {padding!r}")
        columns = [[texts] if isinstance(texts, str) else many_texts(texts)]
        if text_pairs is not None:
            if isinstance(texts, str) != isinstance(text_pairs, str):
                raise InputError("texts and text_pairs must both be one text, or both be lists of texts")
            columns.append([text_pairs] if isinstance(text_pairs, str) else many_texts(text_pairs))
            if len(columns[0]) != len(columns[1]):
                counts = f"{len(columns[0])} texts, but {len(columns[1])} text_pairs"
                raise InputError(f"{counts}: each text needs its other text")
        encode = self._encode_with_offsets if offsets else self._encode_batch
        encoded = [encode(column) for column in columns]
        lengths = [lengths for _, lengths, *_ in encoded]
        kept = lengths if max_length is None else kept_lengths(lengths, max_length)

        def packed(column: int, first: int, second: int) -> Sequences:
            segments = [Spans.end_to_end(found[column], found[1]) for found in encoded]
            cut = [segment.first(length) for segment, length in zip(segments, kept, strict=True)]
            return sequences_of(cut, first, second)

        made = packed(0, self.cls_id, self.sep_id)
        longest = int(made.lengths.max(initial=0))
        width = longest if max_length is None or padding == "longest" else max_length
        places = np.arange(width)
        inside = places < made.lengths[:, None]
        inputs = {
            "input_ids": made.padded(width, self.pad_id),
            "input_mask": inside.astype(np.int32),
            "segment_ids": (inside & (places >= made.first_lengths[:, None])).astype(np.int32),
        }
        if offsets:
            inputs["offsets"] = np.stack([packed(i, 0, 0).padded(width) for i in (2, 3)], axis=2)
        return inputs

    @property
    def special_ids(self) -> list[int]:
        """The ids of padding, unknown, [CLS], [SEP] and [MASK]."""
        return self.pieces_to_ids(dataclasses.astuple(self.special))

    def tokenize(self, text: str) -> list[str]:
        """The pieces of a text. A special piece that the text spells out is unknown, not special."""
        return self._tokenize(_one_text(text))

    def encode_batch(self, texts: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
        """The ids of many texts, end to end, and the number of each text's ids; as in `TokenizedTexts`."""
        return self._encode_batch(many_texts(texts))

    def encode_with_offsets(self, texts: Iterable[str]) -> TokenizedTexts:
        """What `encode_batch` gives, with the range of characters that each piece stands for.

        Within a text, begins and ends never decrease. No range has white space at an edge, nor U+200B, which
        the model treats as white space. A piece of white space alone has an empty range before the next
        character. A character that became several pieces is in the range of each. What tokenization drops
        (marks, control characters) counts to the character before it; at the start of a word, to no piece.
        """
        return self._encode_with_offsets(many_texts(texts))

    @abc.abstractmethod
    def _tokenize(self, text: str) -> list[str]: ...

    @abc.abstractmethod
    def _encode_batch(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]: ...

    @abc.abstractmethod
    def _encode_with_offsets(self, texts: list[str]) -> TokenizedTexts: ...

    def problems(self) -> list[str]:
        """What to warn of before the vocabulary is used: of accents, and of exports."""
        return [problem for problem in (self.problem_of_accents(), self.problem_in_graph()) if problem]

    def problem_of_accents(self) -> str | None:
        """In words, if the pieces have accents that the text loses, or lack those that it keeps."""
        return None

    def problem_in_graph(self) -> str | None:
        """In words, why the graph, and so an exported model, cannot tokenize with this vocabulary."""
        return None

    def _end_to_end(self, ids: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
        """What `encode_batch` gives for texts with these ids."""
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        return np.fromiter(itertools.chain.from_iterable(ids), self.id_dtype, lengths.sum()), lengths

    def encode(self, text: str) -> list[int]:
        """The ids of the pieces of a text; special pieces are not added."""
        return self._encode_batch([_one_text(text)])[0].tolist()

    def pieces_to_ids(self, pieces: Iterable[str]) -> list[int]:
        """The id of each piece, `unk_id` for one that is not in the vocabulary."""
        return [self._ids.get(piece, self.unk_id) for piece in many_texts(pieces)]

    def ids_to_pieces(self, ids: Iterable[int]) -> list[str]:
        """The piece of each id; `InputError` for an id that the vocabulary lacks."""
        ids = list(ids)
        if np.ndim(ids) > 1:
            raise InputError("the ids of one text are needed, not those of a batch")
        if wrong := [id for id in ids if not 0 <= id < self.vocab_size]:
            raise InputError(f"{self.source} has the ids 0 to {self.vocab_size - 1}, not {wrong[0]}")
        return [self.pieces[id] for id in ids]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids of one sequence, without padding, [CLS] and [SEP]; other special pieces stay.

        It is the text after preprocessing: case and accents that the pieces lack do not come back.
        """
        left_out = {self.special.pad, self.special.cls, self.special.sep}
        return self._joined([piece for piece in self.ids_to_pieces(ids) if piece not in left_out])

    @abc.abstractmethod
    def _joined(self, pieces: list[str]) -> str: ...


def read_vocabulary_file(path: str) -> bytes:
    """The content of the file of a vocabulary; `InputError` if it cannot be read, or is a folder."""
    if os.path.isdir(path):
        names = sorted(name for name in os.listdir(path) if name.endswith((".model", ".txt")))
        there = f" ({path} holds {', '.join(names)})" if names else ""
        raise InputError(f"{path} is a folder; the file of a vocabulary is needed{there}")
    try:
        with open_file(path) as file:
            return file.read()
    except FileNotFoundError:
        raise InputError(f"{path}, a vocabulary, does not exist") from None


def _one_text(text: str) -> str:
    if not isinstance(text, str):
        raise InputError(f"a text must be str, not {type(text).__name__}: encode_batch takes a list of texts")
    return text


def many_texts(texts: Iterable[str]) -> list[str]:
    """The texts as a list; `InputError` for a single text, which Python takes for a list of letters."""
    if isinstance(texts, str | bytes):
        raise InputError(f"a list of texts is needed, not one text: [{texts!r:.40}]")
    texts = list(texts)
    if not all(isinstance(text, str) for text in texts):
        kinds = {type(text).__name__ for text in texts} - {"str"}
        raise InputError(f"each text must be str, not {', '.join(sorted(kinds))}")
    return texts
