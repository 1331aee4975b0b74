"""Weights by name: which names there are, and how weights come here whole from the hub or an address."""

import base64
import hashlib
import os
import pathlib
import re
import shutil
import socket
import tarfile
import time
from collections import namedtuple

import pytest
from huggingface_hub import constants

import convert_checkpoint
from albert_tf import load_weights, testing
from albert_tf.checkpoints.assets import Assets
from albert_tf.checkpoints.huggingface import write_folder
from albert_tf.errors import InputError
from albert_tf.export.trained_model import open_trained_model
from albert_tf.models.pretraining import AlbertForPreTraining
from albert_tf.published import WEIGHTS, local_weights, missing
from tests.support.checkpoint_files import assert_same_weights, randomize, weights_of
from tests.support.script_runs import refused, run_script
from tests.support.weights_server import COMMIT, WeightsServer, weights_server

CONFIG = testing.tiny_config(num_hidden_layers=1)
LARGE = os.urandom(3_000_000)  # more than a block of a download


@pytest.fixture(scope="module")
def model() -> AlbertForPreTraining:
    return randomize(AlbertForPreTraining(CONFIG))


@pytest.fixture(scope="module")
def repository(model, tmp_path_factory) -> dict[str, bytes]:
    """The files of a model on the hub, with more than we want."""
    folder = tmp_path_factory.mktemp("albert")
    assets = Assets(config=CONFIG, spm_model_file=testing.SPM_MODEL_FILE, do_lower_case=True)
    write_folder(str(folder), assets, weights_of(model), "pretraining")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return files | {"pytorch_model.bin": b"pickle", "onnx/config.json": b"{}", "training.json": b"{}"}


@pytest.fixture(scope="module")
def running():
    """A server whose address the library knows, which reads the variables when it is imported."""
    with weights_server() as server, pytest.MonkeyPatch.context() as patch:
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, server.address)
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        patch.setattr(constants, "ENDPOINT", server.address)
        yield server


@pytest.fixture
def server(running, repository, tmp_path, monkeypatch) -> WeightsServer:
    """The server with a model, and empty caches; we are in an empty folder."""
    running.reset()
    running.repositories["albert/albert-large-v2"] = repository
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return running


def refusal(given: str, **arguments) -> str:
    with pytest.raises(InputError) as error:
        local_weights(given, **arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def archive_of(folder: pathlib.Path, path: pathlib.Path) -> bytes:
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, "albert")
    return path.read_bytes()


def test_a_name_stands_for_a_folder_of_the_hub_without_pickles(server, repository, model):
    folder = pathlib.Path(local_weights("albert-large-v2"))
    assert WEIGHTS["albert-large-v2"] == f"albert/albert-large-v2@{folder.name}"
    kept = {path.name for path in folder.iterdir()}
    assert kept == {name for name in repository if "/" not in name and not name.endswith(".bin")}
    found = AlbertForPreTraining(CONFIG)
    assert load_weights(found, "albert/albert-large-v2").path == str(folder.with_name(COMMIT))
    assert_same_weights(found, weights_of(model))


def test_what_was_fetched_is_taken_without_a_network(server, monkeypatch):
    folders = [local_weights(name) for name in ("albert-large-v2", "albert-large-v2@main")]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert [local_weights(name) for name in ("albert-large-v2", "albert-large-v2@main")] == folders
    message = refusal("albert-base-v2")
    assert "HF_HUB_OFFLINE" in message
    page = f"{server.address}/albert/albert-base-v2/tree/{WEIGHTS['albert-base-v2'].partition('@')[2]}"
    archive = "https://storage.googleapis.com/albert_models/albert_base_v2.tar.gz"
    assert f"into a folder from {page}, or {archive}; and give its path instead" in message
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # a network without a way out
    message = refusal("albert-large-v1")
    assert message.endswith(
        f"download {archive.replace('base_v2', 'large_v1')} elsewhere, and give the path of the file instead"
    )


@pytest.mark.parametrize(("given", "message"), [
    ("albert-large-v2@v9", "albert/albert-large-v2 has no revision v9"),
    ("someone/albert", "someone/albert does not exist, and on the hub there is no such repository"),
    ("a/pickled", r"a/pickled has no model.safetensors, and pickles are refused.*: a/pickled@refs/pr/1"),
])  # fmt: skip
def test_what_the_hub_does_not_have_is_one_line(server, given, message):
    server.repositories["a/pickled"] = {"config.json": b"{}", "pytorch_model.bin": b"pickle"}
    assert re.match(message, refusal(given))


def test_a_download_from_the_hub_that_breaks_off_goes_on(server, monkeypatch):
    server.repositories["a/b"] = {"config.json": b"{}", "model.safetensors": LARGE}
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 20)
    server.cut = {"model.safetensors": 1}
    folder = local_weights("a/b")
    assert pathlib.Path(folder, "model.safetensors").read_bytes() == LARGE
    assert server.ranges["model.safetensors"] == [None, f"bytes={1 << 20}-"]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_file_of_the_hub_that_came_damaged_is_fetched_again(server, name, repository):
    server.damaged = {name}
    message = refusal("albert-large-v2")
    assert message.startswith(f"{name} of {WEIGHTS['albert-large-v2']} is damaged: its digest is ")
    server.damaged = set()
    assert pathlib.Path(local_weights("albert-large-v2"), name).read_bytes() == repository[name]


def test_an_archive_is_fetched_once_and_goes_on_where_it_broke_off(server):
    server.files["/m/a.tar.gz"] = LARGE
    server.cut = {"/m/a.tar.gz": 9}
    address = f"{server.address}/m/a.tar.gz"
    assert f"{address} could not be fetched (" in refusal(address)
    server.cut = {}
    path = pathlib.Path(local_weights(address))
    assert path.read_bytes() == LARGE
    begins = [int(each.strip("bytes=-")) for each in server.ranges["/m/a.tar.gz"] if each]
    assert len(begins) == 5
    assert begins == sorted(set(begins))
    del server.files["/m/a.tar.gz"]
    assert local_weights(address) == str(path)
    assert {each.name for each in path.parent.iterdir()} == {path.name, f"{path.name}.lock"}


def test_an_archive_that_changed_meanwhile_begins_anew(server):
    address = f"{server.address}/m/a.tar.gz"
    server.files["/m/a.tar.gz"], server.cut = LARGE, {"/m/a.tar.gz": 5}
    refusal(address)
    server.files["/m/a.tar.gz"] = LARGE[::-1]
    assert pathlib.Path(local_weights(address)).read_bytes() == LARGE[::-1]


def test_an_archive_that_came_damaged_is_refused(server):
    server.files["/a.tar.gz"] = LARGE
    server.headers = {
        "x-goog-hash": f"crc32c=abc,md5={base64.b64encode(hashlib.md5(LARGE).digest()).decode()}"
    }
    server.damaged = {"/a.tar.gz"}
    assert "came damaged: its md5" in refusal(f"{server.address}/a.tar.gz")
    server.damaged = set()
    assert pathlib.Path(local_weights(f"{server.address}/a.tar.gz")).read_bytes() == LARGE


def test_a_page_or_a_file_without_room_is_refused_before_it_comes(server, monkeypatch, tmp_path):
    server.files |= {"/page": b"<html>", "/a.tar.gz": LARGE}
    server.headers = {"Content-Type": "text/html; charset=utf-8"}
    assert refusal(f"{server.address}/page").endswith("is a page, not an archive of weights")
    server.headers = {}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(1 << 28))
    assert refusal(f"{server.address}/a.tar.gz").endswith(
        f"{tmp_path / 'cache' / 'albert_tf'} has no room for its 3,000,000 bytes"
    )


def test_hub_modules_are_asked_for_as_archives(server):
    server.files["/google/albert_base/3"] = LARGE
    local_weights(f"{server.address}/google/albert_base/3?lite")
    assert server.queries[-1] == "lite&tf-hub-format=compressed"


def test_what_does_not_come_to_an_end_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        message = refusal(f"http://127.0.0.1:{silent.getsockname()[1]}/a.tar", patience=0.1)
    assert "/a.tar could not be fetched (it was not here within 0.1 s; what came is kept): " in message


def test_an_archive_that_cannot_be_read_is_fetched_again(server, model, repository, tmp_path):
    folder = tmp_path / "albert"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "spiece.model"):
        (folder / name).write_bytes(repository[name])
    whole = archive_of(folder, tmp_path / "a.tar.gz")
    address, found = f"{server.address}/a.tar.gz", AlbertForPreTraining(CONFIG)
    damaged = {
        whole[:-100]: "is no tar archive or a damaged one",
        b"text": "is neither a checkpoint, an archive",
    }
    for server.files["/a.tar.gz"], message in damaged.items():
        with pytest.raises(InputError, match=rf"-a\.tar\.gz {message}"):
            load_weights(found, address)
    server.files["/a.tar.gz"] = whole
    load_weights(found, address)
    assert_same_weights(found, weights_of(model))


@pytest.mark.parametrize(("given", "message"), [
    ("albert_base_v2", "albert_base_v2 does not exist, nor do weights of that name; there are albert-base"),
    ("albert-large-v1@main", "albert-large-v1@main does not exist, .*there are albert-large-v1,"),
    ("albert-xlrge-v1@main", "albert-xlrge-v1@main does not exist, .*there are albert-xlarge-v1,"),
    ("model", "model does not exist$"),
    ("run/model.ckpt-100", "run/model.ckpt-100 does not exist$"),
    ("weights/albert.tar.gz", "weights/albert.tar.gz does not exist$"),
    ("../albert-base-v2", "../albert-base-v2 does not exist$"),
    ("folder/model", "folder/model does not exist$"),
    ("a/b/c", "a/b/c does not exist$"),
])  # fmt: skip
def test_what_is_no_name_is_a_path(given, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    assert re.match(message, missing(given))
    if message.endswith("$"):
        assert local_weights(given) == given  # who reads it says what is missing
    else:
        assert re.match(message, refusal(given))


def test_what_is_here_overrides_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert missing("albert-base-v2") is missing("google/albert@v1") is missing("gs://bucket/model") is None
    for name in ("albert-base-v2", "google/albert.index"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for path in ("albert-base-v2", "google/albert", "gs://bucket/model"):
        assert local_weights(path) == path


def test_scripts_and_exports_take_names(server, tmp_path, capsys):
    flags = {
        "input": "albert-large-v2",
        "output": tmp_path / "original" / "model",
        "output_format": "original",
    }
    assert run_script(convert_checkpoint.main, flags) == 0
    assert "variables loaded, 0 missing" in capsys.readouterr().out
    pathlib.Path("training.json").write_text("not of these weights")
    with open_trained_model("albert-large-v2", task_name="encoder") as trained:
        assert trained.path.endswith(WEIGHTS["albert-large-v2"].partition("@")[2])
    flags["input"] = "albert-lrge-v2"
    status = run_script(convert_checkpoint.main, flags)
    message = refused(convert_checkpoint.main, capsys, status)
    assert (
        "--input=albert-lrge-v2 does not exist, nor do weights of that name; there are albert-large-v2"
        in message
    )
