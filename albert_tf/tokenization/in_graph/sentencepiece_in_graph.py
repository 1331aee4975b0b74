"""SentencePiece in the graph."""

import collections
import functools
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text
from sentencepiece import sentencepiece_model_pb2

from albert_tf.errors import InputError
from albert_tf.tokenization.in_graph.characters import (
    CODES,
    SPACE,
    Characters,
    Lookup,
    Replacement,
    SigmaLowering,
    assigned_characters,
    enumerated,
    repeated,
)
from albert_tf.tokenization.in_graph.tokenizer_in_graph import InGraphTokenizer, Pieces
from albert_tf.tokenization.preprocessing import preprocess_text
from albert_tf.tokenization.sentencepiece import UNDERLINE, PieceParts, SentencePieceTokenizer

_NO_RULES = bytes(4)  # a trie of no bytes; TF.Text does not accept the empty string for it
_NOTHING = CODES  # the code of a character that has become part of the one before; codes of sequences follow
_PLACE = 1 << 21  # the factor of the state in a key, which is a state and a code point in one number

_MESSAGES: Any = sentencepiece_model_pb2  # its classes are made at import, where no type checker sees them
_Piece = _MESSAGES.ModelProto.SentencePiece
_FINDABLE = (_Piece.NORMAL, _Piece.USER_DEFINED)


class InGraphSentencePiece(InGraphTokenizer):
    """`SentencePieceTokenizer` in the graph; InputError if its model is of a kind that has no such form.

    Preprocessing and the model's own normalization are tables. TF.Text only looks for the pieces, in a text
    where each character that the model does not know is one byte. It takes off for an unknown byte what
    SentencePiece takes off for an unknown character. So the sums of scores are the same to the last bit,
    which decides between equal ones. If a text's sum falls below -100,000 (60,000 characters of English, or
    4,000 that the model does not know), SentencePiece begins to count anew and TF.Text does not: from there
    on the choice between almost equal sums can differ.
    """

    def __init__(self, tokenizer: SentencePieceTokenizer):
        super().__init__()
        model = _MESSAGES.ModelProto.FromString(tokenizer.model)
        if problem := tokenizer.problem_in_graph():
            raise InputError(problem)
        normal, symbols = ({p.piece for p in model.pieces if p.type == kind} for kind in _FINDABLE)
        in_symbols = set(itertools.chain.from_iterable(symbols))
        in_pieces = set(itertools.chain.from_iterable(normal))
        known = {piece for piece in normal | symbols if len(piece) == 1} | {" "}
        if without_piece := in_pieces - known:
            least = min(without_piece)
            raise _unfit(tokenizer.source, f"needs a piece of its own for {least!r}, which is in others")
        unknown = next(c for c in map(chr, range(1, 128)) if c not in in_pieces | in_symbols)
        preprocessed = _preprocessed(tokenizer.do_lower_case, tokenizer.keep_accents)
        rules = _rules_that_apply(model, preprocessed, symbols, tokenizer.source)
        lone = in_symbols - known  # unknown outside of symbols
        wholes = sorted(symbol for symbol in symbols if len(symbol) > 1)
        codes = _codes([key for key in rules if len(key) > 1] + wholes)
        results = {_NOTHING: ""}
        for key, result in ({character: character for character in known | lone} | rules).items():
            kept = (c if c in known | lone else unknown for c in result)
            results[codes.get(key) or ord(key)] = "".join(kept)
        results |= {codes[symbol]: symbol for symbol in wholes}
        self._preprocess = Replacement(preprocessed)
        self._lower_sigma = SigmaLowering() if tokenizer.do_lower_case else None
        self._join = _Sequences(codes) if codes else None
        self._normalize = Replacement(results, default=unknown, codes=_NOTHING + 1 + len(codes))
        rare = [symbol for symbol in wholes if lone & set(symbol)]
        for one, other in itertools.product(rare, repeat=2):
            if any(other.startswith(one[at:]) for at in range(1, len(one))):
                raise _unfit(tokenizer.source, f"does not know symbols that overlap: {one!r} and {other!r}")
        self._symbols = _Symbols(rare, lone, unknown) if rare else None
        self._unknown = ord(unknown)
        self._find_pieces = _piece_finder(model, tokenizer.unk_id)
        sizes = np.array([len(piece) for piece in tokenizer.pieces], np.int32)
        sizes[tokenizer.unk_id] = 1
        self._sizes = tf.constant(sizes)
        self._parts = PieceParts(*(tf.constant(a.astype(np.int32)) for a in tokenizer.parts))

    def _pieces(self, characters: Characters, batch: tf.Tensor) -> Pieces:
        characters = self._preprocess(characters)
        if self._lower_sigma:
            characters = self._lower_sigma(characters)
        if self._join:
            characters = self._join(characters)
        characters = self._normalize(characters)
        if self._symbols:
            characters = self._symbols(characters)
        characters = _with_underlines(characters)
        found = self._find_pieces(_texts_of(characters, batch))
        sizes = tf.gather(self._sizes, found.values)
        counts = tf.gather(self._parts.counts, found.values)
        sources, parts = enumerated(counts)
        parts += tf.gather(tf.gather(self._parts.starts, found.values), sources)
        ends = tf.cumsum(sizes)
        begins = tf.gather(ends - sizes, sources) + tf.gather(self._parts.before, parts)
        ends = tf.gather(ends, sources) - tf.gather(self._parts.after, parts)
        rows = tf.gather(repeated(found.row_lengths()), sources)
        ids = tf.gather(self._parts.ids, parts)
        return Pieces(ids, *_visible_ranges(self._without_runs(characters), begins, ends), rows)

    def _without_runs(self, characters: Characters) -> Characters:
        """One character for each run of unknown ones, which are one piece."""
        unknown = characters.codes == self._unknown
        again = unknown & tf.concat([tf.zeros_like(unknown[:1]), unknown[:-1]], axis=0)
        return characters.absorbing(tf.where(~again)[:, 0])


class _Sequences:
    """Makes one code of each sequence of two or more characters that the model normalizes as a whole."""

    def __init__(self, codes: Mapping[str, int]):
        self._longest = max(map(len, codes))
        # A state is what has been read of a sequence; reading one more character leads to the next state.
        read = (sequence[:length] for sequence in codes for length in range(1, len(sequence) + 1))
        states = {"": 0} | {start: i for i, start in enumerate(dict.fromkeys(read), start=1)}
        steps = sorted((states[s[:-1]] * _PLACE + ord(s[-1]), state) for s, state in states.items() if s)
        keys, targets = zip(*steps, strict=True)
        self._keys = tf.constant(keys, tf.int64)
        self._targets = tf.constant(targets, tf.int64)
        self._codes = tf.constant([codes.get(start, 0) for start in states], tf.int32)
        self._begins_one = Lookup.of_set({ord(sequence[0]) for sequence in codes})

    def __call__(self, characters: Characters) -> Characters:
        """The characters with the code in place of a sequence's first one, and nothing for the others."""
        codes = characters.codes
        starts = tf.where(self._begins_one(codes))[:, 0]
        after_all = tf.fill([self._longest], _NOTHING)  # which no sequence holds
        padded = tf.cast(tf.concat([codes, after_all], axis=0), tf.int64)
        state = tf.zeros_like(starts)
        lengths = tf.zeros_like(starts)
        found = tf.zeros_like(starts, tf.int32)
        for length in range(1, self._longest + 1):
            key = state * _PLACE + tf.gather(padded, starts + (length - 1))
            place = tf.minimum(
                tf.searchsorted(self._keys, key, out_type=tf.int64), tf.size(self._keys, tf.int64) - 1
            )
            state = tf.where(tf.gather(self._keys, place) == key, tf.gather(self._targets, place), -1)
            code = tf.where(state > 0, tf.gather(self._codes, tf.maximum(state, 0)), 0)
            found = tf.where(code > 0, code, found)
            lengths = tf.where(code > 0, np.int64(length), lengths)
        hit = lengths > 0
        starts, lengths, found = (tf.boolean_mask(values, hit) for values in (starts, lengths, found))
        taken = _first_come(starts, starts + lengths, self._longest)
        starts, lengths, found = (tf.boolean_mask(values, taken) for values in (starts, lengths, found))
        codes = tf.tensor_scatter_nd_update(codes, starts[:, tf.newaxis], found)
        others = tf.ragged.range(starts + 1, starts + lengths).values
        nothing = tf.fill(tf.shape(others), _NOTHING)
        return characters._replace(codes=tf.tensor_scatter_nd_update(codes, others[:, tf.newaxis], nothing))


class _Symbols:
    """Puts the unknown character in place of those that are known only as parts of symbols."""

    def __init__(self, symbols: Sequence[str], lone: Collection[str], unknown: str):
        codes = _codes(symbols)
        results = {_NOTHING: "", **dict.fromkeys(map(ord, lone), unknown)}
        results |= {code: symbol for symbol, code in codes.items()}
        self._join = _Sequences(codes)
        self._replace = Replacement(results, codes=_NOTHING + 1 + len(codes))

    def __call__(self, characters: Characters) -> Characters:
        """The characters with others only where no symbol is."""
        return self._replace(self._join(characters))


def _codes(sequences: Sequence[str]) -> dict[str, int]:
    """The codes of sequences of characters."""
    return {sequence: _NOTHING + i for i, sequence in enumerate(sequences, start=1)}


def _first_come(starts: tf.Tensor, ends: tf.Tensor, longest: int) -> tf.Tensor:
    """Which ranges a reader takes who goes on where the last range that he took ended: bool [ranges].

    `starts` increase; no range is longer than `longest`.
    """
    size = tf.size(starts, tf.int64)
    follower = tf.concat([tf.searchsorted(starts, ends, out_type=tf.int64), [size]], axis=0)
    # A range that meets none of the `longest` ranges before it meets none at all, and so it is taken.
    free = tf.ones_like(starts, tf.bool)
    for distance in range(1, longest):
        free &= starts >= tf.concat([tf.zeros_like(ends[:distance]), ends[:-distance]], axis=0)
    taken = tf.concat([free, [False]], axis=0)

    def follow(taken, follower, _):
        reached = tf.boolean_mask(follower, taken)[:, tf.newaxis]
        more = taken | (tf.scatter_nd(reached, tf.ones_like(reached[:, 0]), [size + 1]) > 0)
        return more, tf.gather(follower, follower), tf.reduce_any(more != taken)

    # Each round doubles how far it follows.
    taken, _, _ = tf.while_loop(lambda taken, follower, new: new, follow, (taken, follower, size > 0))
    return taken[:-1]


def _with_underlines(characters: Characters) -> Characters:
    """Puts one underline in place of the spaces before each word; drops spaces at the end."""
    codes, _, _, rows = characters
    space = codes == SPACE
    visible = tf.cast(~space & (codes != ord(UNDERLINE)), tf.int32)
    so_far = tf.cumsum(visible)
    to_come = tf.gather(tf.math.segment_max(so_far, rows), rows) - so_far + visible
    before_space = tf.concat([space[1:], tf.ones_like(space[:1])], axis=0)
    kept = characters.at(tf.where((to_come > 0) & ~(space & before_space))[:, 0])
    return kept._replace(codes=tf.where(kept.codes == SPACE, ord(UNDERLINE), kept.codes))


def _visible_ranges(
    characters: Characters, begins: tf.Tensor, ends: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The ranges of pieces: from their first visible character to the last."""
    visible = characters.codes != ord(UNDERLINE)
    shown = characters.at(tf.where(visible)[:, 0])
    before = tf.concat([[0], tf.cumsum(tf.cast(visible, tf.int32))], axis=0)
    begins = tf.gather(shown.begins, tf.gather(before, begins))
    last_ends = tf.gather(tf.concat([[0], shown.ends], axis=0), tf.gather(before, ends))
    return begins, tf.maximum(begins, last_ends)


def _texts_of(characters: Characters, batch: tf.Tensor) -> tf.Tensor:
    ragged = tf.RaggedTensor.from_value_rowids(
        characters.codes, tf.cast(characters.rows, tf.int64), tf.cast(batch, tf.int64), validate=False
    )
    return tf.strings.unicode_encode(ragged, "UTF-8")


@functools.cache
def _preprocessed(lower: bool, keep_accents: bool) -> dict[int, str]:
    """What `preprocess_text` makes of each character that it changes; Σ is not lowered."""
    results = {}
    for character in assigned_characters():
        if character.isspace():
            result = " "
        else:
            result = preprocess_text(character, lower=False, keep_accents=keep_accents)
            if lower:
                result = "".join(c if c == "Σ" else c.lower() for c in result)
        if result != character:
            results[ord(character)] = result
    return results


def _rules_that_apply(
    model: Any, preprocessed: Mapping[int, str], symbols: Collection[str], source: str
) -> dict[str, str]:
    """The model's normalization rules for text in which the `preprocessed` characters no longer occur.

    Where a user-defined symbol begins, no rule applies.
    """
    gone = set(map(chr, preprocessed))
    rules = read_rules(model.normalizer_spec.precompiled_charsmap)
    for key in [key for key in rules if key.startswith(tuple(symbols)) or not gone.isdisjoint(key)]:
        del rules[key]
    for key in [*rules, *symbols]:
        if " " in key or (len(key) > 1 and UNDERLINE in key):
            raise _unfit(source, f"does not know its normalization of {key!r}")
    return rules


def _piece_finder(model: Any, unk_id: int) -> Callable[[tf.Tensor], tf.RaggedTensor]:
    """A function from normalized texts to the model's ids."""
    bare = _MESSAGES.ModelProto()
    bare.CopyFrom(model)
    spec = bare.normalizer_spec
    spec.precompiled_charsmap = _NO_RULES
    spec.add_dummy_prefix = spec.remove_extra_whitespaces = spec.escape_whitespaces = False
    bare.trainer_spec.unk_id = unk_id
    return tensorflow_text.FastSentencepieceTokenizer(bare.SerializeToString()).tokenize


def _unfit(source: str, reason: str) -> InputError:
    return InputError(f"{source}: in-graph tokenization {reason}")


_LABEL = 0x800000FF  # of a unit: the byte that leads to it; a unit with the highest bit is a leaf
_HAS_LEAF = 0x100
_LARGE_OFFSET = 0x200


def read_rules(charsmap: bytes) -> dict[str, str]:
    """What each string becomes; if several strings begin at a place, the longest decides.

    Args:
      charsmap: `normalizer_spec.precompiled_charsmap` of a model. It is empty, or the size in bytes of a
        double-array trie of darts-clone, the units of the trie, and the results with a zero byte after each.
    """
    if not charsmap:
        return {}
    [size] = np.frombuffer(charsmap, "<u4", 1).tolist()
    units = np.frombuffer(charsmap, "<u4", size // 4, 4)
    results = charsmap[4 + size :]
    labels = units & _LABEL
    offsets = (units >> 10) << ((units & _LARGE_OFFSET) >> 6)
    children = collections.defaultdict(list)
    nodes = np.flatnonzero((labels > 0) & (labels < 256))
    for base, node, label in zip(
        (nodes ^ labels[nodes]).tolist(), nodes.tolist(), labels[nodes].tolist(), strict=True
    ):
        children[base].append((node, bytes([label])))
    rules = {}
    found = [(int(offsets[0]), b"")]
    while found:
        base, prefix = found.pop()
        for node, label in children[base]:
            key = prefix + label
            below = node ^ int(offsets[node])
            found.append((below, key))
            if units[node] & _HAS_LEAF:
                begin = int(units[below]) & 0x7FFFFFFF
                rules[key.decode()] = results[begin : results.index(b"\0", begin)].decode()
    return rules
