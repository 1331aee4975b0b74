"""run_similarity.py as a user calls it: two stages of training, results, predictions, and the vectors."""

import functools
import json

import numpy as np
import pytest

import run_similarity
from albert_tf import open_model, testing
from tests.support.glue_files import write_glue
from tests.support.script_runs import refused, run_script

run = functools.partial(run_script, run_similarity.main)
refusal = functools.partial(refused, run_similarity.main)


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    folder = tmp_path_factory.mktemp("similarity")
    config = testing.tiny_config(num_hidden_layers=1, max_position_embeddings=24, initializer_range=0.1)
    config.to_json_file(str(folder / "albert_config.json"))
    (folder / "corpus.csv").write_text("id,text\n1,boats and hills\n2,the river\n")
    (folder / "queries.csv").write_text("text,relevant\nboats,1\nthe market,2\n")
    return {
        "albert_config_file": folder / "albert_config.json",
        "spm_model_file": testing.SPM_MODEL_FILE,
        "data_dir": write_glue(folder / "glue", 12),
        "output_dir": folder / "first",
        "max_seq_length": 12,
        "train_batch_size": 4,
        "eval_batch_size": 32,
        "predict_batch_size": 32,
        "train_step": 2,
        "save_checkpoints_steps": 2,
        "projection_size": 8,
    }


@pytest.fixture(scope="module")
def first(flags):
    """The folder of a run that trains by scores."""
    data = {f"{name}_file": flags["output_dir"].parent / f"{name}.csv" for name in ("corpus", "queries")}
    stage = {"objective": "cosine", "train_task": "sts-b", "dimensions": 4}
    assert run(flags | data | stage, "--do_train", "--do_eval", "--do_predict") == 0
    return flags["output_dir"]


def results_of(folder):
    return json.loads((folder / "eval_results.json").read_text())


def test_every_number_stands_beside_its_baselines(first):
    results = results_of(first)
    judged = {"spearman", "pearson", "recall_at_1", "recall_at_10", "mrr", "ndcg"}
    spread = {"anisotropy", "uniformity", "alignment"}
    smaller = {f"{name}_4" for name in judged}
    baselines = {f"baseline_{name}" for name in judged}
    words = {f"baseline_word_vectors_{name}" for name in judged}
    before = {f"baseline_before_training_{name}" for name in judged | smaller | spread}
    assert set(results) == judged | spread | smaller | baselines | words | before | {"global_step"}
    assert results["baseline_recall_at_1"] == 1.0  # each query has a word of its text
    assert "before_training: baseline" in (first / "report.html").read_text()


def test_predictions_are_the_cosines_of_the_opened_model(first, flags):
    header, *rows = (line.split("\t") for line in (first / "predictions.tsv").read_text().splitlines())
    assert header == ["id", "cosine"]
    table = [line.split("\t") for line in (flags["data_dir"] / "STS-B" / "test.tsv").read_text().splitlines()]
    one, other = ([row[column] for row in table[1:]] for column in (-2, -1))
    model = open_model(first)
    cosines = [float(cosine) for _, cosine in rows]
    np.testing.assert_allclose(model.similarity(one, other), cosines, atol=1e-5)
    vectors = model.encode(one)
    assert vectors.shape == (5, 8)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.sum(vectors * model.encode(other), axis=1), cosines, atol=1e-5)
    short = model.encode(one, dimensions=4)
    whole = vectors[:, :4] / np.linalg.norm(vectors[:, :4], axis=1, keepdims=True)
    np.testing.assert_allclose(short, whole, atol=1e-6)


def test_a_stage_begins_with_the_weights_of_the_stage_before(first, flags, tmp_path, capsys):
    stage = flags | {"output_dir": tmp_path / "second", "init_checkpoint": first, "projection_size": None}
    text = tmp_path / "text.txt"
    text.write_text("boats\nthe river\nhills and cheese\nwalking\n")
    rest = {"objective": "unsupervised", "train_file": text, "eval_task": "sts-b", "learning_rate": 0.0}
    rest |= {"encoder_dropout_prob": 0.1, "train_step": 1}
    assert run(stage | rest, "--do_train", "--do_eval") == 0
    before, after = results_of(first), results_of(tmp_path / "second")
    for name in ("spearman", "spearman_4", "alignment"):
        assert (
            after[name] == after[f"baseline_before_training_{name}"] == pytest.approx(before[name], abs=1e-5)
        )
    assert json.loads((tmp_path / "second" / "task.json").read_text())["projection_size"] == 8

    status = run(stage | rest | {"pooling": "cls", "output_dir": tmp_path / "third"}, "--do_train")
    assert refusal(capsys, status).endswith("--pooling=cls: the weights were trained with mean")
    status = run(stage | rest | {"output_dir": tmp_path / "third", "projection_size": 9}, "--do_train")
    assert refusal(capsys, status).endswith("--projection_size=9: the weights were trained with 8")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"objective": None}, "--do_train needs --objective"),
        ({"train_batch_size": 1}, "--train_batch_size=1 has nothing to compare"),
        ({"train_task": None}, "--train_file or --train_task is needed: the flags ask for the train split"),
        ({"data_dir": None}, "--data_dir is needed: it has the train split of mnli"),
        ({"corpus_file": "a.csv"}, "--corpus_file and --queries_file belong together"),
        ({"dimensions": "8,x"}, "--dimensions=8,x: whole numbers are needed"),
        ({"lowest_score": 5.0}, "--lowest_score must be below --highest_score"),
        ({"text_columns": "a"}, "--text_columns=a: columns of a pair are needed"),
        ({"eval_columns": "a,score"}, "--eval_columns names a column twice, or that of the score"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(flags, capsys, given, message):
    status = run(flags | {"objective": "contrastive", "train_task": "mnli"} | given, "--do_train")
    assert message in refusal(capsys, status, 2)
