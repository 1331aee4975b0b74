"""What is printed of texts of others stays on its line and steers no terminal."""

import dataclasses
import warnings

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from albert_tf.checkpoints.loading import LoadReport
from albert_tf.cli import text
from albert_tf.cli.flags import ScriptOptions, UsageError
from albert_tf.cli.script import script
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
