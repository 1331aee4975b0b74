"""Files for devices answer as the Keras model does, share their weights, and appear only when checked."""

import dataclasses
import functools
import json
import pathlib
import re
import shutil
import sys

import numpy as np
import pytest

import export_to_device
from albert_tf import testing
from albert_tf.errors import InputError
from albert_tf.export.device import to_device
from albert_tf.export.device.device_check import Comparison, DeviceCheck
from albert_tf.export.device.runtimes import run_in_own_process
from albert_tf.export.device.to_device import LiteRTConverter, convert_to_onnx, missing_packages
from albert_tf.export.device.token_model import TokenModel
from albert_tf.tokenization import load_tokenizer
from tests.support.checkpoint_files import weights_of, write_checkpoint
from tests.support.script_runs import refused, run_script
from tests.support.trained_models import LENGTH, trained_model

KINDS = (
    "classification",
    "regression",
    "multiple_choice",
    "question_answering",
    "question_answering_v2",
    "token_classification",
    "pretraining",
    "encoder",
    "similarity",
)
WIDE = {"hidden_size": 64, "intermediate_size": 256}  # weights outweigh the graph

export = functools.partial(run_script, export_to_device.main)
refusal = functools.partial(refused, export_to_device.main)
needs_onnx = pytest.mark.skipif(bool(missing_packages()), reason=f"not installed: {missing_packages()}")


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    """Of a checkpoint that says nothing of itself."""
    folder = tmp_path_factory.mktemp("weights")
    trained = trained_model("classification")
    trained.config.to_json_file(str(folder / "config.json"))
    write_checkpoint(folder / "model", weights_of(trained.model))
    return {
        "input": folder / "model",
        "task_name": "mrpc",
        "albert_config_file": folder / "config.json",
        "spm_model_file": testing.SPM_MODEL_FILE,
    }


def file_for(content: bytes, folder, ending: str) -> str:
    path = folder / f"model.{ending}"
    path.write_bytes(content)
    return str(path)


def compare(kind: str, content: bytes, folder, ending: str) -> Comparison:
    trained = trained_model(kind)
    check = DeviceCheck(TokenModel(trained), trained, 2, [LENGTH])
    return check.run(file_for(content, folder, ending))[1]


@pytest.mark.parametrize("kind", KINDS)
def test_litert_gives_what_keras_gives(kind, tmp_path):
    content = LiteRTConverter(TokenModel(trained_model(kind)), 2, [LENGTH]).convert("float32")
    comparison = compare(kind, content, tmp_path, "tflite")
    assert comparison.largest_difference < 1e-5
    assert comparison.agreement == (None if kind in ("regression", "encoder", "similarity") else 1)


@needs_onnx
@pytest.mark.parametrize(
    "kind", ["multiple_choice", "question_answering_v2", "pretraining", "token_classification"]
)
def test_onnx_gives_what_keras_gives_at_any_length(kind, tmp_path):
    content = convert_to_onnx(TokenModel(trained_model(kind)))
    comparison = compare(kind, content, tmp_path, "onnx")
    assert comparison.largest_difference < 1e-5
    assert comparison.agreement == 1


def test_fewer_bits_make_a_smaller_file_and_a_small_difference(tmp_path):
    trained = trained_model("classification", config=WIDE)
    model = TokenModel(trained)
    converter = LiteRTConverter(model, 1, [LENGTH])
    check = DeviceCheck(model, trained, 1, [LENGTH])
    whole = sum(4 * int(np.prod(variable.shape)) for variable in model.weights)
    for precision in ("float16", "int8"):
        content = converter.convert(precision)
        assert len(content) < 0.7 * whole
        assert 1e-6 < check.run(file_for(content, tmp_path, "tflite"))[1].largest_difference < 0.1


def test_litert_stores_shared_weights_once_whatever_the_depth_and_the_lengths():
    shallow, deep = with_layers(1), with_layers(3)
    few, many = LiteRTConverter(shallow, 1, [LENGTH]), LiteRTConverter(deep, 1, [8, LENGTH])
    for precision, size in (("float32", block_bytes(shallow)), ("int8", block_bytes(shallow) / 4)):
        assert len(many.convert(precision)) - len(few.convert(precision)) < size  # not five blocks more


@needs_onnx
def test_onnx_stores_shared_weights_once_whatever_the_depth():
    sizes = [len(convert_to_onnx(with_layers(depth))) for depth in (2, 6)]
    assert sizes[1] - sizes[0] < block_bytes(with_layers(2))


def with_layers(depth: int) -> TokenModel:
    wide = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": depth}
    return TokenModel(trained_model("encoder", config=wide))


def block_bytes(model: TokenModel) -> int:
    return sum(4 * int(np.prod(v.shape)) for v in model.weights if "inner_group" in v.name)


def test_the_graph_holds_no_checks_and_no_shapes_to_compute():
    function = TokenModel(trained_model("question_answering_v2")).function(1, LENGTH)
    assert not [op.type for op in function.graph.get_operations() if op.type == "Assert"]


def test_the_folder_holds_all_that_a_device_needs(flags, tmp_path, capsys):
    given = {**flags, "output_dir": tmp_path / "out", "formats": "litert_float32,litert_int8"}
    assert export({**given, "max_seq_lengths": "16,8"}) == 0
    printed = capsys.readouterr().out.splitlines()
    heads = [head.strip() for head in printed[0].strip("|").split("|")]
    assert heads[:6] == [
        "file",
        "MB",
        "largest difference",
        "same decisions",
        "8 pieces, ms",
        "16 pieces, ms",
    ]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"model_float32.tflite", "model_int8.tflite", "albert_config.json", "task.json"} <= names
    report = json.loads((tmp_path / "out" / "export_report.json").read_text())
    assert [line["format"] for line in report] == ["litert_float32", "litert_int8"]
    assert report[0]["largest_difference"] < 1e-5
    assert report[0]["agreement"] == 1
    assert set(report[0]["milliseconds"]) == {"8", "16"}
    assert json.loads((tmp_path / "out" / "task.json").read_text())["label_names"] == ["0", "1"]
    tokenizer = load_tokenizer(str(tmp_path / "out" / "tiny_sentencepiece.model"))
    assert tokenizer.vocab_size == testing.tiny_config().vocab_size


def test_the_example_of_the_docs_runs(tmp_path, monkeypatch, capsys):
    docs = pathlib.Path(__file__).resolve().parents[3] / "docs" / "devices.md"
    [example] = re.findall(r"```python\n(.*?)```", docs.read_text(encoding="utf-8"), re.DOTALL)
    trained = trained_model("classification", config={"max_position_embeddings": 32}, num_texts=1)
    vocabulary = shutil.copy(testing.SPM_MODEL_FILE, tmp_path / "30k-clean.model")
    assets = dataclasses.replace(trained.assets, spm_model_file=str(vocabulary))
    trained = dataclasses.replace(trained, assets=assets)
    monkeypatch.chdir(tmp_path)
    to_device.export_to_device(trained, "for_devices", formats=["litert_float32"])
    exec(example, {})
    assert capsys.readouterr().out.split()[0] in trained.task["label_names"]


def test_a_question_has_as_many_options_as_in_the_training():
    trained = trained_model("multiple_choice", label_names=["A", "B", "C"])
    assert {tuple(spec.shape) for spec in TokenModel(trained).specs(2, 8)} == {(2, 3, 8)}


def test_usual_lengths_stop_at_the_positions_of_the_model(tmp_path):
    trained = trained_model("encoder", config={"max_position_embeddings": 40})
    [line] = to_device.export_to_device(trained, str(tmp_path / "out"), formats=["litert_float32"])
    assert list(line.milliseconds) == [32, 40]


def test_a_file_that_differs_is_not_written(tmp_path):
    given = {"formats": ["litert_float32"], "max_seq_lengths": [8], "tolerance": 1e-12}
    with pytest.raises(InputError, match=r"model_float32.tflite differs from the Keras model by"):
        to_device.export_to_device(trained_model("classification"), str(tmp_path / "out"), **given)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_does_not_run_is_an_error_in_words(tmp_path):
    path = file_for(b"no model", tmp_path, "tflite")
    with pytest.raises(InputError, match=r"model.tflite does not run"):
        run_in_own_process(path, [{"input_ids": np.ones([1, 8], np.int32)}])


def test_what_exists_stays_but_for_an_earlier_export_on_request(flags, tmp_path, capsys):
    given = {**flags, "output_dir": tmp_path, "formats": "litert_float32", "max_seq_lengths": 8}
    mine = tmp_path / "model_float32.tflite"
    mine.write_text("mine")
    assert "exists; --overwrite replaces it" in refusal(capsys, export(given))
    assert "is not an earlier export" in refusal(capsys, export(given, "--overwrite"))
    assert mine.read_text() == "mine"
    (tmp_path / "export_report.json").write_text("[]")
    assert export(given, "--overwrite") == 0
    assert mine.stat().st_size > 1000


@pytest.mark.parametrize(
    ("wrong", "status", "message"),
    [
        (
            {"formats": "coreml"},
            2,
            "--formats must be one of litert_float32, litert_float16, litert_int8, onnx",
        ),
        ({"max_seq_lengths": "8,x"}, 2, "--max_seq_lengths must be whole numbers, not x"),
        ({"max_seq_lengths": "8,1"}, 2, "--max_seq_lengths must be at least 2, not 1"),
        ({"max_seq_lengths": 99}, 1, f"99 is longer than the {LENGTH} positions of the config"),
    ],
)
def test_wrong_flags_are_one_line(flags, tmp_path, capsys, wrong, status, message):
    assert message in refusal(capsys, export({**flags, "output_dir": tmp_path / "out", **wrong}), status)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "line 1 is not UTF-8"),
        (b"fine\n\xff", "line 2 is not UTF-8"),
        (b" \n\n", "no sentences"),
    ],
)
def test_sentences_that_cannot_be_read_are_one_line(flags, tmp_path, capsys, content, message):
    path = tmp_path / "sentences.txt"
    path.write_bytes(content)
    given = {**flags, "output_dir": tmp_path / "out", "sentences_file": path}
    assert message in refusal(capsys, export(given))


def test_onnx_without_its_packages_says_what_to_install(flags, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)  # so that it cannot be imported
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    line = refusal(capsys, export({**flags, "output_dir": tmp_path / "out", "formats": "onnx"}))
    assert "ONNX needs tf2onnx, onnx, onnxruntime: pip install '.[export]' in this project's folder" in line


def test_without_its_packages_onnx_is_left_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert to_device.formats_here() == ["litert_float32", "litert_float16", "litert_int8"]
