"""Runs scripts side by side in processes that may be killed; they need not import TensorFlow again.

    python -m tests.support.killed_runs

reads a line of JSON from standard input, a list of the fields of `Job`s that run side by side, and answers
with a list of their exit statuses, -9 of one that was killed.
"""

import dataclasses
import gc
import importlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from albert_tf.cli.script import quiet_start

ROOT = pathlib.Path(__file__).resolve().parents[2]


@dataclasses.dataclass
class Job:
    """A run of a script. It gets a signal `seconds` after its start, or after one of the files appears."""

    argv: list[str]
    log: str
    seconds: float | None = None
    wait_for: list[str] | None = None
    signal: int = signal.SIGKILL


def job(script: str, flags: dict[str, object], log: object, **when) -> Job:
    argv = [f"{script}.py", *(f"--{name}={value}" for name, value in flags.items())]
    return Job(argv, str(log), **when)


class Runner:
    """The process that runs scripts, seen from the tests."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.killed_runs"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )

    def run(self, *jobs: Job) -> list[int]:
        self._process.stdin.write(json.dumps([dataclasses.asdict(job) for job in jobs]) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()


def main() -> None:
    quiet_start("error")
    importlib.import_module("run_classifier")
    importlib.import_module("run_pretraining")
    importlib.import_module("albert_tf.tasks.classification.classification_task")
    importlib.import_module("albert_tf.tasks.pretraining")
    importlib.import_module("albert_tf.fine_tuning.fine_tune")

    # The children need not look through these modules for garbage, which would also copy their memory.
    gc.collect()
    gc.freeze()

    for line in sys.stdin:
        jobs = [Job(**job) for job in json.loads(line)]
        # TensorFlow must not have started any threads yet: a fork would lose them.
        children = [_start(job) for job in jobs]
        print(json.dumps(_wait_and_signal(children, jobs)), flush=True)


def _start(job: Job) -> int:
    child = os.fork()
    if child:
        return child
    log = os.open(job.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, sys.stdout.fileno())
    os.dup2(log, sys.stderr.fileno())
    script = importlib.import_module(job.argv[0].removesuffix(".py"))
    status = script.main(job.argv)
    sys.stdout.flush()
    os._exit(status)


def _wait_and_signal(children: Sequence[int], jobs: Sequence[Job]) -> list[int]:
    statuses: dict[int, int] = {}
    begin = time.monotonic()
    due = [None if job.wait_for or job.seconds is None else begin + job.seconds for job in jobs]
    while len(statuses) < len(jobs):
        for i, (child, job) in enumerate(zip(children, jobs, strict=True)):
            if i in statuses:
                continue
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                statuses[i] = os.waitstatus_to_exitcode(status)
                continue
            if job.wait_for and any(map(os.path.exists, job.wait_for)):
                due[i] = time.monotonic() + job.seconds
                job.wait_for = None
            if due[i] is not None and time.monotonic() >= due[i]:
                os.kill(child, job.signal)
                due[i] = None
        time.sleep(0.002)
    return [statuses[i] for i in range(len(jobs))]


if __name__ == "__main__":
    main()
