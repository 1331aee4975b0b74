"""Whole runs of the data preparation: the same bytes from any workers, and odd text."""

import gzip
import json
import os

import pytest

from albert_tf.data import records
from data_prep import jobs
from tests.support.data_prep_runs import (
    WORDS,
    leftovers,
    main,
    output,
    prepare,
    write_text,
)
from tests.support.script_runs import refused


def test_neither_workers_nor_folders_change_a_byte(tmp_path):
    assert prepare(tmp_path, num_shards=3) == 0
    expected = output(tmp_path)
    assert len(expected) == 3
    for name, flags in {
        "workers": {"num_workers": 2},
        "folder": {"temp_dir": tmp_path / "temporary"},
    }.items():
        assert prepare(tmp_path, num_shards=3, output_file=tmp_path / name, **flags) == 0
        assert output(tmp_path, name) == expected
    assert os.listdir(tmp_path / "temporary") == []
    assert leftovers(tmp_path) == []


def test_the_flag_of_the_limit_on_temporary_files_is_gone(tmp_path, capsys):
    assert prepare(tmp_path, max_temp_gb=1) == 2
    message = capsys.readouterr().err
    assert "--max_temp_gb is gone: temporary files have no limit; put them on a larger disk" in message


def test_json_and_compressed_text_give_the_records_of_the_same_text(tmp_path):
    text = write_text(tmp_path / "text.txt", documents=5)
    documents = (tmp_path / "text.txt").read_text().split("\n\n")
    lines = [json.dumps({"text": document}) for document in documents]
    (tmp_path / "text.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    for name in ("text.txt", "text.jsonl.gz"):
        assert prepare(tmp_path, input_file=tmp_path / name, output_file=tmp_path / f"of_{name}") == 0
    assert (tmp_path / "of_text.txt").read_bytes() == (tmp_path / "of_text.jsonl.gz").read_bytes()
    assert text


def test_a_path_with_a_scheme_is_written_through_tensorflow(tmp_path):
    assert prepare(tmp_path) == 0
    flags = {"input_file": f"file://{tmp_path}/text.txt", "output_file": f"file://{tmp_path}/far"}
    assert prepare(tmp_path, num_shards=2, **flags) == 0
    assert prepare(tmp_path, num_shards=2, output_file=tmp_path / "near") == 0
    assert output(tmp_path, "far") == output(tmp_path, "near")
    assert json.loads((tmp_path / "far-00000-of-00002.json").read_text())["records"] > 0
    assert prepare(tmp_path, "--verify", output_file=f"file://{tmp_path}/far") == 0


def test_the_largest_group_of_text_comes_first_so_that_nobody_waits_for_it(tmp_path, monkeypatch):
    groups = {}

    def noted(job, group, on_progress):
        groups[group] = sum(text_range.end - text_range.begin for text_range in job.groups[group])
        return tokenize(job, group, on_progress)

    tokenize = jobs.tokenize_group
    monkeypatch.setattr(jobs, "tokenize_group", noted)
    assert prepare(tmp_path) == 0
    assert next(iter(groups)) == len(groups) - 1  # what was left of the file
    assert list(groups.values()) == sorted(groups.values(), reverse=True)


@pytest.mark.parametrize("documents", [1, 3])
@pytest.mark.parametrize("segments", [1, 2])
@pytest.mark.parametrize("more", ["--random_next_sentence", "--single_segment_chunks=random_document", None])
def test_a_document_or_a_sentence_is_enough(tmp_path, documents, segments, more):
    write_text(tmp_path / "text.txt", documents, segments, words=4)
    assert prepare(tmp_path, *filter(None, [more])) == 0
    assert records.read_metadata(str(tmp_path / "out"))["summary"]["documents"] == documents


def test_more_files_than_examples_are_refused(tmp_path, capsys):
    write_text(tmp_path / "text.txt", documents=1, segments=2)
    line = refused(main, capsys, prepare(tmp_path, dupe_factor=1, num_shards=2))
    assert "1 examples are too few for 2 output files" in line
    assert os.listdir(tmp_path) == ["text.txt"]


def test_a_very_long_line_is_read_in_parts(tmp_path):
    words = 500_000
    (tmp_path / "text.txt").write_text(f"{WORDS[0]} " * words + "\nfish\n")
    assert prepare(tmp_path, dupe_factor=1) == 0
    summary = records.read_metadata(str(tmp_path / "out"))["summary"]
    assert (summary["documents"], summary["segments"]) == (1, 2)
    assert summary["corpus_pieces"] == words + 1


def test_lines_that_are_no_text_are_counted_where_they_are_skipped(tmp_path, capsys):
    text = write_text(tmp_path / "text.txt")
    with open(text, "ab") as file:
        file.write(b"\nsea \xff\n\0\n")
    line = refused(main, capsys, prepare(tmp_path))
    assert "text.txt, line 1641: not UTF-8 (invalid start byte) (--on_error=skip" in line
    assert len(leftovers(tmp_path)) == 1
    assert prepare(tmp_path, on_error="skip") == 0
    manifest = json.loads((tmp_path / "out.manifest.json").read_text())
    assert manifest["summary"]["skipped_lines"] == 2
    assert manifest["skipped"][1] == f"{tmp_path}/text.txt, line 1642: a NUL byte, which is no text"
    assert "line 1642: a NUL byte" in capsys.readouterr().out


def test_num_shards_takes_one_name(tmp_path, capsys):
    assert prepare(tmp_path, num_shards=2, output_file=f"{tmp_path}/a,{tmp_path}/b") == 2
    assert "--num_shards takes one --output_file" in capsys.readouterr().err
