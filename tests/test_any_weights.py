"""Every reader of weights and of the files of a run takes damaged and confused input, or refuses it."""

import functools
import gzip
import json
import lzma
import pathlib
import re
import shutil
import tarfile
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from albert_tf.checkpoints import huggingface
from albert_tf.checkpoints.assets import Assets
from albert_tf.checkpoints.run_folder import best_checkpoint, newest_whole_checkpoint, results_of
from albert_tf.checkpoints.sources import open_source
from albert_tf.config import AlbertConfig
from albert_tf.errors import InputError
from albert_tf.export.serving.saved_model import serve
from albert_tf.export.trained_model import open_trained_model
from albert_tf.models import heads
from albert_tf.models.encoder import AlbertEncoder
from albert_tf.models.pretraining import AlbertForPreTraining
from albert_tf.models.question_answering import AlbertForQuestionAnsweringV2
from albert_tf.testing import SPM_MODEL_FILE, VOCAB_FILE, tiny_config
from albert_tf.tokenization import load_tokenizer
from albert_tf.training.divergence import Rollbacks
from albert_tf.training.history import History
from albert_tf.training.provenance import command_of
from tests.support.checkpoint_files import weights_of, write_checkpoint, write_hub_module
from tests.support.mutations import (
    JSON,
    Make,
    Reader,
    check_reader,
    confused,
    copy,
    damaged,
    document,
    in_folder,
    of_header,
    text,
)

CONFIG = tiny_config(num_hidden_layers=1)
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


def use_tokenizer(**flags: str) -> None:
    tokenizer = load_tokenizer(**flags)
    tokenizer.encode_batch(["The 2009, boats é", ""])
    tokenizer.encode_with_offsets(["The 2009, boats é", "\u4e00"])
    tokenizer.problem_of_accents()
    tokenizer.problem_in_graph()


def use_weights(path: pathlib.Path) -> None:
    """What opening, building and loading do, without the model."""
    with open_source(str(path)) as source:
        if source.assets.config:
            heads.head_of(source.shapes, source.head)
        if source.assets.vocabulary:
            source.assets.tokenizer()
        source.assets.description()
        for name in source.shapes:
            source.read(name)


def use_checkpoints(folder: pathlib.Path) -> None:
    newest_whole_checkpoint(str(folder), repair=True)
    best_checkpoint(str(folder), repair=True)
    use_weights(folder)


def use_assets(folder: pathlib.Path) -> None:
    assets = Assets.read(str(folder))
    heads.head_of_task(assets.task.get("task_name", ""))
    assets.write(str(folder / "copy"))


def their_folder(folder: pathlib.Path) -> pathlib.Path:
    model = AlbertForPreTraining(CONFIG)
    assets = Assets(config=CONFIG, spm_model_file=SPM_MODEL_FILE, do_lower_case=True)
    huggingface.write_folder(str(folder), assets, weights_of(model), "pretraining")
    return folder


def theirs(name: str) -> Make:
    return lambda folder: their_folder(folder) / name


def their_index(folder: pathlib.Path) -> pathlib.Path:
    their_folder(folder)
    index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys("ab", "model.safetensors")}
    return document("model.safetensors.index.json", index)(folder)


def our_checkpoint(ending: str) -> Make:
    def make(folder: pathlib.Path) -> pathlib.Path:
        prefix = tf.train.Checkpoint(model=AlbertEncoder(CONFIG)).save(str(folder / "model.ckpt"))
        Assets(config=CONFIG, task={"task_name": "encoder"}).write(str(folder))
        return folder / "checkpoint" if not ending else pathlib.Path(f"{prefix}{ending}")

    return make


def hub_module(name: str) -> Make:
    def make(folder: pathlib.Path) -> pathlib.Path:
        return pathlib.Path(write_hub_module(folder / "m", {"a": np.ones(3, np.float32)}, CONFIG)) / name

    return make


def object_graph(folder: pathlib.Path) -> pathlib.Path:
    prefix = tf.train.Checkpoint(model=AlbertEncoder(CONFIG)).write(str(folder / "m"))
    return text("graph", tf.train.load_checkpoint(prefix).get_tensor(GRAPH))(folder)


def read_object_graph(path: pathlib.Path) -> None:
    reader = tf.train.load_checkpoint(str(path.parent / "m"))
    tensors = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    write_checkpoint(path.parent / "changed" / "m", tensors | {GRAPH: path.read_bytes()})
    use_weights(path.parent / "changed")


def without_time(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mtime = 0
    return member


def archive(folder: pathlib.Path) -> pathlib.Path:
    inner = folder / "inner"
    write_checkpoint(inner / "model.ckpt", {"a": np.ones(3, np.float32)})
    CONFIG.to_json_file(str(inner / "albert_config.json"))
    with tarfile.open(folder / "a.tar", "w") as tar:
        tar.add(inner, "albert", filter=without_time)
    shutil.rmtree(inner)
    return folder / "a.tar"


def compressed(name: str, compress: Callable[[bytes], bytes]) -> Make:
    return lambda folder: text(name, compress(archive(folder).read_bytes()))(folder / "z")


TASK = {
    "task_name": "mrpc", "label_names": ["a", "b"], "text_columns": ["t"], "num_texts": 1,
    "max_seq_length": 12, "do_lower_case": True, "vocabulary": "a",
}  # fmt: skip
STARTED = {"command": "a", "flags": {"num_train_steps": 5, "early_stopping_patience": None}, "settings": {}}
EVALUATION = {"global_step": 4, "eval_accuracy": 0.5, "eval_loss": 1.0}
HISTORY = {"data": "", "evaluations": [EVALUATION, EVALUATION | {"global_step": 8}]}


def trained(name: str) -> Make:
    """The folder of a model for SQuAD 2.0, as it is exported."""

    def make(folder: pathlib.Path) -> pathlib.Path:
        model = AlbertForQuestionAnsweringV2(CONFIG)
        tf.train.Checkpoint(model=model).write(str(folder / "model.ckpt-5"))
        numbers = dict.fromkeys(("doc_stride", "max_query_length", "n_best_size", "max_answer_length"), 4)
        task = {"task_name": "squad_v2", "label_names": [], "max_seq_length": 16, "start_n_top": 2, **numbers}
        Assets(config=CONFIG, vocab_file=VOCAB_FILE, do_lower_case=True, task=task).write(str(folder))
        document("eval_results.json", {"global_step": 5, "null_score_diff_threshold": 0.5})(folder)
        document("training.json", STARTED)(folder)
        return folder / name

    return make


def export(folder: pathlib.Path) -> None:
    with open_trained_model(str(folder)) as model:
        serve(model, {})


def use_history(path: pathlib.Path) -> None:
    history = History(str(path.parent), "eval_accuracy", "")
    history.best()
    history.would_be_best(EVALUATION)
    history.evaluations_since_best()
    history.forget_after(5)
    results_of(str(path.parent), 8)


READERS = {
    "albert_config.json": Reader(
        lambda folder: (CONFIG.to_json_file(str(folder / "c.json")), folder / "c.json")[1],
        lambda path: AlbertConfig.from_json_file(str(path)).parameter_count(),
        JSON,
    ),
    "task.json": Reader(
        document("task.json", TASK),
        in_folder(use_assets),
        JSON,
    ),
    "vocab.txt": Reader(copy("v.txt", VOCAB_FILE), lambda path: use_tokenizer(vocab_file=str(path))),
    "SentencePiece model": Reader(
        copy("v.model", SPM_MODEL_FILE), lambda path: use_tokenizer(spm_model_file=str(path))
    ),
    "vocabulary in a folder": Reader(copy("v.model", SPM_MODEL_FILE), in_folder(use_assets)),
    "config.json": Reader(theirs("config.json"), in_folder(use_weights), JSON),
    "tokenizer.json": Reader(theirs("tokenizer.json"), in_folder(use_weights), JSON, examples=15),
    "tokenizer_config.json": Reader(theirs("tokenizer_config.json"), in_folder(use_weights), JSON),
    "model.safetensors": Reader(theirs("model.safetensors"), use_weights, (damaged, of_header)),
    "model.safetensors.index.json": Reader(their_index, in_folder(use_weights), JSON),
    "checkpoint": Reader(our_checkpoint(""), in_folder(use_checkpoints)),
    "checkpoint index": Reader(our_checkpoint(".index"), in_folder(use_weights)),
    "checkpoint data": Reader(our_checkpoint(".data-00000-of-00001"), in_folder(use_weights)),
    "object graph": Reader(object_graph, read_object_graph),
    "hub module": Reader(hub_module("saved_model.pb"), in_folder(use_weights)),
    "tar": Reader(archive, use_weights),
    "tar.gz": Reader(compressed("a.tar.gz", functools.partial(gzip.compress, mtime=0)), use_weights),
    "tar.xz": Reader(compressed("a.tar.xz", lzma.compress), use_weights),
    "history.json": Reader(document("history.json", HISTORY), use_history, JSON),
    "eval_results.json": Reader(
        document("eval_results.json", EVALUATION), lambda path: results_of(str(path.parent), 8), JSON
    ),
    "training.json": Reader(
        document("training.json", STARTED),
        lambda path: command_of(str(path.parent)),
        JSON,
    ),
    "training.json of an export": Reader(trained("training.json"), in_folder(export), JSON, examples=8),
    "results of an export": Reader(trained("eval_results.json"), in_folder(export), JSON, examples=6),
    "task.json of an export": Reader(trained("task.json"), in_folder(export), (confused,), examples=12),
    "rollbacks.json": Reader(
        document("rollbacks.json", [{"to_step": 3, "batches": 2, "why": "NaN"}]),
        lambda path: Rollbacks(str(path.parent)).batch_of(7),
        JSON,
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_damaged_and_confused_input_is_taken_or_refused(name, tmp_path):
    check_reader(READERS[name], tmp_path)


@pytest.mark.parametrize(("name", "change", "message"), [
    ("training.json", {"flags": []}, "training.json: flags: expected `object`, got `array`"),
    ("training.json", {"flags": {"num_train_steps": "5"}}, "training.json: flags.num_train_steps: expected"),
    ("eval_results.json", {"null_score_diff_threshold": "0"}, "null_score_diff_threshold: expected `float`"),
    ("task.json", {"doc_stride": 0}, "task.json: doc_stride: expected `int` >= 1"),
    ("task.json", {"start_n_top": [1]}, "task.json: start_n_top: expected `int`, got `array`"),
])  # fmt: skip
def test_what_the_files_beside_weights_say_is_checked(name, change, message, tmp_path):
    path = trained(name)(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=re.escape(message)):
        export(tmp_path)
