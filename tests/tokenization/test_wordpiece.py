"""The WordPiece tokenizer: BERT's rules, and vocabularies that are none."""

import numpy as np
import pytest

from albert_tf import testing
from albert_tf.errors import InputError
from albert_tf.tokenization import WordPieceTokenizer, load_tokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture(scope="module")
def tiny():
    return load_tokenizer(vocab_file=testing.VOCAB_FILE)


def vocabulary(folder, pieces):
    path = folder / "vocab.txt"
    path.write_text("\n".join(pieces) + "\n", encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("The rivers!", ["the", "river", "##s", "[UNK]"]),
        ("walking, (sea)", ["w", "##a", "##l", "##k", "##ing", ",", "(", "sea", ")"]),
        ("Ríver\u00ad\u0000s", ["river", "##s"]),
        ("河水the大山", ["河", "水", "the", "大", "山"]),
        ("the\u00a0sea\u2028town\t\r\nmill", ["the", "sea", "town", "mill"]),
        ("sea∀ ∀", ["[UNK]", "[UNK]"]),
        ("", []),
        ("sea" * 66 + "es", [*("sea", *("##s", "##e", "##a") * 65), "##es"]),
        ("sea" * 67, ["[UNK]"]),
    ],
)
def test_text_becomes_pieces(tiny, text, pieces):
    assert tiny.tokenize(text) == pieces
    assert tiny.encode(text) == tiny.pieces_to_ids(pieces)


def test_a_special_piece_spelled_out_in_text_is_not_special(tiny):
    special = {tiny.pad_id, tiny.cls_id, tiny.sep_id, tiny.mask_id}
    for text in ("[MASK]", "the[CLS]", "[PAD] [SEP]"):
        assert not special & set(tiny.encode(text))


def test_case_and_accents_stay_where_asked(tmp_path):
    path = vocabulary(tmp_path, [*SPECIAL, "Été", "ete"])
    assert WordPieceTokenizer(path, do_lower_case=False).tokenize("Été") == ["Été"]
    assert WordPieceTokenizer(path).tokenize("Été") == ["ete"]


def test_a_batch_gives_the_ids_of_each_text_end_to_end(tiny):
    texts = ["The rivers", "", "河水"]
    ids, lengths = tiny.encode_batch(texts)
    assert ids.dtype == np.uint16
    assert lengths.tolist() == [3, 0, 2]
    assert ids.tolist() == [id for text in texts for id in tiny.encode(text)]


def test_continuations_do_not_start_words(tiny):
    starts = dict(zip(tiny.pieces, tiny.is_word_start, strict=True))
    assert starts["river"]
    assert starts["[MASK]"]
    assert starts["河"]
    assert not starts["##s"]


def test_lines_of_a_vocabulary(tmp_path):
    path = vocabulary(tmp_path, [*SPECIAL, "a\t17", "", "a", "b extra"])
    assert WordPieceTokenizer(path).pieces == [*SPECIAL, "a", " ", "b"]


def test_the_released_chinese_vocabulary(shared_data):
    file = shared_data / "ckpt_index" / "albert_base" / "vocab_chinese.txt"
    tokenizer = load_tokenizer(vocab_file=str(file))
    assert tokenizer.vocab_size == 21128
    assert (tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id) == (0, 100, 101)
    assert (tokenizer.sep_id, tokenizer.mask_id) == (102, 103)
    assert tokenizer.tokenize("中国的GDP") == ["中", "国", "的", "gdp"]


def test_missing_special_pieces_are_named(tmp_path):
    path = vocabulary(tmp_path, ["[PAD]", "[CLS]", "[SEP]", "a"])
    with pytest.raises(InputError, match=r"vocab.txt: the vocabulary lacks \[UNK\], \[MASK\]$"):
        load_tokenizer(vocab_file=path)


def test_the_listing_of_a_sentencepiece_model_is_recognized(tmp_path):
    path = vocabulary(tmp_path, ["<pad>\t0", "<unk>\t0", "[CLS]\t0"])
    with pytest.raises(
        InputError, match=r"vocab.txt lists the pieces of a SentencePiece model: .*--spm_model_file"
    ):
        load_tokenizer(vocab_file=path)


def test_a_sentencepiece_model_is_recognized(tmp_path):
    path = tmp_path / "spiece.model"
    path.write_bytes(b"\x0a\x0e\x0a\x05\xe2\x96\xff")
    with pytest.raises(InputError, match=r"spiece.model is not a text file .*--spm_model_file"):
        load_tokenizer(vocab_file=str(path))
    with pytest.raises(InputError, match=r"lists the pieces|lacks|not a text file"):
        load_tokenizer(vocab_file=testing.SPM_MODEL_FILE)
