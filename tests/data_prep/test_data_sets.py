"""Text of tables and of data sets by name gives the records of the same text in JSON documents."""

import importlib.util
import itertools
import json
import sys
import types

import numpy as np
import pytest

from albert_tf.errors import InputError
from data_prep import data_sets
from data_prep.train_tokenizer import main as train_tokenizer
from tests.support.data_prep_runs import main, output, prepare, write_text
from tests.support.script_runs import refused

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed ('.[datasets]')")
needs_datasets = pytest.mark.skipif(
    not importlib.util.find_spec("datasets"), reason="datasets is not installed ('.[datasets]')"
)
# Those of the libraries of data sets.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def texts(tmp_path):
    """The texts of some documents; `of_json` has the records of `documents.jsonl`, which has these texts."""
    write_text(tmp_path / "text.txt", documents=10, segments=8)
    texts = (tmp_path / "text.txt").read_text().split("\n\n")
    path = tmp_path / "documents.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    assert prepare(tmp_path, input_file=path, output_file=tmp_path / "of_json") == 0
    return texts


def write_arrow(path, table, new):
    with new(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)


def write_parquet(path, table):
    import pyarrow.parquet

    pyarrow.parquet.write_table(table, path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("table.parquet", write_parquet),
        ("stream.arrow", lambda path, table: write_arrow(path, table, pa.ipc.new_stream)),
        ("file.arrow", lambda path, table: write_arrow(path, table, pa.ipc.new_file)),
    ],
)
def test_rows_of_tables_are_documents(tmp_path, texts, name, write):
    rows = [*texts, ""]
    columns = {"id": range(len(rows)), "body": pa.array(rows).dictionary_encode()}
    write(str(tmp_path / "words"), pa.table(columns))
    (tmp_path / "words").rename(tmp_path / f"WORDS.{name.rpartition('.')[2].upper()}")
    flags = {"input_file": tmp_path / "WORDS*", "output_file": tmp_path / "of_words"}
    assert prepare(tmp_path, text_field="body", **flags) == 0
    assert output(tmp_path, "of_words") == output(tmp_path, "of_json")
    write(str(tmp_path / name), pa.table({"id": range(len(rows)), "body": rows}))
    assert prepare(tmp_path, input_file=tmp_path / name, text_field="body") == 0
    assert output(tmp_path, "out") == output(tmp_path, "of_json")
    found, sizes = zip(*data_sets.read_rows(str(tmp_path / name), "body", together=7), strict=True)
    assert list(itertools.chain(*found)) == rows
    assert len(found) > 1
    assert sum(sizes) == pytest.approx((tmp_path / name).stat().st_size, rel=0.2)


@needs_datasets
def test_data_sets_of_hugging_face_are_read_by_name(tmp_path, texts, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    dataset = datasets.Dataset.from_dict({"text": texts})
    datasets.DatasetDict({"train": dataset}).save_to_disk(tmp_path / "saved", num_shards={"train": 2})
    (tmp_path / "hub").mkdir()
    dataset.to_parquet(tmp_path / "hub" / "train.parquet")
    for number, name in enumerate(("saved:train", "saved/train:train", "hub:train", "hub:default:train")):
        out = {"input_file": f"hf:{tmp_path}/{name}", "output_file": tmp_path / f"hf{number}"}
        assert prepare(tmp_path, **out) == 0
        assert output(tmp_path, f"hf{number}") == output(tmp_path, "of_json")
    given = [f"--input_file=hf:{tmp_path}/saved:train", f"--output_prefix={tmp_path}/vocab"]
    assert train_tokenizer(["train_tokenizer.py", *given, "--vocab_size=40"]) == 0


def test_data_sets_of_tensorflow_are_read_by_name(tmp_path, texts):
    import tensorflow as tf
    import tensorflow_datasets as tfds

    tfds.dataset_builders.store_as_tfds_dataset(
        name="little",
        version="1.0.0",
        data_dir=tmp_path / "tfds",
        split_datasets={"train": tf.data.Dataset.from_tensor_slices({"text": texts})},
        features=tfds.features.FeaturesDict({"text": tfds.features.Text()}),
        disable_shuffling=True,
    )
    [folder] = (tmp_path / "tfds").glob("**/1.0.0")
    assert prepare(tmp_path, input_file=f"tfds:{folder}:train") == 0
    assert output(tmp_path) == output(tmp_path, "of_json")
    assert data_sets.matching_text_files([f"tfds:{folder}:train"]) == [
        str(path) for path in sorted(folder.glob("*tfrecord*"))
    ]


def test_rows_that_are_no_text_are_named_by_their_number(tmp_path, capsys):
    for text, message in (("sea\0", "a NUL byte, which is no text"), (None, "null, which is no text")):
        write_parquet(str(tmp_path / "t.parquet"), pa.table({"text": ["sea fish heron", text]}))
        flags = {"input_file": tmp_path / "t.parquet", "output_file": tmp_path / f"of_{text is None}"}
        assert f"t.parquet, line 2: {message}" in refused(main, capsys, prepare(tmp_path, **flags))
        assert prepare(tmp_path, **flags, on_error="skip") == 0
        assert "skipped lines  1\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"id": [1]}, 't.parquet has no column "text" (--text_field), only id'),
        ({"text": [1]}, 't.parquet: column "text" is int64, no text (--text_field)'),
        (b"PAR1 nonsense", "t.parquet cannot be read"),
    ],
)
def test_tables_that_cannot_be_used_are_named(tmp_path, capsys, content, message):
    path = tmp_path / "t.parquet"
    path.write_bytes(content) if isinstance(content, bytes) else write_parquet(str(path), pa.table(content))
    assert message in refused(main, capsys, prepare(tmp_path, input_file=path))


def test_an_arrow_file_whose_offsets_are_damaged_is_named(tmp_path):
    path = tmp_path / "t.arrow"
    write_arrow(str(path), pa.table({"text": ["heron"]}), pa.ipc.new_file)
    offsets, damaged = np.array([0, 5], np.int32).tobytes(), np.array([0, 10**9], np.int32).tobytes()
    before, _, after = path.read_bytes().rpartition(offsets)
    path.write_bytes(before + damaged + after)
    with pytest.raises(InputError, match=r"t\.arrow cannot be read .*: damaged, or cut short"):
        list(data_sets.read_rows(str(path), "text"))


@pytest.mark.parametrize(
    ("files", "message"),
    [([], "hf:x:train: the data set has no files"), (["a.array_record"], "is not read (a.array_record)")],
)
def test_data_sets_without_files_that_are_read_are_named(tmp_path, capsys, monkeypatch, files, message):
    dataset = types.SimpleNamespace(cache_files=[{"filename": file} for file in files])
    library = types.SimpleNamespace(load_dataset=lambda name, config, split: dataset)
    monkeypatch.setitem(sys.modules, "datasets", library)
    assert message in refused(main, capsys, prepare(tmp_path, input_file="hf:x:train"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf:x", "--input_file=hf:x: a data set is named hf:NAME:SPLIT, "),
        ("hf:x:train[:10%]", "--input_file=hf:x:train[:10%]: a data set is named "),
        ("tfds::train", "--input_file=tfds::train: a data set is named "),
        ("tfds:no_such_data_set:train", "tfds:no_such_data_set:train cannot be had: "),
        ("gs:x", "gs:x: no such file"),
    ],
)
def test_data_sets_that_are_none_are_named(tmp_path, capsys, monkeypatch, name, message):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    assert message in refused(main, capsys, prepare(tmp_path, input_file=name))
