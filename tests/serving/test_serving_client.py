"""The client, in front of a stand-in for the server."""

import http.server
import json
import os
import re
import subprocess
import sys
import threading

import numpy as np
import pytest
import tensorflow as tf

from albert_tf import InputError, serving_client
from albert_tf.serving_client import ServingClient
from tests.support.ports import free_ports
from tests.support.script_runs import refused, run_script
from tests.support.stand_in import MODEL_NAME, VERSION, Refusal, stand_in

PAIR = {"text": ["Bär", "no"], "text_pair": ["b", ""]}


def strings(name: str, rank: int = 1) -> tf.TensorSpec:
    return tf.TensorSpec([None] * rank, tf.string, name)


def joined(text, text_pair):
    with tf.control_dependencies([tf.debugging.assert_none_equal(text, "!", message="no text may be !")]):
        length = tf.strings.length(text, unit="UTF8_CHAR")
    both = tf.strings.join([text, text_pair], "|")
    return {"both": both, "length": length, "vector": tf.cast(length, tf.float32)[:, None] / [3.0, 7.0]}


def summed(ids, options):
    return {
        "total": tf.reduce_sum(ids, axis=1),
        "best": tf.reduce_max(tf.strings.length(options), axis=1),
        "long": tf.cast(tf.tile(ids[:, :1], [1, 40]), tf.float32),
        "threshold": tf.constant(0.5),
    }


SIGNATURES = {
    "serving_default": tf.function(joined, [strings("text"), strings("text_pair")]),
    "shapeless": tf.function(
        lambda text: {"same": tf.raw_ops.PlaceholderWithDefault(input=text, shape=None)}, [strings("text")]
    ),
    "lengths": tf.function(lambda text: {"bytes": tf.strings.length(text)}, [strings("text")]),
    "sums": tf.function(summed, [tf.TensorSpec([None, None], tf.int32, "ids"), strings("options", 2)]),
}


@pytest.fixture(scope="module")
def served():
    # As the signatures of a SavedModel, which take their inputs by name only.
    functions = {
        name: tf.function(lambda function=function, **inputs: function(**inputs)).get_concrete_function(
            **{spec.name: spec for spec in function.input_signature}
        )
        for name, function in SIGNATURES.items()
    }
    with stand_in(functions) as server:
        yield server


@pytest.fixture(params=["rest", "grpc"])
def protocol(request):
    return request.param


@pytest.fixture
def server(served, protocol):
    """host:port of the protocol."""
    served.reset()
    return getattr(served, protocol)


@pytest.fixture
def client(server, protocol):
    with ServingClient(server, model_name=MODEL_NAME, protocol=protocol, first_pause=0.02) as client:
        yield client


@pytest.fixture
def ask(server, protocol):
    """Runs the script with further flags; returns its status."""
    where = {"server": server, "protocol": protocol, "model_name": MODEL_NAME}
    return lambda *arguments, **flags: run_script(serving_client.main, where | flags, *arguments)


def test_outputs_are_arrays_by_name(client):
    answer = client.predict("serving_default", PAIR)
    assert answer["both"].tolist() == ["Bär|b", "no|"]
    assert answer["length"].tolist() == [3, 2]
    assert answer["length"].dtype == np.int32
    assert answer["vector"].dtype == np.float32
    np.testing.assert_allclose(answer["vector"], [[1, 3 / 7], [2 / 3, 2 / 7]], rtol=1e-6)


def test_inputs_may_be_arrays_numbers_and_of_several_dimensions(client):
    answer = client.predict(
        "sums", {"ids": np.array([[1, 2], [3, -4]]), "options": [["a", "bcd"], ["", b"b"]]}
    )
    assert answer["total"].tolist() == [3, -1]
    assert answer["best"].tolist() == [3, 1]
    assert answer["threshold"] == 0.5


def test_a_single_output_keeps_its_name_and_bytes_arrive_as_they_are(client):
    answer = client.predict("lengths", {"text": [b"\xff\xfe", "ä", b"plain"]})
    assert {name: values.tolist() for name, values in answer.items()} == {"bytes": [2, 2, 5]}


def test_an_empty_batch_keeps_the_sizes_that_are_known(client):
    answer = client.predict("serving_default", {"text": [], "text_pair": []})
    assert {name: values.shape for name, values in answer.items()} == {
        "both": (0,),
        "length": (0,),
        "vector": (0, 2),
    }


def test_an_output_may_be_of_any_shape(client):
    assert str(client.signature("shapeless").outputs["same"]) == "string [...]"
    assert client.predict("shapeless", {"text": ["a", "b"]})["same"].tolist() == ["a", "b"]
    assert client.predict("shapeless", {"text": []})["same"].shape == (0,)


def test_signatures_have_types_and_shapes(client):
    known = client.signatures()
    assert set(known) == set(SIGNATURES)
    assert str(known["serving_default"]).splitlines() == [
        "serving_default",
        "  takes  text: string [?]",
        "  takes  text_pair: string [?]",
        "  gives  both: string [?]",
        "  gives  length: int32 [?]",
        "  gives  vector: float32 [?, 2]",
    ]


@pytest.mark.parametrize(
    ("signature", "inputs", "message"),
    [
        ("stranger", PAIR, "has no signature stranger; it has lengths, serving_default, shapeless, sums"),
        ("serving_default", {"text": ["a"]}, "text_pair is missing: serving_default takes text, text_pair"),
        ("serving_default", PAIR | {"label": ["a"]}, "no input label: serving_default takes text, text_pair"),
        ("serving_default", PAIR | {"text": "a"}, r"text of serving_default: .* string \[\?\], not \[\]"),
        ("serving_default", PAIR | {"text": [["a"], ["b"]]}, r"must be string \[\?\], not \[2, 1\]"),
        ("serving_default", PAIR | {"text": ["a", 1]}, "must hold strings"),
        ("sums", {"ids": [[1]], "options": [["a"], ["b", "c"]]}, "strings, in rows of equal lengths"),
        ("sums", {"ids": [[1], [2, 3]], "options": [["a"]]}, "whole numbers, in rows of equal lengths"),
        ("sums", {"ids": [["1"]], "options": [["a"]]}, "must hold whole numbers"),
        ("sums", {"ids": [[1.0]], "options": [["a"]]}, "must hold whole numbers"),
        ("sums", {"ids": [[2**31]], "options": [["a"]]}, "its numbers must fit into int32"),
    ],
)  # fmt: skip
def test_inputs_that_do_not_fit_are_named_before_they_are_sent(client, served, signature, inputs, message):
    with pytest.raises(InputError, match=message):
        client.predict(signature, inputs)
    assert len(served.arrivals) == 1  # for the signatures


def test_words_of_the_model_reach_the_user(client, server):
    with pytest.raises(InputError, match=f"{server} refuses the request: .*no text may be !"):
        client.predict("serving_default", PAIR | {"text": ["a", "!"]})
    assert client.predict("serving_default", PAIR)["length"].tolist() == [3, 2]


@pytest.mark.parametrize("options", [{"model_name": "other"}, {"model_name": MODEL_NAME, "version": 7}])
def test_unknown_models_and_versions_are_named(server, protocol, options):
    client = ServingClient(server, protocol=protocol, **options)
    with client, pytest.raises(InputError, match=rf"{server} does not serve that: .*{options['model_name']}"):
        client.signatures()


def test_a_version_may_be_named(server, protocol):
    with ServingClient(server, model_name=MODEL_NAME, protocol=protocol, version=VERSION) as client:
        assert client.predict("lengths", {"text": ["ab"]})["bytes"].tolist() == [2]


def test_an_unavailable_server_is_asked_again_after_longer_and_longer_pauses(client, served):
    client.signatures()
    served.refusals += [Refusal("UNAVAILABLE", "the queue is full")] * 3
    assert client.predict("lengths", {"text": ["ab"]})["bytes"].tolist() == [2]
    assert (np.diff(served.arrivals[1:]) >= [0.02, 0.04, 0.08]).all()


def test_patience_ends(client, served):
    served.refusals += [Refusal("UNAVAILABLE", "the queue is full")] * 4
    with pytest.raises(ConnectionError, match="is not available: the queue is full"):
        client.signatures()
    assert len(served.arrivals) == 4


def test_other_failures_are_not_repeated(client, served):
    served.refusals.append(Refusal("INTERNAL", "out of luck"))
    with pytest.raises(OSError, match="failed with INTERNAL: out of luck"):
        client.signatures()
    assert len(served.arrivals) == 1


def test_no_server(protocol):
    where = f"127.0.0.1:{free_ports(1)[0]}"
    client = ServingClient(where, model_name=MODEL_NAME, protocol=protocol, retries=0)
    with client, pytest.raises(ConnectionError, match=rf"{where}.*[Cc]onnection refused"):
        client.signatures()


def test_an_answer_that_comes_too_late(server, served, protocol):
    served.delay = 0.5
    with ServingClient(server, model_name=MODEL_NAME, protocol=protocol, timeout=0.2) as client:
        client.signatures()
        with pytest.raises(TimeoutError, match=server):
            client.predict("lengths", {"text": ["ab"]})


def test_rest_at_the_port_of_grpc(served):
    client = ServingClient(served.grpc, model_name=MODEL_NAME, retries=0)
    with client, pytest.raises(OSError, match=served.grpc):
        client.signatures()


def test_unknown_protocol():
    with pytest.raises(InputError, match="one of rest, grpc, not http"):
        ServingClient(model_name=MODEL_NAME, protocol="http")


def test_script_prints_a_table(ask, capsys):
    assert (
        ask("--inputs=text=Bär, big", "--inputs=text_pair=b", "--inputs=text=x", "--inputs=text_pair=a=b")
        == 0
    )
    assert capsys.readouterr().out.splitlines() == [
        "both        length  vector",
        "Bär, big|b  8       2.6667 1.1429",
        "x|a=b       1       0.3333 0.1429",
    ]


def test_script_takes_what_is_no_utf8(ask, capsys):
    assert ask("--json", "--inputs=text=\udcff\udcfe", signature="lengths") == 0
    assert json.loads(capsys.readouterr().out) == {"bytes": 2}


def test_script_takes_json_for_what_is_no_text(ask, capsys):
    assert ask("--inputs=ids=[1, 2]", '--inputs=options=["a", "bcd"]', signature="sums") == 0
    assert capsys.readouterr().out.split() == [
        "best",
        "long",
        "threshold",
        "total",
        "3",
        "float32",
        "[40]",
        "0.5000",
        "3",
    ]


def test_script_asks_for_files_in_batches_and_prints_json(ask, served, tmp_path, capsys):
    path = tmp_path / "rows.jsonl"
    rows = [{"text": "é" * n, "text_pair": "\n"} for n in range(5)]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    assert ask("--json", input_file=path, batch_size=2) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["length"] for answer in answers] == [0, 1, 2, 3, 4]
    assert answers[1]["both"] == "é|\n"
    assert len(served.arrivals) == 1 + 3


def test_script_takes_base64_for_bytes(ask, tmp_path, capsys):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": {"b64": "//8="}}')
    assert ask("--json", input_file=path, signature="lengths") == 0
    assert json.loads(capsys.readouterr().out) == {"bytes": 2}


def test_script_takes_lines_of_text(ask, tmp_path, capsys):
    path = tmp_path / "lines.txt"
    path.write_bytes("Bär\n\n\xff{\r\n".encode("latin-1"))
    assert ask("--json", input_file=path, signature="lengths") == 0
    assert [json.loads(line)["bytes"] for line in capsys.readouterr().out.splitlines()] == [3, 0, 2]


def test_script_lists_the_signatures(ask, capsys):
    assert ask("--metadata") == 0
    assert re.findall(r"(?m)^\w+$", capsys.readouterr().out) == [*sorted(SIGNATURES)]


@pytest.mark.parametrize(
    ("arguments", "flags", "message"),
    [
        (["--inputs=text"], {}, "'text' is not of the form name=value"),
        (["--inputs=text=a", "--inputs=text=b", "--inputs=text_pair=c"], {}, r"text: 2, text_pair: 1"),
        (["--inputs=ids=a"], {"signature": "sums"}, r"'a' is not JSON: ids is int32 \[\?, \?\]"),
        (["--inputs=text=a"], {"signature": "stranger"}, "has no signature stranger"),
        (["--metadata"], {"model_name": "other"}, "does not serve that"),
        ([], {"input_file": "missing.jsonl"}, "missing.jsonl: No such file"),
    ],
)
def test_script_explains_itself(ask, capsys, arguments, flags, message):
    assert re.search(message, refused(serving_client.main, capsys, ask(*arguments, **flags)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "a", "text_pair": "b"}\nnone', "line 2 is not JSON"),
        ('{"text": "a"}', "line 1 must be an object with text, text_pair"),
    ],
)
def test_script_names_the_line(ask, capsys, tmp_path, content, message):
    path = tmp_path / "rows.jsonl"
    path.write_text(content)
    assert message in refused(serving_client.main, capsys, ask(input_file=path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give one of --inputs, --input_file and --metadata"),
        (["--metadata", "--inputs=text=a"], "give one of"),
        (["--metadata", "--server=http://localhost:8501"], "is not of the form host:port"),
        (["--metadata", "--server=localhost"], "is not of the form host:port"),
    ],
)
def test_script_refuses_flags_that_do_not_go_together(capsys, arguments, message):
    status = serving_client.main(["serving_client.py", f"--model_name={MODEL_NAME}", *arguments])
    assert status == 2
    assert message in capsys.readouterr().err


def test_rest_needs_no_tensorflow_and_reads_standard_input(served):
    program = (
        "import sys; from albert_tf.serving_client import main; main(); sys.exit('tensorflow' in sys.modules)"
    )
    flags = [f"--server={served.rest}", f"--model_name={MODEL_NAME}", "--signature=lengths", "--input_file=-"]
    served.reset()
    environment = os.environ | {"NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-c", program, *flags], input=b"a\n\xff\xfe\n", capture_output=True, env=environment
    )
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [b"bytes", b"1", b"2"], b"")


def test_an_http_server_of_something_else():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.handle_request, daemon=True).start()
    where = f"127.0.0.1:{server.server_address[1]}"
    client = ServingClient(where, model_name=MODEL_NAME)
    with server, client, pytest.raises(OSError, match=f"{where} is no TensorFlow Serving: HTTP status 501"):
        client.signatures()
