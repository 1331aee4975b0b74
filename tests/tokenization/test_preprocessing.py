"""`preprocess_text` against strings that the original release produced."""

import subprocess
import sys

import pytest

from albert_tf.tokenization import preprocess_text
from albert_tf.tokenization.wordpiece import lower_case


@pytest.mark.parametrize(
    ("text", "lower", "remove_space", "expected"),
    [
        ("  Caf\u00e9\tau  lait ", True, True, "cafe au lait"),
        ("  Caf\u00e9\tau  lait ", False, True, "Cafe au lait"),
        ("``Quoted'' \u201cx\u201d", True, True, "``quoted'' \u201cx\u201d"),
        ("\ufb01ne \u2163 \u00bd \u00a0y", True, True, "fine iv 1\u20442 y"),
        ("\u0130stanbul \u1e9e", True, True, "istanbul \u00df"),
        ("a  b", True, False, "a  b"),
        ("\ud55c\uad6d\uc5b4", True, True, "\u1112\u1161\u11ab\u1100\u116e\u11a8\u110b\u1165"),
        ("\u529b\u52a0", True, True, "\u529b\u52a0"),
    ],
)
def test_preprocess_text_equals_the_original(text, lower, remove_space, expected):
    assert preprocess_text(text, lower, remove_space) == expected


def test_accents_go_from_cased_text_too():
    assert preprocess_text("\u00c9t\u00e9", lower=False) == "Ete"


@pytest.mark.parametrize("text", ["Été", "E\u0301te\u0301", "½ ﬁ 한"])
def test_accents_stay_if_asked_for(text):
    assert preprocess_text(f" {text}\t", lower=False, keep_accents=True) == text
    assert preprocess_text(text, keep_accents=True) == text.lower()


# The table of docs/pretraining_data.md: SentencePiece and WordPiece without accents, and both with them.
@pytest.mark.parametrize(("text", "sentencepiece", "wordpiece", "kept"), [
    ("S\u00e5", "sa", "sa", "s\u00e5"),
    ("na\u00efve caf\u00e9", "naive cafe", "naive cafe", "na\u00efve caf\u00e9"),
    ("\u304c", "\u304b", "\u304b", "\u304c"),
    ("\u0928\u092e\u0938\u094d\u0924\u0947", "\u0928\u092e\u0938\u0924\u0947", "\u0928\u092e\u0938\u0924",
     "\u0928\u092e\u0938\u094d\u0924\u0947"),
    ("\u0451", "\u0435", "\u0435", "\u0451"),
])  # fmt: skip
def test_marks_go_as_in_the_original_and_stay_if_asked_for(text, sentencepiece, wordpiece, kept):
    assert (preprocess_text(text), lower_case(text, keep_accents=False)) == (sentencepiece, wordpiece)
    assert (preprocess_text(text, keep_accents=True), lower_case(text, keep_accents=True)) == (kept, kept)


def test_tokenization_does_not_import_tensorflow():
    code = (
        "import sys, albert_tf.tokenization, albert_tf.data.records; assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
