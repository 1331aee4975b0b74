"""`Transport`: how a client reaches a server, and how a request can fail, by any protocol."""

import abc
from collections.abc import Mapping

import numpy as np

from albert_tf.errors import InputError, escaped
from albert_tf.serving.signature import Signature


class Transport(abc.ABC):
    """Sends requests to one model of a server over one protocol; see `ServingClient`."""

    def __init__(self, server: str, model_name: str, version: int | None, timeout: float):
        self._server, self._timeout = server, timeout
        self._model_name, self._version = model_name, version

    @abc.abstractmethod
    def signatures(self) -> dict[str, Signature]:
        """Asks for the signatures of the model, by name."""

    @abc.abstractmethod
    def predict(self, signature: Signature, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Asks for the outputs of the signature, by name; strings are `str`."""

    @abc.abstractmethod
    def close(self) -> None:
        """Closes the connections."""


class Unavailable(ConnectionError):
    """No server answers, or it has no room for the request; a later request may succeed."""


class ServerFailure(OSError):
    """The server failed, or it does not serve models."""


def failure(status: str, message: str, server: str) -> Exception:
    """Makes the exception for a server's message with a canonical status code of gRPC, not OK."""
    message = escaped(message.partition("\n\t [[")[0])  # without the places in the graph
    if status == "UNAVAILABLE":
        return Unavailable(f"{server} is not available: {message}")
    if status == "DEADLINE_EXCEEDED":
        return TimeoutError(f"{server} took longer than the time-out: {message}")
    if status == "NOT_FOUND":
        return InputError(f"{server} does not serve that: {message}")
    if status in ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"):
        return InputError(f"{server} refuses the request: {message}")
    return ServerFailure(f"{server} failed with {status}: {message}")
