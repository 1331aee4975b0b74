"""TensorFlow Serving's REST interface; the client needs no TensorFlow for it."""

import base64
import json
import urllib.parse
from collections.abc import Mapping
from typing import Any

import numpy as np
import requests

from albert_tf.serving.signature import Signature, TensorInfo
from albert_tf.serving.transport import ServerFailure, Transport, Unavailable, failure

_STATUSES = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class RestTransport(Transport):
    """Sends requests over HTTP; see `Transport`."""

    def __init__(self, server: str, model_name: str, version: int | None, timeout: float):
        super().__init__(server, model_name, version, timeout)
        self._url = f"http://{server}/v1/models/{urllib.parse.quote(model_name, safe='')}"
        if version is not None:
            self._url += f"/versions/{version}"
        self._session = requests.Session()

    def signatures(self) -> dict[str, Signature]:
        """See `Transport`."""
        metadata = self._request("GET", "/metadata", "metadata")["signature_def"]["signature_def"]
        return {
            name: Signature(name, _infos(content["inputs"]), _infos(content["outputs"]))
            for name, content in metadata.items()
            if content["inputs"]
        }

    def predict(self, signature: Signature, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See `Transport`."""
        content = {
            "signature_name": signature.name,
            "inputs": {name: _json_values(values.tolist()) for name, values in inputs.items()},
        }
        outputs = self._request("POST", ":predict", "outputs", content)
        if len(signature.outputs) == 1:  # The server leaves out the name of a single output.
            outputs = dict.fromkeys(signature.outputs, outputs)
        return {name: info.from_json(outputs[name]) for name, info in signature.outputs.items()}

    def close(self) -> None:
        """See `Transport`."""
        self._session.close()

    def _request(self, method: str, path: str, wanted: str, content: Any = None) -> Any:
        data = None if content is None else json.dumps(content)
        try:
            response = self._session.request(method, self._url + path, data=data, timeout=self._timeout)
        except requests.Timeout:
            raise TimeoutError(f"{self._server} did not answer within {self._timeout:g} s") from None
        except requests.ConnectionError as error:
            raise Unavailable(f"no server answers at {self._server}: {_reason(error)}") from None
        except requests.RequestException as error:
            raise ServerFailure(f"{self._server} does not speak HTTP: {error}") from None
        try:
            answer = response.json()
            if response.ok:
                return answer[wanted]
            message = answer["error"]
        except (ValueError, KeyError, TypeError):
            status = f"HTTP status {response.status_code}"
            raise ServerFailure(f"{self._server} is no TensorFlow Serving: {status}, no {wanted}") from None
        raise failure(_STATUSES.get(response.status_code, "INTERNAL"), message, self._server)


def _infos(tensors: Mapping[str, Any]) -> dict[str, TensorInfo]:
    return {name: _info(tensors[name]) for name in sorted(tensors)}


def _info(info: Mapping[str, Any]) -> TensorInfo:
    shape = info["tensor_shape"]
    if shape["unknown_rank"]:
        return TensorInfo(info["dtype"], None)
    sizes = (int(dim["size"]) for dim in shape["dim"])
    return TensorInfo(info["dtype"], tuple(None if size < 0 else size for size in sizes))


def _json_values(values: Any) -> Any:
    """Makes JSON of nested lists: `bytes` become text, or base64 if they are not UTF-8."""
    if isinstance(values, list):
        return [_json_values(value) for value in values]
    if not isinstance(values, bytes):
        return values
    try:
        return values.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(values).decode()}


def _reason(error: BaseException) -> str:
    """The message of the innermost of nested errors."""
    while error.args and isinstance(error.args[-1], BaseException):
        error = error.args[-1]
    return str(getattr(error, "reason", error)).rpartition(": ")[2]
