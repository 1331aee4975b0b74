"""What commands print and keep: no secrets, and texts of others on their line, steering no terminal."""

import dataclasses
import warnings

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from albert_tf.checkpoints.loading import LoadReport
from albert_tf.cli import text
from albert_tf.cli.flags import ScriptOptions, UsageError, option
from albert_tf.cli.script import script
from albert_tf.cli.text import say, without_secrets
from albert_tf.errors import InputError, InputWarning, escaped
from albert_tf.serving.signature import Signature, TensorInfo
from albert_tf.serving.transport import failure

HOSTILE = "a\nerror: b\r\x1b[31m\x9b2J\u202e\u2028\ud83d"
SHOWN = "a\\nerror: b\\r\\x1b[31m\\x9b2J\\u202e\\u2028\\ud83d"


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.text())
@example(HOSTILE)
def test_what_is_escaped_can_be_seen_and_tells_texts_apart(given):
    once = escaped(given)
    assert once.isprintable()
    assert escaped(once) == once
    assert escaped(given, keep="\n").split("\n") == [escaped(line) for line in given.split("\n")]
    if "\\" not in given:
        assert once.encode("latin-1", "backslashreplace").decode("unicode_escape") == given


def test_letters_of_all_languages_stay():
    for kept in ("naïve café", "नमस्ते", "河 水", "Việt", "😀", "e\u0301"):
        assert escaped(kept) == kept
    assert escaped("12\u00a0km") == "12\\xa0km"  # not as "12 km", which it does not equal


REPORT = LoadReport(HOSTILE, "a kind", (HOSTILE,), (HOSTILE,), (HOSTILE,))


@pytest.mark.parametrize(("made", "lines"), [
    (text.aligned({HOSTILE: HOSTILE, "b": "c"}), 2),
    (text.results_table({HOSTILE: {HOSTILE: 1.0}, "b": {HOSTILE: 2.0}}), 3),
    (text.markdown_table([HOSTILE, "b"], [[HOSTILE, "c"]]), 3),
    ("\n".join(text.bar_lines("class", "examples", [(HOSTILE, 3)])), 2),
    (str(REPORT), 3),
    (REPORT.listing(), 3),
    (str(Signature(HOSTILE, {HOSTILE: TensorInfo("DT_STRING", None)}, {})), 2),
    (str(failure("INTERNAL", HOSTILE, "server")), 1),
])  # fmt: skip
def test_each_row_of_a_table_is_one_line(made, lines):
    assert len(made.split("\n")) == lines
    assert made.replace("\n", "").isprintable()
    assert "a\\nerror: b" in made


def test_chinese_characters_take_two_columns_of_a_table():
    lines = text.results_table({"新闻": {"f1": 1.0}, "ab": {"f1": 0.5}}).splitlines()
    assert lines == ["          f1", "新闻  1.0000", "ab    0.5000"]
    assert text.aligned({"新闻": "x", "abcde": "y"}).splitlines() == ["新闻   x", "abcde  y"]


@pytest.mark.parametrize("raised", [None, InputError, UsageError, OSError, KeyboardInterrupt])
def test_a_script_prints_no_control_character_and_its_errors_are_one_line(raised, capsys):
    @script(dataclasses.dataclass(frozen=True)(type("Options", (ScriptOptions,), {"__doc__": "Tries."})))
    def main(options):
        print(HOSTILE)
        text.say(HOSTILE)
        warnings.warn(HOSTILE, InputWarning, stacklevel=1)
        if raised:
            raise raised(HOSTILE)

    main(["tries"])
    out, err = capsys.readouterr()
    assert out == SHOWN.replace("\\n", "\n") + "\n"
    lines = [*SHOWN.split("\\n"), f"tries: warning: {SHOWN}"]
    if raised is KeyboardInterrupt:
        lines.append("tries: error: interrupted")
    elif raised:
        lines.append(f"tries: error: {SHOWN}" + (" (see tries --help)" if raised is UsageError else ""))
    assert err.splitlines() == lines


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
