"""Which evaluation is the best, and what an evaluation alone may change."""

import json
import math

import pytest

from albert_tf.errors import InputError
from albert_tf.training.history import History, rank


def history(tmp_path, *evaluations, data: str = "data") -> History:
    kept = History(str(tmp_path), "f1", data)
    for results in evaluations:
        kept.add(results)
    return kept


def results(step: int, f1: float, loss: float | None = None) -> dict[str, float]:
    return {"global_step": step, "f1": f1} | ({} if loss is None else {"eval_loss": loss})


def test_a_step_is_later_than_all_evaluations_or_not(tmp_path):
    kept = history(tmp_path, results(2, 0.5), results(4, 0.5))
    assert [step for step in (1, 2, 3, 4, 5) if kept.is_before(step)] == [5]


@pytest.mark.parametrize(("evaluations", "best"), [
    ([(1, 0.5, 1.0), (2, 0.6, 2.0), (3, 0.4, 0.1)], 2),  # the metric decides
    ([(1, 0.5, 1.0), (2, 0.5, 0.9), (3, 0.5, 2.0)], 2),  # then the lower loss
    ([(1, 0.5, 1.0), (2, 0.5, 1.0), (3, 0.4, 1.0)], 2),  # then the later step
    ([(1, 0.5), (2, 0.5)], 2),  # a benchmark without a loss
    ([(1, math.nan, 1.0), (2, 0.0, 9.0)], 2),  # NaN is the worst
    ([(1, 0.5, math.nan), (2, 0.5, 9.0)], 2),
])  # fmt: skip
def test_the_best_is_the_same_wherever_it_is_asked_for(tmp_path, evaluations, best):
    rows = [results(*evaluation) for evaluation in evaluations]
    assert history(tmp_path, *rows).best()["global_step"] == best
    assert max(rows, key=lambda row: rank(row, "f1"))["global_step"] == best
    chosen, growing = None, history(tmp_path / "one_by_one")
    for row in rows:
        if growing.would_be_best(row):
            chosen = row["global_step"]
        growing.add(row)
    assert chosen == best


def test_results_that_are_not_a_number_are_never_the_best(tmp_path):
    assert not history(tmp_path).would_be_best(results(1, math.nan))


@pytest.mark.parametrize(("evaluations", "since"), [
    ([], 0),
    ([(1, 0.5, 1.0)], 0),
    ([(1, 0.5, 1.0), (2, 0.5, 0.9)], 0),
    ([(1, 0.5, 1.0), (2, 0.5, 1.0), (3, 0.5, 1.0)], 2),  # the model does not learn any more
    ([(1, 0.6, 1.0), (2, 0.5, 0.1)], 1),
])  # fmt: skip
def test_patience_counts_evaluations_that_are_no_better(tmp_path, evaluations, since):
    kept = history(tmp_path, *(results(*evaluation) for evaluation in evaluations))
    assert kept.evaluations_since_best() == since


def test_a_step_that_is_evaluated_again_is_compared_with_the_others(tmp_path):
    kept = history(tmp_path, results(1, 0.5), results(2, 0.6))
    assert kept.would_be_best(results(2, 0.6))
    assert not kept.would_be_best(results(2, 0.4))


def test_evaluations_on_other_data_are_told_apart(tmp_path):
    history(tmp_path, results(1, 0.5))
    other = history(tmp_path, data="other")
    assert other.is_of_other_data
    assert other.best() is None
    assert not history(tmp_path).is_of_other_data
    assert other.name_of_data("dev") != history(tmp_path).name_of_data("dev")
    assert other.name_of_data("dev").startswith("-dev-")


def test_a_history_of_pretraining_that_does_not_name_its_data_counts(tmp_path):
    history(tmp_path, results(1, 0.5), data="")
    assert history(tmp_path).best()["global_step"] == 1


@pytest.mark.parametrize(("content", "message"), [
    ("[]", "expected `object`, got `array`"),
    ("null", "expected `object`, got `null`"),
    ('{"data": "", "evaluations": null}', "evaluations: expected `array`, got `null`"),
    ('{"data": 1, "evaluations": []}', "data: expected `str`, got `int`"),
    ('{"data": "", "evaluations": [{"global_step": "1"}]}', "expected `float`, got `str`"),
    ('{"data": "", "evaluations": [{"global_step": 1}]}', "evaluations[0] lacks f1"),
    ('{"data": "", "evaluations": [{"global_step": NaN, "f1": 1}]}', "[0].global_step is nan, no step"),
    ('{"data": "", "evaluations": [{"global_step": 1e400, "f1": 1}]}', "global_step is inf, no step"),
    ('{"data": "", "evaluations": [{"global_step": -1, "f1": 1}]}', "global_step is -1, no step"),
    ('{"evaluations": []}', "missing required field `data`"),
])  # fmt: skip
def test_a_damaged_history_is_named(tmp_path, content, message):
    (tmp_path / "history.json").write_text(content)
    with pytest.raises(InputError) as raised:
        history(tmp_path)
    assert str(raised.value).startswith(str(tmp_path / "history.json"))
    assert message in str(raised.value)


def test_what_is_written_can_be_read(tmp_path):
    history(tmp_path, results(2, 0.5), results(1, 0.6))
    stored = json.loads((tmp_path / "history.json").read_text())
    assert [past["global_step"] for past in stored["evaluations"]] == [1, 2]


@pytest.mark.parametrize(("metric", "best"), [("eval_loss", 2), ("matched_MSE", 1), ("f1", 3)])
def test_of_losses_the_lowest_is_the_best(metric, best, tmp_path):
    kept = History(str(tmp_path), metric, "dev")
    for step, (loss, error, f1) in enumerate([(0.5, 0.1, 0.2), (0.4, 0.3, 0.1), (0.6, 0.2, 0.9)], 1):
        kept.add({"global_step": step, "eval_loss": loss, "matched_MSE": error, "f1": f1})
    assert kept.best()["global_step"] == best
