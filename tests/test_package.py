"""The package as its users get it: names that editors find, commands, files of the wheel."""

import ast
import configparser
import importlib.util
import os
import pathlib
import pydoc
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest

import albert_tf

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Builds the wheel of a copy of the sources, since a build leaves folders behind."""
    source, output = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("albert_tf", "data_prep"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in [
        *ROOT.glob("*.py"),
        *(ROOT / n for n in ("pyproject.toml", "README.md", "requirements.txt")),
    ]:
        shutil.copy(path, source)
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", f"--wheel-dir={output}", source)
    [path] = output.glob("*.whl")
    return path


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def scripts() -> set[str]:
    return {path.stem for path in ROOT.glob("*.py")}


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, albert_tf; print(*({'tensorflow', 'numpy', 'tf_keras'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_editors_and_help_see_every_name():
    assert {*albert_tf.__all__, "__version__"} <= set(dir(albert_tf))
    text = pydoc.plain(pydoc.render_doc(albert_tf))
    for name in albert_tf.__all__:
        assert name in text
    assert "class AlbertConfig" in text
    with pytest.raises(AttributeError, match="no attribute 'AlbertForPoetry'"):
        albert_tf.AlbertForPoetry  # noqa: B018


def test_type_checkers_see_the_names_that_programs_see():
    tree = ast.parse(pathlib.Path(albert_tf.__file__).read_text(encoding="utf-8"))
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert sorted(seen) == sorted(albert_tf.__all__)
    for name, module in seen.items():
        value = getattr(albert_tf, name)
        assert value is getattr(importlib.import_module(module), name)


def test_a_checkout_that_is_not_installed_knows_its_version(tmp_path, wheel):
    shutil.copytree(ROOT / "albert_tf", tmp_path / "albert_tf", ignore=shutil.ignore_patterns("__pycache__"))
    code = "import albert_tf; print(albert_tf.__version__)"
    command = [sys.executable, "-S", "-c", code]  # without site-packages nothing is installed
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == albert_tf.__version__ == wheel.name.split("-")[1]


def test_each_script_is_a_command():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    modules = [target.removesuffix(":main") for target in project["project"]["scripts"].values()]
    assert set(project["tool"]["setuptools"]["py-modules"]) == scripts()
    assert {module for module in modules if "." not in module} == scripts()
    for command, module in zip(project["project"]["scripts"], modules, strict=True):
        assert command.startswith("albert-")
        assert importlib.util.find_spec(module)


def test_the_wheel_has_types_scripts_and_vocabularies(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [entry_points] = (name for name in names if name.endswith("entry_points.txt"))
        commands = configparser.ConfigParser()
        commands.read_string(archive.read(entry_points).decode())
    assert {"albert_tf/py.typed", "albert_tf/testing/tiny_sentencepiece.model"} <= names
    assert {f"{script}.py" for script in scripts()} <= names
    packages = {name.partition("/")[0] for name in names if name.count("/")}
    assert {name for name in packages if not name.endswith(".dist-info")} == {"albert_tf", "data_prep"}
    assert commands["console_scripts"]["albert-classify"] == "run_classifier:main"


def test_an_installed_command_answers(wheel, tmp_path):
    pip("install", "--no-deps", "--no-index", f"--target={tmp_path}", wheel)
    done = subprocess.run(
        [tmp_path / "bin" / "albert-classify", "--help"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "albert-classify" in done.stdout
    assert "--task_name" in done.stdout
    code = "from albert_tf.cli.completion import main; main(['c', '--shell=bash'])"
    command = [sys.executable, "-c", code]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert '\n    albert-classify:) words="--help --verbosity= ' in done.stdout, done.stderr


@pytest.mark.parametrize("script", ["data_prep/create_pretraining_data.py", "benchmarks/data_prep.py"])
def test_a_script_runs_by_its_path_without_an_installed_package(tmp_path, script):
    path = ROOT / script
    code = f"""if True:
        import runpy, sys
        sys.meta_path = [finder for finder in sys.meta_path if "editable" not in str(finder.__module__)]
        sys.path = [{str(path.parent)!r}, *(place for place in sys.path[1:] if "/lib/python" in place)]
        sys.argv = [{str(path)!r}, "--help"]
        runpy.run_path({str(path)!r}, run_name="__main__")
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--[no]help" in done.stdout


def test_every_script_in_a_folder_runs_by_its_path():
    for folder in ("data_prep", "examples", "benchmarks"):
        for path in (ROOT / folder).glob("*.py"):
            text = path.read_text(encoding="utf-8")
            ours = re.search(r"^from (albert_tf|data_prep|benchmarks|examples)\b", text, re.MULTILINE)
            if ours and '\nif __name__ == "__main__":' in text:
                assert "\nif not __package__:  # run by its path\n    sys.path[0] = " in text, path
