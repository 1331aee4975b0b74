"""GLUE: the files as they are published, clean, dirty and wrong."""

import subprocess
import sys

import numpy as np
import pytest

from albert_tf.errors import InputError, InputWarning
from albert_tf.tasks.classification.glue import TASKS, find_task, read_split
from albert_tf.tasks.classification.text_examples import SPLITS

MNLI_TEST = ["index", "promptID", "pairID", "genre", "p1", "p2", "p3", "p4", "sentence1", "sentence2"]
MNLI_TRAIN = [*MNLI_TEST, "label1", "gold_label"]
MNLI_DEV = [*MNLI_TEST, "label1", "label2", "label3", "label4", "label5", "gold_label"]
QQP_TRAIN = ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"]
PAIR = ["index", "sentence1", "sentence2", "label"]


def save(folder, name, *rows):
    """A file of rows: lists of values, or a string of them divided by |."""
    folder.mkdir(exist_ok=True)
    rows = [row.split("|") if isinstance(row, str) else row for row in rows]
    path = folder / name
    path.write_text("".join("\t".join(row) + "\n" for row in rows))
    return str(path)


def read(tmp_path, task, split):
    return read_split(TASKS[task], str(tmp_path), split)


def mistake(tmp_path, task, split):
    with pytest.raises(InputError) as caught:
        read(tmp_path, task, split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def mnli(number, premise, hypothesis, *labels):
    return [str(number), *["-"] * 7, premise, hypothesis, *labels]


@pytest.mark.parametrize(
    ("task", "header", "row", "texts", "label"),
    [
        ("cola", None, "gj04|1||A text.", ("A text.",), 1),
        ("sst-2", "sentence|label", "a text |0", ("a text ",), 0),
        ("mrpc", "Quality|#1 ID|#2 ID|#1 String|#2 String", '1|7|8|" A|B', ('" A', "B"), 1),
        ("sts-b", "index|old_index|sentence1|sentence2|score", "0|7|A|B|2.75", ("A", "B"), 2.75),
        ("qqp", QQP_TRAIN, "7|1|2|A?|B?|1", ("A?", "B?"), 1),
        ("mnli", MNLI_TRAIN, mnli(0, "A", "B", "entailment", "neutral"), ("A", "B"), 2),
        ("mismnli", MNLI_TRAIN, mnli(0, "A", "B", "-", "contradiction"), ("A", "B"), 0),
        ("qnli", "index|question|sentence|label", "0|A?|B|not_entailment", ("A?", "B"), 1),
        ("rte", PAIR, "0|A|B|entailment", ("A", "B"), 0),
        ("wnli", PAIR, "0|A|B|0", ("A", "B"), 0),
    ],
)
def test_every_task_is_read(tmp_path, task, header, row, texts, label):
    rows = [row, row] if header is None else [header, row, row]
    save(tmp_path / TASKS[task].folders[0], "train.tsv", *rows)
    examples = read(tmp_path, task, "train")
    assert examples.names == ["0", "1"]
    assert examples.texts == tuple([text, text] for text in texts)
    assert examples.labels.dtype == (np.float32 if task == "sts-b" else np.int32)
    assert examples.labels.tolist() == [label, label]
    assert examples.parts == {"": slice(0, 2)}


@pytest.mark.parametrize(
    ("task", "header", "row", "texts"),
    [
        ("cola", "index|sentence", "7|A text.", ("A text.",)),
        ("mrpc", "index|#1 ID|#2 ID|#1 String|#2 String", "7|1|2|A|B", ("A", "B")),
        ("qqp", "id|question1|question2", "7|A?|B?", ("A?", "B?")),
        ("rte", PAIR[:3], "7|A|B", ("A", "B")),
    ],
)
def test_a_test_split_has_the_servers_names_and_no_labels(tmp_path, task, header, row, texts):
    save(tmp_path / TASKS[task].folders[0], "test.tsv", header, row)
    examples = read(tmp_path, task, "test")
    assert examples.names == ["7"]
    assert examples.texts == tuple([text] for text in texts)
    assert examples.labels is None


def test_mnli_has_two_parts_of_more_columns_than_train(tmp_path):
    for part, rows in (("matched", 2), ("mismatched", 1)):
        examples = [mnli(i, f"{part} {i}", "B", *"abcde", "neutral") for i in range(rows)]
        save(tmp_path / "MNLI", f"dev_{part}.tsv", MNLI_DEV, *examples)
    both = read(tmp_path, "mnli", "dev")
    assert both.parts == {"matched": slice(0, 2), "mismatched": slice(2, 3)}
    assert both.texts == (["matched 0", "matched 1", "mismatched 0"], ["B", "B", "B"])
    assert both.labels.tolist() == [2, 2, 2]
    one = read(tmp_path, "mismnli", "dev")
    assert one.parts == {"mismatched": slice(0, 1)}
    assert one.texts[0] == ["mismatched 0"]


def test_a_missing_part_is_left_out_with_a_warning(tmp_path):
    path = save(tmp_path / "MNLI", "test_mismatched.tsv", MNLI_TEST, mnli(4, "A", "B"))
    missing = path.replace("mismatched", "matched")
    with pytest.warns(InputWarning) as caught:
        examples = read(tmp_path, "mnli", "test")
    assert str(caught[0].message) == f"{missing}: no such file; test is the part mismatched alone"
    assert examples.parts == {"mismatched": slice(0, 1)}
    assert examples.names == ["4"]
    assert examples.labels is None


@pytest.mark.parametrize("folder", ["diagnostic", "AX"])
def test_the_diagnostic_set_is_a_test_split_in_either_folder(tmp_path, folder):
    save(tmp_path / folder, "diagnostic.tsv", PAIR[:3], "0|A|B")
    assert read(tmp_path, "ax", "test").names == ["0"]
    assert mistake(tmp_path, "ax", "dev") == "ax has no dev split, only test"


def test_incomplete_rows_of_qqp_are_left_out_of_training(tmp_path):
    rows = ["1|1|2|A|B|0", "2|1|2|only half", "3|1|2||B|1", "4|1|2| |B|1", "5|1|2|A|C|1"]
    path = save(tmp_path / "QQP", "dev.tsv", QQP_TRAIN, *rows)
    with pytest.warns(InputWarning) as caught:
        examples = read(tmp_path, "qqp", "dev")
    [text] = [str(warning.message) for warning in caught]
    assert text == f"{path}: 3 of 5 rows are incomplete and are left out"
    assert examples.names == ["0", "1"]
    assert examples.texts == (["A", "A"], ["B", "C"])
    assert examples.labels.tolist() == [0, 1]


def test_every_row_of_qqps_test_split_is_kept(tmp_path):
    path = save(tmp_path / "QQP", "test.tsv", "id|question1|question2", "0|A|B", "1|A", "2||B")
    with pytest.warns(InputWarning) as caught:
        examples = read(tmp_path, "qqp", "test")
    [text] = [str(warning.message) for warning in caught]
    assert text == f"{path}: 2 of 3 rows are incomplete and are read as they are"
    assert examples.names == ["0", "1", "2"]
    assert examples.texts == (["A", "A", ""], ["B", "", "B"])


def test_qqp_without_a_complete_row_is_refused(tmp_path):
    path = save(tmp_path / "QQP", "train.tsv", QQP_TRAIN, "1|1|2|A")
    assert mistake(tmp_path, "qqp", "train") == f"{path} holds no row without an empty column"


@pytest.mark.parametrize(
    ("task", "header", "row", "message"),
    [
        ("rte", PAIR, "0|A|B|maybe", "label 'maybe' is not one of the labels entailment, not_entailment"),
        ("rte", PAIR, "0|A||entailment", "sentence2 is empty"),
        ("rte", PAIR, "0|A|B|C|entailment", "expected 4 columns, found 5"),
        ("sts-b", [*PAIR[:3], "score"], "0|A|B|nan", "score 'nan' is not a finite number"),
        ("wnli", PAIR, "0|A|B|2", "label '2' is not one of the labels 0, 1"),
        (
            "mnli",
            MNLI_TRAIN,
            mnli(0, "A", "B", "-", "-"),
            "gold_label '-' is not one of the labels contradiction, entailment, neutral",
        ),
    ],
)
def test_a_wrong_row_is_named_by_file_and_line(tmp_path, task, header, row, message):
    path = save(tmp_path / TASKS[task].folders[0], "train.tsv", header, row)
    assert mistake(tmp_path, task, "train") == f"{path}:2: {message}"


def test_a_file_of_another_task_is_told_by_its_header(tmp_path):
    path = save(tmp_path / "QNLI", "dev.tsv", PAIR, "0|A|B|entailment")
    assert mistake(tmp_path, "qnli", "dev") == (
        f"{path}:1: no column 'question', found index, sentence1, sentence2, label"
    )


def test_the_file_that_was_looked_for_is_named(tmp_path):
    assert mistake(tmp_path, "rte", "dev") == f"{tmp_path}/RTE/dev.tsv: no such file"


def test_the_tasks_own_folder_instead_of_its_parent_is_recognized(tmp_path):
    own = tmp_path / "RTE"
    save(own, "train.tsv", PAIR, "0|A|B|entailment")
    assert mistake(own, "rte", "dev") == (
        f"{own}/RTE/dev.tsv: no such file; {own} seems to be the task's own folder: "
        f"give its parent, {tmp_path}"
    )


def test_the_digest_tells_content_task_and_split_apart(tmp_path):
    for folder, label in (("RTE", "entailment"), ("WNLI", "0")):
        for split in ("train", "dev"):
            save(tmp_path / folder, f"{split}.tsv", PAIR, f"0|A|B|{label}")
    digests = [read(tmp_path, task, split).digest for task in ("rte", "wnli") for split in ("train", "dev")]
    assert len(set(digests)) == 4
    assert read(tmp_path, "rte", "dev").digest == digests[1]
    save(tmp_path / "RTE", "dev.tsv", PAIR, "0|A|b|entailment")
    assert read(tmp_path, "rte", "dev").digest != digests[1]


def test_tasks_are_found_in_upper_and_lower_case():
    assert find_task("STS-B") is find_task("sts-b") is TASKS["sts-b"]
    assert find_task("MisMNLI").submission_files == {"mismatched": "MNLI-mm.tsv"}
    with pytest.raises(InputError) as caught:
        find_task("sst2")
    assert str(caught.value) == (
        "no task 'sst2'; there are "
        "cola, sst-2, mrpc, sts-b, qqp, mnli, mismnli, qnli, rte, wnli, ax, "
        "clue/afqmc, clue/tnews, clue/iflytek, clue/cmnli, clue/csl, clue/wsc and custom"
    )


def test_reading_needs_no_tensorflow():
    room = "albert_tf.tasks.classification"
    modules = ", ".join(f"{room}.{name}" for name in ("custom", "glue", "text_examples", "tfds"))
    code = f"import sys, {modules}; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_only_sts_b_is_a_score():
    assert [name for name, task in TASKS.items() if task.is_score] == ["sts-b"]


@pytest.mark.parametrize(
    ("task", "rows"),
    [
        ("cola", (8551, 1043, 1063)),
        ("sst-2", (67349, 872, 1821)),
        ("mrpc", (3668, 408, 1725)),
        ("sts-b", (5749, 1500, 1379)),
        ("rte", (2490, 277, 3000)),
        ("wnli", (635, 71, 146)),
        ("qnli", (10293, 5463, 5463)),
        ("qqp", (9319, 1000, None)),
        ("ax", (None, None, 1104)),
    ],
)
def test_the_published_files_have_the_known_numbers_of_rows(shared_data, task, rows):
    for split, expected in zip(SPLITS, rows, strict=True):
        if expected:
            assert len(read(shared_data / "glue", task, split)) == expected
