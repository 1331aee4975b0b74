"""`ServingClient`: it sends requests to a model that TensorFlow Serving serves."""

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from albert_tf.errors import InputError
from albert_tf.serving.signature import Signature
from albert_tf.serving.transport import Transport, Unavailable

PORTS = {"rest": 8501, "grpc": 8500}

_LONGEST_PAUSE = 8.0  # seconds
_Result = TypeVar("_Result")


class ServingClient:
    """Asks one model of a server; it is a context manager.

    Example:
      with ServingClient(model_name="sst2") as client:
          answer = client.predict("serving_default", {"text": ["A fine film.", "A poor one."]})
          answer["label"], answer["probabilities"]

    Args:
      server: host:port; None means this machine and the usual port of the protocol.
      model_name: the name that the server gives the model.
      protocol: "rest", or "grpc", which imports TensorFlow.
      version: None means the latest that the server has.
      timeout: seconds that a request may take.
      retries: how often the client repeats a request while no server is available.
      first_pause: seconds before the first repetition; each further pause is twice as long, up to 8 seconds.

    Raises, from every method:
      InputError: the server does not have the model, version or signature, or does not take the inputs.
      TimeoutError: no answer came in time.
      ConnectionError: the server is not available.
      OSError: the server failed.
    """

    def __init__(
        self,
        server: str | None = None,
        *,
        model_name: str,
        protocol: str = "rest",
        version: int | None = None,
        timeout: float = 10.0,
        retries: int = 3,
        first_pause: float = 0.25,
    ):
        if protocol not in PORTS:
            raise InputError(f"the protocol is one of {', '.join(PORTS)}, not {protocol}")
        server = server or f"localhost:{PORTS[protocol]}"
        self._server, self._retries, self._first_pause = server, retries, first_pause
        transport: type[Transport]
        if protocol == "rest":
            from albert_tf.serving.rest import RestTransport as transport
        else:
            from albert_tf.serving.grpc_transport import GrpcTransport as transport
        self._transport = transport(server, model_name, version, timeout)
        self._signatures: dict[str, Signature] | None = None

    def __enter__(self) -> "ServingClient":
        return self

    def __exit__(self, *exception: object) -> None:
        self._transport.close()

    def signatures(self) -> dict[str, Signature]:
        """The signatures of the model, by name; only the first call asks the server."""
        if self._signatures is None:
            self._signatures = self._patiently(self._transport.signatures)
        return self._signatures

    def signature(self, name: str) -> Signature:
        """The signature of that name; InputError if there is none."""
        known = self.signatures()
        if name not in known:
            there = ", ".join(sorted(known))
            raise InputError(f"the model at {self._server} has no signature {name}; it has {there}")
        return known[name]

    def predict(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Asks the model; returns the outputs by name, the batch first; texts are `str`.

        Each input is an array or nested lists, the batch first; texts are `str` or UTF-8 `bytes`.
        """
        found = self.signature(signature)
        arrays = found.to_arrays(inputs)
        return self._patiently(lambda: self._transport.predict(found, arrays))

    def _patiently(self, request: Callable[[], _Result]) -> _Result:
        for retry in range(self._retries):
            try:
                return request()
            except Unavailable:
                time.sleep(min(self._first_pause * 2**retry, _LONGEST_PAUSE))
        return request()
