"""Servers that answer with other things than TensorFlow Serving does, or never come to an end."""

import concurrent.futures
import json
import time

import grpc
import pytest
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

from albert_tf.serving.client import ServingClient
from albert_tf.serving.rest import RestTransport
from albert_tf.serving_client import main
from tests.support.answering import answering
from tests.support.script_runs import run_script

TEXT = {"dtype": "DT_STRING", "tensor_shape": {"unknown_rank": False, "dim": [{"size": "-1"}]}}
FLOAT = TEXT | {"dtype": "DT_FLOAT"}
SIGNATURE = {"inputs": {"text": TEXT}, "outputs": {"score": FLOAT, "other": FLOAT}}


def metadata(signatures):
    return {"metadata": {"signature_def": {"signature_def": signatures}}}


def response(content, status="200 OK"):
    body = json.dumps(content).encode()
    return b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (
        status.encode(), len(body), body
    )  # fmt: skip


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + b" " * 99,
    b"HTTP/1.1 200 OK\r\nX-Header: " + b"x" * 99,
])  # fmt: skip
def test_a_byte_now_and_then_does_not_prolong_the_time(answer):
    begin = time.monotonic()
    with answering(answer, pause=0.05) as server:
        client = ServingClient(server, model_name="m", timeout=0.3)
        with client, pytest.raises(TimeoutError, match=f"{server} did not answer within 0.3 s"):
            client.signatures()
        assert time.monotonic() - begin < 2


def test_an_answer_without_end_is_not_read_to_the_end():
    with answering(response(metadata({"a" * 5000: SIGNATURE}))) as server:
        transport = RestTransport(server, "m", None, timeout=10.0, longest=1000)
        with pytest.raises(OSError, match=f"the answer of {server} has more than 1,000 bytes"):
            transport.signatures()
        transport.close()


@pytest.mark.parametrize("content", [
    [], None, 5, "text", {}, {"metadata": []}, {"metadata": {"signature_def": []}}, metadata([]), metadata(5),
    metadata({"a": []}), metadata({"a": {"inputs": {}}}), metadata({"a": {"inputs": [], "outputs": {}}}),
    metadata({"a": SIGNATURE | {"inputs": {"text": []}}}),
    metadata({"a": SIGNATURE | {"inputs": {"text": {"dtype": 5, "tensor_shape": {}}}}}),
    metadata({"a": SIGNATURE | {"inputs": {"text": TEXT | {"tensor_shape": {"unknown_rank": False}}}}}),
    metadata({"a": SIGNATURE | {"inputs": {"text": TEXT | {"tensor_shape": {
        "unknown_rank": False, "dim": [{"size": "many"}]}}}}}),
])  # fmt: skip
@pytest.mark.parametrize("status", ["200 OK", "500 Internal Server Error"])
def test_metadata_of_any_type_are_one_line(content, status, capsys):
    with answering(response(content, status)) as server:
        assert run_script(main, {"server": server, "model_name": "m"}, "--metadata") == 1
    [line] = capsys.readouterr().err.splitlines()
    assert f"error: {server} is no TensorFlow Serving: HTTP status {status[:3]}, and of its answer: " in line


def test_json_that_is_too_deep_is_no_answer(capsys):
    body = b"[" * 100_000
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)) as server:
        assert run_script(main, {"server": server, "model_name": "m"}, "--metadata") == 1
    assert "is no TensorFlow Serving: HTTP status 200, and of its answer: it is not JSON" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(("outputs", "message"), [
    ([], "does not fit its description of the model"),
    ({"score": [1.0]}, "does not fit its description of the model: 'other'"),
    ({"score": [1.0], "other": [[1.0]]}, "its shape must be float32 [?], not [1, 1]"),
    ({"score": [1.0], "other": [[1.0], []]}, "does not fit its description of the model"),
    ({"score": ["a"], "other": [1.0]}, "does not fit its description of the model"),
    ({"score": [None], "other": [{}]}, "does not fit its description of the model"),
    ({"score": [1.0], "other": [1.0, 2.0]}, "the server answers 1 rows with 2 rows of other"),
])  # fmt: skip
def test_outputs_of_any_form_are_one_line(outputs, message, capsys):
    answers = response(metadata({"serving_default": SIGNATURE})), response({"outputs": outputs})
    with answering(*answers) as server:
        assert run_script(main, {"server": server, "model_name": "m", "inputs": "text=a"}) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert message in line


class Broken(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Metadata without signatures, or with other bytes; outputs of no type."""

    signatures = b""

    def GetModelMetadata(self, request, context):
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        if self.signatures:
            response.metadata["signature_def"].Pack(get_model_metadata_pb2.SignatureDefMap())
            response.metadata["signature_def"].value = self.signatures
        return response

    def Predict(self, request, context):
        return predict_pb2.PredictResponse()


def known_signatures():
    known = get_model_metadata_pb2.SignatureDefMap()
    signature = known.signature_def["serving_default"]
    for names in (signature.inputs, signature.outputs):
        names["text"].dtype = 7
        names["text"].tensor_shape.dim.add(size=-1)
    return known.SerializeToString()


@pytest.mark.parametrize("signatures", [b"", b"\xff", known_signatures()])
def test_so_are_other_answers_over_grpc(signatures):
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        service = grpc.server(threads)
        broken = Broken()
        broken.signatures = signatures
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(broken, service)
        server = f"127.0.0.1:{service.add_insecure_port('127.0.0.1:0')}"
        service.start()
        client = ServingClient(server, model_name="m", protocol="grpc")
        with client, pytest.raises(OSError, match=f"the answer of {server} does not fit its description"):
            client.predict("serving_default", {"text": ["a"]})
        service.stop(None).wait()
