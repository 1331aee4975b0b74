"""The ways to run one ALBERT that `benchmarks.inference` compares, and the files that they need."""

import functools
import importlib.util
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from albert_tf.export.device.runtimes import Arrays, load, own_process, peak_memory_mb

HEADS = ("classification", "encoder")
OURS = {
    "SavedModel C++": "our SavedModel, in C++",
    "SavedModel": "our SavedModel, in Python",
    "LiteRT float32": "our LiteRT, float32",
    "LiteRT float16": "our LiteRT, float16",
    "LiteRT int8": "our LiteRT, int8",
    "ONNX": "our ONNX, ONNX Runtime",
}
PEERS = {
    "Hugging Face": "Hugging Face, PyTorch eager",
    "Hugging Face ONNX": "Hugging Face's model, ONNX Runtime",
}
PRODUCT = "matrix product"

_PRODUCT_SIZE = 2048


# ------------------------------------------------------------------------------------------ making the files


def make_files(
    folder: str,
    names: Sequence[str],
    preset: str,
    head: str,
    spm_model_file: str,
    batch_sizes: Sequence[int],
    lengths: Sequence[int],
) -> None:
    """Writes one model with random weights in all forms that the contenders with these names run."""
    from albert_tf.checkpoints.huggingface import write_folder
    from albert_tf.export.device.to_device import LiteRTConverter, convert_to_onnx
    from albert_tf.export.device.token_model import TokenModel
    from albert_tf.export.serving.saved_model import serve, write_saved_model
    from albert_tf.layers.variables import variable_name
    from tests.support.native_model import compile_program

    trained = _random_model(preset, head, spm_model_file)
    model = TokenModel(trained)
    if "SavedModel" in names or "SavedModel C++" in names:
        write_saved_model(serve(trained, {}), trained, os.path.join(folder, "saved_model"), 1)
    precisions = [name.split()[1] for name in names if name.startswith("LiteRT")]
    for batch_size in batch_sizes if precisions else ():
        converter = LiteRTConverter(model, batch_size, lengths)
        for precision in precisions:
            _write(_litert_file(folder, precision, batch_size), converter.convert(precision))
    if "SavedModel C++" in names:
        compile_program(folder)
    if "ONNX" in names:
        _write(os.path.join(folder, "ours.onnx"), convert_to_onnx(model))
    os.mkdir(os.path.join(folder, "huggingface"))
    weights = {variable_name(variable): variable.numpy() for variable in trained.model.variables}
    write_folder(os.path.join(folder, "huggingface"), trained.assets, weights, head, 0.0)


def _litert_file(folder: str, precision: str, batch_size: int) -> str:
    return os.path.join(folder, f"model_{precision}_{batch_size}.tflite")


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)


def _random_model(preset: str, head: str, spm_model_file: str):
    import tensorflow as tf

    from albert_tf import testing
    from albert_tf.checkpoints.assets import Assets
    from albert_tf.config import AlbertConfig
    from albert_tf.export.trained_model import TrainedModel
    from albert_tf.models import heads
    from albert_tf.tokenization import load_tokenizer

    tf.random.set_seed(1)
    config = testing.tiny_config() if preset == "tiny" else AlbertConfig.from_preset(preset)
    task = {
        "classification": {"task_name": "sst-2", "label_names": ["0", "1"], "num_texts": 1},
        "encoder": {"task_name": "encoder", "label_names": []},
    }[head]
    arguments = {"num_labels": 2} if head == "classification" else {}
    return TrainedModel(
        model=heads.HEADS[head].model(config, **arguments),
        head=head,
        tokenizer=load_tokenizer(spm_model_file),
        assets=Assets(
            config=config,
            spm_model_file=spm_model_file,
            do_lower_case=True,
            task=task | {"max_seq_length": config.max_position_embeddings},
        ),
        metrics=None,
        training=None,
        path=f"{preset} with random weights",
    )


def make_peers_onnx(folder: str, head: str) -> None:
    """Converts Hugging Face's model by PyTorch's own exporter."""
    import torch

    model = _huggingface_model(folder, head)
    example = torch.ones([2, 16], dtype=torch.int64)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    outputs = ["logits"] if head == "classification" else ["sequence", "pooled"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the newer exporter needs more packages
        torch.onnx.export(
            model,
            (example, example, example),
            os.path.join(folder, "theirs.onnx"),
            input_names=names,
            output_names=outputs,
            dynamic_axes={name: {0: "batch", 1: "length"} for name in names},
            opset_version=17,
            dynamo=False,
        )


def _huggingface_model(folder: str, head: str):
    import transformers

    from albert_tf.models.heads import HEADS

    transformers.logging.set_verbosity_error()
    architecture = getattr(transformers, HEADS[head].architectures[0])
    model = architecture.from_pretrained(os.path.join(folder, "huggingface"))
    model.config.return_dict = False
    return model.eval()


# ------------------------------------------------------------------------------------------------- running


class Contender:
    """One way to run the model, in a process of its own.

    Args:
      name: a key of `OURS` or `PEERS`, or `PRODUCT`.
      folder: the folder that `make_files` wrote.
      head: the head of the model.
      num_threads: number of threads that compute.
    """

    def __init__(self, name: str, folder: str, head: str, num_threads: int):
        self.name = name
        self._process = own_process()
        self._process.submit(_start, name, folder, head, num_threads).result()

    def first(self, batch: Mapping[str, np.ndarray]) -> tuple[Arrays, float]:
        """Loads the model and runs a batch, which `time` then repeats.

        Returns:
          The outputs, `log_probabilities` or `pooled` and `sequence`, and the seconds of the run.
        """
        return self._process.submit(_first, batch).result()

    def time(self, runs: int) -> list[float]:
        """Runs the batch several times; returns the seconds of each run."""
        return self._process.submit(_time, runs).result()

    def memory_mb(self) -> float:
        """Returns the peak memory of the process since `first`."""
        return self._process.submit(_memory_mb).result()

    def close(self) -> None:
        """Ends the process."""
        self._process.shutdown()


_make_model: Callable[[int], Callable[[Arrays], Arrays]]
_model: Callable[[Arrays], Arrays]
_batch: Arrays


def _start(name: str, folder: str, head: str, num_threads: int) -> None:
    """Imports the packages of the contender, and sets `_make_model`, which loads it for a batch size."""
    global _make_model
    if name.startswith("LiteRT"):
        _make_model = functools.partial(_litert, folder, name.split()[1], num_threads)
        return
    makers = {
        "SavedModel C++": _native_model,
        "SavedModel": _saved_model,
        "ONNX": _onnx,
        "Hugging Face": _huggingface,
        "Hugging Face ONNX": _huggingface_onnx,
        PRODUCT: _matrix_product,
    }
    model = makers[name](folder, head, num_threads)

    def _make_model(batch_size: int) -> Callable[[Arrays], Arrays]:
        return model


def _litert(folder: str, precision: str, num_threads: int, batch_size: int):
    return load(_litert_file(folder, precision, batch_size), num_threads)


class _NativeModel:
    """The C++ program. Its own clock counts, because Python talks to it in text, which takes time."""

    def __init__(self, folder: str, num_threads: int):
        from tests.support.native_model import NativeModel

        program = os.path.join(folder, "answer_requests")
        threads = {"intra_op_threads": num_threads, "inter_op_threads": 1}
        self._model = NativeModel(program, os.path.join(folder, "saved_model", "1"), **threads)
        self.pid = self._model.pid

    def __call__(self, batch: Arrays) -> Arrays:
        return self._model.predict("tokens", batch)

    def seconds(self, batch: Arrays) -> float:
        return self._model.request("tokens", batch)["milliseconds"][0] / 1000


def _native_model(folder: str, head: str, num_threads: int):
    return _NativeModel(folder, num_threads)


def _saved_model(folder: str, head: str, num_threads: int):
    import tensorflow as tf
    import tensorflow_text  # noqa: F401 - it has the operations of the text signatures

    tf.config.threading.set_intra_op_parallelism_threads(num_threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    loaded = tf.saved_model.load(os.path.join(folder, "saved_model", "1"))
    ask = loaded.signatures["tokens"]

    def run(batch: Arrays, loaded=loaded) -> Arrays:
        outputs = ask(**{name: tf.constant(values) for name, values in batch.items()})
        return {name: values.numpy() for name, values in outputs.items()}

    return run


def _onnx(folder: str, head: str, num_threads: int):
    return load(os.path.join(folder, "ours.onnx"), num_threads)


def _huggingface(folder: str, head: str, num_threads: int):
    import torch

    torch.set_num_threads(num_threads)
    model = _huggingface_model(folder, head)

    def run(batch: Arrays) -> Arrays:
        tensors = {name: torch.from_numpy(values) for name, values in _their_names(batch).items()}
        with torch.inference_mode():
            return _our_outputs(head, [values.numpy() for values in model(**tensors)])

    return run


def _huggingface_onnx(folder: str, head: str, num_threads: int):
    model = load(os.path.join(folder, "theirs.onnx"), num_threads)
    return lambda batch: _our_outputs(head, list(model(_their_names(batch)).values()))


def _matrix_product(folder: str, head: str, num_threads: int):
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(num_threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    a = tf.random.normal([_PRODUCT_SIZE, _PRODUCT_SIZE])
    multiply = tf.function(lambda: tf.matmul(a, a)[:1, :1])
    return lambda batch: {"product": multiply().numpy()}


def _their_names(batch: Arrays) -> Arrays:
    names = {"input_ids": "input_ids", "attention_mask": "input_mask", "token_type_ids": "segment_ids"}
    return {theirs: batch[ours].astype(np.int64) for theirs, ours in names.items()}


def _our_outputs(head: str, outputs: Sequence[np.ndarray]) -> Arrays:
    if head == "encoder":
        return {"sequence": outputs[0], "pooled": outputs[1]}
    logits = outputs[0] - outputs[0].max(-1, keepdims=True)
    exponentials = np.exp(logits)
    return {"probabilities": exponentials / exponentials.sum(-1, keepdims=True)}


def _first(batch: Arrays) -> tuple[Arrays, float]:
    global _model, _batch
    _model, _batch = None, batch  # frees the earlier model
    _model = _make_model(len(batch["input_ids"]))
    with open(f"/proc/{_pid()}/clear_refs", "w") as file:
        file.write("5")  # resets the peak memory
    start = time.perf_counter()
    outputs = _model(batch)
    seconds = time.perf_counter() - start
    if "probabilities" in outputs:
        return {"log_probabilities": np.log(outputs["probabilities"])}, seconds
    return {name: outputs[name] for name in ("pooled", "sequence") if name in outputs}, seconds


def _time(runs: int) -> list[float]:
    return [_seconds() for _ in range(runs)]


def _seconds() -> float:
    if isinstance(_model, _NativeModel):
        return _model.seconds(_batch)
    start = time.perf_counter()
    _model(_batch)
    return time.perf_counter() - start


def _memory_mb() -> float:
    return peak_memory_mb(_pid())


def _pid() -> int | str:
    return getattr(_model, "pid", "self")


def product_flops() -> float:
    """Returns the floating-point operations of one run of `PRODUCT`."""
    return 2 * _PRODUCT_SIZE**3


def are_installed(names: Sequence[str]) -> bool:
    """Tells whether all packages are installed, without importing them."""
    return all(importlib.util.find_spec(name) for name in names)
