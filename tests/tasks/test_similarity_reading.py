"""What sentence vectors are trained on and judged by: files, and what is wrong with them."""

import json

import numpy as np
import pytest

from albert_tf.errors import InputError
from albert_tf.tasks.similarity.judging import judge, spread, tf_idf
from albert_tf.tasks.similarity.reading import read_file, read_glue, with_retrieval
from tests.support.glue_files import write_glue

PAIR = ("sentence1", "sentence2")


@pytest.fixture
def write(tmp_path):
    def write(name, *lines):
        path = tmp_path / name
        path.write_text("".join(f"{line}\n" for line in lines))
        return str(path)

    return write


def rows(groups):
    return [tuple(groups.texts[text] for text in row) for row in groups.groups.tolist()]


def test_glue_gives_each_objective_what_it_needs(tmp_path):
    data = str(write_glue(tmp_path, 12))
    pairs = read_glue("sts-b", data, "train", "cosine")
    assert pairs.scores == pytest.approx([(i % 6) / 5 for i in range(12)])
    alike = read_glue("STS-B", data, "train", "contrastive")
    assert alike.scores is None
    assert rows(alike) == [row for row, score in zip(rows(pairs), pairs.scores, strict=True) if score >= 0.8]
    single = read_glue("qqp", data, "train", "unsupervised")
    assert sorted(text for (text,) in rows(single)) == sorted(set(single.texts))
    assert set(read_glue("mrpc", data, "dev").scores) == {0, 1}
    test = read_glue("sts-b", data, "test")
    assert test.scores is None
    assert list(test.names) == ["0", "1", "2", "3", "4"]


def test_mnli_gives_triples_of_one_premise(tmp_path):
    table = [
        ("a", "a-yes", "entailment"),
        ("a", "a-no", "contradiction"),
        ("a", "a-also", "entailment"),
        ("a", "a-perhaps", "neutral"),
        ("b", "b-yes", "entailment"),
        ("c", "c-no", "contradiction"),
    ]
    (tmp_path / "MNLI").mkdir()
    lines = ["sentence1\tsentence2\tgold_label", *("\t".join(row) for row in table)]
    (tmp_path / "MNLI" / "train.tsv").write_text("\n".join(lines))
    found = rows(read_glue("mnli", str(tmp_path), "train", "contrastive"))
    assert found == [("a", "a-yes", "a-no"), ("a", "a-also", "a-no")]
    for objective in ("cosine", None):
        with pytest.raises(InputError, match="mnli has classes and no scores: it is for contrastive"):
            read_glue("mnli", str(tmp_path), "train", objective)
    with pytest.raises(InputError, match="cola has no pairs to compare; there are sts-b, mrpc, qqp, mnli"):
        read_glue("cola", str(tmp_path), "train", "cosine")


def test_files_of_ones_own(write):
    scored = write("a.csv", "sentence1,sentence2,score", "one,uno,1", "two,tres,-1")
    given = {"score_column": "score", "score_range": (-1.0, 1.0)}
    assert read_file(scored, PAIR, objective="cosine", **given).scores.tolist() == [1, 0]
    triples = write("b.jsonl", json.dumps({"q": "one", "yes": "uno", "no": "dos"}))
    found = read_file(triples, ("q", "yes", "no"), objective="contrastive")
    assert rows(found) == [("one", "uno", "dos")]
    plain = write("c.txt", "one", "", "two", "one")
    assert rows(read_file(plain, PAIR, objective="unsupervised")) == [("one",), ("two",)]


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        (
            "a.csv",
            ["sentence1,sentence2,score", "one,uno,5", "two,dos,5.1"],
            "a.csv:3: score '5.1' is not from",
        ),
        (
            "a.csv",
            ["sentence1,sentence2,score", "one,uno,nan"],
            "a.csv:2: score 'nan' is not a finite number",
        ),
        ("a.csv", ["sentence1,sentence2,score", "one, ,5"], "a.csv:2: sentence2 ' ' is empty"),
        ("a.csv", ["sentence1,score", "one,5"], "a.csv:1: no column 'sentence2'"),
        ("a.txt", ["one"], "a.txt: a .txt file has single texts, which train --objective=unsupervised"),
    ],
)
def test_bad_pairs_are_named(write, name, lines, message):
    with pytest.raises(InputError, match=message):
        read_file(write(name, *lines), PAIR, objective="cosine", score_column="score")


def test_a_text_file_without_text_and_scores_of_glue_out_of_range_are_named(write, tmp_path):
    with pytest.raises(InputError, match=r"empty\.txt holds no text"):
        read_file(write("empty.txt", " ", ""), PAIR, objective="unsupervised")
    (tmp_path / "STS-B").mkdir()
    write("STS-B/dev.tsv", "sentence1\tsentence2\tscore", "a\tb\t5", "a\tb\t6")
    with pytest.raises(InputError, match="sts-b, dev split: example 2 has the score 6, not 0 to 5"):
        read_glue("sts-b", str(tmp_path), "dev")


CORPUS = ["id,text", "a,red fish", "b,blue boat", "c,red boat"]
QUERIES = ['{"text": "fish", "relevant": ["a"]}', '{"text": "boat", "relevant": ["b", "c"]}']


def test_what_queries_find_is_measured(write):
    files = write("corpus.csv", *CORPUS), write("queries.jsonl", *QUERIES)
    groups = with_retrieval(None, *files)
    assert list(groups.texts) == ["red fish", "blue boat", "red boat", "fish", "boat"]
    found = judge(groups, tf_idf(groups.texts))
    assert found == dict.fromkeys(("recall_at_1", "recall_at_10", "mrr", "ndcg"), pytest.approx(1.0))
    # "fish" finds its text second, "boat" finds its texts first and third
    vectors = np.array([[1.0, 0], [1, 0.1], [0, 1], [1, 0.1], [1, 0.1]])
    discounts = 1 / np.log2([2, 3, 4])
    assert judge(groups, vectors) == pytest.approx(
        {
            "recall_at_1": 0.5,
            "recall_at_10": 1.0,
            "mrr": (1 / 2 + 1) / 2,
            "ndcg": (discounts[1] + (discounts[0] + discounts[2]) / discounts[:2].sum()) / 2,
        }
    )


@pytest.mark.parametrize(
    ("corpus", "queries", "message"),
    [
        (["id,text", "a,one", "a,two"], QUERIES, "corpus.csv:3: id 'a' is the id of an earlier text"),
        (["id,text", "a, "], QUERIES, "corpus.csv:2: text ' ' is empty"),
        (["id,text"], QUERIES, "corpus.csv holds no examples"),
        (CORPUS, ['{"text": "fish", "relevant": "d"}'], "queries.jsonl:1: relevant 'd' holds 'd', no id of"),
        (CORPUS, ['{"text": "fish", "relevant": []}'], r"queries.jsonl:1: relevant '\[\]' is empty"),
    ],
)
def test_bad_corpora_and_queries_are_named(write, corpus, queries, message):
    with pytest.raises(InputError, match=message):
        with_retrieval(None, write("corpus.csv", *corpus), write("queries.jsonl", *queries))


def test_scored_pairs_and_pairs_of_two_classes_are_judged(write):
    lines = ["a,b,0", "a,c,3", "b,c,5", "a,d,1"]
    groups = read_file(write("a.csv", "sentence1,sentence2,score", *lines), PAIR, score_column="score")
    angles = np.array([0.0, 1.2, 1.1, 0.5])  # of a, b, c, d
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = judge(groups, 3 * vectors)
    cosines = np.cos([1.2, 1.1, 0.1, 0.5])
    assert found["spearman"] == pytest.approx(1 - 6 * (1 + 1) / (4 * 15))
    assert found["pearson"] == pytest.approx(np.corrcoef(cosines, [0, 3, 5, 1])[0, 1], abs=1e-6)
    table = np.cos(angles[:, None] - angles)
    pairs = table[np.triu_indices(4, 1)]
    assert spread(groups, vectors) == pytest.approx(
        {
            "anisotropy": pairs.mean(),
            "uniformity": np.log(np.exp(-2 * (2 - 2 * pairs)).mean()),
            "alignment": 2 - 2 * np.cos(0.1),
        }
    )
    lines = ["a,b,0", "a,c,0", "b,c,1", "a,d,1"]
    two = read_file(
        write("b.csv", "sentence1,sentence2,score", *lines), PAIR, score_column="score", score_range=(0, 1)
    )
    found = judge(two, vectors)
    assert (found["eval_accuracy"], found["eval_f1"], found["average_precision"]) == (1, 1, 1)
    flat = judge(two, np.ones([4, 2]))
    assert (flat["spearman"], flat["eval_accuracy"], flat["eval_f1"]) == (0, 0.5, pytest.approx(2 / 3))
