"""Converting: round trips, what stands beside the weights, the script, outputs that appear whole."""

import dataclasses
import json
import os
import pathlib
import re
import warnings

import numpy as np
import pytest
import tensorflow as tf

import convert_checkpoint
from albert_tf.checkpoints import huggingface
from albert_tf.checkpoints.assets import Assets
from albert_tf.checkpoints.conversion import Conversion, convert
from albert_tf.checkpoints.huggingface_config import expressible, to_huggingface, to_original
from albert_tf.checkpoints.sources import open_source
from albert_tf.checkpoints.verification import check
from albert_tf.config import AlbertConfig
from albert_tf.errors import InputError, InputWarning
from albert_tf.models import heads
from albert_tf.testing import SPM_MODEL_FILE, VOCAB_FILE, tiny_config
from tests.support.checkpoint_files import randomize, weights_of, write_checkpoint

GROUPED = {"num_hidden_groups": 2, "num_hidden_layers": 4, "inner_group_num": 2}
HEADS = {
    "encoder": {},
    "pretraining": {},
    "classification": {"output_weights": (3, 16)},
    "multiple_choice": {"output_weights": (1, 16)},
    "token_classification": {"output_weights": (5, 16)},
    "question_answering": {},
    "question_answering_v2": {},
}


def original_of(folder: pathlib.Path, head: str = "pretraining", config: AlbertConfig | None = None) -> str:
    """A checkpoint of the original with random weights, config and vocabulary; returns its prefix."""
    config = config or tiny_config()
    folder.mkdir()
    config.to_json_file(str(folder / "albert_config.json"))
    (folder / "30k-clean.model").write_bytes(pathlib.Path(SPM_MODEL_FILE).read_bytes())
    weights = weights_of(randomize(heads.build_model(head, config, HEADS[head])))
    return write_checkpoint(folder / "model.ckpt-best", weights | {"global_step": np.int64(0)})


def tensors_in(prefix: str) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(prefix)
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def run(input, output, output_format, **options):
    conversion = Conversion(input=str(input), output=str(output), output_format=output_format, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        return convert(conversion)


@pytest.mark.parametrize("change", [{}, GROUPED, {"embedding_size": 16}], ids=["1x1", "2x2", "equal widths"])
@pytest.mark.parametrize("head", HEADS)
def test_a_round_trip_gives_the_same_bytes(head, change, tmp_path):
    start = original_of(tmp_path / "start", head, tiny_config(**change))
    option = {"head": head} if head in heads.SHARED_NAMES else {}
    run(start, tmp_path / "a", "tf2", **option)
    run(tmp_path / "a", tmp_path / "b", "huggingface")
    run(tmp_path / "b", tmp_path / "c", "tf2")
    converted = run(tmp_path / "c", tmp_path / "end" / "model.ckpt", "original")
    assert converted.head == head
    before, after = tensors_in(start), tensors_in(str(tmp_path / "end" / "model.ckpt"))
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert value.tobytes() == after[name].tobytes(), name
        assert value.dtype == after[name].dtype
    end = tmp_path / "end"
    assert AlbertConfig.from_json_file(str(end / "albert_config.json")) == tiny_config(**change)
    assert (end / "spiece.model").read_bytes() == pathlib.Path(SPM_MODEL_FILE).read_bytes()
    assert (end / "spiece.vocab").read_text().startswith("<pad>\t0\n<unk>\t0\n")


def test_tensorflow_1_restores_what_is_written_for_the_original(tmp_path):
    start = original_of(tmp_path / "start")
    run(start, tmp_path / "end" / "model.ckpt", "original")
    expected = tensors_in(start)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, value in expected.items():
            tf.compat.v1.get_variable(name, value.shape, value.dtype, use_resource=False)
        tf.compat.v1.train.Saver().restore(session, str(tmp_path / "end" / "model.ckpt"))
        for variable in tf.compat.v1.global_variables():
            np.testing.assert_array_equal(session.run(variable), expected[variable.op.name])


def test_what_the_input_lacks_is_not_made_up(tmp_path):
    start = original_of(tmp_path / "start")
    weights = {name: v for name, v in tensors_in(start).items() if "seq_relationship" not in name}
    write_checkpoint(tmp_path / "start" / "model.ckpt-best", weights)
    converted = run(start, tmp_path / "end" / "model.ckpt", "original")
    assert len(converted.report.missing) == 2
    assert tensors_in(str(tmp_path / "end" / "model.ckpt")).keys() == weights.keys()
    assert "0 " in check(
        Conversion(input=start, output=str(tmp_path / "end" / "model.ckpt"), output_format="original"),
        converted,
    )


@pytest.mark.parametrize("output_format", ["original", "huggingface", "tf2"])
def test_the_script_converts_verifies_and_reports(output_format, tmp_path, capsys):
    start = original_of(tmp_path / "start")
    output = tmp_path / "end" / ("model.ckpt" if output_format == "original" else "")
    argv = [f"--input={start}", f"--output={output}", f"--output_format={output_format}", "--verify"]
    assert convert_checkpoint.main(["convert_checkpoint.py", *argv, "--list_tensors"]) == 0
    out = capsys.readouterr().out
    assert "(original checkpoint): 32 variables loaded, 0 missing, 0 unexpected, 1 of an optimizer" in out
    assert "loaded: bert/pooler/dense/kernel" in out
    assert "largest difference from the input: 0 (the output, loaded anew)" in out
    written = {path.name for path in (tmp_path / "end").iterdir()}
    assert all(str(tmp_path / "end" / name) in out for name in written)
    assert not [name for name in written if name.startswith(".")]
    # A second time, nothing is overwritten unless that is asked for.
    assert convert_checkpoint.main(["convert_checkpoint.py", *argv]) == 1
    assert "exists; --overwrite replaces it" in capsys.readouterr().err
    assert convert_checkpoint.main(["convert_checkpoint.py", *argv, "--overwrite"]) == 0


def test_weights_of_16_bits_take_half_the_space_and_load_rounded(tmp_path, capsys):
    start = original_of(tmp_path / "start")
    argv = [f"--input={start}", "--output_format=huggingface", "--verify"]
    for dtype in ("float32", "float16"):
        own = [f"--output={tmp_path / dtype}", f"--dtype={dtype}"]
        assert convert_checkpoint.main(["convert_checkpoint.py", *argv, *own]) == 0
    assert "largest difference from the input: " in capsys.readouterr().out
    whole, half = (tmp_path / dtype / "model.safetensors" for dtype in ("float32", "float16"))
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    assert json.loads((tmp_path / "float16" / "config.json").read_text())["dtype"] == "float16"
    name = "bert/pooler/dense/kernel"
    with open_source(str(tmp_path / "float16")) as source:
        np.testing.assert_array_equal(source.weight(name), tensors_in(start)[name].astype(np.float16))


def test_the_script_prints_notes_as_warnings(tmp_path, capsys):
    start = original_of(tmp_path / "start", "multiple_choice")
    argv = [f"--input={start}", f"--output={tmp_path / 'end'}", "--output_format=tf2"]
    assert convert_checkpoint.main(["convert_checkpoint.py", *argv]) == 0
    assert "convert_checkpoint.py: warning: " in (err := capsys.readouterr().err)
    assert "if it is multiple choice (RACE), pass --head=multiple_choice" in err
    assert err.count("\n") == 1


def test_the_best_checkpoint_of_a_run_is_taken_with_or_without_the_flag(tmp_path, capsys):
    model = randomize(heads.build_model("pretraining", tiny_config(), {}))
    tf.train.Checkpoint(model=model).write(str(tmp_path / "model.ckpt-best"))
    best = weights_of(model)
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(model=model), str(tmp_path), max_to_keep=1)
    randomize(model, seed=1)
    manager.save(9)
    tiny_config().to_json_file(str(tmp_path / "config.here"))
    for flags in ([], ["--best"]):
        output = tmp_path / f"out{len(flags)}" / "m"
        flags += [f"--input={tmp_path}", f"--output={output}", "--output_format=original"]
        flags += [f"--albert_config_file={tmp_path / 'config.here'}", f"--spm_model_file={SPM_MODEL_FILE}"]
        assert convert_checkpoint.main(["convert_checkpoint.py", *flags]) == 0
        assert ("--best does nothing" in capsys.readouterr().err) == ("--best" in flags)
        for name, value in best.items():
            np.testing.assert_array_equal(tensors_in(str(output))[name], value)


def test_a_chinese_vocabulary_goes_along(tmp_path):
    config = tiny_config(vocab_size=len(pathlib.Path(VOCAB_FILE).read_text().splitlines()))
    start = original_of(tmp_path / "start", config=config)
    (tmp_path / "start" / "30k-clean.model").unlink()
    run(start, tmp_path / "hf", "huggingface", vocab_file=VOCAB_FILE)
    assert json.loads((tmp_path / "hf" / "tokenizer.json").read_text())["model"]["type"] == "WordPiece"
    run(tmp_path / "hf", tmp_path / "tf2", "tf2")
    assert (tmp_path / "tf2" / "vocab.txt").read_text() == pathlib.Path(VOCAB_FILE).read_text()


def test_the_documented_table_of_names_is_the_one_in_use():
    page = (pathlib.Path(__file__).parents[2] / "docs" / "checkpoints.md").read_text()
    rows = dict(re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|$", page, re.MULTILINE))
    in_use = set()
    for head, shapes in HEADS.items():
        in_use |= weights_of(heads.build_model(head, tiny_config(), shapes)).keys()
    assert {name.replace("_G/", "_0/").replace("_K/", "_0/") for name in rows} == in_use
    for ours, theirs in rows.items():
        ours, theirs = (text.replace("_G/", "_0/").replace("_K/", "_0/") for text in (ours, theirs))
        theirs = theirs.replace(".G.", ".0.").replace(".K.", ".0.")
        assert to_huggingface(ours) == theirs
        assert to_original(theirs) == ours


def test_without_a_vocabulary_the_report_says_so(tmp_path):
    start = original_of(tmp_path / "start")
    (tmp_path / "start" / "30k-clean.model").unlink()
    report = run(start, tmp_path / "hf", "huggingface").report
    assert "no vocabulary was found" in report.notes[-1]
    assert {path.name for path in (tmp_path / "hf").iterdir()} == {
        "config.json",
        "model.safetensors",
        "README.md",
    }


def test_what_cannot_be_converted_is_refused_before_anything_is_written(tmp_path):
    start = original_of(tmp_path / "start")
    config, end = str(tmp_path / "start" / "albert_config.json"), tmp_path / "end"
    small = tmp_path / "small.json"
    tiny_config(vocab_size=99).to_json_file(str(small))
    with pytest.raises(InputError, match=r"has 160 pieces, but the config's vocab_size is 99"):
        run(start, end, "tf2", albert_config_file=str(small))
    attention = original_of(tmp_path / "attention", config=tiny_config(cross_layer_sharing="attention"))
    with pytest.raises(InputError, match="cannot share attention alone"):
        run(attention, end, "huggingface")
    with pytest.raises(InputError, match="--head=multiple_choice: the weights are those of pretraining"):
        run(start, end, "tf2", head="multiple_choice")
    with pytest.raises(InputError, match="--dtype=float16 is for --output_format=huggingface"):
        run(start, end, "tf2", dtype="float16")
    weights = tensors_in(start)
    weights["bert/pooler/dense/kernel"][0, 0] = 70_000
    (tmp_path / "large").mkdir()
    large = write_checkpoint(tmp_path / "large" / "model.ckpt", weights)
    with pytest.raises(
        InputError, match=r"--dtype=float16: bert/pooler/dense/kernel holds numbers too large"
    ):
        run(large, end, "huggingface", dtype="float16", albert_config_file=config)
    with pytest.raises(InputError, match="is a folder; for the format original it is the prefix"):
        run(start, tmp_path, "original")
    (tmp_path / "start" / "albert_config.json").unlink()
    with pytest.raises(InputError, match=r"no albert_config\.json beside .*: pass --albert_config_file"):
        run(start, end, "tf2")
    assert not end.exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".incomplete")]


def test_a_neighbour_with_other_content_is_not_replaced(tmp_path):
    start = original_of(tmp_path / "start")
    end = tmp_path / "end"
    end.mkdir()
    (end / "albert_config.json").write_text("mine")
    with pytest.raises(InputError, match=r"albert_config\.json exists with other content; --overwrite"):
        run(start, end / "model.ckpt", "original")
    assert {path.name for path in end.iterdir()} == {"albert_config.json"}


def test_unshared_layers_become_as_many_groups(tmp_path):
    config = tiny_config(cross_layer_sharing="none")
    start = original_of(tmp_path / "start", config=config)
    run(start, tmp_path / "hf", "huggingface")
    with open_source(str(tmp_path / "hf")) as opened:
        assert opened.assets.config == dataclasses.replace(
            config, cross_layer_sharing="all", num_hidden_groups=2
        )
        assert opened.shapes.keys() == tensors_in(start).keys() - {"global_step"}


def test_groups_that_hugging_face_would_divide_otherwise_are_refused():
    refused = []
    for layers in range(1, 25):
        for groups in range(1, layers + 1):
            config = tiny_config(num_hidden_layers=layers, num_hidden_groups=groups)
            try:
                expressible(config)
            except InputError:
                refused.append((layers, groups))
    theirs = [[int(i / (layers / groups)) for i in range(layers)] for layers, groups in refused]
    ours = [[int(i / layers * groups) for i in range(layers)] for layers, groups in refused]
    assert all(a != b for a, b in zip(theirs, ours, strict=True))
    assert len(refused) < 12


def test_regression_and_multiple_choice_look_alike_and_the_report_says_so(tmp_path):
    start = original_of(tmp_path / "start", "multiple_choice")
    report = run(start, tmp_path / "a", "tf2").report
    assert "if it is multiple choice (RACE), pass --head=multiple_choice" in report.notes[-1]
    assert run(start, tmp_path / "b", "tf2", head="multiple_choice").report.notes == ()


def hf_folder(folder: pathlib.Path, config=None, **changes) -> pathlib.Path:
    config = config or tiny_config()
    folder.mkdir()
    weights = weights_of(randomize(heads.build_model("encoder", config, {})))
    huggingface.write_folder(str(folder), Assets(config=config), weights, "encoder")
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | changes))
    return folder


def test_the_erf_gelu_earns_a_note_that_says_what_to_compare(tmp_path):
    notes = run(hf_folder(tmp_path / "hf", hidden_act="gelu"), tmp_path / "out", "tf2").report.notes
    assert "erf form there; the tanh form" in notes[0]
    assert "Compare the outputs" in notes[0]


def test_a_projection_between_equal_widths_is_refused(tmp_path):
    import safetensors.numpy

    folder = hf_folder(tmp_path / "hf", tiny_config(embedding_size=16))
    path = str(folder / "model.safetensors")
    tensors = safetensors.numpy.load_file(path)
    tensors["albert.encoder.embedding_hidden_mapping_in.weight"][0, 1] = 1
    safetensors.numpy.save_file(tensors, path)
    with pytest.raises(InputError, match="embedding_hidden_mapping_in is not the identity"):
        run(folder, tmp_path / "out", "tf2")


def test_an_untied_output_layer_is_refused_and_a_tied_one_accepted(tmp_path):
    import safetensors.numpy

    folder = tmp_path / "hf"
    run(original_of(tmp_path / "start"), folder, "huggingface")
    path = str(folder / "model.safetensors")
    tensors = safetensors.numpy.load_file(path)
    tied = tensors["albert.embeddings.word_embeddings.weight"]
    safetensors.numpy.save_file(tensors | {"predictions.decoder.weight": tied}, path)
    assert run(folder, tmp_path / "out", "tf2").report.unexpected == ()
    safetensors.numpy.save_file(tensors | {"predictions.decoder.weight": tied + 1}, path)
    with pytest.raises(
        InputError, match=r"predictions\.decoder\.weight differs from albert\.embeddings\.word"
    ):
        run(folder, tmp_path / "again", "tf2")


def test_a_truncated_safetensors_file_is_one_line(tmp_path):
    folder = hf_folder(tmp_path / "hf")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"model\.safetensors is damaged: ") as error:
        run(folder, tmp_path / "out", "tf2")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("output_format", ["original", "huggingface", "tf2"])
def test_what_is_written_may_be_read_by_those_whom_the_umask_allows(output_format, tmp_path):
    before = os.umask(0o022)
    try:
        run(original_of(tmp_path / "start"), tmp_path / "end" / "m", output_format)
    finally:
        os.umask(before)
    paths = [tmp_path / "end", *(tmp_path / "end").rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_file()} == {0o644}
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_dir()} == {0o755}
