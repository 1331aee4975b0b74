"""Flags of the original release: some do nothing and say so, others are gone and say what replaces them."""

import dataclasses

import pytest

from albert_tf.cli import flags
from albert_tf.cli.flags import FORMER_FLAGS, ScriptOptions, UsageError, former_option, parse
from albert_tf.cli.script import script
from convert_checkpoint import ConversionOptions
from data_prep.options import Options as DataOptions
from export_to_tfhub import HubOptions
from run_pretraining import PretrainingOptions
from run_squad import SquadOptions


@dataclasses.dataclass(frozen=True)
class OldOptions(ScriptOptions):
    """A script of old."""

    use_einsum: bool | None = former_option("use_einsum")
    tpu_name: str | None = flags.option(None, help="the TPU")


@script(OldOptions)
def old_script(options: OldOptions) -> None:
    """Does nothing."""


@pytest.mark.parametrize("given", ["--use_einsum", "--nouse_einsum", "--use_einsum=true"])
def test_a_flag_that_does_nothing_is_accepted_with_a_warning(capsys, given):
    assert old_script(["old.py", given]) == 0
    assert capsys.readouterr().err == (
        "old.py: warning: --use_einsum does nothing: every projection is a plain matrix product\n"
    )


def test_a_flag_that_is_left_out_is_not_mentioned(capsys):
    assert old_script(["old.py"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("options", "name"), [
    (ConversionOptions, "best"),
    (DataOptions, "input_file_mode"),
    (HubOptions, "use_einsum"),
    (SquadOptions, "predict_feature_left_file"),
    (SquadOptions, "use_einsum"),
])  # fmt: skip
def test_help_says_that_a_flag_does_nothing(options, name):
    [field] = [field for field in dataclasses.fields(options) if field.name == name]
    assert field.metadata["help"] == f"does nothing: {FORMER_FLAGS[name].reason}"


@pytest.mark.parametrize("name", [name for name, flag in FORMER_FLAGS.items() if not flag.is_accepted])
def test_a_flag_that_is_gone_says_why(name):
    options = DataOptions if FORMER_FLAGS[name].replaced_by == "temp_dir" else PretrainingOptions
    with pytest.raises(UsageError, match=f"--{name} is gone: "):
        parse(options, ["script.py", f"--{name}=1"])


def test_a_replacement_is_named_only_where_it_exists():
    with pytest.raises(UsageError, match=r"^Unknown command line flag 'use_tpu'"):
        parse(DataOptions, ["create_pretraining_data.py", "--use_tpu"])
