"""Every reader of a user's data takes damaged and confused input, or refuses it by `InputError`."""

import gzip
import json
import lzma
import pathlib
import shutil
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from albert_tf.checkpoints.assets import Assets
from albert_tf.cli.flags import UsageError, parse
from albert_tf.cli.options import RunOptions
from albert_tf.data import record_checks
from albert_tf.data.feature_cache import cached_features
from albert_tf.data.features import Features
from albert_tf.data.record_index import index_records
from albert_tf.data.records import RecordWriter, metadata_path, parse_pretraining_batch, read_metadata
from albert_tf.data.tables import has_column, read_table
from albert_tf.data.tfrecord import read_records
from albert_tf.errors import InputError
from albert_tf.export.device.device_check import read_sentences
from albert_tf.serving.rest import RestTransport
from albert_tf.serving.rows import opened, rows_of_file
from albert_tf.serving.signature import Signature, TensorInfo
from albert_tf.serving.transport import ServerFailure
from albert_tf.tasks.classification.custom import custom_task, read_custom
from albert_tf.tasks.classification.glue import TASKS, read_split
from albert_tf.tasks.race import read_race
from albert_tf.tasks.squad.reading import read_squad
from albert_tf.testing import VOCAB_FILE
from albert_tf.training.cluster import find_cluster
from data_prep.inspection import readable_records
from data_prep.manifest import read_manifest, verify
from data_prep.text_files import TextOptions, TextRange, check_formats, read_lines
from data_prep.work_files import load_result, save_result
from tests.support import pretraining_records
from tests.support.answering import answering
from tests.support.mutations import (
    JSON,
    Make,
    Read,
    Reader,
    check_reader,
    damaged,
    document,
    in_folder,
    of_record,
    text,
)

TEXT, SCORE = TensorInfo("DT_STRING", (None,)), TensorInfo("DT_FLOAT", (None,))
SIGNATURE = Signature("a", {"text": TEXT}, {"score": SCORE})
NUMBERS = Signature("a", {"ids": TensorInfo("DT_INT32", (None, None)), "text": TEXT}, {})


def records(folder: pathlib.Path) -> pathlib.Path:
    folder.mkdir(exist_ok=True)
    shutil.copy(VOCAB_FILE, folder / "v.txt")
    flags = {"vocab_file": str(folder / "v.txt"), "do_lower_case": True, "ngram": 3, "masked_lm_prob": 0.15}
    return pathlib.Path(pretraining_records.write_records(str(folder / "r"), 3, settings=flags))


def use_records(path: pathlib.Path) -> None:
    record_checks.are_unmasked([str(path)])
    found = record_checks.find_bad_record([str(path)], 12, 3, 20)
    list(readable_records(str(path), 2, vocab_file=VOCAB_FILE))
    index = index_records([str(path)], str(path.parent / "index"))
    _, content = index.read(np.arange(len(index)))
    if found is None:
        parse_pretraining_batch(tf.constant(list(content)), 12, 3, 20)


def use_description(path: pathlib.Path) -> None:
    file = str(path).removesuffix(".json")
    read_metadata(file)
    Assets.of_records([file])
    list(readable_records(file, 1))


def record_index(folder: pathlib.Path) -> pathlib.Path:
    index_records([str(records(folder))], str(folder / "i.npz"))
    return folder / "i.npz"


def features() -> Features:
    ones = np.ones(4, np.int32)
    return Features(
        input_ids=np.arange(12, dtype=np.uint16), lengths=3 * ones, first_lengths=2 * ones,
        full_lengths=3 * ones, labels=np.arange(4, dtype=np.int32), num_choices=1,
    )  # fmt: skip


def cache(ending: str) -> Make:
    def make(folder: pathlib.Path) -> pathlib.Path:
        cached_features(str(folder), "f", {"a": [1]}, features)
        [path] = folder.glob("f.*.tf_record")
        return pathlib.Path(f"{path}{ending}")

    return make


def use_cache(path: pathlib.Path) -> None:
    read = cached_features(str(path.parent), "f", {"a": [1]}, features)
    assert read.input_ids.tolist() == list(range(12))
    assert read.labels.tolist() == [0, 1, 2, 3]


def manifest(folder: pathlib.Path) -> pathlib.Path:
    path = records(folder)
    with RecordWriter([str(folder / "o")]) as writer:
        writer.write_serialized(list(read_records(str(path))))
        writer.describe({})
        [digest] = writer.digests()
    shard = {"name": "o", "records": 3, "bytes": (folder / "o").stat().st_size, "sha256": digest}
    pieces = [{"pieces": 3, "at": "a:1"}]
    content = {
        "format": "albert_tf pretraining data 1", "key": {"num_shards": 1, "vocabulary": "a"},
        "shards": [shard], "summary": {"mean": 1.5, "none": None}, "histograms": {"a": {"1": 2}},
        "longest_documents": pieces, "shortest_documents": pieces, "skipped": [],
    }  # fmt: skip
    return document("o.manifest.json", content)(folder)


def use_manifest(path: pathlib.Path) -> None:
    output = str(path.parent / "o")
    read_manifest(output)
    verify(output)


def work(folder: pathlib.Path) -> pathlib.Path:
    (folder / "t").write_text("done")
    save_result(str(folder / "w"), {"sha256": "a"}, [str(folder / "t")])
    return folder / "w.json"


def use_text(path: pathlib.Path) -> None:
    check_formats([str(path)])
    text_range = TextRange(str(path), 0, path.stat().st_size)
    for block in read_lines(text_range, TextOptions(text_field="text"), lambda number, problem: None):
        assert len(block.lines) == len(block.numbers)


def table(name: str) -> Make:
    def make(folder: pathlib.Path) -> pathlib.Path:
        pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed ('.[datasets]')")
        pq = pytest.importorskip("pyarrow.parquet")
        rows = pa.table({"text": ["Boats. Hills.", None, "é"] * 3})
        if name.endswith("parquet"):
            pq.write_table(rows, folder / name)
        else:
            with pa.ipc.new_file(folder / name, rows.schema) as writer:
                writer.write_table(rows)
        return folder / name

    return make


def use_table(path: pathlib.Path) -> None:
    has_column(str(path), "label")
    read_table(str(path), ["a", "label"], scalars=["label"]).class_names("label")
    read_custom(str(path), custom_task(("x", "y"), ("a",)), id_column="label")


LINES = 'a\tlabel\nThe boats\tx\nA "hill"\ty\n\u00e9\tx\n'
SQUAD = {
    "version": "v2.0",
    "data": [{"title": "t", "paragraphs": [{"context": "The boats and hills.", "qas": [
        {"id": "a", "question": "What?", "answers": [{"text": "boats", "answer_start": 4}]},
        {"id": "b", "question": "Who?", "answers": [], "is_impossible": True},
    ]}]}],
}  # fmt: skip
PASSAGE = {"id": "1", "article": "Boats.", "questions": ["A _?"], "options": [["a", "b"]], "answers": ["B"]}
TENSOR = {"dtype": "DT_STRING", "tensor_shape": {"unknown_rank": False, "dim": [{"size": "-1"}]}}
METADATA = {"metadata": {"signature_def": {"signature_def": {
    "a": {"inputs": {"text": TENSOR}, "outputs": {"score": TENSOR | {"dtype": "DT_FLOAT"}}},
}}}}  # fmt: skip
TF_CONFIG = {"cluster": {"chief": ["h:1"], "worker": ["h:2", "h:3"]}, "task": {"type": "worker", "index": 1}}


def ask(question: Callable[[RestTransport], object]) -> Read:
    def read(path: pathlib.Path) -> None:
        body = path.read_bytes()
        with answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)) as server:
            transport = RestTransport(server, "m", None, timeout=10.0)
            try:
                question(transport)
            finally:
                transport.close()

    return read


def predict(transport: RestTransport) -> None:
    transport.predict(SIGNATURE, {"text": np.array(["a"], object)})


def use_squad(path: pathlib.Path) -> None:
    read_squad(str(path))
    read_squad(str(path), training=True)


def use_race(folder: pathlib.Path) -> None:
    read_race(str(folder.parents[1]), "train", ["high"])


def use_rows(signature: Signature) -> Read:
    def read(path: pathlib.Path) -> None:
        with opened(str(path)) as file:
            rows = list(rows_of_file(file, str(path), signature))
        signature.to_arrays({name: [row[name] for row in rows] for name in signature.inputs})

    return read


def use_cluster(path: pathlib.Path) -> None:
    written = path.read_bytes().decode(errors="surrogateescape")
    with pytest.MonkeyPatch.context() as patch:
        if "\0" not in written:
            patch.setenv("TF_CONFIG", written)
            find_cluster(RunOptions(output_dir="a"))


def use_flagfile(path: pathlib.Path) -> None:
    parse(RunOptions, ["run", f"--flagfile={path}"])


READERS = {
    "records": Reader(records, use_records),
    "a record": Reader(records, use_records, (of_record,)),
    "description of records": Reader(
        lambda folder: pathlib.Path(metadata_path(str(records(folder)))), use_description, JSON
    ),
    "record_index.npz": Reader(record_index, lambda path: index_records([str(path.parent / "r")], str(path))),
    "feature cache": Reader(cache(""), use_cache),
    "description of a feature cache": Reader(cache(".json"), use_cache, JSON),
    "manifest": Reader(manifest, use_manifest, JSON),
    "unfinished work": Reader(work, lambda path: load_result(str(path).removesuffix(".json")), JSON),
    "raw text": Reader(text("a.txt", "The boats.\n\nHills \u00e9.\n"), use_text),
    "JSON documents": Reader(
        text("a.jsonl", '{"text": "Boats. Hills."}\n{"text": null}\n'), use_text, (damaged,)
    ),
    "one JSON document": Reader(document("a.json", {"text": "Boats. Hills.", "a": [1]}), use_text, JSON),
    "text.gz": Reader(text("a.gz", gzip.compress(b"The boats.\n" * 9, mtime=0)), use_text),
    "text.xz": Reader(text("a.xz", lzma.compress(b"The boats.\n" * 9)), use_text),
    "Parquet": Reader(table("a.parquet"), use_text),
    "Arrow": Reader(table("a.arrow"), use_text),
    "table.tsv": Reader(text("a.tsv", LINES), use_table),
    "table.csv": Reader(text("a.csv", LINES.replace("\t", ",")), use_table),
    "table.jsonl": Reader(text("a.jsonl", '{"a": "The boats", "label": "x"}'), use_table, JSON),
    "GLUE": Reader(
        text("RTE/train.tsv", "index\tsentence1\tsentence2\tlabel\n" + "0\tA\tB\tentailment\n" * 2),
        lambda path: read_split(TASKS["rte"], str(path.parents[1]), "train"),
    ),
    "SQuAD": Reader(document("s.json", SQUAD), use_squad, JSON),
    "RACE": Reader(document("train/high/1.txt", PASSAGE), in_folder(use_race), JSON),
    "RACE in one file": Reader(
        text("train/high/all.txt", f"{json.dumps(PASSAGE)}\n" * 2),
        in_folder(use_race),
    ),
    "sentences": Reader(text("a.txt", "The boats.\n\u00e9\n"), lambda path: read_sentences(str(path))),
    "rows of texts": Reader(text("a.txt", "The boats.\n\u00e9\n"), use_rows(SIGNATURE)),
    "rows of JSON": Reader(
        text("a.jsonl", '{"ids": [1, 2], "text": {"b64": "YQ=="}}'), use_rows(NUMBERS), JSON
    ),
    "metadata of a server": Reader(
        document("a", METADATA),
        ask(lambda transport: [str(s) for s in transport.signatures().values()]),
        JSON,
        (InputError, ServerFailure),
    ),
    "answer of a server": Reader(
        document("a", {"outputs": [0.5]}), ask(predict), JSON, (InputError, ServerFailure)
    ),
    "flagfile": Reader(
        text("a", "--output_dir=a\n--save_checkpoints_steps=3\n"), use_flagfile, errors=(UsageError,)
    ),
    "TF_CONFIG": Reader(document("a", TF_CONFIG), use_cluster, JSON),
}


@pytest.mark.parametrize("name", READERS)
def test_damaged_and_confused_input_is_taken_or_refused(name, tmp_path):
    check_reader(READERS[name], tmp_path)
