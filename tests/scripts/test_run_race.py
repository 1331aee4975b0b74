"""run_race.py as a user calls it: both layouts, both levels, and one clear line for what cannot be."""

import functools
import json
import pathlib

import numpy as np
import pytest

import run_race
from albert_tf import testing
from tests.support.script_runs import refused, run_script

run = functools.partial(run_script, run_race.main)
refusal = functools.partial(refused, run_race.main)

LENGTH = 32
QUESTIONS = {"train": 12, "dev": 6, "test": 4}


def passage(level: str, number: int, questions: int = 2) -> dict[str, object]:
    return {
        "id": f"{level}{number}.txt",
        "article": f"The boats, walking on the river. Each market {number} is open.",
        "questions": ["What is _ ?" if i % 2 else "Which one?" for i in range(questions)],
        "options": [["boats", "hills", "a cat", "cheese"]] * questions,
        "answers": ["ABCD"[(number + i) % 4] for i in range(questions)],
    }


@pytest.fixture
def race(tmp_path) -> pathlib.Path:
    """The published layout for training and test, the concatenated one for dev."""
    for split, count in QUESTIONS.items():
        for level in ("middle", "high"):
            folder = tmp_path / "RACE" / split / level
            folder.mkdir(parents=True)
            passages = [json.dumps(passage(level, i)) for i in range(count // 2)]
            if split == "dev":
                (folder / "all.txt").write_text("\n".join(passages))
            else:
                for i, text in enumerate(passages):
                    (folder / f"{i}.txt").write_text(text)
    return tmp_path / "RACE"


@pytest.fixture
def flags(race, tmp_path) -> dict[str, object]:
    testing.tiny_config(num_hidden_layers=1, max_position_embeddings=LENGTH).to_json_file(
        str(tmp_path / "albert_config.json")
    )
    return {
        "data_dir": tmp_path,
        "albert_config_file": tmp_path / "albert_config.json",
        "spm_model_file": testing.SPM_MODEL_FILE,
        "output_dir": tmp_path / "run",
        "max_seq_length": LENGTH,
        "max_qa_length": 10,
        "train_batch_size": 4,
        "train_step": 4,
        "warmup_step": 0,
        "save_checkpoints_steps": 2,
    }


def test_one_run_gives_the_accuracy_of_both_levels_and_of_all(flags, tmp_path, capsys):
    assert run(flags, "--do_predict") == 0  # trains and evaluates by default
    folder = tmp_path / "run"
    results = json.loads((folder / "eval_results.json").read_text())
    middle, high = results["middle_eval_accuracy"], results["high_eval_accuracy"]
    assert results["eval_accuracy"] == pytest.approx((middle + high) / 2)
    assert set(json.loads((folder / "predict_results.json").read_text())) == set(results) - {"global_step"}
    header, *rows = [line.split("\t") for line in (folder / "predictions.tsv").read_text().splitlines()]
    assert header == ["id", "label", "A", "B", "C", "D"]
    assert len(rows) == 2 * QUESTIONS["test"]
    assert rows[0][0].startswith("middle0.txt")
    for row in rows:
        chances = np.array(row[2:], float)
        assert chances.sum() == pytest.approx(1, abs=1e-5)
        assert chances["ABCD".index(row[1])] == chances.max()
    printed = capsys.readouterr()
    for name in ("all", "middle", "high"):
        assert f"\n{name} " in printed.out
    assert "train: 24 examples of 4 choices" in printed.out
    assert "Accuracy by part" in (folder / "report.html").read_text()


@pytest.mark.parametrize("level", ["middle", "high"])
def test_a_single_level_in_every_split(flags, tmp_path, capsys, level):
    assert run(flags, f"--{level}_only") == 0
    assert "train: 12 examples" in capsys.readouterr().out
    results = json.loads((tmp_path / "run" / "eval_results.json").read_text())
    assert results["eval_accuracy"] == results[f"{level}_eval_accuracy"]
    assert (
        len(results) == 9
    )  # the step; accuracy and loss of all and of the level, of the model and the baseline


def test_cache_files_of_the_original_are_understood(flags, tmp_path):
    names = ("train", "eval", "predict")
    files = {f"{name}_file": tmp_path / "cache" / f"{name}.tf_record" for name in names}
    assert run(flags | files | {"num_keep_checkpoint": 1}, "--do_predict") == 0
    found = sorted(path.name.split(".")[0] for path in (tmp_path / "cache").glob("*.tf_record"))
    assert found == sorted(names)
    assert len(list((tmp_path / "run").glob("model.ckpt-[0-9]*.index"))) == 1


def test_predicting_needs_nothing_but_weights_and_questions(flags, tmp_path):
    assert run(flags, "--nodo_eval") == 0
    rest = {name: flags[name] for name in ("data_dir", "output_dir")}  # the lengths are kept with the weights
    assert run(rest, "--nodo_train", "--nodo_eval", "--do_predict") == 0
    assert (tmp_path / "run" / "predictions.tsv").exists()


def test_a_default_length_is_no_longer_than_the_config_has_positions(flags, capsys):
    assert run(flags | {"max_seq_length": None}, "--dry_run") == 0
    assert f"--max_seq_length is {LENGTH}: the config has no more positions" in capsys.readouterr().err


def test_weights_of_another_task_with_as_many_labels_are_told_apart(flags, tmp_path, capsys):
    assert run(flags) == 0
    described = tmp_path / "run" / "task.json"
    other = {"task_name": "sts-b", "label_names": []}
    described.write_text(json.dumps(json.loads(described.read_text()) | other))
    message = refusal(capsys, run(flags))
    assert "are of another task: task_name sts-b, not race" in message
    flags |= {"init_checkpoint": tmp_path / "run" / "model.ckpt-best", "output_dir": tmp_path / "other"}
    message = refusal(capsys, run(flags, "--nodo_train"))
    assert "has the head of the task sts-b (no classes)" in message


@pytest.mark.parametrize(("change", "message"), [
    ({"options": [["a"]] * 2}, "question 1: 2 to 26 options are needed, not 1"),
    ({"answers": ["A", "E"]}, "question 2: the answer is"),
    ({"answers": ["A"]}, "as many of each are needed"),
    ({"article": " "}, "the article is empty"),
])  # fmt: skip
def test_bad_passages_are_named(flags, race, capsys, change, message):
    path = race / "train" / "high" / "1.txt"
    path.write_text(json.dumps(passage("high", 1) | change))
    printed = refusal(capsys, run(flags))
    assert str(path) in printed
    assert message in printed


def test_broken_json_is_named(flags, race, tmp_path, capsys):
    path = race / "dev" / "middle" / "all.txt"
    path.write_text(path.read_text() + '\n{"id": ')
    printed = refusal(capsys, run(flags))
    assert f"{path}, line 4" in printed
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("changes", "message"), [
    ({"max_seq_length": 33}, "--max_seq_length 33 is longer than the 32 positions"),
    ({"max_qa_length": 29}, "--max_qa_length 29 leaves no room for the passage in --max_seq_length 32"),
    ({"data_dir": "/nonexistent"}, "--data_dir=/nonexistent does not exist"),
    ({"high_only": "true", "middle_only": "true"}, "--high_only and --middle_only exclude each other"),
])  # fmt: skip
def test_what_does_not_fit_is_one_line(flags, capsys, changes, message):
    status = run(flags | changes)
    assert message in refusal(capsys, status, status)
