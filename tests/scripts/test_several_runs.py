"""Several runs for one command: seeds, folds, sweeps and ensembles."""

import csv
import json

import numpy as np
import pytest

from albert_tf.tasks.classification.classification_task import ClassificationTask
from tests.support.classifier_runs import only, refusal, results_in, run


def test_seeds_give_a_mean_and_a_deviation(flags, tmp_path, capsys):
    assert run(flags | {"num_seeds": 2}, "--do_train", "--do_eval", "--do_predict") == 0
    folder = tmp_path / "run"
    rows = json.loads((folder / "seeds.json").read_text())
    assert list(rows) == ["seed-12345", "seed-12346", "mean", "std"]
    values = [results_in(folder / name)["eval_loss"] for name in ("seed-12345", "seed-12346")]
    assert values[0] != values[1]
    assert rows["mean"]["eval_loss"] == pytest.approx(np.mean(values))
    assert rows["std"]["eval_loss"] == pytest.approx(np.std(values, ddof=1))
    assert results_in(folder)["eval_loss_mean"] == rows["mean"]["eval_loss"]
    assert (folder / "seed-12346" / "MRPC.tsv").exists()
    assert "mrpc, dev split, 2 seeds" in capsys.readouterr().out
    # Again: nothing is left to do, and the results are the same.
    assert run(flags | {"num_seeds": 2}, "--do_train", "--do_eval") == 0
    again = json.loads((folder / "seeds.json").read_text())
    for name in rows:
        assert again[name] == pytest.approx(rows[name])


def test_folds_give_a_mean_and_a_prediction_for_every_example(flags, tmp_path, capsys):
    flags |= {"cross_validation": 2, "train_step": 1}
    for _ in range(2):  # the same command again finds finished folds
        assert run(flags, "--do_train", "--do_eval") == 0
    printed = capsys.readouterr()
    assert "mrpc, 2 folds" in printed.out
    assert "nothing left to train" in printed.err
    rows = json.loads((tmp_path / "run" / "runs.json").read_text())
    assert list(rows) == ["fold-0", "fold-1", "mean", "std"]
    means = [rows[f"fold-{fold}"]["eval_loss"] for fold in range(2)]
    assert rows["mean"]["eval_loss"] == pytest.approx(np.mean(means))
    with open(tmp_path / "run" / "predictions.tsv", newline="") as file:
        predictions = list(csv.DictReader(file, dialect="excel-tab"))
    assert [row["id"] for row in predictions] == [str(number) for number in range(24)]
    message = refusal(capsys, run(flags | {"cross_validation": 20}, "--do_train", "--do_eval"))
    assert "20 folds: the label '0' has only" in message


def test_a_sweep_runs_every_combination_and_names_the_best(flags, tmp_path, capsys):
    flags |= {"sweep": "learning_rate=1e-5,3e-3; loss=focal", "train_step": 2}
    assert run(flags, "--do_train", "--do_eval", "--dry_run") == 0
    assert not (tmp_path / "run").exists()
    assert run(flags, "--do_train", "--do_eval") == 0
    rows = json.loads((tmp_path / "run" / "runs.json").read_text())
    assert list(rows) == ["learning_rate=1e-5,loss=focal", "learning_rate=3e-3,loss=focal"]
    started = json.loads((tmp_path / "run" / list(rows)[1] / "training.json").read_text())
    assert started["flags"]["learning_rate"] == 3e-3
    assert started["settings"]["loss"] == "focal"
    best = max(rows, key=lambda name: (rows[name]["eval_accuracy"], -rows[name]["eval_loss"]))
    assert f"the best by eval_accuracy is {best}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ("rate=1", "--sweep: 'rate' is none of learning_rate, train_batch_size"),
        ("learning_rate=1e-5,1e-5", "must give learning_rate once, with different values"),
        ("learning_rate=1e-5,", "must give learning_rate once, with different values"),
        ("train_batch_size=0", "--train_batch_size must be at least 1, not 0"),
        ("learning_rate=high", "learning_rate"),
    ],
)
def test_a_bad_sweep_is_one_line_before_anything_runs(sweep, message, flags, tmp_path, capsys):
    assert message in refusal(capsys, run(flags | {"sweep": sweep}, "--do_train", "--do_eval"), 2)
    assert not (tmp_path / "run").exists()


def test_seeds_with_one_answer_for_all_are_named_and_replaced(flags, tmp_path, capsys, monkeypatch):
    asked = []

    def only_answer(self, split, outputs):
        asked.append(split)
        return "all 13 examples are predicted 1" if len(asked) == 1 else ""

    monkeypatch.setattr(ClassificationTask, "only_answer", only_answer)
    flags |= {"num_seeds": 2, "seed": 5, "train_step": 1}
    assert run(flags, "--do_train", "--do_eval", "--discard_failed") == 0
    assert "seed-5 is left out: all 13 examples are predicted 1" in capsys.readouterr().err
    assert {"seed-6", "seed-7"} < set(json.loads((tmp_path / "run" / "seeds.json").read_text()))
    assert "seed-5" not in json.loads((tmp_path / "run" / "seeds.json").read_text())
    asked.clear()
    assert run(flags, "--do_train", "--do_eval") == 0
    assert "seed-5: all 13 examples are predicted 1" in capsys.readouterr().err
    assert "seed-5" in json.loads((tmp_path / "run" / "seeds.json").read_text())


def test_an_ensemble_averages_probabilities(flags, tmp_path, capsys):
    chances = []
    for seed in (1, 2):
        folder = tmp_path / f"run{seed}"
        more = {"seed": seed, "output_dir": folder, "train_step": 1}
        assert run(flags | more, "--do_train", "--do_predict") == 0
        chances.append(np.loadtxt(folder / "predictions.tsv", skiprows=1, usecols=(2, 3)))
    both = {"ensemble": f"{tmp_path / 'run1'},{tmp_path / 'run2'}", "output_dir": tmp_path / "both"}
    rest = only(flags, "task_name", "data_dir")
    assert run(rest | both, "--do_eval", "--do_predict") == 0
    together = np.loadtxt(tmp_path / "both" / "predictions.tsv", skiprows=1, usecols=(2, 3))
    np.testing.assert_allclose(together, np.mean(chances, axis=0), atol=1e-6)
    assert np.abs(chances[0] - chances[1]).max() > 1e-4
    assert {"eval_accuracy", "baseline_eval_accuracy"} <= set(results_in(tmp_path / "both"))
    assert "together" in capsys.readouterr().out
    both["output_dir"] = tmp_path / "run1"
    message = refusal(capsys, run(rest | both, "--do_eval"))
    assert "holds a run: choose another --output_dir for the ensemble" in message
    message = refusal(
        capsys, run(rest | both | {"task_name": "rte", "output_dir": tmp_path / "x"}, "--do_eval")
    )
    assert "has the head of the task mrpc" in message
    message = refusal(capsys, run(rest | both | {"ensemble": "a,a"}, "--do_eval"), 2)
    assert "--ensemble needs at least two different models" in message
