"""CLUE's tasks: their JSON lines, and what its server wants."""

import json

import numpy as np
import pytest

from albert_tf.errors import InputError, InputWarning
from albert_tf.tasks.classification.classification_task import write_predictions
from albert_tf.tasks.classification.glue import TASKS, find_files, find_task, read_split

PAIR = {"sentence1": "双十一花呗提额在哪", "sentence2": "里可以提花呗额度"}
WSC = {
    "target": {"span2_index": 9, "span1_index": 2, "span1_text": "手机", "span2_text": "它"},
    "idx": 261,
    "text": "床上手机响了，现在它突然响了。",
}
# name -> an example, its label, its texts, the number of labels
ROWS = {
    "afqmc": (PAIR, "0", tuple(PAIR.values()), 2),
    "tnews": ({"label_desc": "news_game", "sentence": "上课时", "keywords": ""}, "116", ("上课时",), 15),
    "iflytek": ({"label_des": "其他", "sentence": "应用"}, "118", ("应用",), 119),
    "cmnli": (PAIR, "neutral", tuple(PAIR.values()), 3),
    "csl": ({"id": 2963, "abst": "摘要", "keyword": ["水体", "系统科学"]}, "1", ("水体 系统科学", "摘要"), 2),
    "wsc": (WSC, "false", ("床上_手机_响了，现在[它]突然响了。",), 2),
}


def save(tmp_path, name, file, *records):
    folder = tmp_path / TASKS[f"clue/{name}"].folders[0]
    folder.mkdir(exist_ok=True)
    (folder / file).write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records))
    return str(tmp_path)


@pytest.mark.parametrize("name", ROWS)
def test_examples_are_read(tmp_path, name):
    row, label, texts, labels = ROWS[name]
    task = find_task(f"CLUE/{name}")
    data_dir = save(tmp_path, name, "train.json", row | {"label": label}, row | {"label": label})
    found = read_split(task, data_dir, "train")
    assert len(task.label_names) == labels
    assert found.texts == tuple([text] * 2 for text in texts)
    assert found.labels.tolist() == [task.label_names.index(label)] * 2
    assert found.names == ["0", "1"]


@pytest.mark.parametrize("name", ROWS)
def test_answers_are_submitted_as_the_server_reads_them(tmp_path, name):
    row, label, texts, _ = ROWS[name]
    task = TASKS[f"clue/{name}"]
    files = task.parts_of("test").values()
    for file in files:
        data_dir = save(tmp_path, name, file, row | {"id": 7}, row | {"id": 3})
    found = read_split(task, data_dir, "test")
    assert (found.labels, found.texts[0]) == (None, [texts[0]] * 2 * len(files))
    chances = np.eye(len(task.label_names))[[task.label_names.index(label)] * len(found)]
    paths = write_predictions(str(tmp_path), task, found, chances)
    for file in task.submission_files.values():
        assert f"{tmp_path}/{file}" in paths
        lines = (tmp_path / file).read_text().splitlines()
        assert lines == [f'{{"id": {i}, "label": "{label}"}}' for i in (7, 3)]


def test_two_versions_of_tests_have_files_of_their_own():
    assert TASKS["clue/tnews"].submission_files == {
        "1.1": "tnews11_predict.json",
        "1.0": "tnews10_predict.json",
    }
    assert TASKS["clue/wsc"].parts_of("test") == {"1.1": "test.json", "1.0": "test1.0.json"}
    assert TASKS["clue/csl"].submission_files == {"": "csl_predict.json"}


def test_examples_without_a_label_are_left_out_and_counted(tmp_path):
    rows = [PAIR | {"label": label} for label in ("neutral", "-", "entailment")]
    data_dir = save(tmp_path, "cmnli", "dev.json", *rows)
    with pytest.warns(InputWarning, match="1 of 3 examples have the label '-' and are left out"):
        found = read_split(TASKS["clue/cmnli"], data_dir, "dev")
    assert found.labels.tolist() == [2, 1]


def test_examples_to_predict_may_lack_ids(tmp_path):
    data_dir = save(tmp_path, "afqmc", "test.json", PAIR, PAIR | {"sentence2": " "})
    assert read_split(TASKS["clue/afqmc"], data_dir, "test").names == ["0", "1"]


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("afqmc", {"label": "2"}, "label '2' is not one of the labels 0, 1"),
        ("afqmc", {"sentence1": " "}, "sentence1 ' ' is empty"),
        ("csl", {"keyword": [1]}, "keyword '[1]' is not a list of words"),
        ("csl", {"keyword": {}}, "'keyword' must be a string, not {}"),
        ("wsc", {"target": 1}, "'target' must be an object, not 1"),
        ("wsc", {"text": "床"}, "puts span1 where the text does not have it"),
        (
            "wsc",
            {"target": WSC["target"] | {"span2_index": None}},
            "puts span2 where the text does not have it",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path, name, changes, message):
    row, label, *_ = ROWS[name]
    data_dir = save(tmp_path, name, "train.json", row | {"label": label}, row | {"label": label} | changes)
    with pytest.raises(InputError) as error:
        read_split(TASKS[f"clue/{name}"], data_dir, "train")
    assert str(error.value).startswith(f"{tmp_path}/{TASKS[f'clue/{name}'].folders[0]}/train.json:2: ")
    assert str(error.value).endswith(message)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match=r"afqmc_public/train.json: no such file"):
        find_files(TASKS["clue/afqmc"], str(tmp_path), "train")
    (tmp_path / "wsc").mkdir()
    (tmp_path / "wsc/dev.json").write_text("")
    assert list(find_files(TASKS["clue/wsc"], str(tmp_path), "dev")) == [""]
