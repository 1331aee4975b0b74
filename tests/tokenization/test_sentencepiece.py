"""The SentencePiece tokenizer: ids, special pieces, the digit-comma rule, word starts."""

import io
import pathlib

import numpy as np
import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from albert_tf import testing
from albert_tf.errors import InputError
from albert_tf.testing import make_tokenizers
from albert_tf.tokenization import SentencePieceTokenizer, load_tokenizer
from albert_tf.tokenization.sentencepiece import starts_word


@pytest.fixture(scope="module")
def tiny():
    return load_tokenizer(spm_model_file=testing.SPM_MODEL_FILE)


@pytest.fixture
def real(shared_data):
    return load_tokenizer(spm_model_file=str(shared_data / "spm" / "30k-clean.model"))


@pytest.fixture(scope="module")
def digit_comma_model(tmp_path_factory):
    """The tiny model with digits and commas in one piece."""
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(pathlib.Path(testing.SPM_MODEL_FILE).read_bytes())
    for piece in ("▁7,", "7,", "▁7", "7"):
        model.pieces.add(piece=piece, score=-1.0)
    path = tmp_path_factory.mktemp("model") / "digits.model"
    path.write_bytes(model.SerializeToString())
    return str(path)


def test_the_special_pieces_have_the_ids_of_the_original(tiny):
    assert (tiny.pad_id, tiny.unk_id, tiny.cls_id, tiny.sep_id, tiny.mask_id) == (0, 1, 2, 3, 4)
    assert tiny.ids_to_pieces(range(13)) == ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]", *'()"-.–£€']


def test_text_becomes_pieces_and_ids(tiny):
    assert tiny.tokenize("The boats, walking.") == ["▁the", "▁boats", ",", "▁walk", "ing", "."]
    assert tiny.ids_to_pieces(tiny.encode("The boats, walking.")) == tiny.tokenize("The boats, walking.")
    assert tiny.encode("   ") == []


def test_a_batch_gives_the_ids_of_each_text_end_to_end(tiny):
    texts = ["The river", "", "runs to the sea, in 2009,", "∀"]
    ids, lengths = tiny.encode_batch(texts)
    assert ids.dtype == np.uint16
    assert lengths.tolist() == [len(tiny.encode(text)) for text in texts]
    assert ids.tolist() == [id for text in texts for id in tiny.encode(text)]


def test_an_empty_batch_gives_empty_arrays(tiny):
    assert [array.size for array in tiny.encode_batch([])] == [0, 0]
    assert [array.size for array in tiny.encode_batch([""])] == [0, 1]


@pytest.mark.parametrize("text", ["[MASK]", "[CLS]", "<pad>", "a [SEP] b"])
@pytest.mark.parametrize("lower", [True, False])
def test_a_special_piece_spelled_out_in_text_is_unknown(text, lower):
    tokenizer = SentencePieceTokenizer(testing.SPM_MODEL_FILE, do_lower_case=lower)
    special = set(tokenizer.special_ids) - {tokenizer.unk_id}
    assert not special & set(tokenizer.encode(text))
    assert tokenizer.pieces_to_ids(tokenizer.tokenize(text)) == tokenizer.encode(text)


def test_the_tiny_model_meets_a_mask_made_of_unknown_characters(tiny):
    cased = SentencePieceTokenizer(testing.SPM_MODEL_FILE, do_lower_case=False)
    assert cased.tokenize("[MASK]") == ["▁", "<unk>"]
    assert cased.encode("[MASK]") == cased.pieces_to_ids(["▁", "<unk>"])


def test_the_digit_comma_rule(digit_comma_model):
    tokenizer = SentencePieceTokenizer(digit_comma_model)
    assert tokenizer.tokenize("7, on7, the") == ["▁7", ",", "▁on", "7", ",", "▁the"]
    texts = ["on7,", "", "the sea", "7, on7, the"]
    ids, lengths = tokenizer.encode_batch(texts)
    assert tokenizer.ids_to_pieces(ids) == [piece for text in texts for piece in tokenizer.tokenize(text)]
    assert lengths.tolist() == [3, 0, 3, 6]


@pytest.mark.parametrize(
    ("piece", "starts"),
    [
        ("▁river", True),
        ("<", True),
        (",", True),
        ("-", True),
        ("'", True),
        ("7", True),
        ("é", True),
        ("河", True),
        ("ing", False),
        ("ING", False),
        ("ing.", False),
        ("--", False),
        ("...", False),
        ("it's", True),
    ],
)
def test_where_words_start(piece, starts):
    assert starts_word(piece) is starts


def test_special_pieces_start_words(tiny):
    assert tiny.is_word_start[tiny.special_ids].all()
    assert not tiny.is_word_start[tiny.pieces_to_ids(["ing"])].any()


@pytest.mark.parametrize("text", ["Été", "E\u0301te\u0301"])
@pytest.mark.parametrize(
    ("lower", "keep", "expected"),
    [(True, False, "ete"), (False, False, "Ete"), (True, True, "été"), (False, True, "Été")],
)
def test_accents_stay_if_asked_for_and_the_model_joins_them_with_their_letters(
    tmp_path, text, lower, keep, expected
):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*["ete Ete été Été"] * 9, "e t E é É"]),
        model_writer=model,
        vocab_size=20,
        hard_vocab_limit=False,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        control_symbols=["[CLS]", "[SEP]", "[MASK]"],
        minloglevel=4,
    )
    path = tmp_path / "accents.model"
    path.write_bytes(model.getvalue())
    tokenizer = load_tokenizer(str(path), do_lower_case=lower, keep_accents=keep)
    assert "".join(tokenizer.tokenize(text)) == "▁" + expected
    assert tokenizer.unk_id not in tokenizer.encode(text)


def test_a_file_that_is_no_model_is_named(tmp_path):
    broken = tmp_path / "broken.model"
    for content in (b"", b"<pad>\t0\n<unk>\t0\n", b"\x0a\xff\xff"):
        broken.write_bytes(content)
        with pytest.raises(InputError, match=r"broken\.model is not a SentencePiece model"):
            load_tokenizer(spm_model_file=str(broken))


def test_a_piece_that_is_not_utf8_is_named(tmp_path):
    path = tmp_path / "30k-clean.model"
    whole = pathlib.Path(testing.SPM_MODEL_FILE).read_bytes()
    path.write_bytes(whole.replace(b"<unk>", b"<un\xff>", 1))
    with pytest.raises(InputError, match=r"30k-clean.model is damaged: a piece is not UTF-8 \(invalid start"):
        load_tokenizer(str(path))


def test_a_model_without_the_special_pieces_is_named(tmp_path):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["one two three four"] * 10), model_writer=model, vocab_size=15, minloglevel=2
    )
    path = tmp_path / "plain.model"
    path.write_bytes(model.getvalue())
    with pytest.raises(
        InputError, match=r"plain.model: the vocabulary lacks <pad>, \[CLS\], \[SEP\], \[MASK\]$"
    ):
        load_tokenizer(spm_model_file=str(path))


def test_a_vocabulary_is_needed():
    with pytest.raises(InputError, match=r"--spm_model_file .* or --vocab_file"):
        load_tokenizer()


def test_the_model_decides_where_both_files_are_given():
    tokenizer = load_tokenizer(testing.SPM_MODEL_FILE, testing.VOCAB_FILE)
    assert isinstance(tokenizer, SentencePieceTokenizer)


def test_the_tiny_vocabularies_are_what_their_script_makes(tmp_path, monkeypatch, tiny):
    kept = testing.VOCAB_FILE
    monkeypatch.setattr(testing, "SPM_MODEL_FILE", str(tmp_path / "model"))
    monkeypatch.setattr(testing, "VOCAB_FILE", str(tmp_path / "vocabulary"))
    make_tokenizers.main()
    assert load_tokenizer(testing.SPM_MODEL_FILE).pieces == tiny.pieces
    assert pathlib.Path(testing.VOCAB_FILE).read_bytes() == pathlib.Path(kept).read_bytes()


def test_the_released_model(real):
    assert real.vocab_size == 30000
    assert (real.pad_id, real.unk_id, real.cls_id, real.sep_id, real.mask_id) == (0, 1, 2, 3, 4)
    assert real.tokenize("Born in 2009, in Zürich.") == [
        *("▁born", "▁in", "▁2009", ",", "▁in", "▁zurich", "."),
    ]
    assert not {2, 3, 4} & set(real.encode("[CLS] a [SEP] b [MASK]"))


def test_the_batches_of_the_released_model_equal_its_single_texts(real):
    texts = ["In 2009, 3,500 people", "x7, [MASK] 12,", "Straße ½ ﬁne", ""]
    ids, _ = real.encode_batch(texts)
    assert ids.tolist() == [id for text in texts for id in real.pieces_to_ids(real.tokenize(text))]
