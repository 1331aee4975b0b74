"""Several labels at once: files, thresholds, scores, and one line for what cannot be."""

import json

import numpy as np
import pytest
from sklearn import metrics

from albert_tf.errors import InputError, InputWarning
from albert_tf.tasks.classification.custom import choose_task, custom_task, find_labels, read_custom
from albert_tf.tasks.classification.multi_label import MultiLabelTask, best_thresholds, thresholds_in, totals
from albert_tf.tasks.classification.text_examples import Examples
from albert_tf.testing import tiny_config

NAMES = ("colour", "food", "vehicle")


def task_of(separator=","):
    return custom_task(NAMES, label_separator=separator)


def written(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("name", "text", "separator"),
    [
        ("a.tsv", 'text\tlabel\nx\tvehicle, colour\ny\t\nz\t["food"]\n', ","),
        ("a.csv", 'text,label\nx,"colour,vehicle"\ny,\nz,food\n', ","),
        ("a.csv", "text,label\nx,colour|vehicle\ny,[]\nz,food\n", "|"),
        (
            "a.jsonl",
            '{"text": "x", "label": ["vehicle", "colour"]}\n{"text": "y", "label": []}\n'
            '{"text": "z", "label": "food"}\n',
            ",",
        ),
    ],
)
def test_labels_are_json_lists_or_stand_between_separators(tmp_path, name, text, separator):
    path = written(tmp_path, name, text)
    assert find_labels(path, "label", separator) == NAMES
    examples = read_custom(path, task_of(separator))
    assert examples.labels.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ('["a, b", "food"]', "holds the separator ',' in the label 'a, b': give another --label_separator"),
        ('"food,,vehicle"', "holds an empty label"),
        ('"[food"', "is not a JSON list of labels"),
        ('[["food"]]', "is not a JSON list of labels"),
        ('["fish"]', "names 'fish', not one of the labels colour, food, vehicle"),
    ],
)
def test_bad_lists_are_one_line(tmp_path, label, message):
    path = written(
        tmp_path, "a.jsonl", f'{{"text": "x", "label": "food"}}\n{{"text": "y", "label": {label}}}\n'
    )
    with pytest.raises(InputError) as caught:
        read_custom(path, task_of())
    assert str(caught.value).startswith(f"{path}:2: label ")
    assert str(caught.value).endswith(message)


def test_labels_that_look_like_lists_get_a_hint(tmp_path):
    text = "text\tlabel\nx\tcolor\ny\tvehicle\nz\tcolor,vehicle\n"
    with pytest.warns(InputWarning) as caught:
        find_labels(written(tmp_path, "a.tsv", text), "label")
    assert "the label 'color,vehicle' looks like a list of the labels 'color' and 'vehicle'" in str(
        caught[0].message
    )
    assert "--multi_label reads it so" in str(caught[0].message)
    path = written(tmp_path, "a.jsonl", '{"label": ["a", "b"]}\n')
    with pytest.raises(InputError, match="lists of labels need --multi_label"):
        find_labels(path, "label")


@pytest.mark.filterwarnings("error")
def test_a_name_with_a_comma_gets_no_hint(tmp_path):
    text = "text\tlabel\nx\tcolor\ny\tcars, old\n"
    assert find_labels(written(tmp_path, "a.tsv", text), "label") == ("cars, old", "color")


def test_weights_for_several_labels_are_not_taken_for_one(tmp_path):
    known = {"label_names": list(NAMES), "problem_type": "multi_label_classification", "label_separator": ";"}
    assert choose_task(known).label_separator == ";"
    with pytest.raises(InputError, match="--multi_label=false: the weights give a text any number of labels"):
        choose_task(known, multi_label=False)
    with pytest.raises(InputError, match="--multi_label=true: the weights give a text one label"):
        choose_task({"label_names": ["a", "b"]}, multi_label=True)
    with pytest.raises(InputError, match="--label_separator needs --multi_label"):
        choose_task({}, labels=("a", "b"), label_separator=";")
    with pytest.raises(InputError, match="cannot be called 'micro'"):
        custom_task(("micro", "mini"), label_separator=",")


def test_each_label_gets_the_threshold_of_its_highest_f1():
    labels = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 0], [0, 0, 0]])
    chances = np.array([[0.4, 0.9, 0.2], [0.1, 0.8, 0.2], [0.2, 0.7, 0.2], [0.1, 0.6, 0.1]])
    # The first is told apart between 0.2 and 0.1; the second never occurs; of the third, three are equal.
    assert best_thresholds(labels, chances) == pytest.approx([0.15, 0.5, 0.15])


def test_scores_are_those_of_an_independent_implementation():
    rng = np.random.default_rng(0)
    labels, decided = rng.random([2, 50, 4]) < 0.4
    assert totals(labels, decided) == pytest.approx(
        {
            "micro_f1": metrics.f1_score(labels, decided, average="micro"),
            "macro_f1": metrics.f1_score(labels, decided, average="macro"),
            "eval_accuracy": metrics.accuracy_score(labels, decided),
        }
    )


def made(labels):
    examples = Examples(
        names=[str(row) for row in range(len(labels))],
        texts=([f"text {row}" for row in range(len(labels))],),
        labels=np.array(labels, np.int8),
        parts={"": slice(0, len(labels))},
        digest="",
    )
    return MultiLabelTask(
        task_of(), {"dev": examples, "test": examples}, {}, config=tiny_config(), max_seq_length=16
    )


def test_thresholds_are_found_on_the_dev_split_and_decide_the_test_split(tmp_path):
    task = made([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1]])
    logits = np.array([[-1, -3, -4], [-2, -2, -4], [-4, -1, -4], [-4, -4, -3]], np.float32)
    parts = task.results_by_part("dev", {"logits": logits})
    assert parts[""]["micro_f1"] == parts[""]["eval_accuracy"] == 1
    assert parts[""]["micro_f1_at_0.5"] == 0
    chances = 1 / (1 + np.exp(-logits.astype(float)))
    by_label = [metrics.log_loss(task.examples["dev"].labels[:, i], chances[:, i]) for i in range(3)]
    assert parts[""]["eval_loss"] == pytest.approx(np.mean(by_label))
    assert task.results_by_part("test", {"logits": logits})[""]["micro_f1"] == 0
    task.use_results({f"{name}_threshold": parts[name]["threshold"] for name in NAMES})
    assert task.results_by_part("test", {"logits": logits})[""]["micro_f1"] == 1
    task.write_predictions(str(tmp_path), {"logits": logits})
    header, *rows = [line.split("\t") for line in (tmp_path / "predictions.tsv").read_text().splitlines()]
    assert header == ["id", "labels", *NAMES]
    assert [row[1] for row in rows] == ["colour", "colour,food", "food", "vehicle"]
    assert task.only_answer("test", {"logits": logits}) == ""
    assert task.only_answer("test", {"logits": 0 * logits - 9}) == "all 4 examples get no label"
    [section] = task.report_sections({"logits": logits})
    assert "No example is wrong" in section.html


def test_the_baseline_is_the_best_constant_set_of_labels():
    name, parts = made([[1, 1, 0], [1, 0, 0], [1, 1, 0], [0, 0, 1]]).baseline("dev")
    assert name == "always colour and food"
    assert parts[""]["micro_f1"] == pytest.approx(2 * 5 / (8 + 6))


@pytest.mark.parametrize("value", ["0.5", 2])
def test_thresholds_that_a_user_broke_are_one_line(value):
    with pytest.raises(InputError, match="food_threshold of the evaluation must be from 0 to 1"):
        thresholds_in(json.loads(json.dumps({"food_threshold": value})), NAMES)


def test_the_average_of_several_models_is_that_of_their_probabilities():
    found = made([[1, 0, 0], [0, 1, 0]]).averaged(
        "dev", [{"logits": np.log([[1.0, 3, 1]])}, {"logits": np.zeros([1, 3])}]
    )
    assert 1 / (1 + np.exp(-found["logits"])) == pytest.approx(np.array([[0.5, 0.625, 0.5]]))
