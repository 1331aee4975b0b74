"""SentencePiece as the original's English models use it."""

import dataclasses
import itertools
import string
import unicodedata
from typing import Any, NamedTuple

import numpy as np
import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from albert_tf.errors import InputError
from albert_tf.tokenization.preprocessing import character_ranges, preprocess_text
from albert_tf.tokenization.tokenizer import SpecialPieces, TokenizedTexts, Tokenizer, read_vocabulary_file

UNDERLINE = "\u2581"  # stands for the space before a word
SPECIAL_PIECES = SpecialPieces(pad="<pad>", unk="<unk>")  # of the original's models

_MESSAGES: Any = sentencepiece_model_pb2  # its classes are made at import, where no type checker sees them
_PUNCTUATION = frozenset(string.punctuation) - set("'<=>")
_INSIDE_WORD = _PUNCTUATION | set(string.ascii_lowercase)


class _Part(NamedTuple):
    id: int
    before: int = 0
    after: int = 0


class PieceParts(NamedTuple):
    """What becomes of the model's pieces: piece i of parts starts[i] to starts[i] + counts[i] - 1."""

    counts: np.ndarray  # int64 [vocab_size]
    starts: np.ndarray  # int64 [vocab_size]
    ids: np.ndarray  # `id_dtype` [parts]: the piece that the part is
    before: np.ndarray  # int64 [parts]: how many characters of the model's piece come before the part
    after: np.ndarray  # int64 [parts]: how many come after it


class SentencePieceTokenizer(Tokenizer):
    """A SentencePiece model behind `preprocess_text` and the digit-comma rule.

    The rule takes a comma off the digit before it: "▁2009," becomes "▁2009" ",". It encodes what precedes the
    comma anew, without underlines, and SentencePiece puts one at the front. If the piece began inside a word,
    the rule removes that one again: "9," becomes "9" ",". (Under Python 3 the original leaves it there, by
    mistake.)

    Attributes:
      parts: what the digit-comma rule makes of each piece. A special piece becomes the unknown piece.

    Example:
      >>> from albert_tf import testing
      >>> SentencePieceTokenizer(testing.SPM_MODEL_FILE).tokenize("The boats, walking")
      ['▁the', '▁boats', ',', '▁walk', 'ing']
    """

    def __init__(self, model_file: str, do_lower_case: bool = True, keep_accents: bool = False):
        """Loads the model; InputError if the file is no model or lacks a special piece."""
        self._processor = _load(model_file)
        self.do_lower_case = do_lower_case
        self.keep_accents = keep_accents
        size = self._processor.get_piece_size()
        try:
            pieces = [self._processor.id_to_piece(i) for i in range(size)]
        except UnicodeDecodeError as error:
            raise InputError(f"{model_file} is damaged: a piece is not UTF-8 ({error.reason})") from None
        special = dataclasses.replace(SPECIAL_PIECES, unk=pieces[self._processor.unk_id()])
        if special.pad not in pieces and self._processor.pad_id() >= 0:
            special = dataclasses.replace(special, pad=pieces[self._processor.pad_id()])
        super().__init__(pieces, special, model_file, starts_word)
        self._replaced = self._digit_comma_parts() | {id: [_Part(self.unk_id)] for id in self.special_ids}
        rows = [self._replaced.get(id, [_Part(id)]) for id in range(size)]
        counts = np.array([len(row) for row in rows])
        ids, before, after = np.array(list(itertools.chain.from_iterable(rows))).T
        self.parts = PieceParts(counts, np.cumsum(counts) - counts, ids.astype(self.id_dtype), before, after)
        self._sizes = np.array([self._size(id) for id in range(size)])

    @property
    def model(self) -> bytes:
        """The model's protocol buffer."""
        return self._processor.serialized_model_proto()

    def problem_of_accents(self) -> str | None:
        """See `Tokenizer.problem_of_accents`."""
        piece = next(filter(_has_mark, self.pieces), None)
        if piece and not self.keep_accents:
            return (
                f"text loses its accents, though {self.source} has pieces with accents ({piece}): "
                "--keep_accents keeps them"
            )
        if self.keep_accents and not piece and not any(map(self._processor.is_byte, range(self.vocab_size))):
            return f"text keeps its accents, but no piece of {self.source} has one: such letters are unknown"
        return None

    def problem_in_graph(self) -> str | None:
        """See `Tokenizer.problem_in_graph`."""
        model = _MESSAGES.ModelProto.FromString(self.model)
        spec, piece = model.normalizer_spec, _MESSAGES.ModelProto.SentencePiece
        spaces = (spec.add_dummy_prefix, spec.remove_extra_whitespaces, spec.escape_whitespaces)
        if model.trainer_spec.model_type != _MESSAGES.TrainerSpec.UNIGRAM:
            needed = "a unigram model (spm_train makes it with --model_type=unigram)"
        elif {piece.type for piece in model.pieces} & {piece.BYTE, piece.UNUSED}:
            needed = "a model without byte pieces and unused ones (spm_train: --byte_fallback=false)"
        elif not all(spaces) or model.trainer_spec.treat_whitespace_as_suffix:
            needed = "a model that treats white space in SentencePiece's usual way"
        else:
            return None
        return f"{self.source}: in-graph tokenization, and so every export, needs {needed}"

    def preprocess(self, text: str) -> str:
        """What the model encodes; see `preprocess_text`."""
        return preprocess_text(text, self.do_lower_case, keep_accents=self.keep_accents)

    def _tokenize(self, text: str) -> list[str]:
        """A character that the model does not know stays as it is."""
        text = self.preprocess(text)
        pieces = []
        ids = self._processor.encode(text, out_type=int)
        for id, piece in zip(ids, self._processor.encode(text, out_type=str), strict=True):
            if id == self.unk_id:
                pieces.append(self.special.unk if piece in self._ids else piece)
            else:
                pieces.extend(self.pieces[part.id] for part in self._replaced.get(id, [_Part(id)]))
        return pieces

    def _encode_batch(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        parts, lengths = self._parts_of(*self._model_ids(list(map(self.preprocess, texts))))
        return self.parts.ids[parts], lengths

    def _encode_with_offsets(self, texts: list[str]) -> TokenizedTexts:
        prepared = list(map(self.preprocess, texts))
        ids, lengths = self._model_ids(prepared)
        sizes = self._sizes_of(ids, lengths, prepared)
        # Places in the borders of all texts end to end, of which a text has one more than characters.
        ends = np.cumsum(sizes) + np.repeat(np.arange(len(texts)), lengths)
        begins = ends - np.maximum(sizes, 1)
        counts = self.parts.counts[ids]
        parts, lengths = self._parts_of(ids, lengths)
        begins = np.repeat(begins, counts) + self.parts.before[parts]
        ends = np.repeat(ends, counts) - self.parts.after[parts]
        of_texts = [self._borders(*pair) for pair in zip(texts, prepared, strict=True)]
        borders = np.concatenate([np.zeros((2, 0), np.int32), *of_texts], axis=1)
        begins = borders[0, begins]
        return TokenizedTexts(self.parts.ids[parts], lengths, begins, np.maximum(begins, borders[1, ends]))

    def _joined(self, pieces: list[str]) -> str:
        # The processor leaves out the special pieces that it knows, and what it does not know stays as it is.
        special = set(dataclasses.astuple(self.special))
        text = self._processor.decode([UNDERLINE + p if p in special else p for p in pieces])
        return text.replace(UNDERLINE, " ").strip()

    def _model_ids(self, prepared: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """The model's own ids of preprocessed texts, before the digit-comma rule."""
        return self._end_to_end(self._processor.encode(prepared, out_type=int, num_threads=1))

    def _parts_of(self, ids: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which parts stand for the model's ids, and their number for each text."""
        counts = self.parts.counts[ids]
        ends = np.cumsum(counts)
        total = ends[-1] if ids.size else 0
        parts = np.repeat(self.parts.starts[ids] - (ends - counts), counts) + np.arange(total)
        text_ends = np.concatenate([[0], ends])[np.cumsum(lengths)]
        return parts, np.diff(text_ends, prepend=0)

    def _sizes_of(self, ids: np.ndarray, lengths: np.ndarray, prepared: list[str]) -> np.ndarray:
        """How many characters of the normalized text each of the model's ids stands for."""
        sizes = self._sizes[ids]
        unknown = ids == self.unk_id
        if unknown.any():  # the model has to spell them: they stand for any number of characters
            text_of_id = np.repeat(np.arange(len(prepared)), lengths)
            concerned = np.zeros(len(prepared), bool)
            concerned[text_of_id[unknown]] = True
            pieces = self._processor.encode(list(itertools.compress(prepared, concerned)), out_type=str)
            spelled = np.fromiter(map(len, itertools.chain.from_iterable(pieces)), np.int64)
            sizes[unknown] = spelled[unknown[concerned[text_of_id]]]
        return sizes

    def _borders(self, text: str, prepared: str) -> np.ndarray:
        """For each place in the normalized text two places in the raw text: int32 [2, characters + 1].

        They are where the next visible character begins, and where the last visible one before it ends.
        """
        normalized, origins = self._processor.normalize(prepared, with_offsets=True)
        origins = np.array(origins)
        visible = np.flatnonzero(np.frombuffer(normalized.encode("utf-32-le"), np.uint32) != ord(UNDERLINE))
        begins, ends = character_ranges(text, self.do_lower_case, self.keep_accents)
        next_begins = np.full(len(origins), len(text), np.int32)
        next_begins[visible] = begins[origins[visible]]
        following = np.append(origins, origins[-1])[np.searchsorted(origins, origins, side="right")]
        last_ends = np.zeros(len(origins), np.int32)
        last_ends[visible + 1] = ends[following[visible] - 1]
        return np.stack([np.minimum.accumulate(next_begins[::-1])[::-1], np.maximum.accumulate(last_ends)])

    def _size(self, id: int) -> int:
        """Characters of a piece; a character's first byte counts as the character, the others as none."""
        if not self._processor.is_byte(id):
            return len(self.pieces[id])
        return int(int(self.pieces[id][1:-1], 16) & 0xC0 != 0x80)

    def _digit_comma_parts(self) -> dict[int, list[_Part]]:
        """What the rule makes of each piece to which it applies."""
        result = {}
        for id, piece in enumerate(self.pieces):
            if len(piece) < 2 or piece[-1] != "," or not piece[-2].isdigit():
                continue
            parts = self._processor.encode(piece[:-1].replace(UNDERLINE, ""), out_type=str)
            if not piece.startswith(UNDERLINE):
                parts[0] = parts[0].removeprefix(UNDERLINE)
            parts = [part for part in parts if part] + [","]
            borders = [i for i, character in enumerate(piece) if character != UNDERLINE] + [len(piece)]
            end = len(borders) - 1
            row: list[_Part] = []
            for part, part_id in zip(reversed(parts), self.pieces_to_ids(reversed(parts)), strict=True):
                begin = max(0, end - len(part.replace(UNDERLINE, "")))
                row.insert(0, _Part(part_id, borders[begin], len(piece) - borders[end]))
                end = begin
            result[id] = row
        return result


def starts_word(piece: str) -> bool:
    """Whether a piece begins a word (original behaviour)."""
    return (
        piece.startswith((UNDERLINE, "<"))
        or piece in _PUNCTUATION
        or any(character.lower() not in _INSIDE_WORD for character in piece)
    )


def _has_mark(piece: str) -> bool:
    return not piece.isascii() and any(map(unicodedata.combining, unicodedata.normalize("NFD", piece)))


def _load(model_file: str) -> sentencepiece.SentencePieceProcessor:
    model = read_vocabulary_file(model_file)
    try:
        if not model:
            raise RuntimeError
        return sentencepiece.SentencePieceProcessor(model_proto=model)
    except RuntimeError:
        raise InputError(f"{model_file} is not a SentencePiece model") from None
