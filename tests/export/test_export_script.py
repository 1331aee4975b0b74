"""export_saved_model.py and --export_dir as a user calls them."""

import functools
import json
import pathlib
import shutil
import tarfile

import numpy as np
import pytest
import tensorflow as tf

import export_saved_model
from albert_tf import testing
from albert_tf.models.classification import AlbertForMultipleChoice, AlbertForSequenceClassification
from albert_tf.models.encoder import AlbertEncoder
from albert_tf.models.pretraining import AlbertForPreTraining
from tests.support.checkpoint_files import randomize, weights_of, write_checkpoint
from tests.support.classifier_runs import CONFIG, mrpc_flags, only, run
from tests.support.classifier_runs import refusal as classifier_refusal
from tests.support.glue_files import write_glue
from tests.support.script_runs import refused, run_script

export = functools.partial(run_script, export_saved_model.main)
refusal = functools.partial(refused, export_saved_model.main)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run, its flags and its data."""
    folder = tmp_path_factory.mktemp("trained")
    flags = mrpc_flags(write_glue(folder / "glue"), folder)
    assert run(flags, "--do_train", "--do_eval") == 0
    return folder / "run", flags


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Checkpoints of the original's kind, without anything that says what they are for."""
    folder = tmp_path_factory.mktemp("weights")
    CONFIG.to_json_file(str(folder / "config.json"))
    for name, model in {
        "pretraining": AlbertForPreTraining(CONFIG),
        "encoder": AlbertEncoder(CONFIG),
        "three": AlbertForSequenceClassification(CONFIG, 3),
        "race": AlbertForMultipleChoice(CONFIG),
    }.items():
        write_checkpoint(folder / name, weights_of(randomize(model)))
    lacking = weights_of(randomize(AlbertForPreTraining(CONFIG)))
    write_checkpoint(folder / "masked", {n: v for n, v in lacking.items() if "seq_relationship" not in n})
    write_checkpoint(folder / "order", {n: v for n, v in lacking.items() if "cls/predictions" not in n})
    return folder


def flags_for(weights: pathlib.Path, name: str, folder: pathlib.Path, **more: object) -> dict[str, object]:
    return {
        "input": weights / name,
        "albert_config_file": weights / "config.json",
        "spm_model_file": testing.SPM_MODEL_FILE,
        "export_dir": folder / "export",
        **more,
    }


def load(folder: pathlib.Path):
    return tf.saved_model.load(str(folder))


def test_a_trained_folder_needs_no_other_flags(trained, tmp_path, capsys):
    folder, flags = trained
    kept = json.loads((folder / "training.json").read_text())
    kept["command"] += " --handle=https://me:pass@hub.org?token=abc"  # as earlier versions kept it
    (folder / "training.json").write_text(json.dumps(kept))
    assert export({"input": folder, "export_dir": tmp_path / "export"}) == 0
    printed = capsys.readouterr().out
    assert "serving_default\n  takes  text: string [?]\n  takes  text_pair: string [?]" in printed
    assert f"{folder} (mrpc) is exported to {tmp_path}/export/1" in printed
    assets = tmp_path / "export" / "1" / "assets"
    task = json.loads((assets / "task.json").read_text())
    assert task["label_names"] == ["0", "1"]
    assert task["max_seq_length"] == flags["max_seq_length"]
    results = json.loads((folder / "eval_results.json").read_text())
    assert json.loads((assets / "eval_results.json").read_text()) == results
    training = json.loads((assets / "training.json").read_text())
    assert training["command"].startswith("run_classifier.py --task_name=mrpc")
    assert training["command"].endswith(" --handle=https://hub.org")
    assert training["flags"]["train_batch_size"] == 8


def test_the_export_predicts_what_the_script_predicts(trained, tmp_path):
    folder, flags = trained
    shutil.copytree(folder, tmp_path / "run")
    flags = flags | {"output_dir": tmp_path / "run"}
    names = ("task_name", "data_dir", "output_dir")
    assert run(only(flags, *names), "--do_predict", f"--export_dir={tmp_path / 'export'}") == 0
    rows = (pathlib.Path(flags["data_dir"]) / "MRPC" / "test.tsv").read_text().splitlines()[1:]
    texts = [row.split("\t")[-2:] for row in rows]
    signature = load(tmp_path / "export" / "1").signatures["serving_default"]
    outputs = signature(
        text=tf.constant([first for first, _ in texts]),
        text_pair=tf.constant([second for _, second in texts]),
    )
    written = np.loadtxt(tmp_path / "run" / "test_results.tsv", delimiter="\t")
    np.testing.assert_allclose(outputs["probabilities"], written, atol=1e-5)


def test_export_alone_needs_neither_data_nor_training(trained, tmp_path):
    folder, flags = trained
    given = only(flags, "task_name", "data_dir") | {"output_dir": folder, "export_dir": tmp_path / "export"}
    assert run(given | {"threshold_to_export": 0.5}) == 0
    example = tf.train.Example()
    for name in ("input_ids", "input_mask", "segment_ids"):
        example.features.feature[name].int64_list.value.extend([1, 1, 0])
    outputs = load(tmp_path / "export" / "1").signatures["serialized_examples"](
        input=tf.constant([example.SerializeToString()])
    )
    assert {name: value.shape.as_list() for name, value in outputs.items()} == {
        "predictions": [1],
        "probabilities": [1, 2],
        "threshold": [],
    }


def test_of_several_seeds_the_best_is_exported(trained, tmp_path):
    _, flags = trained
    flags = flags | {"output_dir": tmp_path / "run", "num_seeds": 2, "train_step": 2}
    assert run(flags, "--do_train", "--do_eval", f"--export_dir={tmp_path / 'export'}") == 0
    best = json.loads((tmp_path / "run" / "eval_results.json").read_text())["best_seed"]
    assets = tmp_path / "export" / "1" / "assets"
    exported = json.loads((assets / "eval_results.json").read_text())
    assert exported == json.loads((tmp_path / "run" / best / "eval_results.json").read_text())


@pytest.mark.parametrize(
    ("name", "more", "signatures"),
    [
        ("pretraining", {"top_k": 3}, {"sentence_order"}),
        ("masked", {}, set()),
        ("encoder", {}, set()),
        ("three", {"task_name": "mnli"}, set()),
        ("three", {"task_name": "custom", "labels": "a,b,c", "num_texts": 1}, set()),
        ("race", {"task_name": "race", "max_qa_length": 5}, set()),
        ("race", {"task_name": "sts-b"}, set()),
    ],
)
def test_bare_weights_are_exported_by_flags(weights, tmp_path, name, more, signatures):
    assert export(flags_for(weights, name, tmp_path, **more)) == 0
    loaded = load(tmp_path / "export" / "1").signatures
    assert {"serving_default", "tokens", "serialized_examples", "embeddings"} <= set(loaded)
    assert {name for name in loaded if name.startswith("sentence")} == {
        f"{name}{way}" for name in signatures for way in ("", "_tokens", "_serialized_examples")
    }
    if "top_k" in more:
        assert loaded["serving_default"](text=tf.constant(["[MASK]"]))["pieces"].shape == (1, 1, 3)


def test_a_released_archive_suffices(weights, tmp_path):
    with tarfile.open(tmp_path / "albert.tar.gz", "w:gz") as archive:
        for path in weights.glob("pretraining.*"):
            archive.add(path, f"albert/model.ckpt-best{path.suffix}")
        archive.add(weights / "config.json", "albert/albert_config.json")
        archive.add(testing.SPM_MODEL_FILE, "albert/30k-clean.model")
    assert export({"input": tmp_path / "albert.tar.gz", "export_dir": tmp_path / "export"}) == 0
    assets = tmp_path / "export" / "1" / "assets"
    assert (assets / "30k-clean.model").read_bytes() == pathlib.Path(testing.SPM_MODEL_FILE).read_bytes()


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("nothing", {}, "nothing does not exist"),
        ("pretraining", {"spm_model_file": None}, "a vocabulary is needed: --spm_model_file"),
        ("pretraining", {"albert_config_file": None}, "there is no albert_config.json beside"),
        ("pretraining", {"task_name": "squad"}, "--task_name=squad is none of cola, "),
        ("pretraining", {"task_name": "mrpc"}, "holds the weights of a model for pretraining, not of mrpc"),
        ("encoder", {"task_name": "race"}, "holds the weights of an encoder without a head, not of race"),
        ("order", {}, "--task_name=encoder exports the embeddings alone"),
        ("three", {}, "does not say which task its head is for: give --task_name"),
        ("three", {"task_name": "mrpc"}, "the head has 3 outputs, but the task's labels are 0, 1"),
        ("three", {"task_name": "custom", "labels": "a,b,c"}, "one text or two? give --num_texts"),
        ("three", {"task_name": "mnli", "max_seq_length": 600}, "--max_seq_length 600 is longer than the 16"),
        ("three", {"task_name": "mnli", "spm_model_file": testing.VOCAB_FILE}, testing.VOCAB_FILE),
    ],
)
def test_what_cannot_be_exported_is_refused(weights, tmp_path, capsys, name, more, message):
    status = export(flags_for(weights, name, tmp_path, **more))
    assert message in refusal(capsys, status)
    assert not (tmp_path / "export").exists()


def test_flags_of_another_task_are_refused(weights, tmp_path, capsys):
    status = export(flags_for(weights, "pretraining", tmp_path, threshold_to_export=0.5))
    message = "--threshold_to_export does not belong to a model for pretraining"
    assert message in refusal(capsys, status, expected_status=2)


def test_a_folder_of_seeds_or_without_weights_is_refused(trained, tmp_path, capsys):
    (tmp_path / "seeds.json").write_text("{}")
    (tmp_path / "eval_results.json").write_text('{"best_seed": "seed-7"}')
    status = export({"input": tmp_path, "export_dir": tmp_path / "export"})
    assert f"name one of them, such as {tmp_path}/seed-7" in refusal(capsys, status)
    begun = tmp_path / "begun"
    shutil.copytree(trained[0], begun, ignore=shutil.ignore_patterns("model.ckpt*", "checkpoint"))
    status = export({"input": begun, "export_dir": tmp_path / "export"})
    assert f"{begun} holds no weights" in refusal(capsys, status)
    _, flags = trained
    flags = only(flags, "task_name", "data_dir") | {"output_dir": begun, "export_dir": tmp_path / "export"}
    assert f"{begun} holds no weights" in classifier_refusal(capsys, run(flags))


def test_training_that_was_cut_short_is_exported_with_a_warning(trained, tmp_path, capsys):
    shutil.copytree(trained[0], tmp_path / "run")
    training = tmp_path / "run" / "training.json"
    training.write_text(training.read_text().replace('"num_train_steps": 4', '"num_train_steps": 6'))
    assert export({"input": tmp_path / "run", "export_dir": tmp_path / "export"}) == 0
    assert "training stopped at step 4 of 6" in capsys.readouterr().err
