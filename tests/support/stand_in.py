"""A stand-in for tensorflow_model_server: its REST and gRPC interfaces, in front of functions in Python."""

import base64
import concurrent.futures
import contextlib
import http.server
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

MODEL_NAME = "tiny"
VERSION = 1

_HTTP_STATUSES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "NOT_FOUND": 404,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
}


class Refusal(Exception):
    """A status that is not OK, and its message."""


class StandIn:
    """The part that both interfaces share.

    Attributes:
      rest, grpc: host:port of each.
      arrivals: when each request came, in seconds of `time.monotonic`.
      refusals: the answers to the next requests, in place of real answers.
      delay: seconds that a prediction takes longer.
    """

    def __init__(self, signatures: Mapping[str, Callable[..., Mapping[str, tf.Tensor]]]):
        self._signatures = signatures
        self.rest = self.grpc = ""
        self.reset()

    def reset(self) -> None:
        """Forgets earlier requests, and plans no refusals and no delay."""
        self.arrivals: list[float] = []
        self.refusals: list[Refusal] = []
        self.delay = 0.0

    def signature_defs(self, name: str, version: int | None) -> get_model_metadata_pb2.SignatureDefMap:
        """Describes the model, as the server does."""
        self._find(name, version)
        known = {n: _signature_def(function) for n, function in self._signatures.items()}
        known["__saved_model_init_op"] = meta_graph_pb2.SignatureDef()
        return get_model_metadata_pb2.SignatureDefMap(signature_def=known)

    def specs(self, signature: str) -> Mapping[str, tf.TensorSpec]:
        """The inputs of a signature."""
        if signature not in self._signatures:
            raise Refusal("FAILED_PRECONDITION", f'Serving signature key "{signature}" not found.')
        return self._signatures[signature].structured_input_signature[1]

    def predict(
        self, name: str, version: int | None, signature: str, inputs: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        """The outputs of a signature."""
        self._find(name, version)
        if set(inputs) != set(self.specs(signature)):
            raise Refusal("INVALID_ARGUMENT", f"input size does not match signature: {sorted(inputs)}")
        time.sleep(self.delay)
        try:
            outputs = self._signatures[signature](**inputs)
        except (TypeError, ValueError) as error:
            raise Refusal("INVALID_ARGUMENT", str(error)) from None
        except tf.errors.OpError as error:
            raise Refusal("INVALID_ARGUMENT", error.message) from None
        return {name: values.numpy() for name, values in outputs.items()}

    def _find(self, name: str, version: int | None) -> None:
        self.arrivals.append(time.monotonic())
        if self.refusals:
            raise self.refusals.pop(0)
        if name != MODEL_NAME or version not in (None, VERSION):
            wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise Refusal("NOT_FOUND", f"Servable not found for request: {wanted}")


@contextlib.contextmanager
def stand_in(signatures: Mapping[str, Callable[..., Mapping[str, tf.Tensor]]]) -> Iterator[StandIn]:
    """Serves signatures of a loaded SavedModel at free ports of this machine."""
    model = StandIn(signatures)
    handler = type("Handler", (_Rest,), {"model": model})
    rest = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    model.rest = f"127.0.0.1:{rest.server_address[1]}"
    with concurrent.futures.ThreadPoolExecutor() as threads:
        service = grpc.server(threads)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_Grpc(model), service)
        model.grpc = f"127.0.0.1:{service.add_insecure_port('127.0.0.1:0')}"
        service.start()
        threading.Thread(target=rest.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield model
        finally:
            rest.shutdown()
            rest.server_close()
            service.stop(None).wait()


class _Grpc(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, model: StandIn):
        self._model = model

    def GetModelMetadata(self, request, context):
        with _refusing(context):
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            known = self._model.signature_defs(request.model_spec.name, _version(request.model_spec))
            response.metadata["signature_def"].Pack(known)
            return response

    def Predict(self, request, context):
        with _refusing(context):
            spec = request.model_spec
            inputs = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
            outputs = self._model.predict(spec.name, _version(spec), spec.signature_name, inputs)
            response = predict_pb2.PredictResponse()
            for name, values in outputs.items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(values))
            return response


@contextlib.contextmanager
def _refusing(context: grpc.ServicerContext) -> Iterator[None]:
    try:
        yield
    except Refusal as refusal:
        status, message = refusal.args
        context.abort(grpc.StatusCode[status], message)


def _version(spec: Any) -> int | None:
    return spec.version.value if spec.HasField("version") else None


class _Rest(http.server.BaseHTTPRequestHandler):
    model: StandIn

    def do_GET(self):
        self._answer(self._metadata)

    def do_POST(self):
        self._answer(self._predict)

    def log_message(self, *arguments):
        pass

    def _metadata(self) -> Any:
        known = self.model.signature_defs(*self._address("/metadata"))
        options = {"preserving_proto_field_name": True, "always_print_fields_with_no_presence": True}
        return {"metadata": {"signature_def": json_format.MessageToDict(known, **options)}}

    def _predict(self) -> Any:
        address = self._address(":predict")
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])), object_hook=_bytes)
        signature = content["signature_name"]
        specs = self.model.specs(signature)
        inputs = {name: tf.constant(values, specs[name].dtype) for name, values in content["inputs"].items()}
        outputs = self.model.predict(*address, signature, inputs)
        values = {name: _lists(array) for name, array in outputs.items()}
        return {"outputs": values if len(values) > 1 else next(iter(values.values()))}

    def _address(self, end: str) -> tuple[str, int | None]:
        match = re.fullmatch(rf"/v1/models/([^/:]+)(?:/versions/(\d+))?{end}", self.path)
        if not match:
            raise Refusal("INVALID_ARGUMENT", f"Malformed request: {self.path}")
        return match[1], match[2] and int(match[2])

    def _answer(self, make: Callable[[], Any]) -> None:
        try:
            status, content = 200, make()
        except Refusal as refusal:
            status, content = _HTTP_STATUSES[refusal.args[0]], {"error": refusal.args[1]}
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # of a client that has given up
            self.wfile.write(body)


def _signature_def(function: Any) -> meta_graph_pb2.SignatureDef:
    return meta_graph_pb2.SignatureDef(
        inputs=_infos(function.structured_input_signature[1]), outputs=_infos(function.structured_outputs)
    )


def _infos(tensors: Mapping[str, Any]) -> dict[str, meta_graph_pb2.TensorInfo]:
    infos = {}
    for name, tensor in tensors.items():
        dtype, shape = tensor.dtype.as_datatype_enum, tensor.shape.as_proto()
        infos[name] = meta_graph_pb2.TensorInfo(dtype=dtype, tensor_shape=shape)
    return infos


def _bytes(content: dict[str, Any]) -> Any:
    return base64.b64decode(content["b64"]) if set(content) == {"b64"} else content


def _lists(array: np.ndarray) -> Any:
    if array.dtype == object:
        array = np.array([value.decode() for value in array.flat], object).reshape(array.shape)
    return array.tolist()
