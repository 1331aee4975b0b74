"""`Transport`: how a client reaches a server, and how a request can fail, by any protocol."""

import abc
import contextlib
from collections.abc import Iterator, Mapping

import numpy as np

from albert_tf.errors import InputError, escaped
from albert_tf.serving.signature import Signature

LONGEST_ANSWER = 1 << 30  # bytes


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

    @contextlib.contextmanager
    def reading_answer(self) -> Iterator[None]:
        """Raises `ServerFailure` if the block, which takes an answer to pieces, finds other things in it."""
        try:
            yield
        except InputError:
            raise
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            problem = f"the answer of {self._server} does not fit its description of the model"
            raise ServerFailure(f"{problem}: {error!s:.300}") from None

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
