"""RACE: both layouts read alike, bad files named, questions and options as in the original."""

import dataclasses
import json
import re
import tarfile
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_tf import testing
from albert_tf.errors import InputError, InputWarning
from albert_tf.tasks import benchmark, race
from albert_tf.tasks.race import LEVELS, RaceBenchmark, RaceTask, race_features, read_race
from albert_tf.tokenization import SentencePieceTokenizer, WordPieceTokenizer, preprocess_text
from tests.support.race_questions import make_questions

TOKENIZER = SentencePieceTokenizer(testing.SPM_MODEL_FILE)


def passage(level="high", number=1, count=2, **changes):
    made = {
        "id": f"{level}{number}.txt",
        "article": f"The boats of {level} {number}.",
        "questions": ["What do the boats _ ?", "Which river is it?"][:count],
        "options": [["walk", "swim", "fly", ""], ["a", "b", "c", "d"]][:count],
        "answers": ["B", "D"][:count],
    }
    made.update(changes)
    return {key: value for key, value in made.items() if value is not None}


def write(root, passages, split="train", layout="files"):
    """Passages by level -> number -> object or bytes, in either layout."""
    for level, numbered in passages.items():
        folder = root / split / level
        folder.mkdir(parents=True)
        texts = {n: p if isinstance(p, bytes) else json.dumps(p).encode() for n, p in numbered.items()}
        if layout == "files":
            for number, text in texts.items():
                (folder / f"{number}.txt").write_bytes(text)
        else:
            (folder / "all.txt").write_bytes(b"\n".join(texts[n] for n in sorted(texts)) + b"\n\n")
    return root


def two_levels():
    return {
        "middle": {n: passage("middle", n) for n in (10, 9)},
        "high": {1: passage("high", 1, count=1), 2: passage("high", 2, count=0)},
    }


@pytest.mark.parametrize("layout", ["files", "all"])
def test_questions_are_read_in_numeric_order(tmp_path, layout):
    found = read_race(str(write(tmp_path / "RACE", two_levels(), layout=layout).parent), "train")
    assert found.names == [
        "middle9.txt-0",
        "middle9.txt-1",
        "middle10.txt-0",
        "middle10.txt-1",
        "high1.txt-0",
    ]
    assert found.articles == [
        f"The boats of {name}." for name in ("middle 9", "middle 10", "high 1", "high 2")
    ]
    assert found.article_of.tolist() == [0, 0, 1, 1, 2]
    assert found.questions == ["What do the boats _ ?", "Which river is it?"] * 2 + ["What do the boats _ ?"]
    assert found.options[0] == ["walk", "a"] * 2 + ["walk"]
    assert found.options[3] == ["", "d"] * 2 + [""]
    assert found.labels.tolist() == [1, 3, 1, 3, 1]
    assert found.parts == {"middle": slice(0, 4), "high": slice(4, 5)}
    assert found.labels.dtype == found.article_of.dtype == np.int32
    assert len(found) == 5


def test_a_single_level(tmp_path):
    write(tmp_path, {"middle": two_levels()["middle"]})
    found = read_race(str(tmp_path), "train", levels=("middle",))
    assert found.parts == {"middle": slice(0, 4)}


def test_the_concatenated_file_wins_and_a_warning_names_the_others(tmp_path):
    write(tmp_path, {"high": {1: b"{"}})
    (tmp_path / "train/high/all.txt").write_text(json.dumps(passage(number=7)))
    (tmp_path / "train/high/README.txt").write_text("")
    with pytest.warns(InputWarning) as caught:
        assert read_race(str(tmp_path), "train", levels=("high",)).names == ["high7.txt-0", "high7.txt-1"]
    assert [str(warning.message) for warning in caught] == [
        f"{tmp_path}/train/high/all.txt is read, and not these 2: '1.txt', 'README.txt'"
    ]


def test_the_digest_depends_on_content_and_levels(tmp_path):
    digests = set()
    for name, change in (("a", {}), ("b", {"article": "Other boats."}), ("c", {"answers": ["A", "A"]})):
        write(tmp_path / name, {level: {1: passage(level, **change)} for level in LEVELS})
        for levels in (LEVELS, LEVELS[:1], LEVELS[1:]):
            digests.add(read_race(str(tmp_path / name), "train", levels).digest)
    assert len(digests) == 9
    write(tmp_path / "d", {level: {1: passage(level)} for level in LEVELS})
    assert read_race(str(tmp_path / "d"), "train").digest in digests


@pytest.mark.parametrize("layout", ["files", "all"])
def test_the_test_split_may_lack_answers(tmp_path, layout):
    write(tmp_path, {"high": {1: passage(answers=None)}}, "test", layout)
    write(tmp_path, {"high": {1: passage(answers=None)}}, "dev", layout)
    assert read_race(str(tmp_path), "test", ("high",)).labels is None
    with pytest.raises(InputError, match='no "answers"'):
        read_race(str(tmp_path), "dev", ("high",))


def test_some_answers_are_refused(tmp_path):
    write(tmp_path, {"high": {1: passage(), 2: passage(answers=None)}}, "test")
    with pytest.raises(InputError, match=r"high/2.txt: either all passages of a split have answers, or none"):
        read_race(str(tmp_path), "test", ("high",))


@pytest.mark.parametrize("layout", ["files", "all"])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b'{"id": ', "is not JSON: Expecting value: line 1 column 8 (char 7)"),
        (b"[1]", ": expected `array` of length 3, got 1"),
        (b"[" * 100_000, "is not JSON that can be read: too deep, or a number too long"),
        (b'{"id": ' + b"9" * 5000 + b"}", "is not JSON that can be read: too deep, or a number too long"),
        (json.dumps(passage(article="caf\xe9"), ensure_ascii=False).encode("latin-1"), "is not UTF-8"),
        (passage(article="half a pair: \ud800"), r": '\ud800' alone is no character"),
        (passage(id=None), ": object missing required field `id`"),
        (passage(options=None), ": object missing required field `options`"),
        (passage(article=7), ": article: expected `str`, got `int`"),
        (passage(questions="Which?"), ": questions: expected `array`, got `str`"),
        (passage(article=" \n"), ": the article is empty"),
        (passage(answers=["A"]), ": 2 questions, 2 options, 1 answers; as many of each are needed"),
        (passage(questions=["Which?", " "]), ", question 2: the question is empty"),
        (passage(questions=["Which?", None]), ": questions[1]: expected `str`, got `null`"),
        (passage(options=[["a"], ["a"]]), ", question 1: 2 to 26 options are needed, not 1"),
        (passage(options=[["a"] * 27] * 2), ", question 1: 2 to 26 options are needed, not 27"),
        (passage(options=[["a"] * 3] * 2), ', question 2: the answer is "D"; A, B or C is needed'),
        (passage(options=["abcd", ["a"] * 4]), ": options[0]: expected `array`, got `str`"),
        (passage(options=[["a"] * 4, [1, 2, 3, 4]]), ": options[1][0]: expected `str`, got `int`"),
        (passage(answers=["A", "E"]), ', question 2: the answer is "E"; A, B, C or D is needed'),
        (passage(answers=["A", ["A"]]), ', question 2: the answer is ["A"]; A, B, C or D is needed'),
        (passage(answers=["", "A"]), ', question 1: the answer is ""; A, B, C or D is needed'),
    ],
)
def test_what_is_wrong_is_named(tmp_path, layout, bad, message):
    write(tmp_path, {"high": {3: passage(), 12: bad}}, layout=layout)
    place = "12.txt" if layout == "files" else "all.txt, line 2"
    with pytest.raises(InputError) as error:
        read_race(str(tmp_path), "train", ("high",))
    assert str(error.value) == f"{tmp_path}/train/high/{place}{'' if message[0] in ':,' else ' '}{message}"


def test_questions_of_one_data_set_may_have_different_numbers_of_options(tmp_path):
    options = [["walk", "swim"], ["a", "b", "c"]]
    for split, answers in (("train", ["B", "C"]), ("dev", ["A"])):
        made = passage(options=options[: len(answers)], answers=answers, count=len(answers))
        write(tmp_path, {"high": {1: made}}, split)
    questions = RaceBenchmark(str(tmp_path), ("high",)).read(["train", "dev"])
    assert questions["train"].options == (["walk", "a"], ["swim", "b"], [None, "c"])
    features = {split: race_features(TOKENIZER, some, 64) for split, some in questions.items()}
    train = features["train"]
    assert [features["dev"].num_choices, train.num_choices, len(train)] == [2, 3, 2]
    assert (train.lengths == 0).tolist() == [False, False, True, False, False, False]
    assert train.full_lengths[2] == train.first_lengths[2] == 0
    alone = race_features(TOKENIZER, dataclasses.replace(questions["train"], options=(["walk", "a"],)), 64)
    assert sequences(train)[::3] == sequences(alone)
    task = RaceTask(questions, features, config=testing.tiny_config(), max_seq_length=64)
    assert task.label_names == ("A", "B", "C")
    assert "train: 2 examples of up to 3 choices" in task.overview()
    batch = next(iter(task.eval_dataset(2, None, "train")))
    logits = task.outputs(task.build_model(), batch)["logits"].numpy()
    row = batch["example_index"].numpy().tolist().index(0)
    chances = benchmark.probabilities(logits)
    assert chances[row, 2] == 0 < chances[1 - row, 2]


C3 = [
    [
        ["男：你今天晚上有时间吗?", "女：我喜欢喜剧片。"],
        [{"question": "女的喜欢哪种电影?", "choice": ["恐怖片", "喜剧片"], "answer": "喜剧片"}],
        "25-35",
    ],
    [["足球比赛。"], [{"question": "?", "choice": ["A", "B", "甲"], "answer": "甲"}] * 2, "31-109"],
]


def test_files_of_c3_are_parts_of_a_split(tmp_path):
    for name, content in (("c3-m-train", C3), ("c3-d-train", C3[:1]), ("c3-d-dev", C3)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    found = read_race(str(tmp_path), "train")
    assert found.names == ["25-35-0", "25-35-0", "31-109-0", "31-109-1"]
    assert found.articles[0] == "男：你今天晚上有时间吗?\n女：我喜欢喜剧片。"
    assert found.options == (["恐怖片"] * 2 + ["A"] * 2, ["喜剧片"] * 2 + ["B"] * 2, [None] * 2 + ["甲"] * 2)
    assert found.labels.tolist() == [1, 1, 2, 2]
    assert found.parts == {"c3-d": slice(0, 1), "c3-m": slice(1, 4)}
    assert read_race(str(tmp_path), "dev").parts == {"c3-d": slice(0, 3)}
    with pytest.raises(InputError, match="has no levels: --high_only is for RACE's folders"):
        read_race(str(tmp_path), "train", ("high",))


def test_c3_to_predict_lacks_answers(tmp_path):
    hidden = [[["..."], [{"id": 0, "question": "?", "choice": ["甲", "乙"]}], "1"]]
    for name in ("test1.0", "test1.1"):
        (tmp_path / f"{name}.json").write_text(json.dumps(hidden))
    found = read_race(str(tmp_path), "test")
    assert (found.labels, found.parts) == (None, {"1.0": slice(0, 1), "1.1": slice(1, 2)})


def test_questions_with_options_are_records_of_any_json(tmp_path):
    records = [
        {"context": ["a", "b"], "question": "x?", "choices": ["p", "q"], "label": 1},
        {"id": 7, "question": "y?", "options": ["p", "q", "r"], "answer": "C"},
        passage(count=1),
        {"passage": "c", "question": "z?", "options": ["2008", "1990"], "answer": "1990"},
    ]
    lines = "\n".join(map(json.dumps, records))
    (tmp_path / "train.jsonl").write_text(lines + "\n")
    (tmp_path / "dev.json").write_text(json.dumps(records))
    (tmp_path / "test.json").write_text(lines)
    for split, first in (("train", "1"), ("dev", "1"), ("test", "1")):
        found = read_race(str(tmp_path), split)
        assert found.names == [first, "7", "high1.txt-0", "4"]
        assert found.articles == ["a\nb", "", "The boats of high 1.", "c"]
        assert found.labels.tolist() == [1, 2, 1, 1]
        assert found.parts == {}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"question": "?"}, ": object missing required field `options`"),
        ({"question": "?", "options": "pq"}, ": options[0]: expected `array`, got `str`"),
        ({"question": "?", "options": ["p"], "answer": 0}, ", question 1: 2 to 26 options are needed, not 1"),
        (
            {"question": "?", "options": ["p", "q"], "answer": 2},
            ": the answer 2 is neither an option, nor the letter or the number (from 0) of one",
        ),
        (
            {"question": "?", "options": ["B", "A"], "answer": "A"},
            ': the answer "A" names one option and is the letter of another',
        ),
        ({"question": "?", "options": ["p", "q"]}, ': no "answers"'),
        ([["x"], [{"question": "?"}], "1"], ": [1][0]: object missing required field `choice`"),
        ([["x"], []], ": expected `array` of length 3, got 2"),
        (
            [["x"], [{"question": "?", "choice": ["p", "q"], "answer": "r"}], "1"],
            ', question 1: the answer "r" is neither an option, nor the letter or the number (from 0) of one',
        ),
    ],
)
def test_what_is_wrong_with_a_record_is_named(tmp_path, record, message):
    (tmp_path / "train.json").write_text(json.dumps([record]))
    with pytest.raises(InputError) as error:
        read_race(str(tmp_path), "train")
    assert str(error.value) == f"{tmp_path}/train.json, record 1{message}"


def test_two_files_of_one_name_are_refused(tmp_path):
    for ending in ("json", "jsonl"):
        (tmp_path / f"train.{ending}").write_text("[]")
    with pytest.raises(InputError, match=r"train.json and .*train.jsonl are both of the train split"):
        read_race(str(tmp_path), "train")
    (tmp_path / "train.jsonl").unlink()
    with pytest.raises(InputError, match=r"train.json holds no questions"):
        read_race(str(tmp_path), "train")


@pytest.mark.parametrize("number", [2, 3, 5])
def test_exams_may_have_any_number_of_options(tmp_path, number):
    letters = "ABCDE"[:number]
    options = [[f"{letter} {i}" for letter in letters] for i in range(2)]
    write(tmp_path, {"high": {1: passage(options=options, answers=["A", letters[-1]])}})
    questions = RaceBenchmark(str(tmp_path), ("high",)).read(["train"])
    found = questions["train"]
    assert found.options == tuple([f"{letter} 0", f"{letter} 1"] for letter in letters)
    assert found.labels.tolist() == [0, number - 1]
    features = race_features(TOKENIZER, found, 512)
    assert features.num_choices == number
    assert len(features) == 2
    task = RaceTask(questions, {"train": features}, config=testing.tiny_config(), max_seq_length=512)
    assert task.describe()["label_names"] == list(letters)


def test_passages_may_have_any_name(tmp_path):
    folder = (
        write(tmp_path, {"high": {10: passage(number=10, count=1), 9: passage(number=9, count=1)}})
        / "train/high"
    )
    for name in ("b.txt", "a.json", "010.json", ".hidden.txt"):
        (folder / name).write_text(json.dumps(passage(id=name, count=1)))
    (folder / "notes.docx").write_text("")
    (folder / "old\x1b").mkdir()
    with pytest.warns(InputWarning) as caught:
        found = read_race(str(tmp_path), "train", ("high",))
    assert found.names == ["high9.txt-0", "010.json-0", "high10.txt-0", "a.json-0", "b.txt-0"]
    assert [str(warning.message) for warning in caught] == [
        f"{folder}: only .txt and .json files are read, not these 2: 'notes.docx', 'old\\x1b'"
    ]


def test_a_folder_of_one_level_alone_names_the_flag_that_reads_it(tmp_path):
    write(tmp_path / "RACE", {"middle": {1: passage()}})
    with pytest.raises(
        InputError, match=r"high: no such folder; .*; --middle_only reads the folder middle alone"
    ):
        read_race(str(tmp_path), "train")


def test_predictions_are_a_table(tmp_path):
    write(tmp_path, {"high": {1: passage(options=[["a", "b"]] * 2, answers=None)}}, "test")
    questions = RaceBenchmark(str(tmp_path), ("high",)).read(["test"])
    task = RaceTask(questions, {}, config=testing.tiny_config(), max_seq_length=512)
    chances = np.array([[0.25, 0.75], [0.5, 0.5]])
    [path] = task.write_predictions(str(tmp_path), {"logits": np.log(chances)})
    with open(path) as file:
        assert file.read() == ("id\tlabel\tA\tB\nhigh1.txt-0\tB\t0.25\t0.75\nhigh1.txt-1\tA\t0.5\t0.5\n")


def test_a_missing_folder_is_named(tmp_path):
    write(tmp_path / "RACE", {"high": {1: passage()}})
    for split, level in (("dev", "high"), ("train", "middle")):
        with pytest.raises(InputError, match=f"^{tmp_path}/RACE/{split}/{level}: no such folder"):
            read_race(str(tmp_path), split, (level,))


def test_a_folder_without_passages_is_named(tmp_path):
    (tmp_path / "train/high").mkdir(parents=True)
    with pytest.raises(InputError, match=r"train/high holds neither all.txt nor passages"):
        read_race(str(tmp_path), "train", ("high",))
    (tmp_path / "train/high/all.txt").write_text("\n")
    with pytest.raises(InputError, match=r"train/high/all.txt holds no passages"):
        read_race(str(tmp_path), "train", ("high",))


# -------------------------------------------------------------------------------------------- features


def sequences(features):
    ends = np.cumsum(features.lengths)
    return [
        features.input_ids[end - length : end].tolist()
        for end, length in zip(ends, features.lengths, strict=True)
    ]


def expected(tokenizer, article, qa, max_seq_length, max_qa_length):
    qa = tokenizer.encode(qa)
    kept = qa[max(0, len(qa) - max_qa_length) :]
    article = tokenizer.encode(article)
    cut = article[: max_seq_length - 3 - len(kept)]
    ids = [tokenizer.cls_id, *cut, tokenizer.sep_id, *kept, tokenizer.sep_id]
    return ids, len(cut) + 2, len(article) + len(qa) + 3


@settings(deadline=None, derandomize=True, max_examples=100)
@given(
    st.text("the boat, ", max_size=60),
    st.text("wh_\uff3f \u0301éE\xa0?", min_size=1, max_size=20),
    st.lists(st.text("walk_\uff3f \u0301Éﬁ\u2003", max_size=10), min_size=4, max_size=4),
    st.integers(1, 12),
    st.integers(1, 30),
)
def test_features_equal_the_originals_definition(article, question, options, max_qa_length, room):
    """Which replaces "_" in preprocessed text."""
    max_seq_length = max_qa_length + 3 + room
    features = race_features(
        TOKENIZER, make_questions(article, question, options), max_seq_length, max_qa_length
    )
    processed = preprocess_text(question)
    ids, firsts, full = [], [], []
    for option in map(preprocess_text, options):
        qa = processed.replace("_", option) if "_" in processed else f"{processed} {option}"
        one = expected(TOKENIZER, article, qa, max_seq_length, max_qa_length)
        for column, value in zip((ids, firsts, full), one, strict=True):
            column.append(value)
    assert sequences(features) == ids
    assert features.first_lengths.tolist() == firsts
    assert features.full_lengths.tolist() == full
    assert features.num_choices == 4
    assert features.labels.tolist() == [2]
    assert len(features) == 1


def test_every_blank_becomes_the_option():
    tokenizer = WordPieceTokenizer(testing.VOCAB_FILE)
    features = race_features(
        tokenizer, make_questions("the", "_ and \ufe4f", ["river", "boats", " the", ""]), 512
    )
    ids = [tokenizer.encode(text) for text in ("river and river", "boats and boats", "the and the", "and")]
    assert [one[3:-1] for one in sequences(features)] == ids


def test_blanks_are_the_characters_that_preprocessing_makes_underscores():
    characters = [c for c in map(chr, range(0x110000)) if "_" in unicodedata.normalize("NFKD", c)]
    assert characters == [c for c in map(chr, range(0x110000)) if re.match(race.BLANKS, c)]


def test_an_article_is_encoded_once_for_all_its_questions(tmp_path, monkeypatch):
    write(tmp_path, {level: {1: passage(level), 2: passage(level)} for level in LEVELS})
    columns = []
    encode = race.encode_column
    monkeypatch.setattr(
        race, "encode_column", lambda t, texts, d: columns.append(len(texts)) or encode(t, texts, d)
    )
    features = race_features(TOKENIZER, read_race(str(tmp_path), "train"), 512)
    assert columns == [4, 32]
    assert len(features) == 8


def test_the_published_files(shared_data, tmp_path):
    with tarfile.open(shared_data / "race/RACE.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    sizes = {split: len(read_race(str(tmp_path), split)) for split in ("train", "dev", "test")}
    assert sizes == {"train": 87866, "dev": 4887, "test": 4934}
    tokenizer = SentencePieceTokenizer(str(shared_data / "spm/30k-clean.model"))
    questions = read_race(str(tmp_path), "dev", ("middle",))
    features = race_features(tokenizer, questions, 512)
    assert len(features) == len(questions) == 1436
    assert features.lengths.max() == 512


def test_the_published_files_of_c3(shared_data):
    sizes = {split: len(read_race(str(shared_data / "chinese"), split)) for split in ("train", "dev")}
    assert sizes == {"train": 11869, "dev": 3816}
