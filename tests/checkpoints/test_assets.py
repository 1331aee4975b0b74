"""What belongs to weights comes along, from and to every kind of place: vocabulary, casing, labels."""

import json
import pathlib
import shutil
import warnings

import numpy as np
import pytest
import safetensors.numpy

import convert_checkpoint
from albert_tf.checkpoints.assets import Assets, differences
from albert_tf.checkpoints.conversion import Conversion, convert
from albert_tf.checkpoints.huggingface import write_folder
from albert_tf.checkpoints.huggingface_tokenizer import read_casing
from albert_tf.checkpoints.sources import open_source
from albert_tf.checkpoints.verification import check
from albert_tf.errors import InputError, InputWarning
from albert_tf.models import heads
from albert_tf.testing import SPM_MODEL_FILE, VOCAB_FILE, tiny_config
from albert_tf.tokenization import load_tokenizer
from tests.support.checkpoint_files import randomize, weights_of, write_checkpoint
from tests.support.pretraining_records import write_records
from tests.support.script_runs import run_script
from tests.support.vocabularies import CASED, cased_sentencepiece

FORMATS = ("original", "huggingface", "tf2")


def source_of(folder: pathlib.Path, assets: Assets, head: str = "pretraining", labels: int = 2) -> str:
    """A checkpoint of the original's kind with these assets beside it; returns its folder."""
    folder.mkdir()
    assets.write(str(folder))
    model = heads.build_model(head, assets.config, {"output_weights": (labels, assets.config.hidden_size)})
    write_checkpoint(folder / "model.ckpt-best", weights_of(randomize(model)))
    return str(folder)


def converted(start: str, folder: pathlib.Path, output_format: str, **more) -> Conversion:
    output = str(folder / "model.ckpt") if output_format == "original" else str(folder)
    conversion = Conversion(input=start, output=output, output_format=output_format, **more)
    convert(conversion)
    return conversion


def assets_in(path: pathlib.Path | str) -> Assets:
    with open_source(str(path)) as source:
        return source.assets


@pytest.fixture(params=CASED)
def cased(request, tmp_path) -> Assets:
    """A vocabulary with capitals of either kind, for cased text."""
    path = CASED[request.param](tmp_path)
    size = load_tokenizer(**{request.param: path}).vocab_size
    return Assets(config=tiny_config(vocab_size=size), do_lower_case=False, **{request.param: path})


@pytest.mark.parametrize("output_format", FORMATS)
def test_the_casing_survives_a_conversion_and_the_way_back(output_format, cased, tmp_path):
    there = converted(source_of(tmp_path / "start", cased), tmp_path / "there", output_format)
    assert assets_in(there.output).do_lower_case is False
    back = converted(there.output, tmp_path / "back", "tf2")
    assert assets_in(back.output).do_lower_case is False
    assert assets_in(back.output).tokenizer().encode("The Boats") == cased.tokenizer().encode("The Boats")


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("told_by", ["tokenizer_config.json", "tokenizer.json"])
def test_the_tokenizers_files_of_hugging_face_tell_the_casing(told_by, lower, cased, tmp_path):
    start = source_of(tmp_path / "start", Assets(**{**vars(cased), "do_lower_case": lower}))
    folder = pathlib.Path(converted(start, tmp_path / "hf", "huggingface").output)
    (folder / "task.json").unlink()
    if told_by == "tokenizer.json":
        (folder / "tokenizer_config.json").write_text("{}")
    else:
        (folder / "tokenizer.json").unlink()
    found = assets_in(folder)
    assert found.do_lower_case is lower
    assert found.keep_accents is False


@pytest.mark.parametrize(("settings", "normalizer", "expected"), [
    ({"do_lower_case": False, "keep_accents": True}, None, (False, True)),
    ({"do_lower_case": False}, {"type": "Lowercase"}, (False, True)),
    ({}, {"type": "Sequence", "normalizers": [{"type": "NFKD"}, {"type": "StripAccents"}]}, (False, False)),
    ({}, {"type": "Sequence", "normalizers": [{"type": "Lowercase"}]}, (True, True)),
    ({}, {"type": "BertNormalizer", "lowercase": False, "strip_accents": None}, (False, False)),
    ({}, {"type": "BertNormalizer", "lowercase": True, "strip_accents": None}, (True, False)),
    ({}, {"type": "Sequence", "normalizers": []}, (False, True)),
    ({"do_lower_case": True, "strip_accents": False}, None, (True, True)),  # BertTokenizer's
])  # fmt: skip
def test_casing_and_accents_are_read_as_hugging_face_writes_them(settings, normalizer, expected, tmp_path):
    model = randomize(heads.build_model("encoder", tiny_config(), {}))
    write_folder(str(tmp_path), Assets(config=tiny_config()), weights_of(model), "encoder")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    (tmp_path / "tokenizer.json").write_text(json.dumps({"normalizer": normalizer}))
    found = assets_in(tmp_path)
    assert (found.do_lower_case, found.keep_accents) == expected


def test_accents_that_are_kept_are_told_by_every_format(tmp_path):
    assets = Assets(config=tiny_config(), spm_model_file=SPM_MODEL_FILE, keep_accents=True)
    (tmp_path / "archive").mkdir()
    assets.write(str(tmp_path / "archive"))
    assert Assets.read(str(tmp_path / "archive")).keep_accents is True
    (tmp_path / "hf").mkdir()
    model = heads.build_model("encoder", tiny_config(), {})
    write_folder(str(tmp_path / "hf"), assets, weights_of(model), "encoder")
    steps = json.loads((tmp_path / "hf" / "tokenizer.json").read_text())["normalizer"]["normalizers"]
    assert [step["type"] for step in steps] == ["Lowercase"]
    assert assets_in(tmp_path / "hf").keep_accents is True


@pytest.mark.parametrize("output_format", ["huggingface", "tf2"])
def test_the_flag_gives_weights_their_accents(output_format, tmp_path, capsys):
    start = source_of(tmp_path / "start", Assets(config=tiny_config(), spm_model_file=SPM_MODEL_FILE))
    flags = {"input": start, "output": tmp_path / "out", "output_format": output_format}
    assert run_script(convert_checkpoint.main, flags, "--keep_accents") == 0
    assert "but no piece of" in capsys.readouterr().err  # of the tiny vocabulary has an accent
    assert assets_in(tmp_path / "out").keep_accents is True


@pytest.mark.parametrize(("known", "flag", "warning"), [
    ({"keep_accents": True}, False, "made for text with accents, but --keep_accents=false is given"),
    ({"keep_accents": False}, True, "made for text without accents, but --keep_accents=true is given"),
    ({"do_lower_case": True}, True, "made for text without accents, but --keep_accents=true is given"),
    ({"do_lower_case": True}, False, None),
    ({}, True, None),
    ({"keep_accents": True}, None, None),
])  # fmt: skip
def test_a_flag_that_contradicts_the_accents_of_weights_earns_a_warning(known, flag, warning):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assets = Assets(**known).overridden(keep_accents=flag)
    assert [str(one.message) for one in caught] == ([f"the weights: {warning}"] if warning else [])
    assert assets.keep_accents == (known.get("keep_accents") if flag is None else flag)


@pytest.mark.parametrize("casing", [True, False])
def test_verifying_compares_texts_by_both_tokenizers_and_says_so(casing, cased, tmp_path):
    start = source_of(tmp_path / "start", Assets(**{**vars(cased), "do_lower_case": casing}))
    for output_format in FORMATS:
        output = tmp_path / output_format
        path = str(output / "m") if output_format == "original" else str(output)
        conversion = Conversion(input=start, output=path, output_format=output_format)
        text = check(conversion, convert(conversion))
        assert f"capitals, accents and digits, {'lower-cased' if casing else 'cased'}" in text
        assert "(read from the output)" in text


def test_verifying_notices_another_casing(cased, tmp_path):
    start = source_of(tmp_path / "start", cased)
    conversion = Conversion(input=start, output=str(tmp_path / "hf"), output_format="huggingface")
    result = convert(conversion)
    path = tmp_path / "hf" / "tokenizer_config.json"
    path.write_text(path.read_text().replace('"do_lower_case": false', '"do_lower_case": true'))
    with pytest.raises(InputError, match=r"the conversion is wrong: '.*' \(cased\) has other ids"):
        check(conversion, result)


def test_a_casing_that_is_assumed_against_capitals_is_said(cased, tmp_path):
    unknown = Assets(**{**vars(cased), "do_lower_case": None})
    start = source_of(tmp_path / "start", unknown)
    with pytest.warns(InputWarning, match="nothing says whether text is lower-cased .* capital letters"):
        converted(start, tmp_path / "tf2", "tf2")
    assert assets_in(tmp_path / "tf2").do_lower_case is None
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputWarning)
        converted(start, tmp_path / "cased", "huggingface", do_lower_case=False)
    assert assets_in(tmp_path / "cased").do_lower_case is False


@pytest.mark.parametrize("file", [SPM_MODEL_FILE, VOCAB_FILE])
def test_a_vocabulary_without_capitals_earns_no_warning(file):
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputWarning)
        Assets(**{"vocab_file" if file == VOCAB_FILE else "spm_model_file": file}).tokenizer()


def test_a_flag_that_contradicts_the_weights_is_said(cased, tmp_path):
    with pytest.warns(InputWarning, match=": made for cased text, but --do_lower_case=true is given"):
        assert cased.overridden(do_lower_case=True).do_lower_case is True
    other = cased_sentencepiece(tmp_path / "other.model", 130)
    with pytest.warns(InputWarning, match=r"made with the vocabulary own\..*, but .*other\.model is another"):
        assert cased.overridden(spm_model_file=other).vocabulary == other


@pytest.mark.parametrize("output_format", ["original", "tf2"])
def test_a_vocabulary_keeps_its_file_name(output_format, cased, tmp_path):
    there = converted(source_of(tmp_path / "start", cased), tmp_path / "there", output_format)
    name = pathlib.Path(cased.vocabulary).name
    assert pathlib.Path(assets_in(there.output).vocabulary).name == name
    assert (tmp_path / "there" / name).read_bytes() == pathlib.Path(cased.vocabulary).read_bytes()


def test_a_folder_that_is_described_again_has_one_vocabulary(tmp_path):
    for name in ("one.model", "two.model"):
        shutil.copy(SPM_MODEL_FILE, tmp_path / name)
    (tmp_path / "run").mkdir()
    for name in ("one.model", "two.model"):
        Assets(spm_model_file=str(tmp_path / name), do_lower_case=True).write(str(tmp_path / "run"))
        assert {path.name for path in (tmp_path / "run").iterdir()} == {"one.model", "one.vocab", "task.json"}
    assert Assets.read(str(tmp_path / "run")).spm_model_file == str(tmp_path / "run" / "one.model")


def test_converting_again_leaves_one_vocabulary_and_no_assets_of_other_weights(tmp_path):
    first = Assets(config=tiny_config(), spm_model_file=SPM_MODEL_FILE, task={"task_name": "mrpc"})
    converted(source_of(tmp_path / "one", first, "classification"), tmp_path / "end", "tf2")
    own = cased_sentencepiece(tmp_path / "own.model")
    start = source_of(tmp_path / "two", Assets(config=tiny_config(), spm_model_file=own))
    with pytest.warns(InputWarning, match="capital letters"):
        converted(start, tmp_path / "end", "tf2", overwrite=True)
    found = assets_in(tmp_path / "end")
    assert pathlib.Path(found.vocabulary).name == "own.model"
    assert found.task == {}
    with pytest.raises(InputError, match=r"own\.model belongs to other weights; --overwrite removes it"):
        convert(
            Conversion(
                input=str(tmp_path / "one"), output=str(tmp_path / "end" / "x"), output_format="original"
            )
        )


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        ("classification", {}),
        ("classification", {"problem_type": "multi_label_classification"}),
        ("token_classification", {}),
    ],
)
def test_names_of_labels_go_to_hugging_face_and_back(head, kind, tmp_path):
    labels = {"label_names": ["spam", "ham"], **kind}
    task = {**labels, "num_texts": 2, "text_columns": ["a", "b"]}
    assets = Assets(config=tiny_config(), spm_model_file=SPM_MODEL_FILE, task=task)
    start = source_of(tmp_path / "start", assets, head)
    folder = pathlib.Path(converted(start, tmp_path / "hf", "huggingface", head=head).output)
    config = json.loads((folder / "config.json").read_text())
    assert config["id2label"] == {"0": "spam", "1": "ham"}
    assert config["label2id"] == {"spam": 0, "ham": 1}
    assert config.get("problem_type") == kind.get("problem_type")
    assert assets_in(folder).task == task
    (folder / "task.json").unlink()
    assert assets_in(folder).task == labels
    back = converted(str(folder), tmp_path / "tf2", "tf2").output
    assert assets_in(back).task == labels


@pytest.mark.parametrize(("labels", "id2label", "expected"), [
    (2, {"0": "LABEL_0", "1": "LABEL_1"}, {}),
    (2, {}, {}),
    (2, None, {}),
    (1, {"0": "LABEL_0"}, {"label_names": []}),
    (2, {"1": "ham", "0": "spam"}, {"label_names": ["spam", "ham"]}),
    (2, {"0": "a", "1": "b", "2": "c"}, "id2label names the labels 0, 1, 2, but the head has 2 outputs"),
    (2, {"1": "a", "2": "b"}, "id2label names the labels 1, 2, but the head has 2 outputs"),
])  # fmt: skip
def test_placeholders_are_no_names_and_numbers_must_fit(labels, id2label, expected, tmp_path):
    folder = hf_classifier(tmp_path, labels, id2label=id2label)
    if isinstance(expected, dict):
        assert assets_in(folder).task == expected
    else:
        with pytest.raises(InputError, match=expected):
            assets_in(folder)


def test_several_scores_of_hugging_face_are_no_classes(tmp_path):
    folder = hf_classifier(tmp_path, problem_type="regression")
    with pytest.raises(InputError, match="problem_type is regression, but the head has 2 outputs, not 1"):
        assets_in(folder)


def hf_classifier(folder: pathlib.Path, labels: int = 2, **changes) -> pathlib.Path:
    model = randomize(heads.build_model("classification", tiny_config(), {"output_weights": (labels, 16)}))
    write_folder(str(folder), Assets(config=tiny_config()), weights_of(model), "classification")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


@pytest.mark.parametrize("content", ["[]", "null", "3", '"text"', "{", '{"id2label": ["a"]}'])
def test_a_config_of_hugging_face_that_is_none_is_one_line(content, tmp_path):
    hf_classifier(tmp_path)
    (tmp_path / "config.json").write_text(content)
    _assert_one_line(tmp_path, "config.json")


@pytest.mark.parametrize("content", ["[]", "null", "{}", '{"weight_map": []}', '{"weight_map": {"a": 1}}'])
def test_an_index_that_is_none_is_one_line(content, tmp_path):
    hf_classifier(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(content)
    _assert_one_line(tmp_path, "model.safetensors.index.json")


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", ["[]", "null", "3", '{"normalizer": [], "do_lower_case": "no"}'])
def test_a_tokenizers_file_that_is_none_is_one_line(file, content, tmp_path):
    hf_classifier(tmp_path)
    (tmp_path / file).write_text(content)
    _assert_one_line(tmp_path, file)


@pytest.mark.parametrize(
    "content",
    ["[]", "null", "3", '{"label_names": "a"}', '{"do_lower_case": "no"}', '{"num_texts": "2"}'],
)
def test_a_task_that_is_none_is_one_line(content, tmp_path):
    source_of(tmp_path / "start", Assets(config=tiny_config()))
    (tmp_path / "start" / "task.json").write_text(content)
    _assert_one_line(tmp_path / "start", "task.json")


def _assert_one_line(folder: pathlib.Path, file: str) -> None:
    with pytest.raises(InputError) as raised:
        assets_in(folder)
    assert str(folder / file) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_config_may_have_more_rows_than_the_vocabulary_has_pieces(output_format, tmp_path, capsys):
    assets = Assets(config=tiny_config(vocab_size=168), spm_model_file=SPM_MODEL_FILE)
    start = source_of(tmp_path / "start", assets)
    output = tmp_path / "end" / ("m" if output_format == "original" else "")
    flags = {"input": start, "output": output, "output_format": output_format}
    assert run_script(convert_checkpoint.main, flags, "--verify") == 0
    assert "the same ids for" in capsys.readouterr().out
    assert assets_in(output).config.vocab_size == 168


def test_more_pieces_than_rows_are_refused():
    assets = Assets(config=tiny_config(vocab_size=159), spm_model_file=SPM_MODEL_FILE)
    with pytest.raises(InputError, match=r"\.model has 160 pieces, but the config's vocab_size is 159"):
        assets.tokenizer()


def test_only_what_both_know_can_differ():
    saved = Assets(do_lower_case=True, task={"task_name": "custom", "num_texts": 2})
    assert differences(saved, Assets(task={"num_texts": 1})) == ["num_texts 2, not 1 (--text_columns)"]
    cased = Assets(do_lower_case=False)
    assert differences(saved, cased) == ["do_lower_case True, not False (--do_lower_case)"]
    assert differences(saved, Assets()) == []


def test_a_flag_is_named_only_for_a_task_that_has_it():
    four, five = ({"task_name": "race", "label_names": list(names)} for names in ("ABCD", "ABCDE"))
    assert differences(Assets(task=four), Assets(task=five)) == ["label_names A, B, C, D, not A, B, C, D, E"]


@pytest.mark.parametrize(("settings", "normalizer"), [
    ({"do_lower_case": False, "strip_accents": True}, None),
    ({}, {"type": "BertNormalizer", "lowercase": False, "strip_accents": True}),
])  # fmt: skip
def test_accents_that_cased_text_would_lose_elsewhere_are_warned_of(settings, normalizer, tmp_path):
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    (tmp_path / "tokenizer.json").write_text(json.dumps({"normalizer": normalizer}))
    with pytest.warns(InputWarning, match=f"{tmp_path}: strip_accents is true there, but here "):
        assert read_casing(str(tmp_path)) == {"do_lower_case": False, "keep_accents": False}


def records_with(folder: pathlib.Path, name: str, **settings) -> str:
    return write_records(str(folder / name), settings=settings)


def test_records_know_vocabulary_and_casing(tmp_path):
    shutil.copy(VOCAB_FILE, tmp_path / "own.txt")
    files = [
        records_with(tmp_path, "a", vocab_file=str(tmp_path / "own.txt"), do_lower_case=False),
        records_with(tmp_path, "b", vocab_file="moved/own.txt", do_lower_case=False),  # now beside them
        write_records(str(tmp_path / "c")),  # which says nothing
    ]
    found = Assets.of_records(files)
    assert (found.vocab_file, found.spm_model_file) == (str(tmp_path / "own.txt"), None)
    assert found.do_lower_case is False


def test_records_that_were_not_made_alike_are_named(tmp_path):
    a = records_with(tmp_path, "a", vocab_file=VOCAB_FILE, do_lower_case=False)
    b = records_with(tmp_path, "b", vocab_file=VOCAB_FILE, do_lower_case=True)
    with pytest.raises(InputError, match=f"{a} and {b} were not made alike: do_lower_case is False and True"):
        Assets.of_records([a, b])
    c = records_with(tmp_path, "c", spm_model_file=SPM_MODEL_FILE, do_lower_case=False)
    with pytest.raises(InputError, match=f"{a} and {c} were not made alike: vocabulary"):
        Assets.of_records([a, c])
    d = records_with(tmp_path, "d", vocab_file=VOCAB_FILE, do_lower_case=False, keep_accents=True)
    with pytest.raises(InputError, match=f"{a} and {d} were not made alike: keep_accents is False and True"):
        Assets.of_records([a, d])  # the description of a is of an earlier version, which had no such flag


def test_a_vocabulary_of_records_that_is_gone_is_said_once_and_the_casing_kept(tmp_path):
    files = [records_with(tmp_path, n, spm_model_file="gone.model", do_lower_case=False) for n in "ab"]
    with pytest.warns(InputWarning) as warned:
        found = Assets.of_records(files)
    [message] = [str(warning.message) for warning in warned]
    assert message.startswith(f"gone.model, the vocabulary of {files[0]}, is not there any more: ")
    assert (found.vocabulary, found.do_lower_case) == (None, False)


def test_added_rows_do_not_matter_to_the_files_of_hugging_face(tmp_path):
    assets = Assets(config=tiny_config(vocab_size=168), spm_model_file=SPM_MODEL_FILE)
    folder = converted(source_of(tmp_path / "start", assets), tmp_path / "hf", "huggingface").output
    tensors = safetensors.numpy.load_file(f"{folder}/model.safetensors")
    assert tensors["albert.embeddings.word_embeddings.weight"].shape == (168, 8)
    pieces = json.loads((tmp_path / "hf" / "tokenizer.json").read_text())["model"]["vocab"]
    assert len(pieces) == 160
    assert np.isfinite(tensors["predictions.bias"]).all()
