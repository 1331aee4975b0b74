"""Requests with which TensorFlow Serving warms up a model before it answers others."""

import os
from collections.abc import Mapping

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from albert_tf.export.served_model import Signature

WARMUP_FILE = "tf_serving_warmup_requests"


def write_warmup_requests(folder: str, signatures: Mapping[str, Signature]) -> None:
    """Writes one request for each signature where TensorFlow Serving looks for it, in `assets.extra`."""
    os.makedirs(folder, exist_ok=True)
    with tf.io.TFRecordWriter(os.path.join(folder, WARMUP_FILE)) as writer:
        for name, signature in signatures.items():
            request = predict_pb2.PredictRequest()
            request.model_spec.signature_name = name
            for spec in signature.inputs:
                tensor = tf.make_tensor_proto(signature.request[spec.name], spec.dtype)
                request.inputs[spec.name].CopyFrom(tensor)
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
