"""`ServingClient`: requests to a model that TensorFlow Serving serves."""

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from albert_tf.errors import InputError
from albert_tf.serving.failure import Unavailable
from albert_tf.serving.signature import Signature

PORTS = {"rest": 8501, "grpc": 8500}

_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 8.0  # seconds; each pause is twice the one before
_Result = TypeVar("_Result")


class ServingClient:
    """Asks one model of a server; a context manager.

    Example:
      with ServingClient(model_name="sst2") as client:
          answer = client.predict("serving_default", {"text": ["A fine film.", "A poor one."]})
          answer["label"], answer["probabilities"]

    Args:
      server: host:port; None is this machine, at the usual port of the protocol.
      model_name: as the server calls it.
      protocol: "rest", or "grpc", which imports TensorFlow.
      version: of the model; None is the latest that the server has.
      timeout: seconds that a request may take.
      retries: how often a request is repeated while no server is available, after longer and longer pauses.

    Raises, from every method:
      InputError: model, version, signature or inputs are none that the server takes.
      TimeoutError: there is no answer in time.
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
    ):
        if protocol not in PORTS:
            raise InputError(f"the protocol is one of {', '.join(PORTS)}, not {protocol}")
        server = server or f"localhost:{PORTS[protocol]}"
        self._server, self._retries = server, retries
        if protocol == "rest":
            from albert_tf.serving.rest import RestTransport as Transport
        else:
            from albert_tf.serving.grpc_transport import GrpcTransport as Transport
        self._transport = Transport(server, model_name, version, timeout)
        self._signatures: dict[str, Signature] | None = None

    def __enter__(self) -> "ServingClient":
        return self

    def __exit__(self, *exception: object) -> None:
        self._transport.close()

    def signatures(self) -> dict[str, Signature]:
        """The ways to ask the model, by name; the server is asked once."""
        if self._signatures is None:
            self._signatures = self._patiently(self._transport.signatures)
        return self._signatures

    def signature(self, name: str) -> Signature:
        """One of them."""
        known = self.signatures()
        if name not in known:
            there = ", ".join(sorted(known))
            raise InputError(f"the model at {self._server} has no signature {name}; it has {there}")
        return known[name]

    def predict(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The outputs by name.

        Args:
          signature: its name.
          inputs: by name, arrays or nested lists, with the batch first; texts are `str` or UTF-8 `bytes`.
        """
        found = self.signature(signature)
        arrays = found.to_arrays(inputs)
        return self._patiently(lambda: self._transport.predict(found, arrays))

    def _patiently(self, request: Callable[[], _Result]) -> _Result:
        for retry in range(self._retries):
            try:
                return request()
            except Unavailable:
                time.sleep(min(_FIRST_PAUSE * 2**retry, _LONGEST_PAUSE))
        return request()
