"""Shards put together while their parts are still being written."""

import hashlib
import os
import time

import pytest

from albert_tf import testing
from albert_tf.errors import InputError
from albert_tf.tokenization import load_tokenizer
from data_prep import jobs
from data_prep.execution import Completion
from data_prep.options import Options
from data_prep.work_files import WorkFiles

PARTS = [b"one", b"", b"three"]
SHA256 = hashlib.sha256(b"onethree").hexdigest()


@pytest.fixture
def job(tmp_path):
    options = Options(output_file=(f"{tmp_path}/out",), num_shards=2, num_workers=2)
    return jobs.Job(options, load_tokenizer(None, testing.VOCAB_FILE), WorkFiles(options.shards), [])


def write_part(job, shard, part):
    """Writes a part as a worker does; returns its bucket and its bytes."""
    path = job.files.part(shard, part)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(PARTS[part])
    return len(PARTS) * shard + part, len(PARTS[part])


def wait_until(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("waited for 10 seconds")


def test_a_part_is_added_when_all_before_it_are_written(job):
    reported = []
    with Completion(job, len(PARTS)) as completion:
        for shard in (1, 0):
            completion.add(*write_part(job, shard, 1))
            completion.add(*write_part(job, shard, 0))
            wait_until(lambda shard=shard: not os.path.exists(job.files.part(shard, 1)))
            assert not os.path.exists(f"{job.files.completed(shard)}.json")
            completion.add(*write_part(job, shard, 2))
        results = completion.results(reported.append)
    assert results == [{"bytes": 8, "sha256": SHA256}] * 2
    assert sum(reported) == 16
    for shard in (0, 1):
        with open(job.files.part(shard, 0), "rb") as file:
            assert file.read() == b"onethree"


def test_parts_that_an_earlier_run_has_added_are_not_added_again(job):
    known = [write_part(job, shard, part) for shard in (0, 1) for part in (0, 1)]
    with Completion(job, len(PARTS)) as completion:
        for bucket, size in known:
            completion.add(bucket, size)
        wait_until(lambda: not any(os.path.exists(job.files.part(shard, 1)) for shard in (0, 1)))
    with Completion(job, len(PARTS)) as completion:
        for bucket, size in known + [write_part(job, shard, 2) for shard in (0, 1)]:
            completion.add(bucket, size)
        assert [shard["sha256"] for shard in completion.results(print)] == [SHA256] * 2
    with Completion(job, len(PARTS)) as completion:  # all of it is known
        assert [shard["sha256"] for shard in completion.results(print)] == [SHA256] * 2


def test_a_part_that_cannot_be_added_ends_the_run(job, monkeypatch):
    def full(*arguments):
        raise InputError("disk full")

    monkeypatch.setattr(jobs, "complete_shard", full)
    with Completion(job, len(PARTS)) as completion:
        with pytest.raises(InputError, match="disk full"):
            wait_until(lambda: completion.add(0, 3))
        with pytest.raises(InputError, match="disk full"):
            completion.results(print)
