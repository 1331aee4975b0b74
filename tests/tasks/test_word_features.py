"""Words in windows: each is decided once, at its first piece, where the context is largest."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_tf import testing
from albert_tf.data.batching import eval_batches
from albert_tf.data.feature_cache import cached_features
from albert_tf.tasks.tagging.reading import TaggedWords
from albert_tf.tasks.tagging.tags import TagSet
from albert_tf.tasks.tagging.word_features import WordFeatures, word_features
from albert_tf.tokenization import load_tokenizer
from albert_tf.tokenization.words import Words, find_words

SENTENCEPIECE, WORDPIECE = (
    load_tokenizer(spm_model_file=testing.SPM_MODEL_FILE),
    load_tokenizer(vocab_file=testing.VOCAB_FILE),
)
TAGS = TagSet(("O", "B-x", "I-x"), "IOB2")
TEXTS = st.lists(st.text("the boat rvsé,12.\u00a0\u0301ﬃ가河😀-' ", max_size=60), min_size=1, max_size=4)


def examples_of(texts, words=None):
    words = words or find_words(texts)
    numbers = np.arange(len(words.begins), dtype=np.int32)
    return TaggedWords(
        texts=texts, words=words, sentence_of=words.text_of, tags=numbers % 3, tag_set=TAGS, digest=""
    )


@settings(deadline=None, max_examples=60, derandomize=True)
@given(TEXTS, st.integers(5, 20), st.sampled_from([SENTENCEPIECE, WORDPIECE]))
def test_each_word_is_decided_once_at_its_first_piece(texts, length, tokenizer):
    examples = examples_of(texts)
    features = word_features(tokenizer, examples, length)
    encoded = tokenizer.encode_with_offsets(texts)
    assert features.lengths.max() <= length
    pieces = np.split(np.arange(len(encoded.ids)), np.cumsum(encoded.lengths)[:-1])
    first = {}  # the piece that has the first character of a word -> the first such word
    for number, (text, begin, end) in enumerate(zip(*examples.words, strict=True)):
        has_it = [i for i in pieces[text] if encoded.begins[i] < end and encoded.ends[i] > begin]
        if has_it:
            first.setdefault(has_it[0], number)
    assert features.decided.tolist() == sorted(first.values())
    ids = {number: encoded.ids[piece] for piece, number in first.items()}
    for token in np.flatnonzero(features.words):
        number = features.words[token] - 1
        assert features.input_ids[token] == ids[number]
        assert features.tags[token] == number % 3
        assert features.word_shapes[token] > 0
    assert not features.tags[features.words == 0].any()
    assert not features.word_shapes[features.words == 0].any()


def test_a_word_is_decided_where_it_has_most_context():
    text = "the " * 20
    features = word_features(WORDPIECE, examples_of([text.strip()]), 10)  # windows of 8 pieces, 4 apart
    assert features.lengths.tolist() == [10, 10, 10, 10]
    rows = np.split(features.words, np.cumsum(features.lengths)[:-1])
    decided = [row[row > 0].tolist() for row in rows]
    assert decided == [[1, 2, 3, 4, 5, 6], [7, 8, 9, 10], [11, 12, 13, 14], [15, 16, 17, 18, 19, 20]]


def test_batches_hold_words_tags_and_shapes(tmp_path):
    texts = ["The rivers, the boat", "boat"]
    made = word_features(WORDPIECE, examples_of(texts), 16)
    for _ in range(2):  # made, and from the cache
        features = cached_features(str(tmp_path), "tags", {"k": 1}, lambda: made, WordFeatures)
        [batch] = eval_batches(features, batch_size=2)
        assert batch["words"][:, :8].numpy().tolist() == [[0, 1, 2, 0, 3, 4, 5, 0], [0, 6, 0, 0, 0, 0, 0, 0]]
        assert batch["tags"][:, :8].numpy().tolist() == [[0, 0, 1, 0, 2, 0, 1, 0], [0, 2, 0, 0, 0, 0, 0, 0]]
        assert batch["word_shapes"][:, :8].numpy().tolist() == [
            [0, 2, 1, 0, 1, 1, 1, 0],
            [0, 1, 0, 0, 0, 0, 0, 0],
        ]


def test_words_without_a_piece_are_not_decided():
    text = "the \u200b boat"
    words = Words(np.zeros(3, np.int32), np.array([0, 4, 6], np.int32), np.array([3, 5, 10], np.int32))
    assert word_features(WORDPIECE, examples_of([text], words), 16).decided.tolist() == [0, 2]


@pytest.mark.parametrize("tokenizer", [SENTENCEPIECE, WORDPIECE])
def test_an_empty_text_has_a_window_without_words(tokenizer):
    features = word_features(tokenizer, examples_of(["", "the"]), 8)
    assert features.lengths[0] == 2
    assert features.decided.tolist() == [0]
