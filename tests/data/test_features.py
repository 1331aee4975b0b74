"""Texts to features: [CLS] A [SEP] B [SEP], cut as the original cuts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_tf import testing
from albert_tf.data.features import text_features
from albert_tf.tokenization import SentencePieceTokenizer, WordPieceTokenizer
from albert_tf.tokenization.sequences import truncated_pair

TOKENIZERS = [SentencePieceTokenizer(testing.SPM_MODEL_FILE), WordPieceTokenizer(testing.VOCAB_FILE)]

columns = st.lists(st.text("the boats, 2", max_size=30), max_size=8)


def popped(a, b, room):
    """Pops from the end of the longer list, from b if they are equally long."""
    a, b = list(a), list(b)
    while len(a) + len(b) > room:
        (a if len(a) > len(b) else b).pop()
    return a, b


def sequences(features):
    ends = np.cumsum(features.lengths)
    return [
        features.input_ids[end - length : end].tolist()
        for end, length in zip(ends, features.lengths, strict=True)
    ]


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 50))
def test_pairs_are_cut_as_by_popping(a, b, room):
    kept = truncated_pair(np.array([a]), np.array([b]), room)
    assert [n.tolist() for n in kept] == [[len(part)] for part in popped(range(a), range(b), room)]


@settings(deadline=None, derandomize=True, max_examples=50)
@given(columns, st.integers(3, 20), st.sampled_from(TOKENIZERS))
def test_single_texts_equal_their_definition(texts, max_seq_length, tokenizer):
    features = text_features(tokenizer, (texts,), None, max_seq_length)
    pieces = [tokenizer.encode(text) for text in texts]
    expected = [[tokenizer.cls_id, *ids[: max_seq_length - 2], tokenizer.sep_id] for ids in pieces]
    assert sequences(features) == expected
    assert features.first_lengths.tolist() == features.lengths.tolist()
    assert features.full_lengths.tolist() == [len(ids) + 2 for ids in pieces]
    assert features.input_ids.dtype == tokenizer.id_dtype
    assert {array.dtype for array in (features.lengths, features.first_lengths, features.full_lengths)} == {
        np.dtype(np.int32)
    }


@settings(deadline=None, derandomize=True, max_examples=50)
@given(columns, st.integers(3, 20), st.sampled_from(TOKENIZERS))
def test_pairs_equal_their_definition(texts, max_seq_length, tokenizer):
    others = texts[::-1]
    labels = np.arange(len(texts), dtype=np.float32)
    features = text_features(tokenizer, (texts, others), labels, max_seq_length)
    cls, sep = tokenizer.cls_id, tokenizer.sep_id
    expected, firsts, full = [], [], []
    for first, second in zip(texts, others, strict=True):
        first, second = tokenizer.encode(first), tokenizer.encode(second)
        a, b = popped(first, second, max_seq_length - 3)
        expected.append([cls, *a, sep, *b, sep])
        firsts.append(len(a) + 2)
        full.append(len(first) + len(second) + 3)
    assert sequences(features) == expected
    assert features.first_lengths.tolist() == firsts
    assert features.full_lengths.tolist() == full
    assert features.labels is labels
    assert len(features) == len(texts)


def test_many_sequences_equal_few():
    few = (["the boats", "", "2, 2"], ["walking the boats"] * 3)
    many = tuple(column * 5000 for column in few)
    expected = sequences(text_features(TOKENIZERS[0], few, None, 9))
    assert sequences(text_features(TOKENIZERS[0], many, None, 9)) == expected * 5000


def test_equal_texts_are_encoded_once():
    encoded = []

    class NotingTokenizer(SentencePieceTokenizer):
        def encode_batch(self, texts):
            encoded.extend(texts)
            return super().encode_batch(texts)

    tokenizer = NotingTokenizer(testing.SPM_MODEL_FILE)
    text_features(tokenizer, (["a", "b", "a"], ["c", "c", "c"]), None, 9)
    assert encoded == ["a", "b", "c"]


def test_texts_of_a_real_file(shared_data):
    rows = (shared_data / "glue/SST-2/dev.tsv").read_text(encoding="utf-8").splitlines()[1:]
    texts = [row.split("\t")[0] for row in rows]
    tokenizer = SentencePieceTokenizer(str(shared_data / "spm/30k-clean.model"))
    features = text_features(tokenizer, (texts,), None, 32)
    assert len(features) == 872
    assert features.lengths.max() == 32
    i = int(features.full_lengths.argmax())
    assert sequences(features)[i][1:-1] == tokenizer.encode(texts[i])[:30]


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_no_texts_are_no_features(tokenizer):
    assert len(text_features(tokenizer, ([], []), None, 9)) == 0
