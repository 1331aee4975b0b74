"""Files of predictions: one table for every task, the original's two, and the server's."""

import csv

import numpy as np
import pytest

from albert_tf.data.tables import read_table
from albert_tf.errors import InputError
from albert_tf.tasks.benchmark import by_class, predictions_table
from albert_tf.tasks.classification.classification_task import write_predictions
from albert_tf.tasks.classification.custom import custom_task
from albert_tf.tasks.classification.glue import TASKS
from albert_tf.tasks.classification.text_examples import Examples


def examples(names, parts=None):
    parts = parts or {"": slice(0, len(names))}
    return Examples(names=names, texts=(names,), labels=None, parts=parts, digest="")


def written(folder, task, of, predictions):
    paths = write_predictions(str(folder), task, of, np.array(predictions, np.float32))
    assert sorted(paths) == sorted(str(path) for path in folder.iterdir())
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_classes_are_named_as_the_server_wants_them(tmp_path):
    predictions = [[0.25, 0.75], [0.5, 0.5], [1e-7, 1.0]]
    assert written(tmp_path, TASKS["rte"], examples(["0", "1", "2"]), predictions) == {
        "predictions.tsv": (
            "id\tlabel\tentailment\tnot_entailment\n0\tnot_entailment\t0.25\t0.75\n"
            "1\tentailment\t0.5\t0.5\n2\tnot_entailment\t1e-07\t1.0\n"
        ),
        "test_results.tsv": "0.25\t0.75\n0.5\t0.5\n1e-07\t1.0\n",
        "submit_results.tsv": "index\tprediction\n0\tnot_entailment\n1\tentailment\n2\tnot_entailment\n",
        "RTE.tsv": "index\tprediction\n0\tnot_entailment\n1\tentailment\n2\tnot_entailment\n",
    }


def test_names_are_the_files_own(tmp_path):
    files = written(tmp_path, TASKS["qqp"], examples(["390964", "7"]), [[1, 0], [0, 1]])
    assert files["QQP.tsv"] == "index\tprediction\n390964\t0\n7\t1\n"


def test_scores_keep_to_their_range_for_the_server_only(tmp_path):
    scores = [5.25, -0.125, 3.14159]
    assert written(tmp_path, TASKS["sts-b"], examples(["0", "1", "2"]), scores) == {
        "predictions.tsv": "id\tscore\n0\t5.25\n1\t-0.125\n2\t3.14159\n",
        "test_results.tsv": "5.25\n-0.125\n3.14159\n",
        "submit_results.tsv": "index\tprediction\n0\t5.25\n1\t-0.125\n2\t3.14159\n",
        "STS-B.tsv": "index\tprediction\n0\t5.000\n1\t0.000\n2\t3.142\n",
    }


def test_each_part_has_a_file_for_the_server(tmp_path):
    of = examples(["0", "1", "0"], {"matched": slice(0, 2), "mismatched": slice(2, 3)})
    files = written(tmp_path, TASKS["mnli"], of, np.eye(3))
    assert files["MNLI-m.tsv"] == "index\tprediction\n0\tcontradiction\n1\tentailment\n"
    assert files["MNLI-mm.tsv"] == "index\tprediction\n0\tneutral\n"
    assert files["predictions.tsv"] == (
        "id\tpart\tlabel\tcontradiction\tentailment\tneutral\n"
        "0\tmatched\tcontradiction\t1.0\t0.0\t0.0\n"
        "1\tmatched\tentailment\t0.0\t1.0\t0.0\n"
        "0\tmismatched\tneutral\t0.0\t0.0\t1.0\n"
    )
    assert files["submit_results.tsv"] == ("index\tprediction\n0\tcontradiction\n1\tentailment\n0\tneutral\n")


def test_a_task_without_server_has_the_originals_files(tmp_path):
    files = written(tmp_path, custom_task(["nein", "schön"]), examples(["x", "y"]), [[0, 1], [1, 0]])
    assert set(files) == {"predictions.tsv", "test_results.tsv", "submit_results.tsv"}
    assert files["submit_results.tsv"] == "index\tprediction\nx\tschön\ny\tnein\n"


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/test_results.tsv cannot be written"):
        write_predictions(str(tmp_path / "file"), TASKS["rte"], examples(["0"]), np.ones((1, 2)))


def test_cells_of_the_table_come_back_whatever_they_hold(tmp_path):
    ids = ["a\tb", 'say "hi"', '"', "x\ry", "x\nz", ""]
    table = predictions_table({"id": ids, "answer": [*reversed(ids)], "score": np.arange(6.0)})
    path = tmp_path / "predictions.tsv"
    path.write_bytes(table.encode())
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, dialect="excel-tab"))
    assert [row["id"] for row in rows] == ids
    assert [row["answer"] for row in rows] == ids[::-1]
    assert [float(row["score"]) for row in rows] == [0, 1, 2, 3, 4, 5]
    read = read_table(str(path), ("id", "answer", "score")).columns
    assert read["id"] == ids
    assert read["answer"] == ids[::-1]


def test_classes_named_as_other_columns_get_names_of_their_own():
    assert list(by_class(("label", "id", "x"), np.eye(3))) == ["p(label)", "p(id)", "x"]
