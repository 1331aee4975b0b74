"""How a request can fail, whatever the protocol."""

from albert_tf.errors import InputError


class Unavailable(ConnectionError):
    """No server answers, or it has no room for the request; asking again may help."""


class ServerFailure(OSError):
    """The server failed, or is none that serves models."""


def failure(status: str, message: str, server: str) -> Exception:
    """What to raise when a server answers with a status that is not OK.

    Args:
      status: a canonical status code of gRPC, such as "NOT_FOUND".
      message: the server's words.
      server: host:port.
    """
    message = message.partition("\n\t [[")[0]  # without the places in the graph
    if status == "UNAVAILABLE":
        return Unavailable(f"{server} is not available: {message}")
    if status == "DEADLINE_EXCEEDED":
        return TimeoutError(f"{server} took longer than the time-out: {message}")
    if status == "NOT_FOUND":
        return InputError(f"{server} does not serve that: {message}")
    if status in ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"):
        return InputError(f"{server} refuses the request: {message}")
    return ServerFailure(f"{server} failed with {status}: {message}")
