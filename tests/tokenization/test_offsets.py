"""Which characters of the raw text a piece stands for."""

import functools
import io
import itertools
import pathlib
import unicodedata

import numpy as np
import pytest
import sentencepiece
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sentencepiece import sentencepiece_model_pb2

from albert_tf import testing
from albert_tf.testing import make_tokenizers
from albert_tf.tokenization import SentencePieceTokenizer, WordPieceTokenizer, load_tokenizer, preprocess_text
from albert_tf.tokenization.preprocessing import character_ranges
from albert_tf.tokenization.sentencepiece import UNDERLINE
from albert_tf.tokenization.sentencepiece_training import CONTROL_SYMBOLS

SAMPLES = [
    *("The boats, walking", "rivers;", " 2,009,", "9,", "2012,", "7,2, ", "[MASK]", "##s", "a▁b", UNDERLINE),
    *("Été", "e\u0301te\u0301", " \u0301x", "n\u0303\u0323", "İI", "ΣΑΣ", "ß ẞ", "½", "Ⅳ", "ﬃ", "´a", "ﷺ"),
    *("한국어", "\u1112\u1161\u11ab", "\ud558\u11ab", "か\u3099", "ｶﾞ", "\u09c7\u09be", "河水の、大山。"),
    *("😀", "👨‍👩‍👧", "👍🏽", "🇫🇷", "❤\ufe0f", "שָׁלוֹם", "العَرَبِيَّة", "ภาษาไทยที่", "हिन्दी", "\u302e\U0001d165"),
    *("\u00a0", "\u200b", "\u200d", "\u00ad", "\ufeff", "\u2028", "\u3000", "\t\n ", "\x00", "\x01", "\x0b"),
    *("\x85", "\ufffd", "\u180e", "\u0345", "\U0001f1e6\U0010ffff", "\U00020000"),
]
TEXTS = st.one_of(
    st.text(max_size=30),
    st.lists(st.one_of(st.sampled_from(SAMPLES), st.text(max_size=3)), max_size=8).map("".join),
    st.text("the boatskwlingrv2019,. ", max_size=40),
)


def check(tokenizer, texts):
    """Everything that holds for any text."""
    ids, lengths = tokenizer.encode_batch(texts)
    found = tokenizer.encode_with_offsets(texts)
    np.testing.assert_array_equal(found.ids, ids)
    np.testing.assert_array_equal(found.lengths, lengths)
    assert (found.ids.dtype, found.lengths.dtype) == (ids.dtype, lengths.dtype)
    assert (found.begins.dtype, found.ends.dtype) == (np.int32, np.int32)
    ends = np.cumsum(lengths)
    for text, first, last in zip(texts, ends - lengths, ends, strict=True):
        begins, ends = found.begins[first:last], found.ends[first:last]
        check_ranges(tokenizer, text, tokenizer.ids_to_pieces(ids[first:last]), begins, ends)


def check_ranges(tokenizer, text, pieces, begins, ends):
    assert (np.diff(begins) >= 0).all()
    assert (np.diff(ends) >= 0).all()
    assert (begins >= 0).all()
    assert (begins <= ends).all()
    assert (ends <= len(text)).all()
    covered = set()
    for piece, begin, end in zip(pieces, begins, ends, strict=True):
        part = text[begin:end]
        assert part == part.strip()
        covered.update(range(begin, end))
        if piece == UNDERLINE:
            assert not part or len(unicodedata.normalize("NFKD", part)) > len(part)
        elif piece != tokenizer.special.unk and not piece.startswith("<0x"):
            spelled = piece.replace(UNDERLINE, "").removeprefix("##")
            assert spelled.replace("ς", "σ") in normalized(tokenizer, part)
    for i, character in enumerate(text):
        if set(tokenizer.tokenize(character)) - {UNDERLINE}:
            assert i in covered


def normalized(tokenizer, part):
    """What the tokenizer makes of a part of a text before it looks for pieces; without white space."""
    if isinstance(tokenizer, SentencePieceTokenizer):
        part = model_of(tokenizer).normalize(tokenizer.preprocess(part))
        return part.replace(UNDERLINE, "").replace("ς", "σ")
    if tokenizer.keep_accents:
        part = part.lower() if tokenizer.do_lower_case else part
        return "".join(c for c in part.replace("ς", "σ") if unicodedata.category(c) not in ("Cc", "Cf"))
    decomposed = unicodedata.normalize("NFD", part.lower().replace("ς", "σ"))
    return "".join(c for c in decomposed if unicodedata.category(c) not in ("Mn", "Cc", "Cf"))


@functools.cache
def model_of(tokenizer):
    return sentencepiece.SentencePieceProcessor(model_proto=tokenizer.model)


def parts(tokenizer, text):
    """The pieces of a text with their ranges."""
    found = tokenizer.encode_with_offsets([text])
    pieces = tokenizer.ids_to_pieces(found.ids)
    return list(zip(pieces, found.begins.tolist(), found.ends.tolist(), strict=True))


def saved(folder, model):
    path = folder / "spm.model"
    path.write_bytes(model)
    return str(path)


LINES = [*make_tokenizers.TEXT.strip().splitlines(), "½ 한국어 e\u0301"]


def trained(lines=LINES, **options):
    """A model of the kind asked for; by default over the tiny text and wild characters."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        minloglevel=4,
        **({"control_symbols": CONTROL_SYMBOLS} | options),
    )
    return model.getvalue()


@pytest.fixture(scope="module")
def tiny():
    return load_tokenizer(spm_model_file=testing.SPM_MODEL_FILE)


@pytest.fixture(scope="module")
def tiny_wordpiece():
    return load_tokenizer(vocab_file=testing.VOCAB_FILE)


@pytest.fixture(
    scope="module",
    params=[
        {"vocab_size": 150},
        {"vocab_size": 150, "normalization_rule_name": "nfkc_cf", "add_dummy_prefix": False},
        {"vocab_size": 420, "byte_fallback": True},
        {"vocab_size": 150, "model_type": "bpe", "treat_whitespace_as_suffix": True},
        {"vocab_size": 150, "remove_extra_whitespaces": False, "split_by_whitespace": False},
    ],
    ids=["plain", "case folding", "bytes", "bpe", "spaces in pieces"],
)
def other(request, tmp_path_factory):
    """A SentencePiece model whose own normalization and options differ."""
    return load_tokenizer(saved(tmp_path_factory.mktemp("model"), trained(**request.param)))


@pytest.fixture(scope="module")
def joining(tmp_path_factory):
    """A SentencePiece model that joins marks with their letters and knows é."""
    return saved(tmp_path_factory.mktemp("model"), trained(vocab_size=150, character_coverage=1.0))


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.lists(TEXTS, max_size=3))
@example(SAMPLES)
@example(["".join(SAMPLES), " ".join(SAMPLES)])
def test_any_text_has_ranges_in_order_that_hold_its_pieces(tiny, tiny_wordpiece, texts):
    check(tiny, texts)
    check(tiny_wordpiece, texts)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.lists(TEXTS, max_size=3))
@example(SAMPLES)
@example(["".join(SAMPLES), " ".join(SAMPLES)])
def test_so_have_they_with_other_models(other, texts):
    check(other, texts)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.lists(TEXTS, max_size=3))
@example(SAMPLES)
def test_so_have_they_where_case_stays(texts):
    check(SentencePieceTokenizer(testing.SPM_MODEL_FILE, do_lower_case=False), texts)
    check(WordPieceTokenizer(testing.VOCAB_FILE, do_lower_case=False), texts)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.lists(TEXTS, max_size=3), st.booleans())
@example(SAMPLES, True)
@example(["".join(SAMPLES), " ".join(SAMPLES)], True)
@example(["".join(SAMPLES), " ".join(SAMPLES)], False)
def test_so_have_they_where_accents_stay(joining, texts, lower):
    options = {"do_lower_case": lower, "keep_accents": True}
    check(SentencePieceTokenizer(testing.SPM_MODEL_FILE, **options), texts)
    check(SentencePieceTokenizer(joining, **options), texts)
    check(WordPieceTokenizer(testing.VOCAB_FILE, **options), texts)


def test_a_letter_and_its_mark_are_one_place_where_accents_stay(joining):
    tokenizer = load_tokenizer(joining, keep_accents=True)
    assert parts(tokenizer, "E\u0301  é")[-1] == ("é", 4, 5)
    assert ("é", 0, 2) in parts(tokenizer, "E\u0301  é")
    assert parts(load_tokenizer(vocab_file=testing.VOCAB_FILE, keep_accents=True), "İ the") == [
        *(("[UNK]", 0, 1), ("the", 2, 5)),
    ]


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.text("the boatskwlingrv201, ", max_size=60))
def test_letters_are_where_their_piece_says(tiny, text):
    for piece, begin, end in parts(tiny, text):
        assert text[begin:end] == piece.replace(UNDERLINE, "")


@settings(deadline=None, derandomize=True, max_examples=200)
@given(TEXTS, st.booleans(), st.booleans())
@example("".join(SAMPLES), True, False)
@example("".join(SAMPLES), True, True)
def test_every_preprocessed_character_has_its_range(text, lower, keep_accents):
    begins, ends = character_ranges(text, lower, keep_accents)
    assert len(preprocess_text(text, lower, keep_accents=keep_accents)) == len(begins) == len(ends)
    assert (begins < ends).all()
    assert (np.diff(begins) >= 0).all()
    assert not len(ends) or ends[-1] == len(text.rstrip())


def test_words_and_their_endings(tiny, tiny_wordpiece):
    assert parts(tiny, " The boats,\twalking") == [
        *(("▁the", 1, 4), ("▁boats", 5, 10), (",", 10, 11), ("▁walk", 12, 16), ("ing", 16, 19)),
    ]
    assert parts(tiny_wordpiece, " The rivers, (walked)") == [
        *(("the", 1, 4), ("river", 5, 10), ("##s", 10, 11), (",", 11, 12), ("(", 13, 14), ("w", 14, 15)),
        *(("##a", 15, 16), ("##l", 16, 17), ("##k", 17, 18), ("##ed", 18, 20), (")", 20, 21)),
    ]


def test_a_batch_gives_the_ranges_of_each_text(tiny, tiny_wordpiece):
    texts = ["The boats", "", "\u0301", "  é, ½", "∀ x∀∀"]
    for tokenizer in (tiny, tiny_wordpiece):
        found = tokenizer.encode_with_offsets(iter(texts))
        singly = [tokenizer.encode_with_offsets([text]) for text in texts]
        for array, single in zip(found, zip(*singly, strict=True), strict=True):
            np.testing.assert_array_equal(array, np.concatenate(single))
        assert [array.size for array in tokenizer.encode_with_offsets([])] == [0, 0, 0, 0]
        assert [array.size for array in tokenizer.encode_with_offsets([""])] == [0, 1, 0, 0]


def test_a_dropped_mark_counts_to_the_character_before_it(tiny, tiny_wordpiece):
    assert parts(tiny, "e\u0301 on\u0301\u0323.") == [
        *(("▁", 0, 0), ("e", 0, 2), ("▁on", 3, 7), (".", 7, 8)),
    ]
    assert parts(tiny_wordpiece, "e\u0301 the\u0301\u0323\u200d te\u0301a") == [
        *(("e", 0, 2), ("the", 3, 9), ("t", 10, 11), ("##e", 11, 13), ("##a", 13, 14)),
    ]


def test_a_mark_without_a_character_before_it_has_no_piece(tiny, tiny_wordpiece):
    assert parts(tiny, "\u0301the \u0301the") == [("▁the", 1, 4), ("▁the", 6, 9)]
    assert parts(tiny_wordpiece, "\u0301the \u0301the") == [("the", 1, 4), ("the", 6, 9)]


def test_white_space_alone_has_an_empty_range_before_the_next_character(tiny):
    assert parts(tiny, "the \u00a0 k") == [("▁the", 0, 3), ("▁", 6, 6), ("k", 6, 7)]


def test_a_character_of_several_pieces_is_in_the_range_of_each(tiny, tiny_wordpiece):
    assert parts(tiny, "in ㏂,") == [
        *(("▁", 0, 0), ("in", 0, 2), ("▁a", 3, 4), (".", 3, 4), ("m", 3, 4), (".", 3, 4), (",", 4, 5)),
    ]
    four_words = "ﷺ"
    assert parts(tiny, four_words) == [("▁", 0, 0), *(("<unk>", 0, 1), ("▁", 0, 1)) * 3, ("<unk>", 0, 1)]
    assert parts(tiny_wordpiece, "가s") == [("[UNK]", 0, 2)]


def test_an_unknown_run_covers_its_characters(tiny, tiny_wordpiece):
    assert parts(tiny, "∀∃a ∀") == [
        *(("▁", 0, 0), ("<unk>", 0, 2), ("a", 2, 3), ("▁", 4, 4), ("<unk>", 4, 5)),
    ]
    assert parts(tiny_wordpiece, "sea∀x\u00ad, ∀") == [("[UNK]", 0, 6), (",", 6, 7), ("[UNK]", 8, 9)]


def test_the_digit_comma_rule_keeps_ranges_exact(tmp_path):
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(pathlib.Path(testing.SPM_MODEL_FILE).read_bytes())
    for piece in ("▁7,", "7,", "▁7", "7", "▁2009,", "▁2▁1,"):
        model.pieces.add(piece=piece, score=-1.0)
    tokenizer = SentencePieceTokenizer(saved(tmp_path, model.SerializeToString()))
    assert parts(tokenizer, "7, on7,") == [
        *(("▁7", 0, 1), (",", 1, 2), ("▁on", 3, 5), ("7", 5, 6), (",", 6, 7)),
    ]
    assert parts(tokenizer, "2009,") == [("▁2", 0, 1), ("00", 1, 3), ("9", 3, 4), (",", 4, 5)]
    assert parts(tokenizer, " 2 \t 1,") == [("▁2", 1, 2), ("1", 5, 6), (",", 6, 7)]


def test_bytes_of_a_character_cover_it(tmp_path):
    tokenizer = load_tokenizer(saved(tmp_path, trained(vocab_size=420, byte_fallback=True)))
    assert parts(tokenizer, "a😀é")[-5:] == [
        *(("<0xF0>", 1, 2), ("<0x9F>", 1, 2), ("<0x98>", 1, 2), ("<0x80>", 1, 2), ("e", 2, 3)),
    ]


def test_the_released_model(shared_data):
    tokenizer = load_tokenizer(spm_model_file=str(shared_data / "spm" / "30k-clean.model"))
    assert parts(tokenizer, "In 2009, Cafe\u0301 한국\u1112\u1161\u11ab  😀x\u200by ½ﬃ") == [
        *(("▁in", 0, 2), ("▁2009", 3, 7), (",", 7, 8), ("▁cafe", 9, 14), ("▁", 15, 15), ("<unk>", 15, 20)),
        *(("▁", 22, 22), ("<unk>", 22, 23), ("x", 23, 24), ("▁", 25, 25), ("y", 25, 26), ("▁1", 27, 28)),
        *(("<unk>", 27, 28), ("2", 27, 28), ("ff", 28, 29), ("i", 28, 29)),
    ]
    check(tokenizer, SAMPLES)
    check(tokenizer, ["".join(SAMPLES), " ".join(SAMPLES), *map("x".join, itertools.pairwise(SAMPLES))])
