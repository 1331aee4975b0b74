"""Runs of the data preparation by Apache Beam: what they write, and what they say when they cannot."""

import importlib.util
import json
import sys

import pytest

import data_prep
from tests.support.data_prep_runs import leftovers, main, output, prepare, write_text
from tests.support.script_runs import refused

needs_beam = pytest.mark.skipif(
    not importlib.util.find_spec("apache_beam"), reason="Apache Beam is not installed ('.[beam]')"
)
# Beam's own, of which there are new ones with each version of Python and its dependencies.
pytestmark = pytest.mark.filterwarnings("ignore")


def manifest(folder, name):
    content = json.loads((folder / f"{name}.manifest.json").read_text())
    for figure in ("seconds", "pieces_per_second"):
        del content["summary"][figure]
    shards = [shard["sha256"] for shard in content["shards"]]
    return [
        content[part] for part in ("key", "inputs", "summary", "histograms", "longest_documents")
    ] + shards


@needs_beam
@pytest.mark.parametrize(
    "flags",
    [
        {"num_shards": 3},
        {"masking": "dynamic", "dupe_factor": None, "random_next_sentence": True},
        {"single_segment_chunks": "random_document", "do_permutation": True, "max_seq_length": 16},
    ],
)
def test_beam_writes_the_bytes_of_a_local_run(tmp_path, flags):
    assert prepare(tmp_path, **flags) == 0
    by_beam = {"runner": "DirectRunner", "num_workers": None, "output_file": tmp_path / "beam"}
    assert prepare(tmp_path, **flags | by_beam) == 0
    assert output(tmp_path, "beam") == output(tmp_path)
    assert manifest(tmp_path, "beam") == manifest(tmp_path, "out")
    assert leftovers(tmp_path) == []


@needs_beam
def test_output_of_a_local_run_is_output_of_beam(tmp_path, capsys):
    assert prepare(tmp_path) == 0
    assert prepare(tmp_path, runner="DirectRunner", num_workers=None) == 0
    assert "there already, made by the same command" in capsys.readouterr().out


@needs_beam
def test_beam_reads_and_writes_paths_with_a_scheme(tmp_path):
    assert prepare(tmp_path, num_shards=2) == 0
    far = {"input_file": f"file://{tmp_path}/text.txt", "output_file": f"file://{tmp_path}/far"}
    assert prepare(tmp_path, num_shards=2, runner="DirectRunner", num_workers=None, **far) == 0
    assert output(tmp_path, "far") == output(tmp_path)
    assert leftovers(tmp_path) == []


@needs_beam
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"sea\n\nsea \xff\n", "text.txt, line 3: not UTF-8 (invalid start byte) (--on_error=skip"),
        (b"\n\n\n", "text.txt: nothing to make examples of"),
        (b"sea\n", "text.txt has no line of two words"),
        (b"sea fish\n", "1 examples are too few for 2 output files"),
    ],
)
def test_what_is_wrong_with_the_text_is_one_line_by_beam_too(tmp_path, capsys, text, message):
    (tmp_path / "text.txt").write_bytes(text)
    run = {"runner": "DirectRunner", "num_workers": None, "num_shards": 2, "dupe_factor": 1}
    line = refused(main, capsys, prepare(tmp_path, **run))
    assert message in line
    assert "while running" not in line
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


@needs_beam
@pytest.mark.parametrize(
    ("beam_options", "message"),
    [
        ("--direct_num_workers=x", "--beam_options: argument --direct_num_workers: invalid int value: 'x'"),
        ("'", "--beam_options=': No closing quotation"),
    ],
)
def test_options_that_are_none_are_named(tmp_path, capsys, beam_options, message):
    run = {"runner": "DirectRunner", "num_workers": None, "beam_options": beam_options}
    assert message in refused(main, capsys, prepare(tmp_path, **run), expected_status=2)


@needs_beam
def test_what_a_runner_cannot_do_is_one_line(tmp_path, capsys):
    line = refused(main, capsys, prepare(tmp_path, runner="PortableRunner", num_workers=None))
    assert "--runner=PortableRunner: " in line
    assert "--job_endpoint" in line


@needs_beam
def test_options_that_only_the_runner_may_know_are_handed_on_with_a_warning(tmp_path, capsys):
    write_text(tmp_path / "text.txt", documents=1, segments=2)
    run = {"runner": "DirectRunner", "num_workers": None, "beam_options": "--of_the_runner=3"}
    assert prepare(tmp_path, **run) == 0
    assert "Apache Beam does not know --of_the_runner" in capsys.readouterr().err


def test_without_beam_the_extra_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    monkeypatch.delitem(sys.modules, "data_prep.beam_pipeline", raising=False)
    monkeypatch.delattr(data_prep, "beam_pipeline", raising=False)
    line = refused(main, capsys, prepare(tmp_path, runner="DirectRunner", num_workers=None))
    assert ".py: error: --runner=DirectRunner: " in line
    assert line.endswith("pip install '.[beam]' in this project's folder brings it")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"runner": "DirectRunner"}, "--num_workers needs --runner=local"),
        ({"runner": "FlinkRunner", "num_workers": None, "temp_dir": "x"}, "--temp_dir needs --runner=local"),
        ({"beam_options": "--a=b"}, "--beam_options needs a --runner of Apache Beam"),
    ],
)
def test_flags_of_the_other_kind_of_run_are_refused(tmp_path, capsys, flags, message):
    assert prepare(tmp_path, **flags) == 2
    assert message in capsys.readouterr().err
