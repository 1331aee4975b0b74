"""Every signature over REST and gRPC, from tensorflow_model_server where it is, from the stand-in always."""

import shutil

import pytest
import tensorflow as tf

from albert_tf import InputError
from albert_tf.serving_client import ServingClient
from tests.support.model_server import PROGRAM, model_server
from tests.support.serving_exports import assert_same, requests_to, warmup_requests
from tests.support.stand_in import MODEL_NAME, stand_in


@pytest.fixture(scope="session")
def stand_in_ports(signatures):
    with stand_in(signatures) as server:
        yield server


@pytest.fixture(scope="session")
def model_server_ports(export_dir):
    if not shutil.which(PROGRAM):
        pytest.skip(f"no {PROGRAM} on the PATH")
    with model_server(export_dir) as ports:
        yield ports


@pytest.fixture(params=["stand_in", "model_server"])
def ports(request):
    return request.getfixturevalue(f"{request.param}_ports")


@pytest.fixture(params=["rest", "grpc"])
def client(request, ports):
    where = getattr(ports, request.param)
    with ServingClient(where, model_name=MODEL_NAME, protocol=request.param, timeout=60) as client:
        yield client


def test_every_signature_answers_as_in_python(client, signatures, export_dir):
    warmup = warmup_requests(export_dir)
    assert set(client.signatures()) == set(signatures)
    for name, function in signatures.items():
        for request in [warmup[name], *requests_to(function.structured_input_signature[1])]:
            expected = function(**{input: tf.constant(values) for input, values in request.items()})
            assert_same(client.predict(name, request), expected)


def test_a_bad_request_is_refused_and_the_next_is_answered(client, export_dir):
    request = warmup_requests(export_dir)["tokens"]
    expected = client.predict("tokens", request)
    with pytest.raises(InputError, match="refuses the request"):
        client.predict("tokens", request | {"input_ids": request["input_ids"] + 1000})
    assert_same(client.predict("tokens", request), expected)
