"""WordPiece in the graph."""

import functools

import numpy as np
import tensorflow as tf
import tensorflow_text

from albert_tf.errors import InputError
from albert_tf.tokenization.in_graph.characters import (
    SPACE,
    Characters,
    Lookup,
    Replacement,
    SigmaLowering,
    assigned_characters,
    repeated,
)
from albert_tf.tokenization.in_graph.tokenizer_in_graph import InGraphTokenizer, Pieces
from albert_tf.tokenization.wordpiece import (
    CJK_RANGES,
    CONTINUATION,
    LONGEST_WORD,
    WordPieceTokenizer,
    clean,
    is_punctuation,
    lower_case,
)

_BYTES = 4  # at most, of a character
# Stands for white space that goes because it is a control character. The text's own soft hyphens are gone by
# then; the lower-casing of Σ passes over this one.
_HIDDEN = "\u00ad"


class InGraphWordPiece(InGraphTokenizer):
    """`WordPieceTokenizer` in the graph: the words are made here, TF.Text finds their pieces.

    InputError if TF.Text does not accept the vocabulary.
    """

    def __init__(self, tokenizer: WordPieceTokenizer):
        super().__init__()
        self._unk_id = tokenizer.unk_id
        self._unk = tokenizer.special.unk
        self._clean = Replacement(_cleaned())
        self._lower_sigma = SigmaLowering() if tokenizer.do_lower_case else None
        lowered = _lowered(tokenizer.keep_accents) if tokenizer.do_lower_case else {}
        self._lower = Replacement(lowered | {ord(_HIDDEN): None})
        self._is_alone = Lookup.of_set(_alone())
        try:
            self._find_pieces = tensorflow_text.FastWordpieceTokenizer(
                tokenizer.pieces,
                suffix_indicator=CONTINUATION,
                max_bytes_per_word=_BYTES * LONGEST_WORD,
                token_out_type=tf.int32,
                unknown_token=self._unk,
                no_pretokenization=True,
            ).tokenize
        except RuntimeError as error:
            raise InputError(f"{tokenizer.source}: in-graph tokenization: {error}") from None
        sizes = [len(piece.removeprefix(CONTINUATION)) for piece in tokenizer.pieces]
        self._sizes = tf.constant(np.array(sizes, np.int32))

    def _pieces(self, characters: Characters, batch: tf.Tensor) -> Pieces:
        characters = self._clean(characters)
        if self._lower_sigma:
            characters = self._lower_sigma(characters)
        characters = self._lower(characters)
        space = characters.codes == SPACE
        alone = self._is_alone(characters.codes)
        starts = alone | tf.concat([tf.ones_like(space[:1]), (space | alone)[:-1]], axis=0)
        index = tf.where(~space)[:, 0]
        characters = characters.at(index)
        words = tf.RaggedTensor.from_row_starts(
            characters.codes, tf.where(tf.gather(starts, index))[:, 0], validate=False
        )
        lengths = tf.cast(words.row_lengths(), tf.int32)
        spelled = tf.where(lengths > LONGEST_WORD, self._unk, tf.strings.unicode_encode(words, "UTF-8"))
        found = self._find_pieces(spelled)
        ids = found.values
        word_of_piece = repeated(tf.cast(found.row_lengths(), tf.int32))
        sizes = tf.where(ids == self._unk_id, tf.gather(lengths, word_of_piece), tf.gather(self._sizes, ids))
        ends = tf.cumsum(sizes)
        first, last = characters.at(ends - sizes), characters.at(ends - 1)
        return Pieces(ids, first.begins, last.ends, first.rows)


@functools.cache
def _cleaned() -> dict[int, str]:
    """What `clean` makes of each character that it changes; without the spaces around CJK characters."""
    results = {}
    for character in assigned_characters():
        cleaned = clean(character)
        if not cleaned:
            results[ord(character)] = _HIDDEN if character.isspace() else ""
        elif cleaned.isspace():
            results[ord(character)] = " "
    return results


@functools.cache
def _lowered(keep_accents: bool) -> dict[int, str]:
    """What `lower_case` makes of each character that it changes; Σ is lowered before."""
    results = {ord(c): lower_case(c, keep_accents) for c in assigned_characters()}
    return {code: result for code, result in results.items() if result != chr(code)}


@functools.cache
def _alone() -> list[int]:
    """The characters of which each is a word of its own."""
    cjk = [code for first, last in CJK_RANGES for code in range(first, last + 1)]
    return cjk + [ord(c) for c in assigned_characters() if is_punctuation(c)]
