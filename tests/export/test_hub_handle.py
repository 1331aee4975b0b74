"""--albert_hub_module_handle: both formats, folders and addresses, in every script that fine-tunes."""

import functools
import http.server
import json
import os
import pathlib
import tarfile
import threading

import numpy as np
import pytest

import run_race
import run_squad
from albert_tf import testing
from albert_tf.checkpoints.assets import Assets
from albert_tf.checkpoints.sources import open_source
from albert_tf.export.hub.module import save_hub_module
from albert_tf.models.pretraining import AlbertForPreTraining
from tests.support.checkpoint_files import randomize, weights_of, write_hub_module
from tests.support.classifier_runs import mrpc_flags, refusal, run
from tests.support.script_runs import run_script
from tests.support.squad_files import write_squad

CONFIG = testing.tiny_config(num_hidden_layers=1)
# What the scripts are to find in the module by themselves.
OWN = {"albert_config_file": None, "spm_model_file": None}


@pytest.fixture(scope="module")
def model() -> AlbertForPreTraining:
    return randomize(AlbertForPreTraining(CONFIG))


@pytest.fixture(scope="module")
def uncased(model, tmp_path_factory) -> str:
    """A module in TF2 format."""
    folder = tmp_path_factory.mktemp("tf2")
    assets = Assets(config=CONFIG, spm_model_file=testing.SPM_MODEL_FILE, do_lower_case=True)
    heads = {"with_mlm": True, "with_sop": True}
    save_hub_module(str(folder / "module"), model, assets, **heads)
    return str(folder / "module")


@pytest.fixture(scope="module")
def cased(model, tmp_path_factory) -> str:
    """A module in TF1 format."""
    folder = tmp_path_factory.mktemp("tf1") / "module"
    return write_hub_module(folder, weights_of(model), CONFIG, do_lower_case=False)


@pytest.fixture
def flags(glue, tmp_path) -> dict[str, object]:
    return mrpc_flags(glue, tmp_path) | OWN


def casing_of(folder: pathlib.Path) -> bool:
    return json.loads((folder / "task.json").read_text())["do_lower_case"]


@pytest.mark.parametrize("name", ["uncased", "cased"])
def test_a_module_lends_weights_config_vocabulary_and_casing(name, flags, model, tmp_path, capsys, request):
    flags |= {"albert_hub_module_handle": request.getfixturevalue(name), "learning_rate": 0}
    if name == "cased":
        flags["spm_model_file"] = "from_tf_hub"  # as the original's users write
    assert run(flags, "--do_train", "--do_predict") == 0
    printed = capsys.readouterr().err
    assert "25 variables loaded" in printed
    assert "warning" not in printed
    assert casing_of(tmp_path / "run") == (name == "uncased")
    with open_source(str(tmp_path / "run")) as trained:
        table = trained.read("bert/embeddings/word_embeddings")
    np.testing.assert_array_equal(table, model.encoder.embeddings.word_embeddings)
    # The folder alone knows the casing from now on.
    assert run({**flags, "albert_hub_module_handle": None, "spm_model_file": None}, "--do_predict") == 0


def test_a_flag_that_contradicts_the_module_is_followed_with_a_warning(flags, cased, tmp_path, capsys):
    flags |= {"albert_hub_module_handle": cased, "do_lower_case": "true"}
    assert run(flags, "--do_train") == 0
    assert f"{cased}: made for cased text, but --do_lower_case=true" in capsys.readouterr().err
    assert casing_of(tmp_path / "run") is True


def test_race_starts_from_a_module(uncased, tmp_path):
    passage = {
        "id": "middle1.txt",
        "article": "The boats, walking on the river.",
        "questions": ["Which one?"],
        "options": [["boats", "hills", "a cat", "cheese"]],
        "answers": ["A"],
    }
    for split in ("train", "dev"):
        for level in ("middle", "high"):
            folder = tmp_path / "RACE" / split / level
            folder.mkdir(parents=True)
            (folder / "1.txt").write_text(json.dumps(passage))
    flags = {"data_dir": tmp_path, "output_dir": tmp_path / "run", "albert_hub_module_handle": uncased}
    steps = {
        "max_seq_length": 32,
        "max_qa_length": 10,
        "train_batch_size": 2,
        "train_step": 2,
        "warmup_step": 0,
    }
    assert run_script(run_race.main, flags | steps) == 0
    assert (tmp_path / "run" / "eval_results.json").exists()
    assert casing_of(tmp_path / "run") is True


def test_squad_starts_from_a_module(cased, tmp_path):
    rows = [("The two boats and the river.", "boats", (4, "two"))] * 4
    file = write_squad(tmp_path / "squad.json", rows, "1.1")
    flags = {
        "train_file": file,
        "predict_file": file,
        "output_dir": tmp_path / "run",
        "albert_hub_module_handle": cased,
    }
    steps = {
        "max_seq_length": 32,
        "max_query_length": 8,
        "doc_stride": 8,
        "train_batch_size": 4,
        "train_step": 2,
    }
    assert run_script(run_squad.main, flags | steps, "--do_train", "--do_predict") == 0
    assert (tmp_path / "run" / "predictions.json").exists()
    assert casing_of(tmp_path / "run") is False


@pytest.fixture
def server(uncased, tmp_path, monkeypatch):
    """The address of a server with a packed module, and with a file that is none."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    files = tmp_path / "served"
    files.mkdir()
    with tarfile.open(files / "albert.tar.gz", "w:gz") as archive:
        archive.add(uncased, ".")
    (files / "page.html").write_text("not a module")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    handler = functools.partial(Handler, directory=str(files))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,)).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_a_module_is_fetched_once_from_its_address(flags, server, tmp_path, capsys):
    flags["albert_hub_module_handle"] = f"{server}/albert.tar.gz"
    assert run(flags, "--do_train") == 0
    assert "25 variables loaded" in capsys.readouterr().err
    os.remove(tmp_path / "served" / "albert.tar.gz")
    assert run(flags | {"output_dir": tmp_path / "again"}, "--do_train") == 0


@pytest.mark.parametrize(("address", "reason"), [
    ("{server}/none", "could not be fetched (404 "),
    ("{server}/page.html", "is a page, not an archive of weights"),
    ("http://127.0.0.1:9/albert/3", "Connection refused"),
    ("htp://example", "cannot be read: File system scheme 'htp' not implemented"),
])  # fmt: skip
def test_an_address_without_a_module_is_one_line(flags, server, tmp_path, capsys, address, reason):
    address = address.format(server=server)
    message = refusal(capsys, run(flags | {"albert_hub_module_handle": address}, "--do_train"))
    assert address in message
    assert reason in message
    assert not (tmp_path / "run").exists()
