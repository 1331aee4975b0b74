"""The workers of a cluster: who lists them, how they meet, and what they say about each other."""

import contextlib
import json
import socket
import threading
import time

import pytest

from albert_tf.cli.options import TrainingOptions
from albert_tf.errors import InputError
from albert_tf.training.cluster import Cluster, find_cluster
from tests.support.ports import free_ports


def options(**changes) -> TrainingOptions:
    return TrainingOptions(output_dir="model", distribution_strategy="multi_worker_mirrored", **changes)


def clusters(count: int) -> list[Cluster]:
    hosts = tuple(f"localhost:{port}" for port in free_ports(count))
    return [Cluster(hosts, index) for index in range(count)]


def meet(cluster: Cluster, problems: dict[int, str]) -> threading.Thread:
    def run():
        try:
            cluster.meet(patience=0.5)
        except InputError as error:
            problems[cluster.index] = str(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_workers_meet_in_any_order():
    problems = {}
    threads = [meet(cluster, problems) for cluster in reversed(clusters(4))]
    for thread in threads:
        thread.join()
    assert not problems


def test_workers_that_do_not_come_are_named():
    first, second, third = clusters(3)
    problems = {}
    threads = [meet(first, problems), meet(third, problems)]
    for thread in threads:
        thread.join()
    expected = f"after 0.5 seconds there is no answer from worker 1 ({second.hosts[1]})"
    assert problems == {0: expected, 2: expected}


def test_a_worker_of_another_cluster_is_refused():
    ours, theirs = clusters(2)[0], clusters(2)[1]
    theirs = Cluster((theirs.hosts[0], ours.hosts[1]), 1)
    problems = {}
    threads = [meet(ours, problems), meet(theirs, problems)]
    for thread in threads:
        thread.join()
    assert problems[0] == (
        f"worker 1 ({ours.hosts[1]}) was started with another --worker_hosts, or as another worker than that"
    )


def test_a_stranger_is_not_taken_for_a_worker():
    first, second = clusters(2)
    with socket.create_server(("localhost", int(second.hosts[1].split(":")[1]))) as stranger:
        stranger.settimeout(5)
        problems = {}
        thread = meet(first, problems)
        connection, _ = stranger.accept()
        with connection:
            connection.sendall(b"\0\0\x18\4\n")  # as a gRPC server of an earlier run does
    thread.join()
    assert "no answer from worker 1" in problems[0]


def test_a_stranger_that_never_ends_its_line_does_not_keep_workers_waiting():
    first, second = clusters(2)
    begin = time.monotonic()
    with socket.create_server(("localhost", int(second.hosts[1].split(":")[1]))) as stranger:
        problems = {}
        thread = meet(first, problems)
        connection, _ = stranger.accept()
        with connection, contextlib.suppress(OSError):
            while thread.is_alive() and time.monotonic() < begin + 10:
                connection.sendall(b"a")
                time.sleep(0.05)
    thread.join()
    assert time.monotonic() - begin < 5
    assert "no answer from worker 1" in problems[0]


def test_port_in_use_is_told():
    first, _ = clusters(2)
    port = int(first.hosts[0].split(":")[1])
    with (
        socket.create_server(("", port)),
        pytest.raises(InputError, match=rf"^port {port} of worker 0 .* in --worker_hosts cannot be used"),
    ):
        first.meet(patience=1)


def test_silent_workers_are_those_where_nobody_listens():
    first = clusters(3)[0]
    with socket.create_server(("localhost", int(first.hosts[1].split(":")[1]))):
        assert first.silent() == [2]


@pytest.mark.parametrize(("changes", "message"), [
    ({}, "needs --worker_hosts or TF_CONFIG"),
    ({"worker_hosts": "a:1,b:1"}, "--worker_hosts needs --task_index"),
    ({"task_index": 1}, "--task_index=1 needs --worker_hosts"),
    ({"worker_hosts": "a:1,b:1", "task_index": 2}, "lists 2 workers: --task_index is 0 to 1, not 2"),
    ({"worker_hosts": "a:1", "task_index": 0}, "--worker_hosts lists one worker"),
    ({"worker_hosts": "a:1,a:1", "task_index": 0}, "--worker_hosts lists a worker twice: a:1,a:1"),
    ({"worker_hosts": "a:1,b", "task_index": 0}, "--worker_hosts lists 'b', which is not host:port"),
    ({"worker_hosts": "a:1,b:70000", "task_index": 0}, "'b:70000', which is not host:port"),
])  # fmt: skip
def test_flags_that_make_no_cluster_are_refused(changes, message, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(InputError, match=message):
        find_cluster(options(**changes))


def tf_config(kind: str, index: int, **jobs: list[str]) -> str:
    return json.dumps({"cluster": jobs, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize(("text", "message"), [
    ("worker 0 of 2", r'^TF_CONFIG must be like \{"cluster": .*, not worker 0 of 2'),
    ("[]", "^TF_CONFIG must be like"),
    ('{"cluster": {"worker": [1, 2]}, "task": {"type": "worker", "index": 0}}', "^TF_CONFIG must be like"),
    ('{"cluster": {}, "task": {"type": "worker", "index": Infinity}}', "^TF_CONFIG must be like"),
    ("[" * 100_000, "^TF_CONFIG must be like"),
    ('{"cluster": {"worker": ["a:1", "b:1"]}}', "^TF_CONFIG must be like"),
    (tf_config("worker", 2, worker=["a:1", "b:1"]), "makes this worker 2, but lists 2 of them"),
    (tf_config("evaluator", 0, worker=["a:1", "b:1"]), "makes this evaluator 0, but lists 0 of them"),
    (tf_config("worker", 0, worker=["a:1"]), "^TF_CONFIG lists one worker"),
])  # fmt: skip
def test_tf_config_that_makes_no_cluster_is_refused(text, message, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(InputError, match=message):
        find_cluster(options())


def test_the_chief_of_tf_config_is_the_first_worker(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", tf_config("worker", 0, chief=["a:1"], worker=["b:1", "[::1]:2"]))
    assert find_cluster(options()) == Cluster(("a:1", "b:1", "[::1]:2"), 1, "TF_CONFIG")
    flags = {"worker_hosts": "c:1, d:1", "task_index": 0}
    assert find_cluster(options(**flags)) == Cluster(("c:1", "d:1"), 0)  # flags override it
