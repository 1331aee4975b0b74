"""TensorFlow Serving's REST interface; the client needs no TensorFlow for it."""

import base64
import json
import urllib.parse
from collections.abc import Mapping
from typing import Any, TypedDict, TypeVar

import msgspec
import numpy as np
import requests

from albert_tf.files import within
from albert_tf.serving.signature import Signature, TensorInfo
from albert_tf.serving.transport import LONGEST_ANSWER, ServerFailure, Transport, Unavailable, failure

_T = TypeVar("_T")

_STATUSES = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class RestTransport(Transport):
    """Sends requests over HTTP; see `Transport`."""

    def __init__(
        self,
        server: str,
        model_name: str,
        version: int | None,
        timeout: float,
        longest: int = LONGEST_ANSWER,
    ):
        super().__init__(server, model_name, version, timeout)
        self._longest = longest  # bytes of an answer
        self._url = f"http://{server}/v1/models/{urllib.parse.quote(model_name, safe='')}"
        if version is not None:
            self._url += f"/versions/{version}"
        self._session = requests.Session()

    def signatures(self) -> dict[str, Signature]:
        """See `Transport`."""
        found = self._request("GET", "/metadata", _Metadata)["metadata"]["signature_def"]["signature_def"]
        return {
            name: Signature(name, _infos(content["inputs"]), _infos(content["outputs"]))
            for name, content in found.items()
            if content["inputs"]
        }

    def predict(self, signature: Signature, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See `Transport`."""
        content = {
            "signature_name": signature.name,
            "inputs": {name: _json_values(values.tolist()) for name, values in inputs.items()},
        }
        outputs = self._request("POST", ":predict", _Outputs, content)["outputs"]
        if len(signature.outputs) == 1:  # The server leaves out the name of a single output.
            outputs = dict.fromkeys(signature.outputs, outputs)
        with self.reading_answer():
            return {name: info.from_json(outputs[name]) for name, info in signature.outputs.items()}

    def close(self) -> None:
        """See `Transport`."""
        self._session.close()

    def _request(self, method: str, path: str, kind: type[_T], content: Any = None) -> _T:
        data = None if content is None else json.dumps(content)
        try:
            status, body = within(self._timeout, lambda: self._exchange(method, path, data))
        except (TimeoutError, requests.Timeout):
            raise TimeoutError(f"{self._server} did not answer within {self._timeout:g} s") from None
        except requests.ConnectionError as error:
            raise Unavailable(f"no server answers at {self._server}: {_reason(error)}") from None
        except requests.RequestException as error:
            raise ServerFailure(f"{self._server} does not speak HTTP: {error}") from None
        try:
            answer = json.loads(body)
            if status < 400:
                return msgspec.convert(answer, kind, strict=False)
            message = msgspec.convert(answer, _Error)["error"]
        except (ValueError, RecursionError, msgspec.ValidationError) as error:
            problem = error if isinstance(error, msgspec.ValidationError) else "it is not JSON"
            what = f"HTTP status {status}, and of its answer: {problem}"
            raise ServerFailure(f"{self._server} is no TensorFlow Serving: {what}") from None
        raise failure(_STATUSES.get(status, "INTERNAL"), message, self._server)

    def _exchange(self, method: str, path: str, data: str | None) -> tuple[int, bytes]:
        """The status and the body of the answer; `ServerFailure` if it is too long."""
        body = bytearray()
        request = self._session.request
        with request(method, self._url + path, data=data, timeout=self._timeout, stream=True) as response:
            for part in response.iter_content(1 << 20):
                body += part
                if len(body) > self._longest:
                    raise ServerFailure(f"the answer of {self._server} has more than {self._longest:,} bytes")
            return response.status_code, bytes(body)


class _Dimension(TypedDict):
    size: int


class _Shape(TypedDict):
    unknown_rank: bool
    dim: list[_Dimension]


class _Tensor(TypedDict):
    dtype: str
    tensor_shape: _Shape


class _Signature(TypedDict):
    inputs: dict[str, _Tensor]
    outputs: dict[str, _Tensor]


class _Signatures(TypedDict):
    signature_def: dict[str, _Signature]


class _SignatureDef(TypedDict):
    signature_def: _Signatures


class _Metadata(TypedDict):
    """The answer to a request for metadata."""

    metadata: _SignatureDef


class _Outputs(TypedDict):
    """The answer to a request for outputs."""

    outputs: Any


class _Error(TypedDict):
    """The answer to a request that the server refuses."""

    error: str


def _infos(tensors: Mapping[str, _Tensor]) -> dict[str, TensorInfo]:
    return {name: _info(tensors[name]) for name in sorted(tensors)}


def _info(info: _Tensor) -> TensorInfo:
    shape = info["tensor_shape"]
    if shape["unknown_rank"]:
        return TensorInfo(info["dtype"], None)
    sizes = (dim["size"] for dim in shape["dim"])
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
