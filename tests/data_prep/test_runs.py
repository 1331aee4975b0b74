"""Whole runs of the data preparation: the same bytes from any workers, interruption, existing output."""

import fcntl
import functools
import gzip
import hashlib
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from albert_tf import testing
from albert_tf.data import records
from albert_tf.data.tfrecord import framed, read_records
from albert_tf.tokenization import load_tokenizer
from data_prep import jobs, work_files
from data_prep import manifest as manifests
from tests.support.data_prep_runs import (
    WORDS,
    leftovers,
    main,
    output,
    prepare,
    write_text,
)
from tests.support.script_runs import refused

# ----------------------------------------------------------------------------------- reproducibility


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


# -------------------------------------------------------------------------------------- interruption


@pytest.mark.parametrize(
    ("module", "function", "calls"),
    [
        (jobs, "tokenize_group", 3),
        (jobs, "deal_pairs", 2),
        (jobs, "write_part", 5),
        (jobs, "complete_shard", 1),
        (manifests, "move_file", 1),
        (manifests, "write_json", 2),
    ],
)
def test_a_run_continues_where_it_was_interrupted(tmp_path, monkeypatch, module, function, calls):
    assert prepare(tmp_path, num_shards=2, output_file=tmp_path / "whole") == 0
    done = 0

    def interrupted(*arguments):
        nonlocal done
        if done == calls:
            raise KeyboardInterrupt
        done += 1
        return original(*arguments)

    original = getattr(module, function)
    monkeypatch.setattr(module, function, interrupted)
    assert prepare(tmp_path, num_shards=2) == 130
    assert not (tmp_path / "out.manifest.json").exists()
    assert len(leftovers(tmp_path)) == 1

    before, done, calls = done, 0, -1
    assert prepare(tmp_path, num_shards=2) == 0
    assert output(tmp_path) == output(tmp_path, "whole")
    assert leftovers(tmp_path) == []
    if module is jobs:
        again, done = done, 0
        assert prepare(tmp_path, "--overwrite", num_shards=2) == 0
        assert again == done - before  # only what was missing


@pytest.mark.parametrize(
    ("module", "function", "calls", "damage"),
    [
        (jobs, "write_part", 5, "tokens/made_for.json cut"),
        (jobs, "write_part", 5, "tokens/000001.json flipped"),
        (jobs, "write_part", 5, "tokens/000001-0000.npz flipped"),
        (jobs, "write_part", 5, "tokens/000001-0000.npz cut"),
        (jobs, "write_part", 5, "dealt/pairs/000000 flipped"),
        (jobs, "write_part", 5, "dealt/pairs/000000 gone"),
        (jobs, "write_part", 5, "dealt/pairs/000000.json cut"),
        (jobs, "write_part", 5, "parts/00000-00000 flipped"),
        (jobs, "write_part", 5, "parts/00000-00003.json flipped"),
        (jobs, "complete_shard", 1, "parts/00000-00000 flipped"),
        (jobs, "complete_shard", 1, "parts/00000-00000.complete.json cut"),
        (jobs, "complete_shard", 1, "dealt/totals.json flipped"),
        (manifests, "move_file", 1, "../out-00000-of-00002 flipped"),
        (manifests, "move_file", 1, "parts/00001-00000 gone"),
    ],
)
def test_unfinished_work_that_was_damaged_is_done_again(
    interrupted, tmp_path, capsys, module, function, calls, damage
):
    shutil.copytree(interrupted(module, function, calls), tmp_path, dirs_exist_ok=True)
    [work] = leftovers(tmp_path)
    files = work_files.WorkFiles([str(tmp_path / f"out-0000{i}-of-00002") for i in range(2)])
    folder = os.path.dirname(os.path.dirname(files.part(0, 0)))  # which has a mark of its path
    (tmp_path / work).rename(folder)
    name, how = damage.split()
    path = tmp_path / folder / name
    content = bytearray(path.read_bytes())
    path.unlink()
    content[len(content) // 2] ^= 1
    if how != "gone":
        path.write_bytes(content if how == "flipped" else content[: len(content) // 2])
    capsys.readouterr()
    assert prepare(tmp_path, num_shards=2, input_file=tmp_path / "text.txt") == 0
    assert "unfinished work is damaged" in capsys.readouterr().err
    assert output(tmp_path) == output(tmp_path, "whole")
    assert leftovers(tmp_path) == []


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """Makes a folder with a run that was interrupted at some call of a function, and a whole one."""

    @functools.cache
    def run(module, function, calls):
        folder = tmp_path_factory.mktemp("interrupted")
        assert prepare(folder, num_shards=2, output_file=folder / "whole") == 0
        original = getattr(module, function)
        left = iter(range(calls))

        def interrupt(*arguments):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return original(*arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, function, interrupt)
            assert prepare(folder, num_shards=2) == 130
        return folder

    return run


def test_parts_that_were_being_put_together_are_not_added_twice(tmp_path, monkeypatch):
    assert prepare(tmp_path, output_file=tmp_path / "whole") == 0
    copies = 0

    def cut_short(source, target, length):
        nonlocal copies
        copies += 1
        if copies == 3:
            target.write(source.read(10))
            target.flush()
            raise KeyboardInterrupt
        target.write(source.read())

    with monkeypatch.context() as patch:
        patch.setattr("shutil.copyfileobj", cut_short)
        assert prepare(tmp_path) == 130
    assert prepare(tmp_path) == 0
    assert output(tmp_path) == output(tmp_path, "whole")


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


def test_unfinished_work_of_other_flags_is_not_used(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "complete_shard", None)
        with pytest.raises(TypeError):
            prepare(tmp_path)
    tokenized = []
    tokenize = jobs.tokenize_group
    monkeypatch.setattr(jobs, "tokenize_group", lambda *args: tokenized.append(0) or tokenize(*args))
    assert prepare(tmp_path, max_seq_length=64) == 0
    assert not tokenized  # the text is the same
    assert prepare(tmp_path, max_seq_length=64, output_file=tmp_path / "other") == 0
    assert output(tmp_path) == output(tmp_path, "other")


def test_a_killed_worker_is_named_and_the_run_continues(tmp_path, capsys):
    assert prepare(tmp_path, output_file=tmp_path / "whole") == 0

    def kill_a_worker():
        while len(children := multiprocessing.active_children()) < 2:
            time.sleep(0.01)
        os.kill(children[0].pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_a_worker)
    killer.start()
    line = refused(main, capsys, prepare(tmp_path, num_workers=2))
    killer.join()
    assert " ended early with exit status -9 (SIGKILL: " in line
    assert not (tmp_path / "out").exists()
    assert prepare(tmp_path, num_workers=2) == 0
    assert output(tmp_path) == output(tmp_path, "whole")


def test_a_full_disk_is_named_and_leaves_no_file_under_its_name(tmp_path, capsys):
    assert prepare(tmp_path, output_file=tmp_path / "whole") == 0
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        status = prepare(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    line = refused(main, capsys, status)
    assert "00000: File too large; what is done is kept, the same command continues" in line
    assert output(tmp_path) == []
    assert prepare(tmp_path) == 0
    assert output(tmp_path) == output(tmp_path, "whole")


def test_two_runs_do_not_make_the_same_output_at_once(tmp_path, capsys):
    folder = work_files.WorkFiles([str(tmp_path / "out")]).part(0, 0)
    folder = os.path.dirname(os.path.dirname(folder))
    os.makedirs(folder)
    with open(os.path.join(folder, "lock"), "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert f"another run is at work in {folder}" in refused(main, capsys, prepare(tmp_path))


def test_sigterm_ends_the_checksums_of_long_inputs(tmp_path, monkeypatch):
    text = write_text(tmp_path / "text.txt")
    blocks = 0

    def endless(path, on_progress):
        nonlocal blocks
        for blocks in range(1, 2000):
            if blocks == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
            on_progress(1)
        return ""

    monkeypatch.setattr(manifests, "file_digest", endless)
    assert prepare(tmp_path, input_file=text) == 130
    assert blocks < 1000


# -------------------------------------------------------------------------------- output that is there


def test_finished_output_is_left_alone_unless_it_is_to_be_replaced(tmp_path, capsys):
    assert prepare(tmp_path) == 0
    first = (tmp_path / "out").stat()
    assert prepare(tmp_path) == 0
    assert "out: there already, made by the same command" in capsys.readouterr().out
    assert (tmp_path / "out").stat() == first
    line = refused(main, capsys, prepare(tmp_path, "--nodo_whole_word_mask", dupe_factor=3))
    assert "out is there already and was made with --do_whole_word_mask=True, not False" in line
    assert "--dupe_factor=2, not 3; --overwrite replaces it" in line
    assert prepare(tmp_path, "--overwrite", dupe_factor=3) == 0
    assert (tmp_path / "out").stat().st_size > first.st_size


def test_what_is_left_of_replacing_output_goes_when_the_output_may_stay(tmp_path, monkeypatch):
    assert prepare(tmp_path) == 0
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "complete_shard", None)
        with pytest.raises(TypeError):
            prepare(tmp_path, "--overwrite")
    assert leftovers(tmp_path)
    assert prepare(tmp_path) == 0
    assert not leftovers(tmp_path)


def test_changed_text_is_another_input(tmp_path, capsys):
    assert prepare(tmp_path) == 0
    write_text(tmp_path / "text.txt", seed=1)
    assert "was made with another input_file; " in refused(main, capsys, prepare(tmp_path))


def test_a_file_that_is_no_output_of_ours_is_not_replaced(tmp_path, capsys):
    (tmp_path / "out").write_text("precious")
    line = refused(main, capsys, prepare(tmp_path))
    assert "out is there already and is not the complete output of this command" in line
    assert (tmp_path / "out").read_text() == "precious"


def test_output_beside_its_text_is_not_taken_for_text(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    write_text(tmp_path / "data" / "text.txt")
    flags = {"input_file": tmp_path / "data" / "*", "output_file": tmp_path / "data" / "out", "num_shards": 2}
    assert prepare(tmp_path, **flags) == 0
    first = output(tmp_path / "data")
    assert prepare(tmp_path, **flags) == 0
    assert "there already" in capsys.readouterr().out
    assert prepare(tmp_path, "--overwrite", **flags) == 0
    assert output(tmp_path / "data") == first
    (tmp_path / "data" / "text.txt").unlink()
    assert "nothing there but the output of an earlier run" in refused(
        main, capsys, prepare(tmp_path, **flags)
    )


def test_text_that_an_output_would_replace_is_refused(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    text = write_text(tmp_path / "data" / "text.txt")
    flags = {"input_file": tmp_path / "data" / "*", "output_file": text}
    line = refused(main, capsys, prepare(tmp_path, "--overwrite", **flags))
    assert "text.txt is among the input files and would be overwritten" in line


# ------------------------------------------------------------------------------------------- manifest


def test_the_manifest_says_what_the_output_is_and_what_it_was_made_of(tmp_path):
    assert prepare(tmp_path, num_shards=2) == 0
    manifest = json.loads((tmp_path / "out.manifest.json").read_text())
    for shard in manifest["shards"]:
        content = (tmp_path / shard["name"]).read_bytes()
        assert shard["sha256"] == hashlib.sha256(content).hexdigest()
        assert shard["bytes"] == len(content)
        assert shard["records"] == len(list(read_records(str(tmp_path / shard["name"]))))
        description = json.loads((tmp_path / f"{shard['name']}.json").read_text())
        assert {name: description[name] for name in ("records", "bytes")} == {
            name: shard[name] for name in ("records", "bytes")
        }
    text = (tmp_path / "text.txt").read_bytes()
    assert manifest["inputs"] == [
        {
            "path": str(tmp_path / "text.txt"),
            "bytes": len(text),
            "sha256": hashlib.sha256(text).hexdigest(),
        }
    ]
    assert manifest["settings"]["random_seed"] == 12345
    assert set(manifest["versions"]) >= {"python", "numpy", "sentencepiece"}
    examples = manifest["summary"]["examples"]
    histograms = manifest["histograms"]
    assert sum(shard["records"] for shard in manifest["shards"]) == examples
    assert sum(histograms["pieces in an example"].values()) == examples
    assert histograms["pieces in a line"] == {"8-15": 800}
    assert histograms["lines in a document"] == {"32-63": 20}
    assert list(histograms["words masked together"]) == ["1", "2", "3"]


def test_the_longest_and_shortest_documents_are_named_with_their_lines(tmp_path):
    lines = [("sea " * words).strip() for words in (3, 9000, 4, 5, 6, 7, 8, 9, 10, 11)]
    (tmp_path / "text.txt").write_text("\n\n".join(lines))
    assert prepare(tmp_path) == 0
    manifest = json.loads((tmp_path / "out.manifest.json").read_text())
    path = tmp_path / "text.txt"
    assert manifest["longest_documents"][:2] == [
        {"at": f"{path}:3", "pieces": 9000},
        {"at": f"{path}:19", "pieces": 11},
    ]
    assert manifest["shortest_documents"][:2] == [
        {"at": f"{path}:1", "pieces": 3},
        {"at": f"{path}:5", "pieces": 4},
    ]


def test_output_is_verified_by_its_manifest(tmp_path, capsys):
    assert prepare(tmp_path, num_shards=2) == 0
    capsys.readouterr()
    assert prepare(tmp_path, "--verify", input_file=None, vocab_file=None) == 0
    assert capsys.readouterr().out == "2 files, 235 records: as they were written\n"
    one, other = (tmp_path / f"out-0000{i}-of-00002" for i in range(2))
    content = bytearray(one.read_bytes())
    content[1000] ^= 1
    one.write_bytes(content)
    line = refused(main, capsys, prepare(tmp_path, "--verify"))
    assert f"{one} holds other bytes than were written" in line
    other.unlink()
    assert line.replace(str(one), "") != refused(main, capsys, prepare(tmp_path, "--verify"))
    one.write_bytes(content[:-1])
    line = refused(main, capsys, prepare(tmp_path, "--verify"))
    assert f"{one} has {len(content) - 1} bytes, not {len(content)}; 1 more files are wrong" in line


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "out.manifest.json does not exist"),
        ({"format": "other"}, "out.manifest.json: the format is 'other', not 'albert_tf pretraining data 1'"),
        ({"shards": []}, "shards: 0 files, not the 2 of the key"),
        ({"shards": {"name": 1}}, "shards: expected `array`, got `object`"),
        ({"shards": [3]}, "shards[0]: expected `object`, got `int`"),
        ({"key": []}, "key: expected `object`, got `array`"),
        ({"key": {"num_shards": "2"}}, "key.num_shards: expected `int`, got `str`"),
        ({"summary": 3}, "summary: expected `object`, got `int`"),
        ({"summary": {"examples": "3"}}, "summary[...]: expected `float | null`, got `str`"),
        ({"histograms": {"a": {"1": -1}}}, "histograms[...][...]: expected `int` >= 0"),
        ({"longest_documents": [{"at": 3}]}, "longest_documents[0]"),
        ({"shortest_documents": None}, "shortest_documents: expected `array`, got `null`"),
        ({"skipped": [1]}, "skipped[0]: expected `str`, got `int`"),
        ("records", "out-00000-of-00002 has 115 records, not 114"),
        ("twice", "shards: 1 files, not the 2 of the key"),
    ],
    ids=str,
)
def test_a_manifest_that_is_not_right_is_named(finished, capsys, change, message):
    path = finished / "out.manifest.json"
    manifest = json.loads(path.read_text())
    path.unlink()
    if change == "records":
        manifest["shards"][0]["records"] -= 1
    elif change == "twice":
        manifest["shards"][1] = manifest["shards"][0]
    elif change:
        manifest |= change
    if change:
        path.write_text(json.dumps(manifest))
    assert message in refused(main, capsys, prepare(finished, "--verify"))


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """A folder with output in two files."""
    folder = tmp_path_factory.mktemp("complete")
    assert prepare(folder, num_shards=2) == 0
    return folder


@pytest.fixture
def finished(complete, tmp_path):
    """A copy of the folder."""
    shutil.copytree(complete, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_a_description_or_record_that_is_none_is_named_when_it_is_shown(finished, capsys):
    capsys.readouterr()
    described = finished / "out-00000-of-00002.json"
    text = described.read_text()
    for settings in ([], {"spm_model_file": 3}):
        described.write_text(json.dumps({"settings": settings}))
        assert "out-00000-of-00002.json: settings" in refused(main, capsys, prepare(finished, "--inspect=1"))
    described.write_text(text)
    (finished / "out.manifest.json").unlink()
    for content, message in (
        (b"\xff" * 9, "out, record 1 is not a tf.train.Example"),
        (b"", "out, record 1 is no pretraining record of "),
    ):
        (finished / "out").write_bytes(b"".join(framed(content)))
        assert message in refused(main, capsys, prepare(finished, "--inspect=1"))


def test_records_are_shown_without_tensorflow(finished):
    code = f"""if True:
        import sys
        from data_prep.create_pretraining_data import main
        assert main(["x", "--inspect=1", "--output_file={finished}/out"]) == 0
        assert "tensorflow" not in sys.modules
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "record 1: label " in done.stdout


# ------------------------------------------------------------------------------------------- odd text


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


# ----------------------------------------------------------------------------- what the user sees


def test_records_are_shown_as_text_with_their_masks(tmp_path, capsys):
    (tmp_path / "text.txt").write_text("the rivers, about bread\nfish boats walking heron\n")
    assert prepare(tmp_path, masked_lm_prob=0.4, dupe_factor=1) == 0
    text = load_tokenizer(vocab_file=testing.VOCAB_FILE).tokenize(
        "the rivers, about bread fish boats walking heron"
    )
    capsys.readouterr()
    assert prepare(tmp_path, "--inspect=2", input_file=None, vocab_file=None) == 0
    head, a, b = capsys.readouterr().out.splitlines()
    assert head.startswith(f"{tmp_path / 'out'}, record 1: label ")
    assert f"{len(text) + 3} pieces, 7 to predict" in head
    assert (a[:5], b[:5]) == ("  A: ", "  B: ")
    assert (a + b).count("|") == 7
    shown = [re.sub(r"\[(\[MASK\]|[^|\[ ]+)\|([^\]]+)\]", r"\2", line[5:]) for line in (a, b)]
    # With the labels in place of what is seen it is the text, in one order or the other.
    expected = ["the rivers , about bread", "fish boats walking heron"]
    assert shown == expected[:: -1 if "label 1" in head else 1]


def test_unmasked_records_are_described_shown_and_verified(tmp_path, capsys):
    assert prepare(tmp_path, masking="dynamic", num_shards=2, dupe_factor=None) == 0
    printed = capsys.readouterr().out
    assert "masked pieces  drawn while training\n" in printed
    assert "order of A and B  drawn while training, where the label may change\n" in printed
    assert "words masked together" not in printed
    manifest = json.loads((tmp_path / "out.manifest.json").read_text())
    summary, lengths = manifest["summary"], manifest["histograms"]["pieces in an example"]
    assert (summary["masked_pieces"], summary["label_1_share"]) == (None, 0)
    assert sum(lengths.values()) == summary["examples"] == sum(s["records"] for s in manifest["shards"])
    assert prepare(tmp_path, "--verify", "--inspect=1", input_file=None, vocab_file=None) == 0
    printed = capsys.readouterr().out
    assert "2 files, " in printed
    assert "label 0 (in order), 12" in printed
    assert " pieces, masks and order drawn while training\n  A: " in printed
    assert prepare(tmp_path, masking="dynamic", num_shards=2, dupe_factor=None, num_workers=2) == 0
    assert "there already, made by the same command" in capsys.readouterr().out


def test_num_shards_takes_one_name(tmp_path, capsys):
    assert prepare(tmp_path, num_shards=2, output_file=f"{tmp_path}/a,{tmp_path}/b") == 2
    assert "--num_shards takes one --output_file" in capsys.readouterr().err
