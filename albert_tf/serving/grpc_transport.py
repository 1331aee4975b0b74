"""TensorFlow Serving's gRPC interface; its messages import TensorFlow."""

from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

from albert_tf.serving.signature import Signature, TensorInfo
from albert_tf.serving.transport import LONGEST_ANSWER, Transport, failure

_OPTIONS = (
    ("grpc.max_receive_message_length", LONGEST_ANSWER),  # The default of 4 MB is too little for embeddings.
    ("grpc.max_reconnect_backoff_ms", 1000),  # The client itself decides how long it waits.
)


class GrpcTransport(Transport):
    """Sends requests over gRPC; see `Transport`."""

    def __init__(self, server: str, model_name: str, version: int | None, timeout: float):
        super().__init__(server, model_name, version, timeout)
        self._channel = grpc.insecure_channel(server, options=_OPTIONS)
        self._service = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def signatures(self) -> dict[str, Signature]:
        """See `Transport`."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        response = self._call(self._service.GetModelMetadata, request)
        contents = get_model_metadata_pb2.SignatureDefMap()
        with self.reading_answer():
            try:
                is_there = response.metadata["signature_def"].Unpack(contents)
            except DecodeError:
                is_there = False
            if not is_there:
                raise ValueError("there are no signatures in it")
            return signatures_of(contents.signature_def)

    def predict(self, signature: Signature, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See `Transport`."""
        request = predict_pb2.PredictRequest()
        request.model_spec.signature_name = signature.name
        for name, values in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        response = self._call(self._service.Predict, request)
        with self.reading_answer():
            return {name: _array(response.outputs[name], info) for name, info in signature.outputs.items()}

    def close(self) -> None:
        """See `Transport`."""
        self._channel.close()

    def _call(self, method: grpc.UnaryUnaryMultiCallable, request: Any) -> Any:
        request.model_spec.name = self._model_name
        if self._version is not None:
            request.model_spec.version.value = self._version
        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            raise failure(error.code().name, error.details(), self._server) from None


def signatures_of(definitions: Mapping[str, Any]) -> dict[str, Signature]:
    """Reads TensorFlow's SignatureDefs by name; the internal ones have no inputs and are left out."""
    return {
        name: Signature(name, _infos(content.inputs), _infos(content.outputs))
        for name, content in definitions.items()
        if content.inputs
    }


def _infos(tensors: Mapping[str, Any]) -> dict[str, TensorInfo]:
    return {name: _info(tensors[name]) for name in sorted(tensors)}


def _info(info: Any) -> TensorInfo:
    shape = tf.TensorShape(info.tensor_shape)
    return TensorInfo(types_pb2.DataType.Name(info.dtype), None if shape.rank is None else tuple(shape))


def _array(tensor: Any, info: TensorInfo) -> np.ndarray:
    array = tf.make_ndarray(tensor)
    if array.dtype == object:
        texts = [text.decode(errors="replace") for text in array.flat]
        array = np.array(texts, object).reshape(array.shape)
    return info.checked(array)
