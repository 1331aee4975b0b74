"""Runs a script in processes of its own, each of which may be killed, without importing TensorFlow each time.

    python -m tests.killed_runs

reads a line of JSON from standard input for each run, {"argv": list, "log": path, "seconds": number or null,
"wait_for": list of paths or null}, and prints its exit status, -9 if it was killed. It is killed so many
seconds after it began, or after one of the files appeared.
"""

import json
import os
import signal
import sys
import time

from albert_tf.script import quiet_start


def main() -> None:
    quiet_start("error")
    import run_pretraining
    from albert_tf.tasks import pretraining  # noqa: F401
    from albert_tf.training import loop  # noqa: F401

    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()  # before TensorFlow has begun any work, of which threads would be lost
        if not child:
            log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, sys.stdout.fileno())
            os.dup2(log, sys.stderr.fileno())
            status = run_pretraining.main(job["argv"])
            sys.stdout.flush()
            os._exit(status)
        print(_wait_or_kill(child, job["seconds"], job["wait_for"]), flush=True)


def _wait_or_kill(child: int, seconds: float | None, wait_for: list[str] | None) -> int:
    due = None if wait_for or seconds is None else time.monotonic() + seconds
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if wait_for and due is None and any(map(os.path.exists, wait_for)):
            due = time.monotonic() + seconds
        if due is not None and time.monotonic() >= due:
            os.kill(child, signal.SIGKILL)
            due = None
        time.sleep(0.002)


if __name__ == "__main__":
    main()
