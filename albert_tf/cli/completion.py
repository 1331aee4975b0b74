"""`albert-completion`: what a shell must know to complete the flags of the installed commands."""

import dataclasses
import importlib.metadata
import re
import sys
import typing
from collections.abc import Iterator, Mapping, Sequence

from albert_tf.cli import flags
from albert_tf.cli.script import script
from albert_tf.published import WEIGHTS

# Bash takes `--flag=value` for three words.
_BASH = """\
_albert_tf() {
  local cur=${COMP_WORDS[COMP_CWORD]} flag=${COMP_WORDS[COMP_CWORD-1]} words= files=
  if [[ $cur == "=" ]]; then cur=
  elif [[ $flag == "=" ]]; then flag=${COMP_WORDS[COMP_CWORD-2]}
  else flag=; fi
  case ${COMP_WORDS[0]##*/}:$flag in
CASES
    *) files=yes ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  if [[ $files ]]; then COMPREPLY+=($(compgen -f -- "$cur")); compopt -o filenames
  elif [[ ${COMPREPLY[0]} == *= ]]; then compopt -o nospace; fi
}
complete -F _albert_tf COMMANDS
"""
_ZSH = """\
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
_albert_weights() { _alternative 'names:name:(WEIGHTS)' 'files:file:_files'; }
_albert_tf() {
  case $service in
CASES
  esac
}
compdef _albert_tf COMMANDS
"""


@dataclasses.dataclass(frozen=True)
class CompletionOptions(flags.ScriptOptions):
    """Prints a script that lets a shell complete the flags of all installed commands, and their values.

    In ~/.bashrc: eval "$(albert-completion --shell=bash)". In ~/.zshrc the same with zsh.
    """

    shell: str = flags.option(choices=("bash", "zsh"), help="the shell")


class _Flag(typing.NamedTuple):
    """A flag: is it a switch, which words may be its value, may the name of weights, and its help."""

    name: str
    is_switch: bool
    words: Sequence[str]
    is_weights: bool
    help: str


def completion(shell: str, commands: Mapping[str, type[flags.ScriptOptions]]) -> str:
    """The script for "bash" or "zsh", for commands by name with the dataclasses of their flags."""
    template, cases_of = {"bash": (_BASH, _bash_cases), "zsh": (_ZSH, _zsh_cases)}[shell]
    cases = [f"    {case} ;;" for name in sorted(commands) for case in cases_of(name, commands[name])]
    parts = {"CASES": "\n".join(cases), "COMMANDS": " ".join(sorted(commands)), "WEIGHTS": " ".join(WEIGHTS)}
    return re.sub("|".join(parts), lambda found: parts[found[0]], template)


def _flags_of(options_class: type[flags.ScriptOptions]) -> Iterator[_Flag]:
    annotations = typing.get_type_hints(options_class)
    for field in dataclasses.fields(options_class):
        if field.metadata:
            kinds = (annotations[field.name], *typing.get_args(annotations[field.name]))
            words, is_weights = field.metadata["choices"] or (), field.metadata["is_weights"]
            yield _Flag(field.name, bool in kinds, words, is_weights, field.metadata["help"])


def _bash_cases(command: str, options_class: type[flags.ScriptOptions]) -> Iterator[str]:
    names = ["--help"]
    for flag in _flags_of(options_class):
        names += [f"--{flag.name}", f"--no{flag.name}"] if flag.is_switch else [f"--{flag.name}="]
        if flag.is_weights:
            yield f'{command}:--{flag.name}) words="{" ".join(WEIGHTS)}" files=yes'
        elif flag.words:
            yield f'{command}:--{flag.name}) words="{" ".join(flag.words)}"'
    yield f'{command}:) words="{" ".join(names)}"'


def _zsh_cases(command: str, options_class: type[flags.ScriptOptions]) -> Iterator[str]:
    specs = ["'--help[show all flags]'"]
    for flag in _flags_of(options_class):
        text = re.sub(r"([\[\]\\:])", r"\\\1", flag.help).replace("'", "'\\''")
        if flag.is_switch:
            specs += [f"'--{flag.name}[{text}]'", f"'--no{flag.name}[the opposite]'"]
        else:
            values = "_albert_weights" if flag.is_weights else f"({' '.join(flag.words)})"
            specs.append(f"'--{flag.name}=[{text}]:{flag.name}:{values if values != '()' else '_files'}'")
    yield f"{command}) _arguments {' '.join(specs)}"


@script(CompletionOptions)
def main(options: CompletionOptions) -> None:
    """Prints the script."""
    installed = importlib.metadata.distribution("albert-tf").entry_points.select(group="console_scripts")
    commands = {point.name: point.load().options_class for point in installed}
    print(completion(options.shell, commands), end="")


if __name__ == "__main__":
    sys.exit(main())
