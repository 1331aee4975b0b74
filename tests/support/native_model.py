"""Asks a SavedModel from Python, through the C++ program beside this file."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text
from google.protobuf import json_format
from tensorflow.core.framework import tensor_pb2

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "answer_requests.cc")
# The operations of TF.Text; TensorFlow Serving has all of them.
OP_LIBRARIES = [
    os.path.join(os.path.dirname(tensorflow_text.__file__), "python", "ops", name)
    for name in ("_fast_sentencepiece_tokenizer.so", "_fast_wordpiece_tokenizer.so")
]


class RequestError(Exception):
    """The model refused a request; the message is the status, which begins with its code."""


def compile_program(folder: str) -> str:
    """Builds the program with the headers and libraries of the installed TensorFlow, in about 10 s.

    Returns:
      The path of the program.
    """
    program = os.path.join(folder, "answer_requests")
    # -isystem hides warnings about TensorFlow's own headers.
    flags = [flag.replace("-I", "-isystem", 1) for flag in tf.sysconfig.get_compile_flags()]
    libraries = [
        *tf.sysconfig.get_link_flags(),
        "-l:libtensorflow_cc.so.2",
        f"-Wl,-rpath,{tf.sysconfig.get_lib()}",
    ]
    cache = [shutil.which("ccache")] if shutil.which("ccache") else []
    # Without optimization, functions that TensorFlow's libraries keep to themselves are not inlined.
    command = [*cache, "g++", "-O1", "-Wall", "-Wextra", "-Werror", *flags, SOURCE, "-o", program, *libraries]
    subprocess.run(command, check=True)
    return program


class NativeModel:
    """One process of the program; it is a context manager.

    Args:
      program: path from `compile_program`.
      export_dir: folder of one version of a model.
      **flags: flags of the program.

    Attributes:
      pid: id of the process.
    """

    def __init__(self, program: str, export_dir: str, **flags: int):
        given = {"export_dir": export_dir, "op_libraries": ",".join(OP_LIBRARIES)} | flags
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [program, *(f"--{name}={value}" for name, value in given.items())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.pid = self._process.pid

    def __enter__(self) -> "NativeModel":
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.communicate()
        self._log.close()

    def ask(self, line: str) -> dict[str, Any]:
        """Sends a line; returns the answer.

        Raises:
          AssertionError: the process has ended; the message holds its log.
        """
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            status = self._process.wait()
            self._log.seek(0)
            raise AssertionError(f"the program ended with status {status}:\n{self._log.read()[-4000:]}")
        return json.loads(answer)

    def request(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Asks a signature; returns "outputs" as JSON, "milliseconds" of each run, and "peak_mebibytes".

        Raises:
          RequestError: the model refused the request.
        """
        tensors = {
            name: json_format.MessageToDict(tf.make_tensor_proto(values)) for name, values in inputs.items()
        }
        answer = self.ask(json.dumps({"signature": signature, "inputs": tensors}))
        if "error" in answer:
            raise RequestError(answer["error"])
        return answer

    def predict(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Asks a signature; returns its outputs by name; see `request`."""
        outputs = self.request(signature, inputs)["outputs"]
        return {
            name: tf.make_ndarray(json_format.ParseDict(tensor, tensor_pb2.TensorProto()))
            for name, tensor in outputs.items()
        }
