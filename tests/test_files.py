"""Files by name, and output that appears when it is complete."""

import os
import pathlib
import socket

import pytest

from albert_tf import AlbertConfig
from albert_tf.data.tables import read_jsonl, read_tsv
from albert_tf.data.tfrecord import read_records
from albert_tf.errors import InputError
from albert_tf.files import (
    appear_when_complete,
    file_digest,
    folder_appears_when_complete,
    matching_files,
    move_file,
    open_file,
    read_json,
    write_text,
)
from albert_tf.tokenization import load_tokenizer


@pytest.mark.parametrize("name", ["a\0", "\ud83d"])
def test_a_name_that_no_file_can_have_is_one_line(name):
    with pytest.raises(InputError, match="is no name that a file can have") as error:
        open_file(name)
    assert str(error.value).isprintable()


def test_a_vocabulary_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path}/v.txt, a vocabulary, does not exist"):
        load_tokenizer(vocab_file=str(tmp_path / "v.txt"))


READERS = [
    open_file,
    file_digest,
    lambda path: matching_files([path]),
    lambda path: read_json(path, dict),
    lambda path: read_tsv(path, ["a"]),
    lambda path: read_jsonl(path, ["a"]),
    lambda path: list(read_records(path)),
    lambda path: load_tokenizer(spm_model_file=path),
    lambda path: load_tokenizer(vocab_file=path),
    AlbertConfig.from_json_file,
]


@pytest.fixture
def others(tmp_path):
    """A pipe that nobody writes to, a device, and a socket."""
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "socket"))
        yield [str(tmp_path / "pipe"), "/dev/null", str(tmp_path / "socket")]


@pytest.mark.parametrize("read", READERS)
def test_what_is_no_regular_file_is_refused_at_once(others, read):
    for path in others:
        with pytest.raises(InputError, match=f"^{path} is not a regular file"):
            read(path)


@pytest.mark.parametrize("written", ["file", "moved", "folder"])
def test_the_disk_has_a_file_before_it_appears(tmp_path, monkeypatch, written):
    """So a machine that loses its power leaves the former file or the new one, never an empty one."""
    done = []
    replace, rename, flush = os.replace, os.rename, os.fsync
    target = str(tmp_path / "out")

    def noted_flush(descriptor):
        done.append(os.path.realpath(f"/proc/self/fd/{descriptor}"))
        flush(descriptor)

    def noted(original, name, path):
        assert name in done
        done.append("appeared")
        original(name, path)

    monkeypatch.setattr(os, "fsync", noted_flush)
    monkeypatch.setattr(os, "replace", lambda name, path: noted(replace, name, path))
    monkeypatch.setattr(os, "rename", lambda name, path: noted(rename, name, path))
    if written == "file":
        write_text(target, "text")
    elif written == "moved":
        (tmp_path / "made").write_text("text")
        move_file(str(tmp_path / "made"), target)
    else:
        with folder_appears_when_complete(target) as folder:
            os.mkdir(f"{folder}/inner")
            open(f"{folder}/inner/file", "w").close()
        assert any(path.endswith("/inner/file") for path in done[: done.index("appeared")])
    assert done[-2:] == ["appeared", str(tmp_path)]


def test_a_disk_that_refuses_is_named_and_the_former_file_stays(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    path = tmp_path / "out"
    path.write_text("before")
    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(InputError, match="cannot be written: No space left on device"),
        appear_when_complete([str(path)]) as [name],
    ):
        os.truncate(name, 9)
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["out"]


def test_a_part_of_a_file_has_a_digest_of_its_own(tmp_path):
    (tmp_path / "all").write_bytes(b"one two three")
    (tmp_path / "two").write_bytes(b"two")
    sizes = []
    assert file_digest(str(tmp_path / "all"), sizes.append, 4, 3) == file_digest(str(tmp_path / "two"))
    assert sizes == [3]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path, end):
    config, pieces = tmp_path / "albert_config.json", tmp_path / "vocab.txt"
    config.write_bytes("\ufeff".encode() + b'{"vocab_size": 9}')
    assert read_json(str(config), dict[str, int]) == {"vocab_size": 9}
    text = end.join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "sea", ""])
    pieces.write_bytes(("\ufeff" + text).encode())
    assert load_tokenizer(vocab_file=str(pieces)).pieces == text.split()


def write(folder: str | pathlib.Path, text: str) -> None:
    pathlib.Path(folder).mkdir(exist_ok=True)
    (pathlib.Path(folder) / "file").write_text(text)


@pytest.mark.parametrize("meanwhile", ["a folder", "a file", "an empty folder", "nothing"])
@pytest.mark.parametrize("overwrite", [True, False])
def test_a_folder_that_came_meanwhile_is_replaced_only_if_asked_for(overwrite, meanwhile, tmp_path):
    def run():
        with folder_appears_when_complete(str(tmp_path / "out"), overwrite) as folder:
            write(folder, "ours")
            if meanwhile == "a folder":
                write(tmp_path / "out", "theirs")
            elif meanwhile == "a file":
                (tmp_path / "out").write_text("theirs")
            elif meanwhile == "an empty folder":
                (tmp_path / "out").mkdir()

    if meanwhile in ("nothing", "an empty folder") or (overwrite and meanwhile == "a folder"):
        run()
        assert (tmp_path / "out" / "file").read_text() == "ours"
    else:
        with pytest.raises(InputError, match="out exists: another run has written it meanwhile"):
            run()
        theirs = tmp_path / "out" / "file" if meanwhile == "a folder" else tmp_path / "out"
        assert theirs.read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
