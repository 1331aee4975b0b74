"""Tasks in processes: results, progress, errors, processes that end."""

import multiprocessing
import os
import sys

import pytest

from albert_tf.errors import InputError
from data_prep.workers import Workers


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
    with Workers(2) as workers, pytest.raises(InputError, match=r"^worker [12] .* exit status 7; "):
        list(workers.run(exit_with, None, [7, 7], print))
