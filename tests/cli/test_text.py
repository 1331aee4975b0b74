"""What commands print and keep: addresses without secrets."""

import dataclasses
import warnings

import pytest

from albert_tf.cli.flags import ScriptOptions, option
from albert_tf.cli.script import script
from albert_tf.cli.text import say, without_secrets
from albert_tf.errors import InputError, InputWarning


@pytest.mark.parametrize(("text", "kept"), [
    ("--handle=https://me:pass@hub.org/a.tar.gz?token=abc&x=1#y", "--handle=https://hub.org/a.tar.gz"),
    ("HTTP://token@hub.org", "HTTP://hub.org"),
    ("https://hub.org?mail=a@b.org", "https://hub.org"),
    ("gs://key@bucket/part-?.tfrecord", "gs://bucket/part-?.tfrecord"),
    ("who? a@b.org, C:/a?b, part-?.tfrecord", "who? a@b.org, C:/a?b, part-?.tfrecord"),
    ({"a": [{"b": "s3://k:s@b/x"}, 1, None]}, {"a": [{"b": "s3://b/x"}, 1, None]}),
])  # fmt: skip
def test_addresses_lose_users_passwords_and_queries(text, kept):
    assert without_secrets(text) == kept


@dataclasses.dataclass(frozen=True)
class Options(ScriptOptions):
    """A flag that takes an address."""

    handle: str = option(help="an address")


def test_a_script_keeps_and_shows_no_secret(capsys):
    commands = []

    @script(Options)
    def main(options: Options) -> None:
        commands.append(options.command)
        say(f"reading {options.handle}")
        warnings.warn(f"{options.handle} is slow", InputWarning, stacklevel=1)
        raise InputError(f"{options.handle} does not exist")

    assert main(["run.py", "--handle=https://me:it's@hub.org/a?token=abc"]) == 1
    assert commands == ["run.py --handle=https://hub.org/a"]
    printed = capsys.readouterr().err
    assert printed.count("https://hub.org/a") == 3
    assert "it's" not in printed
    assert "abc" not in printed
