"""SentencePiece as the original's English models use it."""

import itertools
import string
from collections.abc import Iterable
from typing import Literal

import numpy as np
import sentencepiece

from albert_tf.errors import InputError
from albert_tf.tokenization.preprocessing import preprocess_text
from albert_tf.tokenization.tokenizer import SpecialPieces, Tokenizer

UNDERLINE = "\u2581"  # stands for the space before a word
SPECIAL_PIECES = SpecialPieces(pad="<pad>", unk="<unk>")

_PUNCTUATION = frozenset(string.punctuation) - set("'<=>")
_INSIDE_WORD = _PUNCTUATION | set(string.ascii_lowercase)


class SentencePieceTokenizer(Tokenizer):
    """A SentencePiece model behind `preprocess_text` and the digit-comma rule.

    The rule takes a comma off the digit before it: "▁2009," becomes "▁2009" ",". What precedes the comma is
    encoded anew without underlines, which makes SentencePiece put one at its front; where the piece began
    inside a word the rule means to take it away again: "9," becomes "9" ",". Under Python 3 the original
    leaves it there ("▁9" ","), and so does `digit_comma_rule="original"`.

    Example:
      >>> from albert_tf import testing
      >>> SentencePieceTokenizer(testing.SPM_MODEL_FILE).tokenize("The boats, walking")
      ['▁the', '▁boats', ',', '▁walk', 'ing']
    """

    def __init__(
        self,
        model_file: str,
        do_lower_case: bool = True,
        digit_comma_rule: Literal["intended", "original"] = "intended",
    ):
        """Loads the model; InputError if the file is no model or lacks a special piece."""
        self._processor = _load(model_file)
        self._do_lower_case = do_lower_case
        size = self._processor.get_piece_size()
        super().__init__([self._processor.id_to_piece(i) for i in range(size)], SPECIAL_PIECES, model_file)
        self._replacements = self._digit_comma_replacements(keep_underline=digit_comma_rule == "original")
        self._replacements.update({id: [self.unk_id] for id in self.special_ids})
        # The same for whole arrays: the row of id i is replacement_ids[starts[i] : starts[i] + counts[i]].
        rows = [self._replacements.get(id, [id]) for id in range(size)]
        self._replacement_counts = np.array([len(row) for row in rows])
        self._replacement_starts = np.cumsum(self._replacement_counts) - self._replacement_counts
        self._replacement_ids = np.array(list(itertools.chain.from_iterable(rows)), self.id_dtype)

    def tokenize(self, text: str) -> list[str]:
        """The pieces of a text; characters the model does not know come as they are."""
        text = preprocess_text(text, self._do_lower_case)
        pieces = []
        ids = self._processor.encode(text, out_type=int)
        for id, piece in zip(ids, self._processor.encode(text, out_type=str), strict=True):
            if id == self.unk_id:
                pieces.append(self.special.unk if piece in self._ids else piece)
            else:
                pieces.extend(self.ids_to_pieces(self._replacements.get(id, [id])))
        return pieces

    def encode_batch(self, texts: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
        """See `Tokenizer.encode_batch`."""
        lists = self._processor.encode(
            [preprocess_text(text, self._do_lower_case) for text in texts], out_type=int, num_threads=1
        )
        lengths = np.fromiter(map(len, lists), np.int64, len(lists))
        ids = np.fromiter(itertools.chain.from_iterable(lists), self.id_dtype, lengths.sum())
        counts = self._replacement_counts[ids]
        ends = np.cumsum(counts)
        total = ends[-1] if ids.size else 0
        source = np.repeat(self._replacement_starts[ids] - (ends - counts), counts) + np.arange(total)
        text_ends = np.concatenate([[0], ends])[np.cumsum(lengths)]
        return self._replacement_ids[source], np.diff(text_ends, prepend=0)

    def _starts_word(self, piece: str) -> bool:
        return (
            piece.startswith((UNDERLINE, "<"))
            or piece in _PUNCTUATION
            or any(character.lower() not in _INSIDE_WORD for character in piece)
        )

    def _digit_comma_replacements(self, keep_underline: bool) -> dict[int, list[int]]:
        """For every piece the rule applies to, the ids it becomes."""
        replacements = {}
        for id, piece in enumerate(self.pieces):
            if len(piece) < 2 or piece[-1] != "," or not piece[-2].isdigit():
                continue
            parts = self._processor.encode(piece[:-1].replace(UNDERLINE, ""), out_type=str)
            if not piece.startswith(UNDERLINE) and not keep_underline:
                parts[0] = parts[0].removeprefix(UNDERLINE)
            replacements[id] = self.pieces_to_ids([part for part in parts if part] + [","])
        return replacements


def _load(model_file: str) -> sentencepiece.SentencePieceProcessor:
    with open(model_file, "rb") as file:
        model = file.read()
    try:
        if not model:
            raise RuntimeError
        return sentencepiece.SentencePieceProcessor(model_proto=model)
    except RuntimeError:
        raise InputError(f"{model_file} is not a SentencePiece model") from None
