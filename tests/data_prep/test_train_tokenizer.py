"""Training a SentencePiece model: its ids and symbols, its seed, what text it refuses."""

import os
import pathlib

import numpy as np
import pytest

from albert_tf.tokenization import load_tokenizer
from albert_tf.tokenization.sentencepiece_training import check_model, train_sentencepiece
from data_prep.train_tokenizer import main

FIXED = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]", "(", ")", '"', "-", ".", "–", "£", "€"]


def write_text(path, lines=300, seed=0):
    rng = np.random.default_rng(seed)
    words = ["".join(rng.choice(list("abcdefghij"), rng.integers(1, 6))) for _ in range(300)]
    path.write_text("".join(" ".join(rng.choice(words, 12)).capitalize() + ".\n" for _ in range(lines)))
    return str(path)


def run(folder, *arguments, text=None, prefix="vocab"):
    text = text or write_text(folder / "text.txt")
    return main(
        ["train_tokenizer.py", f"--input_file={text}", f"--output_prefix={folder / prefix}", *arguments]
    )


def test_the_model_has_the_ids_and_symbols_of_the_original(tmp_path, capsys):
    assert run(tmp_path, "--vocab_size=150") == 0
    assert "150 pieces from 300 lines" in capsys.readouterr().out
    tokenizer = load_tokenizer(str(tmp_path / "vocab.model"))
    assert tokenizer.pieces[:13] == FIXED
    assert tokenizer.vocab_size == 150
    assert tokenizer.tokenize('a "b" (c-d). £') == [
        *("▁a", "▁", '"', "b", '"', "▁", "(", "c", "-", "d", ")", ".", "▁", "£"),
    ]
    listing = (tmp_path / "vocab.vocab").read_text(encoding="utf-8").splitlines()
    assert [line.split("\t")[0] for line in listing] == tokenizer.pieces
    assert listing[0] == "<pad>\t0"
    assert float(listing[-1].split("\t")[1]) < 0
    assert sorted(os.listdir(tmp_path)) == ["text.txt", "vocab.model", "vocab.vocab"]


def test_cased_text_keeps_its_case(tmp_path):
    assert run(tmp_path, "--vocab_size=100", "--nodo_lower_case") == 0
    pieces = load_tokenizer(str(tmp_path / "vocab.model"), do_lower_case=False).pieces
    assert any(piece != piece.lower() for piece in pieces[13:])


ACCENTED = "\u00e5 \u00e9 e a s \u00e5s \u00e9s es as " * 4


@pytest.mark.parametrize("keep", [True, False])
def test_accents_are_in_the_vocabulary_if_asked_for(tmp_path, keep):
    (tmp_path / "text.txt").write_text(f"{ACCENTED}\n" * 50)
    arguments = ("--vocab_size=20", "--character_coverage=1", f"--keep_accents={keep}")
    assert run(tmp_path, *arguments, text=str(tmp_path / "text.txt")) == 0
    tokenizer = load_tokenizer(str(tmp_path / "vocab.model"), keep_accents=True)
    assert (tokenizer.unk_id in tokenizer.encode("\u00e5s")) is not keep
    # A warning stands where text and vocabulary do not fit each other, and only there.
    for kept in (True, False):
        loaded = load_tokenizer(str(tmp_path / "vocab.model"), keep_accents=kept)
        assert (loaded.problem_of_accents() is None) is (kept is keep)


def test_the_seed_decides_the_sample(tmp_path):
    text = write_text(tmp_path / "text.txt", lines=3000)
    for prefix, seed in (("a", 1), ("b", 1), ("c", 2)):
        arguments = ("--vocab_size=100", "--input_sentence_size=200", f"--random_seed={seed}")
        assert run(tmp_path, *arguments, text=text, prefix=prefix) == 0
    assert (tmp_path / "a.model").read_bytes() == (tmp_path / "b.model").read_bytes()
    assert (tmp_path / "a.model").read_bytes() != (tmp_path / "c.model").read_bytes()


def test_several_globs_are_read(tmp_path, capsys):
    for name in ("a1", "a2", "b1"):
        write_text(tmp_path / name, lines=100, seed=ord(name[0]))
    assert run(tmp_path, "--vocab_size=100", text=f"{tmp_path}/a*,{tmp_path}/b1") == 0
    assert "from 300 lines" in capsys.readouterr().out


def test_long_lines_are_divided_and_not_left_out():
    line = "boat sea " * 2000 + "quay" * 2000
    model = train_sentencepiece([line], 24, character_coverage=1.0, normalization="identity")
    check_model(model, 24)


def test_other_ids_do_not_pass_the_check():
    model = train_sentencepiece(["the sea and the boat"] * 9, 24, normalization="identity")
    with pytest.raises(RuntimeError, match="SentencePiece made 24 pieces"):
        check_model(model, 25)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--vocab_size=5000"],
            "the text is too small for --vocab_size 5000: the largest vocabulary it can give",
        ),
        (["--vocab_size=15"], "--vocab_size 15 is too small: the characters of the text alone take"),
    ],
)
def test_a_vocabulary_size_that_does_not_fit_the_text_is_named(tmp_path, capfd, arguments, message):
    assert run(tmp_path, *arguments) == 1
    errors = capfd.readouterr().err
    assert message in errors
    assert "trainer_interface" not in errors
    assert os.listdir(tmp_path) == ["text.txt"]


def test_the_largest_vocabulary_named_is_possible(tmp_path, capsys):
    assert run(tmp_path, "--vocab_size=5000") == 1
    largest = int(capsys.readouterr().err.split()[-1])
    assert run(tmp_path, f"--vocab_size={largest}") == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the input holds no text"),
        (b"\n \n", "the input holds no text"),
        (b"sea\nri\xffver\n", "text.txt, line 2: not UTF-8"),
    ],
)
def test_bad_text_is_named_and_earlier_output_stays(tmp_path, capsys, content, message):
    (tmp_path / "text.txt").write_bytes(content)
    (tmp_path / "vocab.model").write_bytes(b"earlier")
    assert run(tmp_path, text=str(tmp_path / "text.txt")) == 1
    assert message in capsys.readouterr().err
    assert (tmp_path / "vocab.model").read_bytes() == b"earlier"
    assert sorted(os.listdir(tmp_path)) == ["text.txt", "vocab.model"]


def test_lines_that_sentencepiece_would_leave_out_in_silence_are_counted(tmp_path, capsys):
    text = pathlib.Path(write_text(tmp_path / "text.txt"))
    usable = text.read_text()
    text.write_text("a \u2585 b\n\u200b\u200b\n\x01\n\n" + usable + "\u2585\n")
    assert run(tmp_path, "--vocab_size=150", text=str(text)) == 0
    out, errors = capsys.readouterr()
    assert "training on 300 of 300 lines" in errors
    assert (
        "lines left out: 2 with U+2585, which SentencePiece reserves, "
        "2 of which the normalization nmt_nfkc leaves nothing\n"
    ) in out
    assert run(tmp_path, "--vocab_size=150", prefix="same", text=write_text(text)) == 0
    assert (tmp_path / "vocab.model").read_bytes() == (tmp_path / "same.model").read_bytes()
    text.write_text("\u2585 a\n" * 9)
    assert run(tmp_path, "--vocab_size=150", text=str(text)) == 1
    assert "no line of the input can be used: 9 with U+2585, " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--character_coverage=0.9", "--character_coverage must be at least 0.98, not 0.9"),
        ("--character_coverage=1.5", "--character_coverage must be at most 1, not 1.5"),
        ("--num_threads=1025", "--num_threads must be at most 1024, not 1025"),
        ("--vocab_size=1000001", "--vocab_size must be at most 1000000, not 1000001"),
        ("--vocab_size=3", "--vocab_size must be at least 14, not 3"),
        ("--vocabulary_size=3", "vocabulary_size"),
    ],
)
def test_what_sentencepiece_would_refuse_is_refused_before_text_is_read(tmp_path, capsys, flag, message):
    assert run(tmp_path, flag, text=str(tmp_path / "none")) == 2
    assert message in capsys.readouterr().err


def test_missing_text_is_named(tmp_path, capsys):
    assert run(tmp_path, text=str(tmp_path / "none")) == 1
    assert "none: no such file" in capsys.readouterr().err
    assert run(tmp_path, text=str(tmp_path)) == 1
    assert "is a folder" in capsys.readouterr().err
