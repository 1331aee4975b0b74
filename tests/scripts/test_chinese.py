"""Chinese files and a WordPiece vocabulary, through every script that fine-tunes."""

import csv
import json

import pytest

import run_classifier
import run_race
import run_squad
import run_tagger
from albert_tf import testing
from tests.support.script_runs import run_script
from tests.support.trained_models import trained_model, write_run

TEXT = "河水从山上流到大海，一二三。"
CMRC = {
    "context_id": "D",
    "context_text": TEXT,
    "qas": [{"query_id": "D-0", "query_text": "河水？", "answers": ["大海", "山上"]}],
}
C3 = [
    [TEXT],
    [
        {"question": "河水？", "choice": choices, "answer": "大海"}
        for choices in (["大海", "山"], ["山", "大海", "河"])
    ],
    "7",
]
LABELS = ["0", "1"]


def classify(folder):
    (folder / "afqmc_public").mkdir()
    rows = [{"sentence1": TEXT, "sentence2": "河水", "label": label} for label in LABELS]
    for name in ("dev", "test"):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"afqmc_public/{name}.json").write_text(text)
    return run_classifier, "classification", {"label_names": LABELS}, {"data_dir": folder}


def choose(folder):
    for split in ("dev", "test"):
        (folder / f"c3-{split}.json").write_text(json.dumps([C3]))
    options = {"data_dir": folder, "do_train": False}
    return run_race, "multiple_choice", {"label_names": ["A", "B", "C"], "max_qa_length": 8}, options


def answer(folder):
    (folder / "cmrc.json").write_text(json.dumps([CMRC]))
    return run_squad, "question_answering", {}, {"predict_file": folder / "cmrc.json"}


def tag(folder):
    columns = "\n".join(f"{c}\t{'B-place' if c == '河' else 'O'}" for c in TEXT)
    for split in ("dev", "test"):
        (folder / f"{split}.conll").write_text(columns)
    files = {f"{split}_file": folder / f"{split}.conll" for split in ("dev", "test")}
    return run_tagger, "token_classification", {}, files


@pytest.mark.parametrize(
    ("prepare", "task_name"),
    [(classify, "clue/afqmc"), (choose, "race"), (answer, "squad_v1"), (tag, "tagging")],
)
def test_a_wordpiece_model_is_evaluated_and_predicts(tmp_path, prepare, task_name):
    script, kind, task, flags = prepare(tmp_path)
    weights, folder = tmp_path / "weights", tmp_path / "run"
    weights.mkdir()
    write_run(trained_model(kind, vocab_file=testing.VOCAB_FILE, task_name=task_name, **task), weights)
    flags |= {"init_checkpoint": weights, "output_dir": folder}
    flags |= {"task_name": task_name} if script is run_classifier else {}
    assert run_script(script.main, flags, "--do_eval", "--do_predict") == 0
    results = json.loads((folder / "eval_results.json").read_text())
    report = (folder / "report.html").read_text()
    assert "河水" in report or task_name == "tagging"
    if task_name == "tagging":
        rows = [line.split("\t") for line in (folder / "predictions.conll").read_text().splitlines()]
        assert "".join(row[0] for row in rows if row) == TEXT
        return
    with open(folder / "predictions.tsv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    if task_name == "squad_v1":
        assert "judged by Chinese characters" in report
        assert 0 <= results["exact_match"] <= results["f1"]
        assert rows[0]["answer"] in TEXT
    elif task_name == "race":
        assert [row["id"] for row in rows] == ["7-0", "7-1"]
        assert float(rows[0]["C"]) == 0 < float(rows[1]["C"])
    else:
        lines = (folder / "afqmc_predict.json").read_text().splitlines()
        assert [json.loads(line)["id"] for line in lines] == [0, 1]
        assert {json.loads(line)["label"] for line in lines} <= set(LABELS)
