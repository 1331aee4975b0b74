"""What holds for every example, whatever the text and the settings."""

import dataclasses

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from albert_tf import testing
from albert_tf.data.masking import MaskingOptions
from albert_tf.tokenization import load_tokenizer
from data_prep.corpus import Corpus
from data_prep.examples import make_examples
from data_prep.segments import SegmentOptions, plan_pairs
from data_prep.static_masking import numbers_to_predict

TOKENIZER = load_tokenizer(vocab_file=testing.VOCAB_FILE)
CLS, SEP, MASK = TOKENIZER.cls_id, TOKENIZER.sep_id, TOKENIZER.mask_id


@dataclasses.dataclass(frozen=True)
class Options(MaskingOptions, SegmentOptions):
    pass


@st.composite
def corpora(draw):
    documents = draw(st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=8), min_size=1, max_size=5))
    lengths = [length for document in documents for length in document]
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    return Corpus(
        rng.integers(5, TOKENIZER.vocab_size, sum(lengths)).astype(np.uint16),
        np.concatenate([[0], np.cumsum(lengths)]),
        np.concatenate([[0], np.cumsum([len(document) for document in documents])]),
    )


OPTIONS = st.builds(
    Options,
    max_seq_length=st.integers(5, 60),
    dupe_factor=st.integers(1, 4),
    short_seq_prob=st.sampled_from([0.0, 0.1, 1.0]),
    random_next_sentence=st.booleans(),
    single_segment_chunks=st.sampled_from(["split", "random_document"]),
    masked_lm_prob=st.sampled_from([0.0, 0.15, 0.5, 1.0]),
    max_predictions_per_seq=st.integers(1, 30),
    ngram=st.integers(1, 5),
    favor_shorter_ngram=st.booleans(),
    do_whole_word_mask=st.booleans(),
    do_permutation=st.booleans(),
)


def units_of(ids, options):
    """The masking units of one text, as sets of its positions, found piece by piece."""
    units = []
    for i, id in enumerate(ids):
        if i and options.do_whole_word_mask and not TOKENIZER.is_word_start[id]:
            units[-1].add(i)
        else:
            units.append({i})
    return units


@settings(deadline=None, derandomize=True, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(corpora(), OPTIONS, st.integers(0, 100))
def test_every_example_is_sound(corpus, options, seed):
    rng = np.random.default_rng(seed)
    pairs, _ = plan_pairs(corpus, TOKENIZER.is_word_start, options.dupe_factor or 40, options, rng)
    features, ngrams = make_examples(corpus.ids, pairs, TOKENIZER, options.max_seq_length, options, rng)
    if not options.do_whole_word_mask:
        assert ngrams @ np.arange(options.ngram + 1) == features["masked_lm_weights"].sum()
    assert {name: values.shape[1:] for name, values in features.items()} == {
        **dict.fromkeys(
            ["input_ids", "input_mask", "segment_ids", "token_boundary"], (options.max_seq_length,)
        ),
        **dict.fromkeys(
            ["masked_lm_positions", "masked_lm_ids", "masked_lm_weights"], (options.predictions_length,)
        ),
        "next_sentence_labels": (1,),
    }
    for i in range(len(pairs)):
        example = {name: values[i].tolist() for name, values in features.items()}
        texts = [
            corpus.ids[start : start + length].tolist()
            for start, length in zip(pairs.starts[i], pairs.lengths[i], strict=True)
        ]
        check_example(example, texts, options)
        assert example["token_boundary"] == boundaries(*texts, options.max_seq_length)
        assert example["next_sentence_labels"] == [pairs.labels[i]]


def boundaries(a, b, max_seq_length):
    starts = [[int(TOKENIZER.is_word_start[id]) for id in text] for text in (a, b)]
    real = [1, *starts[0], 1, *starts[1], 1]
    return real + [0] * (max_seq_length - len(real))


def check_example(example, texts, options):
    a, b = texts
    assert a
    assert b
    length = len(a) + len(b) + 3
    padding = [0] * (options.max_seq_length - length)
    original = [CLS, *a, SEP, *b, SEP]
    assert example["input_mask"] == [1] * length + padding
    assert example["segment_ids"] == [0] * (len(a) + 2) + [1] * (len(b) + 1) + padding
    special = {0, len(a) + 1, length - 1}

    count = int(sum(example["masked_lm_weights"]))
    unused = [0] * (options.predictions_length - count)
    assert example["masked_lm_weights"] == [1] * count + unused
    assert example["masked_lm_positions"][count:] == unused
    assert example["masked_lm_ids"][count:] == unused
    positions = example["masked_lm_positions"][:count]
    assert positions == sorted(set(positions))
    assert not special & set(positions)
    assert all(position < length for position in positions)

    restored = example["input_ids"].copy()
    for position, id in zip(positions, example["masked_lm_ids"], strict=False):
        restored[position] = id
    assert restored == original + padding

    quota = int(numbers_to_predict(np.array([len(a) + len(b)]), options)[0])
    assert count <= quota * (2 if options.do_permutation else 1)
    units = [{p + 1 for p in unit} for unit in units_of(a, options)]
    units += [{p + len(a) + 2 for p in unit} for unit in units_of(b, options)]
    chosen = set(positions)
    assert all(unit <= chosen or not unit & chosen for unit in units)
    if not options.do_permutation and options.ngram == 1:
        # Nothing that would still have fitted was left out.
        assert all(unit <= chosen or count + len(unit) > quota for unit in units)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(corpora(), OPTIONS, st.integers(0, 100))
def test_every_pair_is_what_its_label_says(corpus, options, seed):
    rng = np.random.default_rng(seed)
    pairs, lost = plan_pairs(corpus, TOKENIZER.is_word_start, options.dupe_factor or 40, options, rng)
    limits = corpus.segment_starts[corpus.document_starts]
    documents = np.searchsorted(limits, pairs.starts, side="right")
    ends = np.searchsorted(limits, pairs.starts + pairs.lengths - 1, side="right")
    assert (documents == ends).all()
    assert (pairs.lengths.sum(axis=1) <= options.max_seq_length - 3).all()
    for label, (a, b), (length_a, length_b), (document_a, document_b) in zip(
        pairs.labels, pairs.starts, pairs.lengths, documents, strict=True
    ):
        if label == 0:
            assert document_a == document_b
            assert a + length_a <= b
        elif options.random_next_sentence:
            assert document_a != document_b or corpus.documents == 1
        elif options.single_segment_chunks == "split":
            assert document_a == document_b
            assert b + length_b <= a
    if options.single_segment_chunks == "random_document" or options.random_next_sentence:
        assert lost.single_words_left_out == 0


def test_the_rest_of_a_word_at_the_front_of_b_does_not_join_a():
    the, rest = TOKENIZER.pieces_to_ids(["the", "##s"])
    corpus = Corpus(np.array([the, rest], np.uint16), np.array([0, 1, 2]), np.array([0, 2]))
    options = Options(max_seq_length=5, max_predictions_per_seq=1, short_seq_prob=0.0)
    rng = np.random.default_rng(0)
    pairs, _ = plan_pairs(corpus, TOKENIZER.is_word_start, options.dupe_factor or 40, options, rng)
    features, _ = make_examples(corpus.ids, pairs, TOKENIZER, 5, options, rng)
    # One piece may be predicted: a unit of both would not fit. Each text has its turn.
    assert (features["masked_lm_weights"] == 1).all()
    assert set(features["masked_lm_positions"].ravel().tolist()) == {1, 3}
