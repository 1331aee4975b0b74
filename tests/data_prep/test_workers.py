"""Tasks in processes: results, progress, errors, processes that end."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from albert_tf import testing
from albert_tf.errors import InputError
from data_prep.workers import Workers
from tests.support.data_prep_runs import write_text


def add(context, task, on_progress):
    on_progress(task, 1)
    return context + task


def modules(context, task, on_progress):
    return {name.partition(".")[0] for name in sys.modules}


def process_id(context, task, on_progress):
    return os.getpid()


def complain(context, task, on_progress):
    raise InputError(f"no {task}")


def exit_with(context, task, on_progress):
    os._exit(task)


@pytest.mark.parametrize("count", [1, 3])
def test_every_task_is_done_once_and_reports_progress(count):
    reported = []
    with Workers(count) as workers:
        for tasks in (range(10), [5], []):
            results = dict(workers.run(add, 100, tasks, lambda *done: reported.append(done)))
            assert results == {task: 100 + task for task in tasks}
    assert sorted(reported) == sorted([(n, 1) for n in range(10)] + [(5, 1)])


def test_workers_are_without_tensorflow_and_end_with_the_block():
    with Workers(2) as workers:
        [(_, first), (_, _)] = workers.run(modules, None, [1, 2], print)
        assert len(multiprocessing.active_children()) == 2
    assert {"data_prep", "numpy"} <= first
    assert "tensorflow" not in first
    assert not multiprocessing.active_children()


def test_processes_that_were_started_ahead_are_the_ones_that_work():
    with Workers(2) as workers:
        for tasks, processes in ((1, 0), (5, 2), (5, 2)):
            workers.start_for(tasks)
            assert len(multiprocessing.active_children()) == processes
        ahead = {process.pid for process in multiprocessing.active_children()}
        assert {pid for _, pid in workers.run(process_id, None, [1, 2, 3], print)} <= ahead
        assert {process.pid for process in multiprocessing.active_children()} == ahead


@pytest.mark.parametrize("count", [1, 2])
def test_the_error_of_a_task_is_raised(count):
    with Workers(count) as workers, pytest.raises(InputError) as error:
        list(workers.run(complain, None, ["bread", "bread"], print))
    assert str(error.value) == "no bread"


def test_a_worker_that_ends_is_named_with_its_exit_status():
    with Workers(2) as workers, pytest.raises(InputError, match=r"^worker process \d+ .* exit status 7; "):
        list(workers.run(exit_with, None, [7, 7], print))


def test_a_worker_that_dies_while_another_one_starts_ends_the_run(monkeypatch):
    kind = multiprocessing.get_context("spawn").Process
    start, terminate, is_ended = kind.start, kind.terminate, threading.Event()

    def start_while_the_first_dies(process):
        others = multiprocessing.active_children()
        start(process)
        for first in others:
            os.kill(first.pid, signal.SIGKILL)
            assert is_ended.wait(60)  # the pool has found it dead, and ends those that it knows
            time.sleep(0.1)

    def say_so(process):
        terminate(process)
        is_ended.set()

    monkeypatch.setattr(kind, "start", start_while_the_first_dies)
    monkeypatch.setattr(kind, "terminate", say_so)
    with Workers(2) as workers, pytest.raises(InputError, match="ended early; what is done is kept"):
        list(workers.run(add, 0, [1, 2], print))
    assert not multiprocessing.active_children()


def test_ctrl_c_ends_a_run_quietly_and_soon(tmp_path):
    write_text(tmp_path / "text.txt", documents=3000)
    code = (
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # which may be ignored here
        "from data_prep.create_pretraining_data import main\n"
        "sys.exit(main())\n"
    )
    flags = {"input_file": tmp_path / "text.txt", "output_file": tmp_path / "out", "num_workers": 2}
    flags = [f"--{name}={value}" for name, value in flags.items()]
    command = [sys.executable, "-c", code, *flags, f"--vocab_file={testing.VOCAB_FILE}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, start_new_session=True, **pipes) as process:
        while "time" not in process.stdout.readline():  # the end of the plan
            pass
        time.sleep(0.3)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=30)  # returns when no process is left to write
    assert process.returncode == 130
    assert err.endswith("-c: error: interrupted\n")
    assert "Traceback" not in err
