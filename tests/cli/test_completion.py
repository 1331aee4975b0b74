"""Shells complete flags, their values, names of weights, and files."""

import dataclasses
import shutil
import subprocess

import pytest

from albert_tf.cli.completion import completion
from albert_tf.cli.flags import ScriptOptions, option
from albert_tf.published import WEIGHTS


@dataclasses.dataclass(frozen=True)
class Options(ScriptOptions):
    """Of two commands."""

    weights: str = option(help="it's [a path]: or a name", is_weights=True)
    optimizer: str = option("lamb", choices=("adamw", "lamb"), help="the optimizer")
    file: str | None = option(None, help="a file")
    do_train: bool | None = option(None, help="train")


COMMANDS = {"albert-one": Options, "albert-two": Options}


@pytest.mark.parametrize(("words", "completed"), [
    (["albert-one", "--"], "--help --verbosity= --weights= --optimizer= --file= --do_train --nodo_train"),
    (["/bin/albert-two", "--op"], "--optimizer="),
    (["albert-one", "--optimizer", "="], "adamw lamb"),
    (["albert-one", "--optimizer", "=", "l"], "lamb"),
    (["albert-one", "--optimizer", "=", "x"], ""),
    (["albert-two", "--weights", "=", "albert-base"], "albert-base-v1 albert-base-v2 albert-base-zh"),
    (["albert-two", "--weights", "=", "albert-run"], "albert-run.index"),
    (["albert-two", "--file", "="], "albert-run.index"),
])  # fmt: skip
def test_bash_completes(tmp_path, words, completed):
    (tmp_path / "albert-run.index").touch()
    code = f"""{completion("bash", COMMANDS)}
        complete -p albert-two > /dev/null || exit 1
        compopt() {{ :; }}
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _albert_tf && echo "${{COMPREPLY[@]}}" """
    command = ["bash", "-c", code, "bash", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == (completed, "")


def test_zsh_gets_a_specification_of_each_flag(tmp_path):
    script = completion("zsh", COMMANDS)
    assert "'--weights=[it'\\''s \\[a path\\]\\: or a name]:weights:_albert_weights'" in script
    assert f"'names:name:({' '.join(WEIGHTS)})'" in script
    assert "'--optimizer=[the optimizer]:optimizer:(adamw lamb)' '--file=[a file]:file:_files'" in script
    assert "'--do_train[train]' '--nodo_train[the opposite]'" in script
    assert script.endswith("compdef _albert_tf albert-one albert-two\n")
    if shutil.which("zsh"):
        (tmp_path / "script").write_text(script)
        subprocess.run(["zsh", "-n", tmp_path / "script"], check=True)
