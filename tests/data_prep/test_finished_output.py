"""Output of the data preparation: what replaces it, its manifest, and what is shown of it."""

import hashlib
import json
import re
import shutil
import subprocess
import sys

import pytest

from albert_tf import testing
from albert_tf.data.tfrecord import framed, read_records
from albert_tf.tokenization import load_tokenizer
from tests.support.data_prep_runs import (
    main,
    output,
    prepare,
    write_text,
)
from tests.support.script_runs import refused


def test_finished_output_is_left_alone_unless_it_is_to_be_replaced(tmp_path, capsys):
    assert prepare(tmp_path) == 0
    first = (tmp_path / "out").stat()
    assert prepare(tmp_path) == 0
    assert "out: there already, made by the same command" in capsys.readouterr().out
    assert (tmp_path / "out").stat() == first
    line = refused(main, capsys, prepare(tmp_path, "--nodo_whole_word_mask", dupe_factor=3))
    assert "out is there already and was made with --do_whole_word_mask=True, not False" in line
    assert "--dupe_factor=2, not 3; --overwrite replaces it" in line
    assert prepare(tmp_path, "--overwrite", dupe_factor=3) == 0
    assert (tmp_path / "out").stat().st_size > first.st_size


def test_changed_text_is_another_input(tmp_path, capsys):
    assert prepare(tmp_path) == 0
    write_text(tmp_path / "text.txt", seed=1)
    assert "was made with another input_file; " in refused(main, capsys, prepare(tmp_path))


def test_a_file_that_is_no_output_of_ours_is_not_replaced(tmp_path, capsys):
    (tmp_path / "out").write_text("precious")
    line = refused(main, capsys, prepare(tmp_path))
    assert "out is there already and is not the complete output of this command" in line
    assert (tmp_path / "out").read_text() == "precious"


def test_output_beside_its_text_is_not_taken_for_text(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    write_text(tmp_path / "data" / "text.txt")
    flags = {"input_file": tmp_path / "data" / "*", "output_file": tmp_path / "data" / "out", "num_shards": 2}
    assert prepare(tmp_path, **flags) == 0
    first = output(tmp_path / "data")
    assert prepare(tmp_path, **flags) == 0
    assert "there already" in capsys.readouterr().out
    assert prepare(tmp_path, "--overwrite", **flags) == 0
    assert output(tmp_path / "data") == first
    (tmp_path / "data" / "text.txt").unlink()
    assert "nothing there but the output of an earlier run" in refused(
        main, capsys, prepare(tmp_path, **flags)
    )


def test_text_that_an_output_would_replace_is_refused(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    text = write_text(tmp_path / "data" / "text.txt")
    flags = {"input_file": tmp_path / "data" / "*", "output_file": text}
    line = refused(main, capsys, prepare(tmp_path, "--overwrite", **flags))
    assert "text.txt is among the input files and would be overwritten" in line


def test_the_manifest_says_what_the_output_is_and_what_it_was_made_of(tmp_path):
    assert prepare(tmp_path, num_shards=2) == 0
    manifest = json.loads((tmp_path / "out.manifest.json").read_text())
    for shard in manifest["shards"]:
        content = (tmp_path / shard["name"]).read_bytes()
        assert shard["sha256"] == hashlib.sha256(content).hexdigest()
        assert shard["bytes"] == len(content)
        assert shard["records"] == len(list(read_records(str(tmp_path / shard["name"]))))
        description = json.loads((tmp_path / f"{shard['name']}.json").read_text())
        assert {name: description[name] for name in ("records", "bytes")} == {
            name: shard[name] for name in ("records", "bytes")
        }
    text = (tmp_path / "text.txt").read_bytes()
    assert manifest["inputs"] == [
        {
            "path": str(tmp_path / "text.txt"),
            "bytes": len(text),
            "sha256": hashlib.sha256(text).hexdigest(),
        }
    ]
    assert manifest["settings"]["random_seed"] == 12345
    assert set(manifest["versions"]) >= {"python", "numpy", "sentencepiece"}
    examples = manifest["summary"]["examples"]
    histograms = manifest["histograms"]
    assert sum(shard["records"] for shard in manifest["shards"]) == examples
    assert sum(histograms["pieces in an example"].values()) == examples
    assert histograms["pieces in a line"] == {"8-15": 800}
    assert histograms["lines in a document"] == {"32-63": 20}
    assert list(histograms["words masked together"]) == ["1", "2", "3"]


def test_the_longest_and_shortest_documents_are_named_with_their_lines(tmp_path):
    lines = [("sea " * words).strip() for words in (3, 9000, 4, 5, 6, 7, 8, 9, 10, 11)]
    (tmp_path / "text.txt").write_text("\n\n".join(lines))
    assert prepare(tmp_path) == 0
    manifest = json.loads((tmp_path / "out.manifest.json").read_text())
    path = tmp_path / "text.txt"
    assert manifest["longest_documents"][:2] == [
        {"at": f"{path}:3", "pieces": 9000},
        {"at": f"{path}:19", "pieces": 11},
    ]
    assert manifest["shortest_documents"][:2] == [
        {"at": f"{path}:1", "pieces": 3},
        {"at": f"{path}:5", "pieces": 4},
    ]


def test_output_is_verified_by_its_manifest(tmp_path, capsys):
    assert prepare(tmp_path, num_shards=2) == 0
    capsys.readouterr()
    assert prepare(tmp_path, "--verify", input_file=None, vocab_file=None) == 0
    assert capsys.readouterr().out == "2 files, 235 records: as they were written\n"
    one, other = (tmp_path / f"out-0000{i}-of-00002" for i in range(2))
    content = bytearray(one.read_bytes())
    content[1000] ^= 1
    one.write_bytes(content)
    line = refused(main, capsys, prepare(tmp_path, "--verify"))
    assert f"{one} holds other bytes than were written" in line
    other.unlink()
    assert line.replace(str(one), "") != refused(main, capsys, prepare(tmp_path, "--verify"))
    one.write_bytes(content[:-1])
    line = refused(main, capsys, prepare(tmp_path, "--verify"))
    assert f"{one} has {len(content) - 1} bytes, not {len(content)}; 1 more files are wrong" in line


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "out.manifest.json does not exist"),
        ({"format": "other"}, "out.manifest.json: the format is 'other', not 'albert_tf pretraining data 1'"),
        ({"shards": []}, "shards: 0 files, not the 2 of the key"),
        ({"shards": {"name": 1}}, "shards: expected `array`, got `object`"),
        ({"shards": [3]}, "shards[0]: expected `object`, got `int`"),
        ({"key": []}, "key: expected `object`, got `array`"),
        ({"key": {"num_shards": "2"}}, "key.num_shards: expected `int`, got `str`"),
        ({"summary": 3}, "summary: expected `object`, got `int`"),
        ({"summary": {"examples": "3"}}, "summary[...]: expected `float | null`, got `str`"),
        ({"histograms": {"a": {"1": -1}}}, "histograms[...][...]: expected `int` >= 0"),
        ({"longest_documents": [{"at": 3}]}, "longest_documents[0]"),
        ({"shortest_documents": None}, "shortest_documents: expected `array`, got `null`"),
        ({"skipped": [1]}, "skipped[0]: expected `str`, got `int`"),
        ("records", "out-00000-of-00002 has 115 records, not 114"),
        ("twice", "shards: 1 files, not the 2 of the key"),
    ],
    ids=str,
)
def test_a_manifest_that_is_not_right_is_named(finished, capsys, change, message):
    path = finished / "out.manifest.json"
    manifest = json.loads(path.read_text())
    path.unlink()
    if change == "records":
        manifest["shards"][0]["records"] -= 1
    elif change == "twice":
        manifest["shards"][1] = manifest["shards"][0]
    elif change:
        manifest |= change
    if change:
        path.write_text(json.dumps(manifest))
    assert message in refused(main, capsys, prepare(finished, "--verify"))


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """A folder with output in two files."""
    folder = tmp_path_factory.mktemp("complete")
    assert prepare(folder, num_shards=2) == 0
    return folder


@pytest.fixture
def finished(complete, tmp_path):
    """A copy of the folder."""
    shutil.copytree(complete, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_a_description_or_record_that_is_none_is_named_when_it_is_shown(finished, capsys):
    capsys.readouterr()
    described = finished / "out-00000-of-00002.json"
    text = described.read_text()
    for settings in ([], {"spm_model_file": 3}):
        described.write_text(json.dumps({"settings": settings}))
        assert "out-00000-of-00002.json: settings" in refused(main, capsys, prepare(finished, "--inspect=1"))
    described.write_text(text)
    (finished / "out.manifest.json").unlink()
    for content, message in (
        (b"\xff" * 9, "out, record 1 is not a tf.train.Example"),
        (b"", "out, record 1 is no pretraining record of "),
    ):
        (finished / "out").write_bytes(b"".join(framed(content)))
        assert message in refused(main, capsys, prepare(finished, "--inspect=1"))


def test_records_are_shown_without_tensorflow(finished):
    code = f"""if True:
        import sys
        from data_prep.create_pretraining_data import main
        assert main(["x", "--inspect=1", "--output_file={finished}/out"]) == 0
        assert "tensorflow" not in sys.modules
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "record 1: label " in done.stdout


def test_records_are_shown_as_text_with_their_masks(tmp_path, capsys):
    (tmp_path / "text.txt").write_text("the rivers, about bread\nfish boats walking heron\n")
    assert prepare(tmp_path, masked_lm_prob=0.4, dupe_factor=1) == 0
    text = load_tokenizer(vocab_file=testing.VOCAB_FILE).tokenize(
        "the rivers, about bread fish boats walking heron"
    )
    capsys.readouterr()
    assert prepare(tmp_path, "--inspect=2", input_file=None, vocab_file=None) == 0
    head, a, b = capsys.readouterr().out.splitlines()
    assert head.startswith(f"{tmp_path / 'out'}, record 1: label ")
    assert f"{len(text) + 3} pieces, 7 to predict" in head
    assert (a[:5], b[:5]) == ("  A: ", "  B: ")
    assert (a + b).count("|") == 7
    shown = [re.sub(r"\[(\[MASK\]|[^|\[ ]+)\|([^\]]+)\]", r"\2", line[5:]) for line in (a, b)]
    # With the labels in place of what is seen it is the text, in one order or the other.
    expected = ["the rivers , about bread", "fish boats walking heron"]
    assert shown == expected[:: -1 if "label 1" in head else 1]


def test_unmasked_records_are_described_shown_and_verified(tmp_path, capsys):
    assert prepare(tmp_path, masking="dynamic", num_shards=2, dupe_factor=None) == 0
    printed = capsys.readouterr().out
    assert "masked pieces  drawn while training\n" in printed
    assert "order of A and B  drawn while training, where the label may change\n" in printed
    assert "words masked together" not in printed
    manifest = json.loads((tmp_path / "out.manifest.json").read_text())
    summary, lengths = manifest["summary"], manifest["histograms"]["pieces in an example"]
    assert (summary["masked_pieces"], summary["label_1_share"]) == (None, 0)
    assert sum(lengths.values()) == summary["examples"] == sum(s["records"] for s in manifest["shards"])
    assert prepare(tmp_path, "--verify", "--inspect=1", input_file=None, vocab_file=None) == 0
    printed = capsys.readouterr().out
    assert "2 files, " in printed
    assert "label 0 (in order), 12" in printed
    assert " pieces, masks and order drawn while training\n  A: " in printed
    assert prepare(tmp_path, masking="dynamic", num_shards=2, dupe_factor=None, num_workers=2) == 0
    assert "there already, made by the same command" in capsys.readouterr().out
