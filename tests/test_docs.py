"""The examples in the README and in docstrings run as they stand there."""

import json
import pathlib
import re
import shlex
import shutil

import pytest

import albert_tf
import convert_checkpoint
import export_saved_model
import export_to_tfhub
import run_classifier
import run_pretraining
import run_race
import run_squad
from albert_tf import flags, serving_client, testing
from data_prep import create_pretraining_data, train_tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SERVING, PRETRAINING_DATA = (
    (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("serving.md", "pretraining_data.md")
)


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_readme_python_runs(tmp_path, monkeypatch):
    shutil.copy(testing.SPM_MODEL_FILE, tmp_path / "vocab.model")
    monkeypatch.chdir(tmp_path)
    examples = blocks("python", README)
    assert examples
    for example in examples:
        exec(example, {})


@pytest.mark.parametrize(
    "name", [n for n in albert_tf.__all__ if n.startswith(("AlbertEncoder", "AlbertFor"))]
)
def test_docstring_examples_run(name):
    import tensorflow as tf

    [example] = blocks("python", re.sub("(?m)^    ", "", getattr(albert_tf, name).__doc__))
    names = {"tf": tf, **{n: getattr(albert_tf, n) for n in albert_tf.__all__}}
    *_, last = example.strip().splitlines()
    exec(example, names)
    shape = json.loads(last.partition("#")[2])
    assert eval(last.partition("#")[0], names) == shape


def test_commands_have_flags_that_exist(tmp_path, monkeypatch):
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
    for block in blocks("sh", README + SERVING + PRETRAINING_DATA):
        for command in block.replace("\\\n", " ").splitlines():
            words = shlex.split(command, comments=True)
            for name, options_class in options.items():
                if name in words:
                    flags.parse(options_class, words[words.index(name) :])
                    seen.add(name)
            if words[:2] == ["python", "-c"]:
                monkeypatch.chdir(tmp_path)
                exec(words[2], {})
                assert json.loads((tmp_path / "albert_config.json").read_text())["hidden_size"] == 768
                seen.add("python -c")
    assert seen == {*options, "python -c"}
