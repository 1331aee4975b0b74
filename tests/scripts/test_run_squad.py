"""run_squad.py as a user calls it: both versions, predicting alone, the prompt, one line for errors."""

import functools
import io
import json
import pathlib
import re
import shutil
from collections.abc import Callable

import pytest

import run_squad
from albert_tf import testing
from albert_tf.tasks.squad.reading import read_squad
from tests.support.script_runs import facts_in, refused, run_script
from tests.support.squad_files import official_totals, squad_json, write_squad

run = functools.partial(run_script, run_squad.main)
refusal = functools.partial(refused, run_squad.main)

LENGTH = 40
COUNTED = {
    "boats": "two",
    "cats": "three",
    "hills": "four",
    "mills": "five",
    "gates": "seven",
    "cheeses": "nine",
}


def rows_of(version: str) -> list[tuple[str, str, tuple[int, str] | None]]:
    """A number is asked for: that before the word of the question. In version 2.0 something else may be."""
    rows = []
    for a, b in zip(COUNTED, [*list(COUNTED)[1:], "boats"], strict=True):
        context = f"The {COUNTED[a]} {a} and the {COUNTED[b]} {b}."
        rows += [(context, word, (context.index(COUNTED[word]), COUNTED[word])) for word in (a, b)]
        if version == "2.0":
            rows += [(context, "the river", None)]
    return rows


@pytest.fixture(params=["1.1", "2.0"])
def version(request) -> str:
    return request.param


def flags_in(tmp_path: pathlib.Path) -> dict[str, object]:
    """Flags of a run in `tmp_path`/run; writes its config beside it."""
    testing.tiny_config(initializer_range=0.25, num_hidden_layers=1).to_json_file(
        str(tmp_path / "albert_config.json")
    )
    return {
        "albert_config_file": tmp_path / "albert_config.json",
        "spm_model_file": testing.SPM_MODEL_FILE,
        "output_dir": tmp_path / "run",
        "max_seq_length": LENGTH,
        "max_query_length": 12,
        "doc_stride": 8,
        "train_batch_size": 8,
        "train_step": 4,
        "save_checkpoints_steps": 2,
    }


@pytest.fixture
def flags(tmp_path) -> dict[str, object]:
    return flags_in(tmp_path)


def with_files(flags, tmp_path, version, with_answers=True):
    train = write_squad(tmp_path / "train.json", rows_of(version), version)
    predict = write_squad(tmp_path / "predict.json", rows_of(version), version, with_answers)
    return flags | {"train_file": train, "predict_file": predict}


@pytest.fixture(scope="module")
def once_trained(tmp_path_factory) -> Callable[[str], pathlib.Path]:
    """A function of the version that gives the folder of a run that was trained, but not evaluated."""

    @functools.cache
    def train(version: str) -> pathlib.Path:
        folder = tmp_path_factory.mktemp("trained")
        assert run(with_files(flags_in(folder), folder, version), "--do_train") == 0
        return folder / "run"

    return train


def read(path: pathlib.Path):
    return json.loads(path.read_text())


def test_the_originals_command_learns_evaluates_and_predicts(version, flags, tmp_path, capsys):
    testing.tiny_config(initializer_range=0.25).to_json_file(str(flags["albert_config_file"]))
    flags = with_files(flags, tmp_path, version) | {
        "train_step": 150, "save_checkpoints_steps": 50, "learning_rate": 5e-3, "warmup_step": 10,
        "predict_feature_left_file": tmp_path / "left.pkl", "use_einsum": "false",
    }  # fmt: skip
    assert run(flags, "--do_train", "--do_predict") == 0
    folder, rows = tmp_path / "run", rows_of(version)
    results, predictions = read(folder / "eval_results.json"), read(folder / "predictions.json")
    assert results["f1"] > 80
    assert list(predictions) == [f"q{i}" for i in range(len(rows))]
    for (context, _, _), text in zip(rows, predictions.values(), strict=True):
        assert text in context
    expected = [answer[1] if answer else "" for _, _, answer in rows]
    right = [text == answer for text, answer in zip(predictions.values(), expected, strict=True)]
    exact = results["exact_match" if version == "1.1" else "exact"]
    assert exact == pytest.approx(100 * sum(right) / len(rows))
    official = official_totals(version, read_squad(flags["predict_file"]), list(predictions.values()))
    assert official.items() <= results.items()
    assert (folder / "null_odds.json").exists() == (version == "2.0")
    assert set(read(folder / "nbest_predictions.json")) == set(predictions)
    printed = capsys.readouterr()
    assert f"train: {len(rows)} questions about 6 passages" in printed.out
    assert "by answer length" in printed.out
    assert "by question word: other\n" in printed.out
    page = (folder / "report.html").read_text()
    assert "Answers in context" in page
    assert ("No-answer threshold" in page) == (version == "2.0")
    if version == "2.0":
        assert re.search(r"tuned +at_zero +untuned +always no answer\nexact ", printed.out)
        assert results["f1"] >= max(results["at_zero_f1"], results["untuned_f1"])


def test_predicting_needs_weights_a_vocabulary_and_questions_alone(version, once_trained, flags, tmp_path):
    shutil.copytree(once_trained(version), tmp_path / "run")
    asked = write_squad(tmp_path / "asked.json", rows_of("1.1"), "1.1", with_answers=False)
    again = {"output_dir": tmp_path / "run", "predict_file": asked}
    assert run(again, "--do_predict") == 0  # the version is that of the weights
    assert (tmp_path / "run" / "null_odds.json").exists() == (version == "2.0")
    assert not (tmp_path / "run" / "eval_results.json").exists()
    bare = {name: flags[name] for name in ("albert_config_file", "spm_model_file", "max_seq_length")}
    bare |= {"init_checkpoint": tmp_path / "run" / "model.ckpt-4", "output_dir": tmp_path / "other"}
    assert run(again | bare, "--do_predict") == 0
    assert read(tmp_path / "other" / "predictions.json") == read(tmp_path / "run" / "predictions.json")


def test_how_answers_are_chosen_is_kept_for_weights_that_are_made_use_of(flags, tmp_path, capsys):
    chosen = {"doc_stride": 8, "max_query_length": 12, "max_answer_length": 3, "n_best_size": 2}
    chosen |= {"start_n_top": 4, "end_n_top": 1}
    flags = with_files(flags, tmp_path, "2.0") | chosen
    assert run(flags, "--do_train") == 0
    path = tmp_path / "run" / "task.json"
    described = read(path)
    assert chosen.items() <= described.items()
    again = {"output_dir": tmp_path / "run", "predict_file": flags["predict_file"]}
    assert run(again, "--do_predict") == 0
    assert max(map(len, read(tmp_path / "run" / "nbest_predictions.json").values())) == 2
    # Weights that are trained further do not decide it, and folders of before do not say it.
    more = flags | {"output_dir": tmp_path / "more", "init_checkpoint": tmp_path / "run"}
    without = run(more | {"max_query_length": None}, "--do_train")
    assert "--max_query_length 64 leaves no room" in refusal(capsys, without)
    path.write_text(json.dumps({name: described[name] for name in described.keys() - chosen.keys()}))
    assert "--max_query_length 64 leaves no room" in refusal(capsys, run(again, "--do_predict"))
    assert run(again | {"max_query_length": 12}, "--do_predict") == 0
    assert max(map(len, read(tmp_path / "run" / "nbest_predictions.json").values())) > 2


def test_a_file_with_answers_is_scored_when_it_is_predicted(version, once_trained, flags, tmp_path, capsys):
    shutil.copytree(once_trained(version), tmp_path / "run")
    flags = with_files(flags, tmp_path, version)
    assert run(flags, "--do_eval") == 0
    history, results = (
        (tmp_path / "run" / name).read_text() for name in ("history.json", "eval_results.json")
    )
    capsys.readouterr()
    assert run(flags, "--do_predict") == 0
    found = read(tmp_path / "run" / "predict_results.json")
    assert found.items() <= json.loads(results).items()
    assert (tmp_path / "run" / "history.json").read_text() == history
    assert "by answer length" in capsys.readouterr().out


def test_the_best_checkpoint_by_f1_is_used_and_a_run_continues(flags, tmp_path, capsys):
    flags = with_files(flags, tmp_path, "1.1")
    assert run(flags, "--do_train", "--do_eval") == 0
    assert run(flags | {"train_step": 6}, "--do_train", "--do_eval") == 0
    assert "continues from" in capsys.readouterr().err
    evaluations = read(tmp_path / "run" / "history.json")["evaluations"]
    assert [past["global_step"] for past in evaluations] == [2, 4, 6]
    best = max(evaluations, key=lambda past: (past["f1"], past["global_step"]))
    assert read(tmp_path / "run" / "eval_results.json") == best
    assert not (tmp_path / "run" / "predictions.json").exists()


def test_features_are_made_once_for_the_same_settings(flags, tmp_path):
    flags = with_files(flags, tmp_path, "1.1") | {
        "train_feature_file": tmp_path / "cache" / "train.tf_record",
        "predict_feature_file": tmp_path / "cache" / "dev.tf_record",
    }

    def caches():
        return {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("*.tf_record")}

    assert run(flags, "--do_train", "--do_predict") == 0
    first = caches()
    assert sorted(name.split(".")[0] for name in first) == ["dev", "train"]
    assert run(flags, "--do_train", "--do_predict") == 0
    assert caches() == first
    assert run(flags | {"doc_stride": 7}, "--do_predict") == 0
    assert len(caches()) == 3


def test_several_seeds_have_a_mean(flags, tmp_path, capsys):
    flags = with_files(flags, tmp_path, "1.1") | {"num_seeds": 2, "seed": 3, "mixed_precision": "bfloat16"}
    assert run(flags, "--do_train", "--do_predict") == 0
    assert set(read(tmp_path / "run" / "seeds.json")) == {"seed-3", "seed-4", "mean", "std"}
    assert (tmp_path / "run" / "seed-4" / "predictions.json").exists()
    assert "f1_mean" in read(tmp_path / "run" / "eval_results.json")


def test_defaults_are_the_originals(flags, tmp_path, capsys):
    flags = with_files(flags, tmp_path, "1.1") | {"train_batch_size": 2, "train_step": None}
    assert run(flags, "--do_train") == 0
    printed = capsys.readouterr().err
    facts = facts_in(printed)
    assert facts["optimizer"] == "adamw, learning rate 5e-05, warm-up until step 1"
    assert facts["batch"].startswith("2, ")
    assert facts["data"] == "12 windows"
    assert facts["training"].startswith("18 steps, ")
    assert facts["training"].endswith("the data 3 times")


@pytest.mark.parametrize("sweep", ["scores", "original"])
def test_a_threshold_is_tuned_or_given(once_trained, flags, tmp_path, capsys, sweep):
    shutil.copytree(once_trained("2.0"), tmp_path / "run")
    flags = with_files(flags, tmp_path, "2.0") | {"threshold_sweep": sweep}
    capsys.readouterr()
    assert run(flags, "--do_predict") == 0
    assert " tuned " in capsys.readouterr().out
    assert run(flags | {"null_score_diff_threshold": -1e6}, "--do_predict") == 0
    assert " fixed " in capsys.readouterr().out
    assert set(read(tmp_path / "run" / "predictions.json").values()) == {""}


def test_version_1_1_has_no_threshold(once_trained, flags, tmp_path, capsys):
    shutil.copytree(once_trained("1.1"), tmp_path / "run")
    flags = with_files(flags, tmp_path, "1.1") | {"null_score_diff_threshold": 0.0}
    assert run(flags, "--do_predict") == 0
    assert "warning: --null_score_diff_threshold has no effect in version 1.1" in capsys.readouterr().err


def test_answers_at_the_prompt(version, once_trained, capsys, monkeypatch):
    folder = once_trained(version)
    capsys.readouterr()
    typed = "\nThe two boats\nand the cats.\n\nboats\ncats\n\nThe nine mills.\n\nmills\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert run({"output_dir": folder}, "--interactive") == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("1. ") for line in lines) == 3
    assert all(line[3:9].endswith("%") for line in lines if line[:2] in ("1.", "5."))
    assert sum("null score" in line for line in lines) == (3 if version == "2.0" else 0)


def test_anything_can_be_typed(once_trained, capsys, monkeypatch):
    again = {"output_dir": once_trained("1.1")}
    answered = b"The \xff boats\nand cats.\n\nboats \xff\n"
    for typed in (b"", b" \n\n", b"boats", b"boats\n\n", b"\xe2\x80\x8b\n\ncats\n", answered):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(typed), encoding="utf-8"))
        capsys.readouterr()
        assert run(again, "--interactive") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:2] for line in lines if line] == ["1.", "2.", "3.", "4.", "5."]
    monkeypatch.setattr("sys.stdin", None)
    assert "standard input, which is closed" in refusal(capsys, run(again, "--interactive"))


def broken(content: dict, change) -> dict:
    change(content["data"][0]["paragraphs"][0])
    return content


@pytest.mark.parametrize(("change", "message"), [
    (lambda p: p.pop("context"), 'data[0].paragraphs[0]'),
    (lambda p: p["qas"][0].update(question=3), "data[0].paragraphs[0].qas[0].question"),
    (lambda p: p["qas"][0]["answers"][0].update(answer_start=1), "q0"),
])  # fmt: skip
def test_bad_questions_are_named(flags, tmp_path, capsys, change, message):
    flags = with_files(flags, tmp_path, "1.1")
    path = tmp_path / "train.json"
    path.write_text(json.dumps(broken(squad_json(rows_of("1.1"), "1.1"), change)))
    printed = refusal(capsys, run(flags, "--do_train"))
    assert str(path) in printed
    assert message in printed
    assert not (tmp_path / "run").exists()


def test_misplaced_answers_are_left_out_if_asked(flags, tmp_path, capsys):
    flags = with_files(flags, tmp_path, "1.1")
    content = squad_json(rows_of("1.1"), "1.1")
    content["data"][0]["paragraphs"][0]["qas"][0]["answers"][0]["answer_start"] = 1
    (tmp_path / "train.json").write_text(json.dumps(content))
    assert "--skip_misplaced_answers" in refusal(capsys, run(flags, "--do_train"))
    assert run(flags, "--do_train", "--skip_misplaced_answers") == 0
    printed = capsys.readouterr()
    assert "run_squad.py: warning: " in printed.err
    assert "train: 11 questions" in printed.out


def test_the_wrong_version_is_refused(once_trained, flags, tmp_path, capsys):
    flags = with_files(flags, tmp_path, "2.0")
    printed = refusal(capsys, run(flags | {"version": "1.1"}, "--do_train"))
    assert "--version=2.0" in printed
    shutil.copytree(once_trained("1.1"), tmp_path / "run")
    printed = refusal(capsys, run(with_files(flags, tmp_path, "2.0"), "--do_train"))
    assert "are of another task: task_name squad_v1, not squad_v2" in printed
    elsewhere = flags | {
        "init_checkpoint": tmp_path / "run",
        "output_dir": tmp_path / "other",
        "version": "2.0",
    }
    printed = refusal(capsys, run(elsewhere, "--do_predict"))
    assert "has the head of the task squad_v1" in printed


def test_evaluation_needs_answers(flags, tmp_path, capsys):
    flags = with_files(flags, tmp_path, "1.1", with_answers=False)
    printed = refusal(capsys, run(flags, "--do_train", "--do_eval"))
    assert "predict.json has no answers, which --do_eval needs" in printed


@pytest.mark.parametrize(("changes", "more", "message"), [
    ({"max_query_length": 37}, ["--do_train"], "--max_query_length 37 leaves no room for the context"),
    ({"max_seq_length": 65}, ["--do_train"], "--max_seq_length 65 is longer than the 64 positions"),
    ({"train_file": None}, ["--do_train"], "--do_train needs --train_file"),
    ({"predict_file": None}, ["--do_predict"], "--do_predict needs --predict_file"),
    ({"predict_file": "/nonexistent"}, ["--do_train", "--do_predict"], "/nonexistent does not exist"),
    ({}, [], "nothing to do"),
    ({}, ["--interactive", "--do_train"], "--interactive excludes"),
    ({}, ["--interactive"], "no checkpoint in"),
    ({"doc_stride": 0}, ["--do_train"], "--doc_stride must be at least 1"),
])  # fmt: skip
def test_what_does_not_fit_is_one_line(flags, tmp_path, capsys, changes, more, message):
    status = run(with_files(flags, tmp_path, "1.1") | changes, *more)
    assert message in refusal(capsys, status, status)
