"""Runs of the data preparation that are interrupted, killed or damaged, and continue."""

import fcntl
import functools
import multiprocessing
import os
import resource
import shutil
import signal
import threading
import time

import pytest

from data_prep import jobs, work_files
from data_prep import manifest as manifests
from tests.support.data_prep_runs import (
    leftovers,
    main,
    output,
    prepare,
    write_text,
)
from tests.support.script_runs import refused


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


def test_what_is_left_of_replacing_output_goes_when_the_output_may_stay(tmp_path, monkeypatch):
    assert prepare(tmp_path) == 0
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "complete_shard", None)
        with pytest.raises(TypeError):
            prepare(tmp_path, "--overwrite")
    assert leftovers(tmp_path)
    assert prepare(tmp_path) == 0
    assert not leftovers(tmp_path)
