"""BERT's WordPiece, which the original's Chinese models use."""

import functools
import io
import re
import string
import unicodedata

import numpy as np

from albert_tf.errors import InputError
from albert_tf.tokenization.preprocessing import ranges_of_widths
from albert_tf.tokenization.tokenizer import SpecialPieces, TokenizedTexts, Tokenizer, read_vocabulary_file

CONTINUATION = "##"
SPECIAL_PIECES = SpecialPieces(pad="[PAD]", unk="[UNK]")

LONGEST_WORD = 200  # characters; a longer word is unknown
_CACHED_WORDS = 1 << 20
CJK_RANGES = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)


class WordPieceTokenizer(Tokenizer):
    """Greedy longest-match pieces of words; "##" marks a piece that continues one.

    Example:
      >>> from albert_tf import testing
      >>> WordPieceTokenizer(testing.VOCAB_FILE).tokenize("The rivers,")
      ['the', 'river', '##s', ',']
    """

    def __init__(self, vocab_file: str, do_lower_case: bool = True, keep_accents: bool = False):
        """Loads a vocabulary, one piece a line; InputError if it is none or lacks a special piece.

        Lower-cased text loses its accents unless `keep_accents`; other text keeps them in any case.
        """
        pieces = _read_vocabulary(vocab_file)
        super().__init__(pieces, SPECIAL_PIECES, vocab_file, lambda piece: not piece.startswith(CONTINUATION))
        self.do_lower_case = do_lower_case
        self.keep_accents = keep_accents
        self._cache: dict[str, tuple[list[int], list[int]]] = {}

    def _tokenize(self, text: str) -> list[str]:
        return self.ids_to_pieces(self._encode(text)[0])

    def _encode_batch(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        return self._end_to_end([self._encode(text)[0] for text in texts])

    def _encode_with_offsets(self, texts: list[str]) -> TokenizedTexts:
        columns = [(np.zeros(0, self.id_dtype), *np.zeros((2, 0), np.int32))]
        for text in texts:
            found, found_sizes = self._encode(text)
            widths = (_width(c, self.do_lower_case, self.keep_accents) for c in text)
            begins, ends = ranges_of_widths(np.fromiter(widths, np.int8, len(text)))
            sizes = np.array(found_sizes, np.int64)
            last = np.cumsum(sizes) - 1
            columns.append((np.array(found, self.id_dtype), begins[last - sizes + 1], ends[last]))
        lengths = np.array([len(ids) for ids, _, _ in columns[1:]], np.int64)
        ids, begins, ends = map(np.concatenate, zip(*columns, strict=True))
        return TokenizedTexts(ids, lengths, begins, ends)

    def _joined(self, pieces: list[str]) -> str:
        """A space stands between words, also where the text had none."""
        return " ".join(pieces).replace(f" {CONTINUATION}", "")

    def _encode(self, text: str) -> tuple[list[int], list[int]]:
        """Ids, and how many characters each stands for, after all changes and without white space."""
        ids, sizes = [], []
        for word in clean(text).split():
            found = self._cache.get(word)
            if found is None:
                if len(self._cache) >= _CACHED_WORDS:
                    self._cache.clear()
                found = self._cache[word] = self._encode_word(word)
            ids += found[0]
            sizes += found[1]
        return ids, sizes

    def _encode_word(self, word: str) -> tuple[list[int], list[int]]:
        """`_encode` of a word between white space; each punctuation character in it is a word of its own."""
        if self.do_lower_case:
            word = lower_case(word, self.keep_accents)
        spaced = "".join(f" {c} " if is_punctuation(c) else c for c in word)
        ids, sizes = [], []
        for part in spaced.split():
            found = self._longest_matches(part)
            ids += found
            if found == [self.unk_id]:
                sizes.append(len(part))
            else:
                sizes += [len(self.pieces[id].removeprefix(CONTINUATION)) for id in found]
        return ids, sizes

    def _longest_matches(self, word: str) -> list[int]:
        ids: list[int] = []
        start = 0 if len(word) <= LONGEST_WORD else None
        while start is not None and start < len(word):
            prefix = CONTINUATION if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if prefix + word[start:end] in self._ids), None)
            if end is not None:
                ids.append(self._ids[prefix + word[start:end]])
            start = end
        return [self.unk_id] if start is None else ids


class _CharacterTable(dict):
    """For `str.translate`: control characters go, CJK characters get spaces around them."""

    def __missing__(self, code: int) -> str | None:
        character = chr(code)
        category = unicodedata.category(character)
        result: str | None = character
        if character in "\t\n\r" or category == "Zs":
            result = " "
        elif code == 0xFFFD or category in ("Cc", "Cf"):
            result = None
        elif any(low <= code <= high for low, high in CJK_RANGES):
            result = f" {character} "
        self[code] = result
        return result


_CLEAN = _CharacterTable()


def clean(text: str) -> str:
    """The text without control characters and with spaces around CJK characters."""
    return text.translate(_CLEAN)


def lower_case(text: str, keep_accents: bool) -> str:
    """The text in lower case; unless accents are kept, decomposed (NFD) and without marks of no width."""
    if keep_accents:
        return text.lower()
    decomposed = unicodedata.normalize("NFD", text.lower())
    return "".join(c for c in decomposed if unicodedata.category(c) != "Mn")


@functools.cache
def _width(character: str, lower: bool, keep_accents: bool) -> int:
    """How many characters of words a character of the raw text becomes; -1 for white space."""
    if character.isspace():
        return -1
    cleaned = clean(character).strip()
    return len(lower_case(cleaned, keep_accents) if lower else cleaned)


def is_punctuation(character: str) -> bool:
    """ASCII that is neither letter, digit nor space counts, so "$" and "^" do too."""
    return character in string.punctuation or unicodedata.category(character).startswith("P")


def _read_vocabulary(vocab_file: str) -> list[str]:
    """The first field of each line; an empty line is a space, a repeated piece keeps its first id.

    A byte-order mark is no text; a line ends as Python says.
    """
    advice = "pass the SentencePiece .model as --spm_model_file"
    try:
        text = io.StringIO(read_vocabulary_file(vocab_file).decode("utf-8-sig"), newline=None).read()
    except UnicodeDecodeError:
        raise InputError(
            f"{vocab_file} is not a text file with one piece a line (a SentencePiece model? {advice})"
        ) from None
    lines = text.removesuffix("\n").split("\n")
    if re.fullmatch(r"<pad>\t\S+", lines[0]) or lines[0].startswith("<unk>\t"):
        raise InputError(f"{vocab_file} lists the pieces of a SentencePiece model: {advice}")
    return list(dict.fromkeys(line.split()[0] if line.strip() else " " for line in lines))
