"""What an answer that is always the same would reach, and whether a model gives no other."""

import types

import numpy as np
import pytest

from albert_tf.cli.text import results_table, with_baseline
from albert_tf.data.features import Features
from albert_tf.tasks.classification.classification_task import ClassificationTask
from albert_tf.tasks.classification.custom import custom_task
from albert_tf.tasks.classification.glue import TASKS
from albert_tf.tasks.classification.text_examples import Examples
from albert_tf.tasks.race import RaceTask
from albert_tf.testing import tiny_config
from tests.tasks.test_squad_task import make_task

ROWS = [("The boats carry wool.", "What?", None), ("They carry salt.", "What?", None)]
SETTINGS = {"config": tiny_config(), "max_seq_length": 6}
LOSS = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))  # of knowing that three of four are of one class


def features(labels):
    ones = np.ones(len(labels), np.int32)
    lengths = dict.fromkeys(("lengths", "first_lengths", "full_lengths"), ones)
    return Features(input_ids=ones.astype(np.uint16), labels=labels, **lengths)


def classes(text_task, labels, parts=None):
    """A task whose dev split has four examples."""
    labels = np.array(labels)
    names = [str(number) for number in range(4)]
    examples = Examples(
        names=names, texts=(names,), labels=labels, parts=parts or {"": slice(0, 4)}, digest=""
    )
    return ClassificationTask(text_task, {"dev": examples}, {"dev": features(labels)}, **SETTINGS)


def race(labels):
    questions = types.SimpleNamespace(options=[()] * 4, labels=np.array(labels), parts={"high": slice(0, 4)})
    return RaceTask({"dev": questions}, {"dev": features(np.array(labels))}, **SETTINGS)


def logits(*rows):
    return {"logits": np.array(rows, np.float32)}


def test_the_baseline_of_classes_is_the_commonest_one():
    name, parts = classes(TASKS["mrpc"], [1, 1, 0, 1]).baseline("dev")
    assert name == "always 1"
    assert parts == {
        "": {"eval_accuracy": 0.75, "eval_f1": pytest.approx(6 / 7), "eval_loss": pytest.approx(LOSS)}
    }


def test_a_class_that_would_steer_the_terminal_is_shown_escaped():
    task = classes(custom_task(("bad\x1b[2J", "good")), [0, 0, 1, 0])
    assert task.baseline("dev")[0] == "always bad\\x1b[2J"
    assert task.only_answer("dev", logits([1, 0], [1, 0])) == "all 2 examples are predicted bad\\x1b[2J"


def test_the_baseline_of_a_custom_task_leaves_out_classes_that_do_not_occur():
    task = classes(custom_task(("bad", "good", "never")), [0, 0, 1, 0])
    name, parts = task.baseline("dev")
    assert name == "always bad"
    assert parts[""]["eval_accuracy"] == 0.75
    assert parts[""]["eval_loss"] == pytest.approx(LOSS)
    assert task.baseline_results()["baseline_matthew_corr"] == 0


def test_the_baseline_of_scores_is_their_mean():
    name, parts = classes(TASKS["sts-b"], np.array([1, 2, 3, 4], np.float32)).baseline("dev")
    assert name == "always the mean"
    assert parts[""] == {"pearson": 0, "spearman": 0, "MSE": 1.25, "eval_loss": 1.25}


def test_each_part_has_its_own_baseline():
    parts = {"matched": slice(0, 2), "mismatched": slice(2, 4)}
    task = classes(TASKS["mnli"], [2, 2, 2, 0], parts)
    assert {key: value for key, value in task.baseline_results().items() if "accuracy" in key} == {
        "baseline_eval_accuracy": 1,
        "baseline_mismatched_eval_accuracy": 0.5,
    }
    assert list(with_baseline(parts, task.baseline("dev"))) == [
        "matched",
        "mismatched",
        "matched: always neutral",
        "mismatched: always neutral",
    ]


def test_the_baseline_of_race_is_the_commonest_option():
    name, parts = race([3, 3, 0, 3]).baseline("dev")
    assert name == "always D"
    assert parts["all"] == parts["high"] == {"eval_accuracy": 0.75, "eval_loss": pytest.approx(LOSS)}


def test_the_baseline_of_squad_is_no_answer_if_questions_may_have_none():
    task = make_task("2.0", splits=("dev",))
    name, parts = task.baseline("dev")
    assert name == "always no answer"
    third = pytest.approx(100 / 3)
    assert parts[""].items() >= {"exact": third, "f1": third, "NoAns_f1": 100, "HasAns_f1": 0}.items()
    assert make_task("1.1", rows=[(*ROWS[0][:2], (0, "The"))], splits=("dev",)).baseline("dev") == ("", {})


def test_it_is_said_if_all_answers_are_the_same():
    mrpc = classes(TASKS["mrpc"], [1, 1, 0, 1])
    assert mrpc.only_answer("dev", logits([0, 1], [2, 3], [0, 5], [0, 1])) == "all 4 examples are predicted 1"
    assert mrpc.only_answer("dev", logits([0, 1], [2, 3], [0, 5], [1, 0])) == ""
    scores = classes(TASKS["sts-b"], np.array([1, 2, 3, 4], np.float32))
    assert (
        scores.only_answer("dev", logits([2.5], [2.501], [2.499], [2.5]))
        == "all 4 examples get a score near 2.5"
    )
    assert scores.only_answer("dev", logits([2.5], [2.6], [2.4], [2.5])) == ""
    chosen = race([3, 3, 0, 3])
    assert chosen.only_answer("dev", logits(*np.eye(4)[[2, 2, 2, 2]])) == "all 4 examples are predicted C"


@pytest.mark.parametrize(("score", "said"), [(1.0, "all 2 questions get no answer"), (-1.0, "")])
def test_it_is_said_if_no_question_gets_an_answer(score, said):
    task = make_task("2.0", rows=ROWS, splits=("dev",), null_score_diff_threshold=0.0)
    features = task.features["dev"]
    outputs = {
        "start_index": features.first_lengths[:, None],
        "start_score": np.zeros((len(features), 1), np.float32),
        "end_index": features.first_lengths[:, None, None],
        "end_score": np.zeros((len(features), 1, 1), np.float32),
        "null_score": np.full(len(features), score, np.float32),
    }
    assert task.only_answer("dev", outputs) == said


def test_the_model_and_the_baseline_stand_side_by_side():
    task = classes(TASKS["mrpc"], [1, 1, 0, 1])
    results = task.results_by_part("dev", logits(*[[1, 0]] * 4))
    lines = results_table(with_baseline(results, task.baseline("dev"))).splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["eval_accuracy", "eval_f1", "eval_loss"],
        ["the", "model", "0.2500"],
        ["always", "1", "0.7500"],
    ]
