"""Runs exported files as a device does: without TensorFlow. A process of its own shows time and memory."""

import contextlib
import multiprocessing
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple

import numpy as np

from albert_tf.errors import InputError

Arrays = dict[str, np.ndarray]

_TIMED_RUNS, _TIMED_SECONDS = 20, 2.0  # for one length; timing ends when one of them is reached


class Run(NamedTuple):
    """The outputs of a file for each batch, the median time of a batch by its length, and peak memory."""

    outputs: list[Arrays]
    milliseconds: dict[int, float]
    memory_mb: float


def run_in_own_process(path: str, batches: Sequence[Mapping[str, np.ndarray]], num_threads: int = 1) -> Run:
    """Runs every batch, name -> int32 [batch, length], once; and one of each length several times to time it.

    Raises:
      InputError: the runtime cannot run the file.
    """
    with own_process() as process:
        try:
            return process.submit(_run, path, batches, num_threads).result()
        except (BrokenProcessPool, RuntimeError) as error:
            raise InputError(f"{os.path.basename(path)} does not run: {error}") from None


def own_process() -> ProcessPoolExecutor:
    """Starts a process for the caller's functions. There native code is silent and Ctrl-C does nothing."""
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=spawn, initializer=_start_process)


def load(path: str, num_threads: int) -> Callable[[Mapping[str, np.ndarray]], Arrays]:
    """Loads a .tflite or .onnx file as a function, which takes inputs and returns outputs, both by name."""
    runtimes: dict[str, Callable[..., LiteRTModel | OnnxModel]] = {".tflite": LiteRTModel, ".onnx": OnnxModel}
    return runtimes[os.path.splitext(path)[1]](path, num_threads)


def signature_name(length: int) -> str:
    """The name of the signature for sequences of a length in a LiteRT file."""
    return f"tokens_{length}"


class LiteRTModel:
    """A LiteRT file, which XNNPACK runs with one packed copy of the weights on disk, its weight cache.

    Without the cache XNNPACK packs a copy for every layer, although ALBERT's layers share their weights.
    """

    def __init__(self, path: str, num_threads: int):
        from ai_edge_litert.compiled_model import CompiledModel
        from ai_edge_litert.cpu_options import CpuOptions
        from ai_edge_litert.options import Options

        self._folder = tempfile.TemporaryDirectory()
        cache = os.path.join(self._folder.name, "weights")
        cpu = CpuOptions(num_threads=num_threads, xnnpack_weight_cache_path=cache)
        self._model = CompiledModel.from_file(path, options=Options(cpu_options=cpu))
        self._signatures: dict[str, _Signature] = {}

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """Runs a batch; its size and length must be among those of the conversion."""
        name = signature_name(inputs["input_ids"].shape[-1])
        if name not in self._signatures:
            self._signatures[name] = _Signature(self._model, name)
        return self._signatures[name](inputs)


class _Signature:
    """One signature of a LiteRT file, with buffers of its own."""

    def __init__(self, model: Any, name: str):
        index = model.get_signature_index(name)
        described = model.get_signature_by_index(index)
        self._details = model.get_output_tensor_details(name)
        inputs, outputs = model.create_input_buffers(index), model.create_output_buffers(index)
        self._inputs = dict(zip(described["inputs"], inputs, strict=True))
        self._outputs = dict(zip(described["outputs"], outputs, strict=True))
        self._run = lambda: model.run_by_index(index, inputs, outputs)

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> Arrays:
        for name, buffer in self._inputs.items():
            buffer.write(np.ascontiguousarray(inputs[name]).ravel())
        self._run()
        arrays = {}
        for name, buffer in self._outputs.items():
            shape, dtype = self._details[name]["shape"], self._details[name]["dtype"]
            arrays[name] = buffer.read(int(np.prod(shape)), dtype).reshape(shape)
        return arrays


class OnnxModel:
    """An ONNX file, which ONNX Runtime runs."""

    def __init__(self, path: str, num_threads: int):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        self._session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
        self._names = [output.name for output in self._session.get_outputs()]

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """Runs a batch of any size and length."""
        return dict(zip(self._names, self._session.run(self._names, dict(inputs)), strict=True))


@contextlib.contextmanager
def silent_native_code() -> Iterator[None]:
    """Drops all output to standard error: the C++ code of LiteRT and its converter has no log level."""
    kept = os.dup(2)
    try:
        _drop_standard_error()
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def peak_memory_mb(process: int | str = "self") -> float:
    """The peak memory of a process; `getrusage` would count the memory of its parent too."""
    with open(f"/proc/{process}/status") as file:
        [line] = [line for line in file if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


def _start_process() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _drop_standard_error()


def _drop_standard_error() -> None:
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)


def _run(path: str, batches: Sequence[Mapping[str, np.ndarray]], num_threads: int) -> Run:
    model = load(path, num_threads)
    by_length = {batch["input_ids"].shape[-1]: batch for batch in batches}
    outputs = [model(batch) for batch in batches]
    milliseconds = {length: _median_milliseconds(model, batch) for length, batch in by_length.items()}
    return Run(outputs, milliseconds, peak_memory_mb())


def _median_milliseconds(model: Callable, batch: Mapping[str, np.ndarray]) -> float:
    seconds: list[float] = []
    while len(seconds) < _TIMED_RUNS and sum(seconds) < _TIMED_SECONDS:
        start = time.perf_counter()
        model(batch)
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)
