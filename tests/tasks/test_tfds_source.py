"""GLUE from TensorFlow Datasets: a real tiny data set on disk, and no network."""

import numpy as np
import pytest
import requests
import tensorflow as tf

from albert_tf.errors import InputError
from albert_tf.tasks.classification.glue import TASKS
from albert_tf.tasks.classification.tfds import read_tfds


@pytest.fixture
def tfds(tmp_path, monkeypatch):
    """TensorFlow Datasets with an empty folder of its own and no way to download anything."""
    import tensorflow_datasets as tfds

    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path))
    tfds.disable_progress_bar()
    return tfds


def prepare(tfds, tmp_path, config, text_keys, label, splits):
    """Writes a config of the data set "glue" as TensorFlow Datasets itself does; splits: name -> labels."""
    features = {key: tfds.features.Text() for key in text_keys} | {"label": label, "idx": np.int32}
    datasets = {}
    for name, labels in splits.items():
        numbers = np.arange(len(labels), dtype=np.int32)
        columns = {key: [f"{key} {i} of {name} é" for i in numbers] for key in text_keys}
        dtype = np.float32 if label is np.float32 else np.int64
        columns |= {"label": np.array(labels, dtype), "idx": numbers}
        datasets[name] = tf.data.Dataset.from_tensor_slices(columns)
    tfds.dataset_builders.store_as_tfds_dataset(
        name="glue",
        config=config,
        version="2.0.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets=datasets,
        data_dir=str(tmp_path),
    )


def classes(tfds, *names):
    return tfds.features.ClassLabel(names=names)


def mistake(*arguments):
    with pytest.raises(InputError) as caught:
        read_tfds(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_mnli_is_renumbered_and_its_parts_follow_each_other(tfds, tmp_path):
    label = classes(tfds, "entailment", "neutral", "contradiction")
    splits = {
        "train": [0, 1, 2, 2, 1, 0, 0],
        "validation_matched": [2, 0],
        "validation_mismatched": [1],
        "test_matched": [-1, -1],
        "test_mismatched": [-1],
    }
    prepare(tfds, tmp_path, "mnli", ("premise", "hypothesis"), label, splits)
    train = read_tfds(TASKS["mnli"], "glue/mnli", "train")
    assert train.names == [str(i) for i in range(7)]
    assert train.texts[1] == [f"hypothesis {i} of train é" for i in range(7)]
    assert train.labels.dtype == np.int32
    names = ("contradiction", "entailment", "neutral")
    assert [names[number] for number in train.labels] == [label.int2str(i) for i in splits["train"]]

    dev = read_tfds(TASKS["mnli"], "glue/mnli", "dev")
    assert dev.parts == {"matched": slice(0, 2), "mismatched": slice(2, 3)}
    assert dev.texts[0][-1] == "premise 0 of validation_mismatched é"
    assert dev.labels.tolist() == [0, 1, 2]
    assert read_tfds(TASKS["mismnli"], "glue/mnli", "dev").labels.tolist() == [2]

    test = read_tfds(TASKS["mnli"], "glue/mnli", "test")
    assert test.labels is None
    assert test.names == ["0", "1", "0"]
    assert len({train.digest, dev.digest, test.digest}) == 3
    assert read_tfds(TASKS["mnli"], "glue/mnli", "dev").digest == dev.digest

    assert mistake(TASKS["rte"], "glue/mnli", "train") == (
        "glue/mnli does not fit the task rte: its labels are entailment, neutral, contradiction, "
        "the task's are entailment, not_entailment"
    )
    assert mistake(TASKS["cola"], "glue/mnli", "train") == (
        "glue/mnli does not fit the task cola: its features are hypothesis, idx, label, premise"
    )


def test_classes_with_other_names_keep_their_numbers(tfds, tmp_path):
    label = classes(tfds, "unacceptable", "acceptable")
    prepare(tfds, tmp_path, "cola", ("sentence",), label, {"train": [1, 0]})
    assert read_tfds(TASKS["cola"], "glue/cola", "train").labels.tolist() == [1, 0]
    assert mistake(TASKS["cola"], "glue/cola", "dev") == "glue/cola has no split validation, only train"


def test_scores(tfds, tmp_path):
    keys = ("sentence1", "sentence2")
    prepare(tfds, tmp_path, "stsb", keys, np.float32, {"validation": [2.5, 5.0], "test": [-1, -1]})
    dev = read_tfds(TASKS["sts-b"], "glue/stsb", "dev")
    assert dev.labels.dtype == np.float32
    assert dev.labels.tolist() == [2.5, 5.0]
    assert read_tfds(TASKS["sts-b"], "glue/stsb", "test").labels is None
    assert mistake(TASKS["mrpc"], "glue/stsb", "dev") == (
        "glue/stsb does not fit the task mrpc: its labels are scores, the task's are 0, 1"
    )


def test_the_diagnostic_set_has_a_test_split_only(tfds, tmp_path):
    label = classes(tfds, "entailment", "neutral", "contradiction")
    prepare(tfds, tmp_path, "ax", ("premise", "hypothesis"), label, {"test": [-1, -1, -1]})
    assert len(read_tfds(TASKS["ax"], "glue/ax", "test")) == 3
    assert mistake(TASKS["ax"], "glue/ax", "train") == "ax has no train split, only test"


def test_data_that_cannot_be_downloaded_are_named_with_their_folder(tfds, tmp_path, monkeypatch):
    def fail(*arguments, **keywords):
        raise ConnectionError("Failed to resolve 'example.org'\nmore")

    def unreachable(*arguments, **keywords):
        raise requests.ConnectTimeout

    monkeypatch.setattr(requests, "head", unreachable)
    assert "could not be downloaded (https://dl.fbaipublicfiles.com/glue/ cannot be reached)" in mistake(
        TASKS["mrpc"], "glue/mrpc", "train"
    )
    monkeypatch.setattr(requests, "head", lambda *arguments, **keywords: None)
    monkeypatch.setattr(tfds.download.DownloadManager, "download", fail)
    assert mistake(TASKS["mrpc"], "glue/mrpc", "train") == (
        f"glue/mrpc is not in the folder {tmp_path}/glue/mrpc/2.0.0 and could not be downloaded "
        "(Failed to resolve 'example.org'); GLUE's own files can be given with --data_dir"
    )


def test_an_unknown_data_set_is_named(tfds):
    assert mistake(TASKS["mrpc"], "glu/mrpc", "train") == (
        "no data set glu/mrpc in TensorFlow Datasets (Dataset glu not found.)"
    )
    assert mistake(TASKS["mrpc"], "glue/nosuch", "train").startswith("no data set glue/nosuch in TensorFlow")
