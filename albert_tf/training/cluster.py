"""`Cluster`: the workers of a run on several machines, how they meet, and which of them is lost."""

import contextlib
import dataclasses
import os
import re
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import TypedDict

from albert_tf.cli.options import RunOptions
from albert_tf.cli.text import say
from albert_tf.errors import InputError
from albert_tf.files import parse_json

NOTICED_WITHIN = 6.0  # seconds after which all workers know that one is lost
# All in seconds; workers wait long for each other, because machines do not start at the same time.
_PATIENCE, _SAY_EVERY, _LOOK_EVERY, _PAUSE = 600.0, 20.0, 1.0, 0.1
_ANSWER_WITHIN, _GREETS_WITHIN = 2.0, 30.0
_LOST_AFTER = 3  # missed answers
_HOST = re.compile(r"(?P<host>[^\s:]+|\[[^\s\]]+\]):(?P<port>\d{1,5})")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """All workers of a run.

    Attributes:
      hosts: "host:port" of each worker.
      index: the number of this process among them.
      source: the flag or variable that lists them, for messages.
    """

    hosts: tuple[str, ...]
    index: int
    source: str = "--worker_hosts"

    def __post_init__(self):
        count = len(self.hosts)
        for host in self.hosts:
            parts = _HOST.fullmatch(host)
            if not parts or not 0 < int(parts["port"]) < 2**16:
                raise InputError(f"{self.source} lists '{host:.100}', which is not host:port")
        if len(set(self.hosts)) < count:
            raise InputError(f"{self.source} lists a worker twice: {','.join(self.hosts)}")
        if count < 2:
            raise InputError(
                f"{self.source} lists one worker; several make a cluster, and for one machine there is "
                "--distribution_strategy=mirrored"
            )
        if not 0 <= self.index < count:
            problem = f"--task_index is 0 to {count - 1}, not {self.index}"
            raise InputError(f"{self.source} lists {count} workers: {problem}")

    @property
    def names(self) -> list[str]:
        """The names of the workers in messages."""
        return [f"worker {index} ({host})" for index, host in enumerate(self.hosts)]

    def meet(self, patience: float = _PATIENCE) -> None:
        """Waits until all workers have greeted each other; TensorFlow's own wait cannot be interrupted.

        Raises:
          InputError: a worker is not there after `patience` seconds or has another list, or a port is in use.
        """
        # A worker that greeted all and was greeted by all has no more to answer: TensorFlow gets its port.
        to_greet, to_come = set(self._others), set(self._others)
        begin, said = time.monotonic(), 0.0
        with self._answering(to_come):
            while absent := to_greet | to_come:
                left = max(begin + patience - time.monotonic(), _PAUSE)
                to_greet -= {i for i in sorted(to_greet) if self._greet(i, min(left, _GREETS_WITHIN))}
                waited = time.monotonic() - begin
                names = ", ".join(self.names[index] for index in sorted(absent))
                if waited > patience:
                    raise InputError(f"after {patience:g} seconds there is no answer from {names}")
                if waited > said + _SAY_EVERY:
                    said = waited
                    say(f"waiting for {names} ({waited:.0f} s)")
                time.sleep(_PAUSE)

    @contextlib.contextmanager
    def watch(self, on_lost: Callable[[str], None]) -> Iterator[None]:
        """Calls `on_lost`, from another thread, with the names of lost workers."""

        def look(done: threading.Event) -> None:
            missed = 0
            while not done.wait(_LOOK_EVERY):
                silent = self.silent()
                missed = missed + 1 if silent else 0
                if missed == _LOST_AFTER:
                    return on_lost(", ".join(self.names[index] for index in silent))

        with _in_background(look):
            yield

    def silent(self) -> list[int]:
        """The other workers at whose address nobody listens."""
        return [index for index in self._others if not connects(self.hosts[index])]

    @property
    def _others(self) -> list[int]:
        return [index for index in range(len(self.hosts)) if index != self.index]

    def _greeting(self, index: int) -> bytes:
        """The greeting of a worker: its number, and a code for its list of workers."""
        return b"albert_tf %d %08x\n" % (index, zlib.crc32(",".join(self.hosts).encode()))

    @contextlib.contextmanager
    def _answering(self, to_come: set[int]) -> Iterator[None]:
        """Greets everyone who connects, in the background; removes workers who greet from `to_come`."""
        greetings = {self._greeting(index): index for index in self._others}

        def answer(done: threading.Event) -> None:
            while not done.is_set():
                with contextlib.suppress(OSError):
                    caller, _ = listener.accept()
                    with caller:
                        caller.settimeout(_ANSWER_WITHIN)
                        caller.sendall(self._greeting(self.index))
                        to_come.discard(greetings.get(_line(caller, _ANSWER_WITHIN)))

        with self._listener() as listener:
            listener.settimeout(_PAUSE)
            with _in_background(answer):
                yield

    def _listener(self) -> socket.socket:
        port = _address(self.hosts[self.index])[1]
        try:
            if socket.has_dualstack_ipv6():
                return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
            return socket.create_server(("", port))
        except OSError as error:
            raise InputError(
                f"port {port} of {self.names[self.index]} in {self.source} cannot be used: {error.strerror}; "
                "is a worker of an earlier run still there?"
            ) from None

    def _greet(self, index: int, seconds: float) -> bool:
        """Whether a worker greets back in so many seconds; `InputError` if it is not the listed one."""
        try:
            with socket.create_connection(_address(self.hosts[index]), _ANSWER_WITHIN) as connection:
                connection.sendall(self._greeting(self.index))
                # A busy machine lets us connect long before it answers.
                answer = _line(connection, seconds)
        except OSError:
            return False
        if answer.startswith(b"albert_tf ") and answer != self._greeting(index):
            raise InputError(
                f"{self.names[index]} was started with another {self.source}, or as another worker than that"
            )
        return answer == self._greeting(index)


def find_cluster(options: RunOptions) -> Cluster:
    """The cluster of the flags, else of the variable TF_CONFIG; `InputError` if they give no cluster."""
    if options.worker_hosts:
        if options.task_index < 0:
            raise InputError("--worker_hosts needs --task_index, the number of this worker from 0")
        hosts = [host.strip() for host in options.worker_hosts.split(",")]
        return Cluster(tuple(hosts), options.task_index)
    if options.task_index >= 0:
        raise InputError(f"--task_index={options.task_index} needs --worker_hosts")
    if not os.environ.get("TF_CONFIG"):
        raise InputError("--distribution_strategy=multi_worker_mirrored needs --worker_hosts or TF_CONFIG")
    return _from_tf_config(os.environ["TF_CONFIG"])


class _Place(TypedDict):
    type: str
    index: int | str


class _TfConfig(TypedDict):
    cluster: dict[str, list[str]]
    task: _Place


def _from_tf_config(text: str) -> Cluster:
    try:
        config = parse_json(text.encode(), "TF_CONFIG", _TfConfig)
        kind, number = config["task"]["type"], int(config["task"]["index"])
    except ValueError as error:  # an `InputError` is one, too
        raise InputError(
            'TF_CONFIG must be like {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", '
            f'"index": 0}}}}, not {text[:200]} ({error})'
        ) from None
    jobs = {job: config["cluster"].get(job, []) for job in ("chief", "worker")}
    if not 0 <= number < len(jobs.get(kind, [])):
        raise InputError(f"TF_CONFIG makes this {kind} {number}, but lists {len(jobs.get(kind, []))} of them")
    before = len(jobs["chief"]) if kind == "worker" else 0
    return Cluster((*jobs["chief"], *jobs["worker"]), before + number, "TF_CONFIG")


@contextlib.contextmanager
def _in_background(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Runs `work` in a thread; sets its event when the block ends."""
    done = threading.Event()
    thread = threading.Thread(target=work, args=(done,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def connects(host: str) -> bool:
    """Whether somebody listens at "host:port"."""
    try:
        with socket.create_connection(_address(host), _ANSWER_WITHIN):
            return True
    except (OSError, ValueError):
        return False


def _address(host: str) -> tuple[str, int]:
    name, _, port = host.rpartition(":")
    return name.strip("[]"), int(port)


def _line(connection: socket.socket, seconds: float) -> bytes:
    """The line that arrives within so many seconds in all, up to 100 bytes; else `TimeoutError`."""
    end, line = time.monotonic() + seconds, b""
    while not line.endswith(b"\n") and len(line) < 100:
        connection.settimeout(max(end - time.monotonic(), 1e-3))
        more = connection.recv(1)  # and nothing of what may follow the line
        if not more:
            break
        line += more
    return line
