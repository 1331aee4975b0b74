"""The real command: reproducible files, the distributions of the algorithm, one clear line for bad input."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from albert_tf import testing
from albert_tf.checkpoints.assets import Assets
from albert_tf.data import record_checks, records
from albert_tf.data.tfrecord import read_records
from albert_tf.tokenization import load_tokenizer
from data_prep.create_pretraining_data import main
from data_prep.manifest import read_manifest
from tests.support.data_prep_runs import WORDS, write_text


def run(folder, *arguments, output="out.tfrecord", text=None, vocabulary="vocab_file"):
    """Runs the command on `text`; returns its exit status."""
    file = testing.VOCAB_FILE if vocabulary == "vocab_file" else testing.SPM_MODEL_FILE
    text = text or str(folder / "text.txt")
    if not os.path.exists(text) and text == str(folder / "text.txt"):
        write_text(folder / "text.txt")
    return main(
        [
            "create_pretraining_data.py",
            f"--input_file={text}",
            f"--output_file={folder / output}",
            f"--{vocabulary}={file}",
            *arguments,
        ]
    )


def load(path, length, predictions):
    batch = records.parse_pretraining_batch(list(read_records(str(path))), length, predictions)
    return {name: values.numpy() for name, values in batch.items()}


# ------------------------------------------------------------------------------------- distributions


@pytest.fixture(scope="module")
def real_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    assert run(folder, "--max_seq_length=128", "--dupe_factor=10") == 0
    return folder / "out.tfrecord"


def test_masking_of_a_run(real_run):
    examples = load(real_run, 128, 20)
    weights = examples["masked_lm_weights"] == 1
    seen = np.take_along_axis(examples["input_ids"], examples["masked_lm_positions"], axis=1)[weights]
    labels = examples["masked_lm_ids"][weights]
    tokenizer = load_tokenizer(vocab_file=testing.VOCAB_FILE)
    chance = 0.1 / tokenizer.vocab_size  # of drawing the very piece, or [MASK]
    assert np.mean(seen == tokenizer.mask_id) == pytest.approx(0.8 + chance, abs=0.01)
    assert np.mean(seen == labels) == pytest.approx(0.1 + chance, abs=0.01)
    real = examples["input_mask"].sum(axis=1)
    wanted = np.minimum(20, np.maximum(1, np.rint(real * 0.15)))
    assert (weights.sum(axis=1) == wanted).all()  # with words of one piece every quota is filled


def test_sentence_order_of_a_run(real_run):
    examples = load(real_run, 128, 20)
    assert np.mean(examples["next_sentence_labels"]) == pytest.approx(0.5, abs=0.03)


def test_short_examples_of_a_run(real_run):
    # A document of 600 pieces gives 4 examples of 135 (9 lines) that truncation fills, and one of 60 from
    # the rest. A tenth of the documents has shorter targets, uniform in 2..125: so more, shorter examples.
    examples = load(real_run, 128, 20)
    filled = np.count_nonzero(examples["input_mask"].sum(axis=1) == 128)
    documents = 40 * 10
    # A short target t takes ceil(t / 15) lines: 9 lines, which fill an example, for t above 120.
    assert filled / documents == pytest.approx(4 * (0.9 + 0.1 * 5 / 124), abs=0.2)


def test_ngrams_of_a_run(tmp_path):
    # Three predictions in a long example: one trigram with 2/11; a pair and a single with 3/11 (pair first)
    # plus 6/11 * 5/11 (single first, then at least a pair, cut down to two); three singles with (6/11)^2.
    arguments = ("--max_seq_length=512", "--dupe_factor=40", "--max_predictions_per_seq=3")
    assert run(tmp_path, *arguments, "--short_seq_prob=0", text=write_text(tmp_path / "t", segments=70)) == 0
    examples = load(tmp_path / "out.tfrecord", 512, 3)
    whole = examples["masked_lm_weights"].sum(axis=1) == 3
    runs = 3 - np.count_nonzero(np.diff(examples["masked_lm_positions"][whole], axis=1) == 1, axis=1)
    shares = np.bincount(runs, minlength=4)[1:] / runs.size
    assert runs.size > 3000
    # Words that are neighbours by chance make a percent or so of the runs longer.
    np.testing.assert_allclose(shares, [2 / 11, 3 / 11 + 30 / 121, 36 / 121], atol=0.035)


def test_the_summary_counts_what_was_written(real_run):
    examples = load(real_run, 128, 20)
    metadata = records.read_metadata(str(real_run))
    summary = metadata["summary"]
    pieces = int(examples["input_mask"].sum())
    assert metadata["records"] == summary["examples"] == len(examples["input_ids"])
    assert (metadata["vocab_size"], metadata["max_seq_length"], metadata["seed"]) == (143, 128, 12345)
    assert metadata["max_predictions_per_seq"] == 20
    assert metadata["settings"]["dupe_factor"] == 10
    assert (summary["documents"], summary["segments"]) == (40, 1600)
    assert summary["corpus_pieces"] == 1600 * 15
    assert (summary["unknown_share"], summary["single_words_left_out"]) == (0, 0)
    assert summary["pieces"] == pieces
    assert summary["mean_fill"] == pytest.approx(pieces / examples["input_mask"].size, abs=1e-4)
    assert summary["label_1_share"] == pytest.approx(examples["next_sentence_labels"].mean(), abs=1e-4)
    assert summary["masked_pieces"] == examples["masked_lm_weights"].sum()


def test_what_truncation_loses_is_planned_and_summed_up(tmp_path, capsys):
    (tmp_path / "text.txt").write_text("about baker " * 5000 + "\n\nsea fish\n")
    assert run(tmp_path, "--max_seq_length=32", "--dupe_factor=2", "--short_seq_prob=0") == 0
    printed = capsys.readouterr().out
    assert "pieces  about 62 kept, 19,942 cut off, 54 of padding\n" in printed
    summary = records.read_metadata(str(tmp_path / "out.tfrecord"))["summary"]
    assert summary["corpus_pieces"] == 10_002
    assert summary["kept_pieces"] == 2 * (29 + 2)
    assert summary["cut_off_pieces"] == 2 * (10_000 - 29)
    assert summary["cut_off_share"] == 0.9969
    assert summary["padding"] == 2 * (32 - 5)
    assert "cut off pieces  19,942\n" in printed


def test_unmasked_records_are_the_static_ones_of_one_pass_without_masks(tmp_path):
    flags = ("--max_seq_length=64", "--short_seq_prob=0.5")
    assert run(tmp_path, *flags, "--dupe_factor=1", output="static.tfrecord") == 0
    assert run(tmp_path, *flags, "--masking=dynamic", output="dynamic.tfrecord") == 0
    static = load(tmp_path / "static.tfrecord", 64, 20)
    serialized = list(read_records(str(tmp_path / "dynamic.tfrecord")))
    unmasked = {n: v.numpy() for n, v in records.parse_unmasked_batch(serialized, 64).items()}
    rows, nth = np.nonzero(static["masked_lm_weights"])
    static["input_ids"][rows, static["masked_lm_positions"][rows, nth]] = static["masked_lm_ids"][rows, nth]
    swapped = static["next_sentence_labels"] == 1
    assert 0 < swapped.mean() < 1
    for name in ("input_ids", "segment_ids"):
        np.testing.assert_array_equal(static[name][~swapped], unmasked[name][~swapped])
    lengths = [(features["segment_ids"] == 1).sum(axis=1)[swapped] for features in (static, unmasked)]
    np.testing.assert_array_equal(static["input_mask"].sum(axis=1)[swapped] - 1, np.sum(lengths, axis=0))
    assert not unmasked["next_sentence_labels"].any()
    assert (unmasked["may_swap"] == 1).all()
    tokenizer = load_tokenizer(vocab_file=testing.VOCAB_FILE)
    assert (unmasked["mask_id"] == tokenizer.mask_id).all()
    metadata = records.read_metadata(str(tmp_path / "dynamic.tfrecord"))
    assert (metadata["settings"]["masking"], metadata["settings"]["dupe_factor"]) == ("dynamic", 1)


def test_the_examples_of_documents_and_passes_are_mixed(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join("\n".join([f"{word} {word}"] * 30) for word in WORDS))
    assert run(tmp_path, "--max_seq_length=23", "--masked_lm_prob=0", "--dupe_factor=5") == 0
    words = load(tmp_path / "out.tfrecord", 23, 20)["input_ids"][:, 1]
    assert np.count_nonzero(np.diff(words)) > 0.7 * words.size


# ----------------------------------------------------------------------------------- reproducibility


def test_one_seed_gives_one_file_and_another_seed_another(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run(tmp_path, f"--random_seed={seed}", "--dupe_factor=2", output=name) == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


def test_several_outputs_share_the_examples_of_one(tmp_path):
    arguments = ("--dupe_factor=2", "--masked_lm_prob=0")
    assert run(tmp_path, *arguments) == 0
    assert run(tmp_path, *arguments, output=f"a,{tmp_path / 'b'}") == 0
    assert run(tmp_path, *arguments, "--num_shards=3", output="c") == 0
    whole = sorted(read_records(str(tmp_path / "out.tfrecord")))
    for names in (["a", "b"], [f"c-0000{i}-of-00003" for i in range(3)]):
        parts = [list(read_records(str(tmp_path / name))) for name in names]
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
        assert sorted(sum(parts, [])) == whole  # noqa: RUF017


def test_globs_and_lists_are_read_in_order(tmp_path):
    for name in ("b1.txt", "a2.txt", "a1.txt"):
        write_text(tmp_path / name, documents=3, seed=ord(name[0]) + ord(name[1]))
    both = tmp_path / "both.txt"
    both.write_text("\n".join((tmp_path / n).read_text() for n in ("b1.txt", "a1.txt", "a2.txt")))
    assert run(tmp_path, output="one", text=str(both)) == 0
    assert run(tmp_path, output="three", text=f"{tmp_path}/b1.txt,{tmp_path}/a*.txt,{tmp_path}/a1.txt") == 0
    assert (tmp_path / "one").read_bytes() == (tmp_path / "three").read_bytes()


# ------------------------------------------------------------------------------------ other settings


def test_sentencepiece_and_permutation_and_next_sentence_prediction(tmp_path):
    arguments = ("--do_permutation", "--random_next_sentence", "--max_seq_length=64", "--dupe_factor=3")
    assert run(tmp_path, *arguments, vocabulary="spm_model_file") == 0
    examples = load(tmp_path / "out.tfrecord", 64, 40)
    metadata = records.read_metadata(str(tmp_path / "out.tfrecord"))
    assert metadata["max_predictions_per_seq"] == 40
    assert metadata["vocab_size"] == 160
    assert examples["masked_lm_weights"].sum(axis=1).max() > 15
    assert 0.5 <= examples["next_sentence_labels"].mean() < 0.7


def test_the_command_line_of_the_original_is_understood(tmp_path):
    text = write_text(tmp_path / "text.txt")
    arguments = [
        f"--input_file={text}",
        f"--output_file={tmp_path / 'new folder' / 'out'}",
        "--vocab_file=30k-clean.vocab",
        f"--spm_model_file={testing.SPM_MODEL_FILE}",
        *("--input_file_mode", "rb", "--do_lower_case", "--do_whole_word_mask", "--nodo_permutation"),
        *("--favor_shorter_ngram", "--norandom_next_sentence", "--max_seq_length=64", "--ngram=3"),
        *("--max_predictions_per_seq=10", "--random_seed=12345", "--dupe_factor=2"),
        *("--masked_lm_prob=0.15", "--short_seq_prob=0.1"),
    ]
    assert main(["create_pretraining_data.py", *arguments]) == 0
    assert (tmp_path / "new folder" / "out").exists()


def test_the_command_needs_no_tensorflow(tmp_path):
    text = write_text(tmp_path / "text.txt")
    code = (
        "import sys; from data_prep.create_pretraining_data import main\n"
        f"assert main(['x', '--input_file={text}', '--output_file={tmp_path / 'o'}',"
        f" '--vocab_file={testing.VOCAB_FILE}', '--dupe_factor=1']) == 0\n"
        "assert main(['x', '--help']) == 0\n"
        "assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "--max_predictions_per_seq" in done.stdout


# ----------------------------------------------------------------------------------------- bad input


def bad_text(name, content):
    def prepare(folder):
        path = folder / name
        path.write_bytes(content)
        return str(path)

    return prepare


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (lambda folder: str(folder / "none.txt"), "none.txt: no such file"),
        (lambda folder: str(folder / "*.text"), "*.text: no such file, and no file name matches it"),
        (lambda folder: str(folder), "is a folder; a file is needed"),
        (bad_text("empty.txt", b""), "no text in"),
        (bad_text("blank.txt", b"\n  \n\n"), "no text in"),
        (bad_text("words.txt", b"bread\n\nfish\n"), "no examples: "),
        (bad_text("latin.txt", b"bread\nf\xefsh\n"), "latin.txt, line 2: not UTF-8"),
    ],
)
def test_bad_text_is_named_in_one_line_and_earlier_output_stays(tmp_path, capsys, text, message):
    output = tmp_path / "out" / "out.tfrecord"
    output.parent.mkdir()
    output.write_bytes(b"earlier")
    assert run(tmp_path, "--overwrite", text=text(tmp_path), output="out/out.tfrecord") == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(lines) == 1
    assert message in lines[0]
    assert output.read_bytes() == b"earlier"
    assert os.listdir(output.parent) == ["out.tfrecord"]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("text.txt", "text.txt is among the input files and would be overwritten"),
        ("folder", "folder is a folder; the output is a file"),
        ("file/out.tfrecord", "file/out.tfrecord cannot be written: "),
        ("out.tfrecord,out.tfrecord", "an output file is named twice"),
    ],
)
def test_outputs_that_cannot_be_written_are_named(tmp_path, capsys, monkeypatch, output, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    text = write_text(tmp_path / "text.txt")
    before = (tmp_path / "text.txt").read_bytes()
    arguments = [f"--input_file={text}", f"--output_file={output}", f"--vocab_file={testing.VOCAB_FILE}"]
    assert main(["create_pretraining_data.py", *arguments]) == 1
    assert message in capsys.readouterr().err
    assert (tmp_path / "text.txt").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["file", "folder", "text.txt"]


def test_a_folder_without_permission_is_named(tmp_path, capsys):
    if os.geteuid() == 0:
        folder = "/proc"  # nobody may create files here
    else:
        (tmp_path / "locked").mkdir(mode=0o500)
        folder = tmp_path / "locked"
    text = write_text(tmp_path / "text.txt")
    arguments = [f"--input_file={text}", f"--output_file={folder}/out", f"--vocab_file={testing.VOCAB_FILE}"]
    assert main(["create_pretraining_data.py", *arguments]) == 1
    assert f"{folder}/out cannot be written: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--max_seq_length=4", "--max_seq_length must be at least 5"),
        ("--max_predictions_per_seq=0", "--max_predictions_per_seq must be at least 1"),
        ("--max_predictions_per_seq=all", "must be an integer or auto, not all"),
        ("--masked_lm_prob=1.5", "--masked_lm_prob must be at most 1"),
        ("--short_seq_prob=-1", "--short_seq_prob must be at least 0"),
        ("--dupe_factor=0", "--dupe_factor must be at least 1"),
        ("--random_seed=-1", "--random_seed must be at least 0"),
        ("--ngram=x", "ngram"),
        ("--ngrams=2", "ngrams"),
        ("--single_segment_chunks=merge", "split"),
        ("--masking=dynamic --do_permutation", "--do_permutation needs --masking=static"),
    ],
)
def test_bad_flags_are_named_with_exit_status_2(tmp_path, capsys, flag, message):
    assert run(tmp_path, *flag.split()) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.tfrecord").exists()


def test_a_vocabulary_is_needed(tmp_path, capsys):
    text = write_text(tmp_path / "text.txt")
    assert main(["x", f"--input_file={text}", f"--output_file={tmp_path / 'out'}"]) == 1
    assert "--spm_model_file" in capsys.readouterr().err
    assert main(["x", f"--input_file={text}"]) == 2
    assert "missing required flag --output_file" in capsys.readouterr().err


def test_a_run_that_was_interrupted_before_it_got_going_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("data_prep.stages.make_examples", interrupt)
    assert run(tmp_path, output="out") == 130
    assert os.listdir(tmp_path) == ["text.txt"]


def test_the_description_is_json_beside_the_output(tmp_path):
    assert run(tmp_path, "--dupe_factor=1", output="out") == 0
    assert json.loads((tmp_path / "out.json").read_text())["summary"]["documents"] == 40


def test_real_text_with_the_released_vocabulary(shared_data, tmp_path):
    model = shared_data / "spm" / "30k-clean.model"
    arguments = [
        f"--input_file={shared_data / 'corpus' / 'wiki_tiny.txt'}",
        f"--output_file={tmp_path / 'out'}",
        f"--spm_model_file={model}",
        "--dupe_factor=1",
        "--max_seq_length=128",
    ]
    assert main(["create_pretraining_data.py", *arguments]) == 0
    path = str(tmp_path / "out")
    assert record_checks.find_bad_record([path], 128, 20, 30000, limit=200) is None
    summary = records.read_metadata(path)["summary"]
    assert summary["documents"] == 56
    assert summary["unknown_share"] < 0.01
    assert summary["label_1_share"] == pytest.approx(0.5, abs=0.05)
    assert summary["masked_share"] == pytest.approx(0.15, abs=0.005)


def test_records_with_accents_say_so_and_those_without_fit_earlier_work(tmp_path):
    for name, keep in (("with", True), ("without", False)):
        assert run(tmp_path, "--dupe_factor=1", f"--keep_accents={keep}", output=name) == 0
        assert Assets.of_records([str(tmp_path / name)]).keep_accents is keep
    keys = [read_manifest(str(tmp_path / name))["key"] for name in ("with", "without")]
    assert keys[0].pop("keep_accents") is True
    assert keys[0] == keys[1]  # as an earlier version has made it
