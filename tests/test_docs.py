"""The examples in the README and in docstrings run as they stand there."""

import contextlib
import io
import json
import os
import pathlib
import re
import shlex
import shutil
from typing import Any

import pytest
import yaml

import albert_tf
import convert_checkpoint
import export_saved_model
import export_to_tfhub
import run_classifier
import run_pretraining
import run_race
import run_squad
from albert_tf import serving_client, testing
from albert_tf.cli import flags
from albert_tf.published import WEIGHTS
from albert_tf.training.cluster import Cluster, find_cluster
from data_prep import create_pretraining_data, train_tokenizer
from tests.support.trained_models import trained_model, write_run

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SERVING, PRETRAINING_DATA, DISTRIBUTED, PYTHON, KERAS = (
    (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    for name in ("serving", "pretraining_data", "distributed", "python", "keras")
)
# Folders that the Python examples open, and the kinds of their models.
MODELS = {
    "mrpc": "classification",
    "squad": "question_answering_v2",
    "race": "multiple_choice",
    "pretrained": "pretraining",
}


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture(scope="module")
def folder_of_examples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    shutil.copy(testing.SPM_MODEL_FILE, folder / "vocab.model")
    for name, kind in MODELS.items():
        (folder / name).mkdir()
        write_run(trained_model(kind), folder / name)
    return folder


@pytest.mark.parametrize(("page", "names"), [(README, 1), (PYTHON, 4)])
def test_python_examples_run(page, names, folder_of_examples, monkeypatch):
    monkeypatch.chdir(folder_of_examples)
    examples = blocks("python", page)
    assert sum(f'open_model("{name}"' in "".join(examples) for name in MODELS) == names
    known: dict[str, object] = {}
    for example in examples:
        exec(example, known)


@pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly`")
def test_the_examples_of_keras_run_in_their_order(tmp_path, monkeypatch):
    import tensorflow as tf

    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    tf.config.run_functions_eagerly(True)  # to make graphs takes longer than to run them
    try:
        for example in blocks("python", KERAS):
            exec(example, names)
    finally:
        tf.config.run_functions_eagerly(False)
    assert names["accuracy"] == 1
    assert names["compiled"].optimizer.iterations.numpy() == 4


def test_the_notebook_prints_what_it_shows():
    names: dict[str, Any] = {}
    cells = json.loads((ROOT / "examples" / "first_prediction.ipynb").read_text(encoding="utf-8"))["cells"]
    codes = [cell for cell in cells if cell["cell_type"] == "code"]
    for cell in codes:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec("".join(cell["source"]), names)
        assert printed.getvalue() == "".join("".join(output["text"]) for output in cell["outputs"])
    assert names["accuracy"] > 0.9


def test_the_api_lists_every_name():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert set(re.findall(r"::: albert_tf\.(\w+)$", page, re.MULTILINE)) == set(albert_tf.__all__)


@pytest.mark.parametrize(
    "name",
    [n for n in albert_tf.__all__ if n.startswith(("AlbertEncoder", "AlbertFor", "PreprocessingLayer"))],
)
def test_docstring_examples_run(name, folder_of_examples, monkeypatch):
    import tensorflow as tf

    monkeypatch.chdir(folder_of_examples)
    [example] = blocks("python", re.sub("(?m)^    ", "", getattr(albert_tf, name).__doc__))
    names = {"tf": tf, **{n: getattr(albert_tf, n) for n in albert_tf.__all__}}
    *_, last = example.strip().splitlines()
    exec(example, names)
    shape = json.loads(last.partition("#")[2])
    assert eval(last.partition("#")[0], names) == shape


def test_commands_have_flags_that_exist():
    options = {
        "data_prep.train_tokenizer": train_tokenizer.Options,
        "data_prep.create_pretraining_data": create_pretraining_data.Options,
        "run_pretraining.py": run_pretraining.PretrainingOptions,
        "run_classifier.py": run_classifier.ClassifierOptions,
        "run_race.py": run_race.RaceOptions,
        "run_squad.py": run_squad.SquadOptions,
        "convert_checkpoint.py": convert_checkpoint.ConversionOptions,
        "export_saved_model.py": export_saved_model.SavedModelOptions,
        "albert_tf.serving_client": serving_client.ClientOptions,
        "export_to_tfhub.py": export_to_tfhub.HubOptions,
    }
    seen = set()
    for block in blocks("sh", README + SERVING + PRETRAINING_DATA + DISTRIBUTED):
        for command in block.replace("\\\n", " ").splitlines():
            words = shlex.split(command, comments=True)
            for name, options_class in options.items():
                if name in words:
                    flags.parse(options_class, words[words.index(name) :])
                    seen.add(name)
    assert seen == set(options)


def test_the_published_weights_are_those_of_the_table():
    page = (ROOT / "docs" / "weights.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(albert-[a-z0-9-]+)` \|(.*)$", page, re.MULTILINE))
    assert rows.keys() == WEIGHTS.keys()
    for name, source in WEIGHTS.items():
        source = source.removeprefix(f"{ROOT}{os.sep}")
        repository, _, commit = source.partition("@")
        assert (f"`{repository}` | `{commit[:7]}`," if commit else source) in rows[name]


def test_the_kubernetes_job_starts_the_workers_that_it_lists():
    [manifest] = blocks("yaml", DISTRIBUTED)
    service, job = yaml.safe_load_all(manifest)
    name = job["metadata"]["name"]
    assert (service["kind"], service["spec"]["clusterIP"], job["kind"]) == ("Service", "None", "Job")
    assert service["spec"]["selector"] == {"job-name": name}
    assert job["spec"]["completionMode"] == "Indexed"
    pod = job["spec"]["template"]["spec"]
    assert pod["subdomain"] == service["metadata"]["name"]
    [container] = pod["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}

    shell, _, command = container["command"]
    workers = job["spec"]["completions"]
    assert (shell, workers) == ("sh", job["spec"]["parallelism"])
    [port] = (one["containerPort"] for one in container["ports"])
    for index in range(workers):
        words = shlex.split(command.replace("$JOB_COMPLETION_INDEX", str(index)))
        options = flags.parse(run_pretraining.PretrainingOptions, words[words.index("run_pretraining.py") :])
        hosts = tuple(f"{name}-{i}.{pod['subdomain']}:{port}" for i in range(workers))
        assert find_cluster(options) == Cluster(hosts, index)


def test_the_owners_of_ideas_exist():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page[page.index("## The owner of each idea") : page.index("## How data flow")]
    names = re.findall(r"`([a-z_]+(?:/[a-z_]+)*)(?:\.([A-Za-z_]+))?`", table)
    checked = 0
    for path, name in names:
        module = ROOT / "albert_tf" / f"{path}.py"
        if name == "py" or "/" in path or (module.exists() and name):
            assert module.exists() or ((name is None or not name) and module.with_suffix("").is_dir()), path
            if name and name != "py":
                text = module.read_text(encoding="utf-8")
                assert re.search(rf"^(?:def|class) {name}\b|^{name}\b", text, re.MULTILINE), f"{path}.{name}"
            checked += 1
    assert checked > 15
