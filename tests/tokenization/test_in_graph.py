"""Tokenization in the graph: ids and ranges equal to Python's, for any text, wherever it runs."""

import json
import pathlib
import random

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sentencepiece import sentencepiece_model_pb2

from albert_tf import testing
from albert_tf.checkpoints.assets import Assets
from albert_tf.errors import InputError, InputWarning
from albert_tf.tokenization import SentencePieceTokenizer, WordPieceTokenizer, load_tokenizer
from albert_tf.tokenization.in_graph import in_graph_tokenizer
from albert_tf.tokenization.in_graph.characters import assigned_characters
from tests.tokenization.test_offsets import SAMPLES, TEXTS, saved, trained

WHITE = " \t\n\x0b\x0c\x1c\x85\u2028\u3000\u200b\ufeff\u2581"
SIGMAS = "ΣσςΑα\U0001d6ba'.:\u00ad\u0301\u02b0Ⅳ "
# Characters that the models' normalization joins: jamo, and some where one sequence can begin in another.
JOINING = "각가ㄱ\u1100\u1161\u11a8\u0cc6\u0cc2\u0cd5\U0001611e\U0001611f\U00016120\U00016d67\x00\x01\u0301 "
# Special pieces as SentencePiece advises: user-defined symbols, whose letters have no piece of their own.
SYMBOLS = ["[CLS]", "[SEP]", "[MASK]"]
ADVISED = {"control_symbols": [], "pad_piece": "[PAD]", "unk_piece": "[UNK]"}
AROUND = ["[[CLS]", "\uff3bCLS\uff3d", "CLS", "at", "a\u0301t", "e\u0301", " "]
WITH_SYMBOLS = st.lists(st.sampled_from([*SYMBOLS, *AROUND]), max_size=6)
WILD = st.lists(
    st.one_of(
        TEXTS,
        WITH_SYMBOLS.map("".join),
        *(st.text(alphabet, max_size=12) for alphabet in (WHITE, SIGMAS, JOINING)),
    ),
    max_size=4,
)


def check(tokenizer, in_graph, texts):
    """The ids and ranges of both are equal."""
    expected = tokenizer.encode_with_offsets(texts)
    texts = tf.constant(texts, tf.string)
    found = in_graph.tokenize_with_offsets(texts)
    for ragged, values in zip(found, (expected.ids, expected.begins, expected.ends), strict=True):
        assert ragged.dtype == tf.int32
        np.testing.assert_array_equal(ragged.row_lengths(), expected.lengths)
        np.testing.assert_array_equal(ragged.values, values)
    ids = in_graph.tokenize(texts)
    np.testing.assert_array_equal(ids.values, expected.ids)
    np.testing.assert_array_equal(ids.row_lengths(), expected.lengths)


def both(tokenizer):
    return tokenizer, in_graph_tokenizer(tokenizer)


def trained_on_scripts(**options):
    """A model over Korean, Kannada and English, with the normalization of released models."""
    lines = [
        "한국어 위키백과는 누구나 편집할 수 있는 백과사전이다",
        "ೋ ೊ ½ 2009, 7, ΟΔΟΣ",
        "the cat sat - on a mat.",
        "Été à Zürich, cœur naïf",
    ]
    defaults = {"vocab_size": 120, "character_coverage": 1.0, "hard_vocab_limit": False}
    return trained(lines * 20, **(defaults | options))


def with_pieces(folder, scores):
    """The tiny model with pieces added."""
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(pathlib.Path(testing.SPM_MODEL_FILE).read_bytes())
    known = {piece.piece: piece for piece in model.pieces}
    for piece, score in scores.items():
        (known.get(piece) or model.pieces.add(piece=piece)).score = score
    return saved(folder, model.SerializeToString())


@pytest.fixture(scope="module")
def tiny():
    return both(load_tokenizer(spm_model_file=testing.SPM_MODEL_FILE))


@pytest.fixture(scope="module")
def tiny_wordpiece():
    return both(load_tokenizer(vocab_file=testing.VOCAB_FILE))


@pytest.fixture(scope="module")
def korean(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    model = trained_on_scripts(user_defined_symbols=["-", ".", "at", *SYMBOLS], **ADVISED)
    return both(load_tokenizer(saved(folder, model)))


@pytest.fixture(scope="module")
def cased():
    return [
        both(SentencePieceTokenizer(testing.SPM_MODEL_FILE, do_lower_case=False)),
        both(WordPieceTokenizer(testing.VOCAB_FILE, do_lower_case=False)),
    ]


@pytest.fixture(scope="module", params=[True, False], ids=["uncased", "cased"])
def with_accents(request, tmp_path_factory):
    """Tokenizers that keep accents; the second one's model joins marks with their letters."""
    options = {"do_lower_case": request.param, "keep_accents": True}
    symbols = ["-", ".", "at", "e\u0301", *SYMBOLS]
    model = trained_on_scripts(user_defined_symbols=symbols, **ADVISED)
    model = saved(tmp_path_factory.mktemp("model"), model)
    return [
        both(load_tokenizer(testing.SPM_MODEL_FILE, **options)),
        both(load_tokenizer(model, **options)),
        both(load_tokenizer(vocab_file=testing.VOCAB_FILE, **options)),
    ]


@settings(deadline=None, derandomize=True, max_examples=150)
@given(WILD)
@example(SAMPLES)
@example(["".join(SAMPLES), " ".join(SAMPLES)])
def test_any_text_has_pythons_ids_and_ranges(tiny, tiny_wordpiece, korean, texts):
    for pair in (tiny, tiny_wordpiece, korean):
        check(*pair, texts)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(WILD)
@example(SAMPLES)
def test_so_it_has_where_case_stays(cased, texts):
    for pair in cased:
        check(*pair, texts)


@settings(deadline=None, derandomize=True, max_examples=20)
@given(WILD)
@example(SAMPLES)
@example(["".join(SAMPLES), " ".join(SAMPLES)])
@example(["the [CLS] cat [MASK], at[SEP", "[CLS][CLS] \uff3bCLS\uff3d e\u0301\u0301", "[mask] C [ CL ]S]"])
@example(["e\u0301 a\u0308\u0304b \u03b1\u0313\u0300\u0345\u0345", "\u03b1\u03b1\u0313\u0300\u0313" * 50])
def test_so_it_has_where_accents_stay(with_accents, texts):
    for pair in with_accents:
        check(*pair, texts)


def test_every_character_of_unicode_where_accents_stay(with_accents):
    characters = assigned_characters()
    texts = ["x" + "x".join(characters[i : i + 2000]) for i in range(0, len(characters), 2000)]
    for pair in with_accents:
        check(*pair, texts)


def test_special_pieces_have_the_names_that_the_model_declares(korean):
    tokenizer, in_graph = korean
    assert tokenizer.ids_to_pieces(tokenizer.special_ids) == ["[PAD]", "[UNK]", *SYMBOLS]
    texts = ["[CLS] the [MASK] cat [SEP] [PAD]"]
    for ids in (tokenizer.encode_batch(texts)[0], in_graph.tokenize(texts).values.numpy()):
        assert not set(tokenizer.special_ids) - {tokenizer.unk_id} & set(ids.tolist())


def test_every_character_of_unicode(tiny, tiny_wordpiece, korean):
    characters = assigned_characters()
    texts = ["x" + "x".join(characters[i : i + 2000]) for i in range(0, len(characters), 2000)]
    for pair in (tiny, tiny_wordpiece, korean):
        check(*pair, texts)


def test_words_and_their_places(tiny):
    _, in_graph = tiny
    ids, begins, ends = in_graph.tokenize_with_offsets([" The boats,\twalking", "", "Été"])
    assert ids.shape.as_list() == [3, None]
    assert begins.to_list() == [[1, 5, 10, 12, 16], [], [0, 0, 1]]
    assert ends.to_list() == [[4, 10, 11, 16, 19], [], [0, 1, 3]]


def test_ranges_cut_the_text_in_the_graph(tiny, tiny_wordpiece):
    text = "日本 Cafe\u0301s  ½ 😀x."
    for tokenizer, in_graph in (tiny, tiny_wordpiece):
        expected = tokenizer.encode_with_offsets([text])
        _, begins, ends = (values[0] for values in in_graph.tokenize_with_offsets([text]))
        cut = tf.strings.substr(tf.fill(tf.shape(begins), text), begins, ends - begins, unit="UTF8_CHAR")
        ranges = zip(expected.begins, expected.ends, strict=True)
        assert [part.decode() for part in cut.numpy()] == [text[begin:end] for begin, end in ranges]


def test_batches_of_nothing(tiny, tiny_wordpiece, korean):
    for tokenizer, in_graph in (tiny, tiny_wordpiece, korean):
        check(tokenizer, in_graph, [])
        check(tokenizer, in_graph, [""])
        check(tokenizer, in_graph, ["", "  ", "\u0301", "\x00", "a", ""])


@pytest.mark.parametrize("text", ["x" * 10000, "a b\u0301 " * 2500, "\U00016d67" * 10000, "2,9" * 4000])
def test_long_texts(tiny, tiny_wordpiece, korean, text):
    for pair in (tiny, tiny_wordpiece, korean):
        check(*pair, [text, "short"])


def test_words_at_the_limit_of_length(tiny_wordpiece):
    check(*tiny_wordpiece, ["a" * 200, "a" * 201, "a" * 200 + "\u0301", "\u0301" + "河" * 201, "é" * 201])


def test_special_pieces_in_the_text_are_unknown(tiny, tiny_wordpiece):
    for tokenizer, in_graph in (tiny, tiny_wordpiece):
        texts = [
            f"the {special} boats" for special in ("[MASK]", "[CLS]", "<pad>", "<unk>", "[PAD]", "[UNK]")
        ]
        check(tokenizer, in_graph, texts)
        special = {tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id}
        assert not special & set(in_graph.tokenize(texts).values.numpy().tolist())


def test_the_digit_comma_rule(tmp_path):
    model = with_pieces(tmp_path, dict.fromkeys(("▁7,", "7,", "▁7", "7", "▁2009,", "▁2▁1,"), -1.0))
    pair = both(SentencePieceTokenizer(model))
    check(*pair, ["7, on7,", "2009,", " 2 \t 1,", "7,7,, 2009,,\u0301 7,\u0301"])


def test_of_equal_scores_the_same_wins(tmp_path):
    pieces = {"x": -1.1, "xx": -2.2, "xxx": -3.3, "0": -0.1, "00": -0.2, "0x": -1.2, "x0": -1.2}
    pair = both(SentencePieceTokenizer(with_pieces(tmp_path, pieces)))
    rng = random.Random(0)
    texts = ["".join(rng.choices(["x", "0", "xx", " ", ".", "∀"], k=rng.randrange(100))) for _ in range(500)]
    check(*pair, [*texts, "∀x" * 2000])


def test_bytes_that_are_no_utf8_become_replacement_characters(tiny, tiny_wordpiece):
    texts = [b"caf\xe9 au", b"\xff\xfea", b"\xed\xa0\x80x", b"\xf0\x9f\x98", b"\xe2\x82", b"\xc0\x80" * 99]
    for tokenizer, in_graph in (tiny, tiny_wordpiece):
        expected = tokenizer.encode_with_offsets([text.decode(errors="replace") for text in texts])
        found = in_graph.tokenize_with_offsets(texts)
        np.testing.assert_array_equal(found[0].values, expected.ids)
        np.testing.assert_array_equal(found[2].values, expected.ends)


def test_in_a_saved_model(tmp_path, tiny, tiny_wordpiece, korean):
    for i, (tokenizer, in_graph) in enumerate((tiny, tiny_wordpiece, korean)):
        tf.saved_model.save(in_graph, str(tmp_path / str(i)))
        loaded = tf.saved_model.load(str(tmp_path / str(i)))
        check(tokenizer, loaded, SAMPLES)
        check(tokenizer, loaded, [])


def test_in_a_pipeline(tiny, tiny_wordpiece):
    texts = ["The boats, walking", "", "Été", *SAMPLES]
    for tokenizer, in_graph in (tiny, tiny_wordpiece):
        dataset = tf.data.Dataset.from_tensor_slices(texts).batch(4).map(in_graph.tokenize)
        assert [ids for batch in dataset for ids in batch.to_list()] == [tokenizer.encode(t) for t in texts]


def test_made_where_it_is_used():
    tokenizer = load_tokenizer(spm_model_file=testing.SPM_MODEL_FILE)

    @tf.function
    def tokenize(texts):
        return in_graph_tokenizer(tokenizer).tokenize(texts)

    assert tokenize(tf.constant(["The boats"])).to_list() == [tokenizer.encode("The boats")]
    assert in_graph_tokenizer(tokenizer).tokenize(["The boats"]).to_list() == [tokenizer.encode("The boats")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"user_defined_symbols": ["§-§"]}, "does not know symbols that overlap: '§-§' and '§-§'"),
        ({"user_defined_symbols": ["a\u2581b"]}, "does not know its normalization of 'a\u2581b'"),
    ],
)
def test_models_of_other_kinds_are_refused(tmp_path, options, message):
    path = saved(tmp_path, trained_on_scripts(**options))
    with pytest.raises(InputError) as error:
        in_graph_tokenizer(load_tokenizer(path))
    assert str(error.value) == f"{path}: in-graph tokenization {message}"


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        (
            {"model_type": "bpe", "vocab_size": 80},
            "a unigram model (spm_train makes it with --model_type=unigram)",
        ),
        (
            {"byte_fallback": True, "vocab_size": 400},
            "a model without byte pieces and unused ones (spm_train: --byte_fallback=false)",
        ),
        ({"add_dummy_prefix": False}, "a model that treats white space in SentencePiece's usual way"),
    ],
)
def test_models_that_no_export_can_use_are_named_before_training(tmp_path, options, needed):
    path = saved(tmp_path, trained_on_scripts(**options))
    message = f"{path}: in-graph tokenization, and so every export, needs {needed}"
    with pytest.raises(InputError) as error:
        in_graph_tokenizer(load_tokenizer(path))
    assert str(error.value) == message
    with pytest.warns(InputWarning) as caught:
        Assets(spm_model_file=path, do_lower_case=True, keep_accents=True).tokenizer()
    assert message in [str(warning.message) for warning in caught]


def test_a_piece_too_long_for_the_graph_is_named(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text(pathlib.Path(testing.VOCAB_FILE).read_text() + "q" * 300)
    with pytest.raises(InputError, match=r"vocab.txt: in-graph tokenization: Vocab token .* qqqqq"):
        in_graph_tokenizer(load_tokenizer(vocab_file=str(path)))


def test_the_released_model_on_real_text(shared_data):
    pair = both(load_tokenizer(spm_model_file=str(shared_data / "spm" / "30k-clean.model")))
    texts = []
    for path in (
        "corpus/wiki_tiny.txt",
        "glue/QNLI/dev.tsv",
        "glue/CoLA/train.tsv",
        "glue/AX/diagnostic.tsv",
    ):
        texts += (shared_data / path).read_text(encoding="utf-8").splitlines()[::4]
    articles = json.loads((shared_data / "squad" / "dev-v1.1.json").read_text())["data"]
    texts += [paragraph["context"] for article in articles for paragraph in article["paragraphs"]][::4]
    check(*pair, texts)
    check(*both(load_tokenizer(pair[0].source, keep_accents=True)), texts[::4] + SAMPLES)
    check(*pair, ["eee", "xxx", "000", "e" * 5000, "x∀" * 2000, " ".join(texts)[:50000], *SAMPLES])


def test_a_released_vocabulary_on_real_text(shared_data):
    vocab_file = shared_data / "ckpt_index" / "albert_base" / "vocab_chinese.txt"
    texts = (shared_data / "corpus" / "wiki_tiny.txt").read_text(encoding="utf-8").splitlines()[::4]
    check(*both(load_tokenizer(vocab_file=str(vocab_file))), [*texts, " ".join(texts), *SAMPLES])
