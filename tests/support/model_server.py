"""The real tensorflow_model_server, if it is on the PATH."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import NamedTuple

from albert_tf.serving_client import ServingClient
from tests.support.ports import free_ports
from tests.support.stand_in import MODEL_NAME

PROGRAM = "tensorflow_model_server"

_PATIENCE = 120.0  # seconds for the server to load the model and warm it up


class Ports(NamedTuple):
    """host:port of each protocol."""

    rest: str
    grpc: str


@contextlib.contextmanager
def model_server(export_dir: str) -> Iterator[Ports]:
    """Serves the versions beside `export_dir`; yields when the server has loaded the model.

    Raises:
      AssertionError: the server does not load the model, or ends; the message holds its log.
    """
    rest, grpc = free_ports(2)
    ports = Ports(f"127.0.0.1:{rest}", f"127.0.0.1:{grpc}")
    log_file = os.path.join(os.path.dirname(export_dir), "server.log")
    command = [
        shutil.which(PROGRAM),
        f"--rest_api_port={rest}",
        f"--port={grpc}",
        f"--model_name={MODEL_NAME}",
        f"--model_base_path={os.path.dirname(os.path.abspath(export_dir))}",
    ]
    with open(log_file, "w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            _wait(process, ports, log_file)
            yield ports
        finally:
            process.terminate()


def _wait(process: subprocess.Popen, ports: Ports, log_file: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    with ServingClient(ports.rest, model_name=MODEL_NAME, retries=0) as client:
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError, ValueError):  # not listening yet, or still loading
                client.signatures()
                return
            time.sleep(0.2)
    with open(log_file) as log:
        raise AssertionError(f"{PROGRAM} does not serve:\n{log.read()[-4000:]}")
