"""Files of tagged words: columns and JSON lines, and one clear line for each fault."""

import json

import pytest

from albert_tf.errors import InputError, InputWarning
from albert_tf.tasks.tagging.reading import read_tagged
from albert_tf.tasks.tagging.tags import TagSet

KNOWN = TagSet(("O", "B-x", "I-x"), "IOB2")


def saved(tmp_path, content, name="data.conll"):
    path = tmp_path / name
    path.write_text(
        content if isinstance(content, str) else "".join(f"{json.dumps(row)}\n" for row in content)
    )
    return str(path)


def sentences(found):
    """Words with tags, by sentence."""
    result = [[] for _ in range(len(found))]
    for i, sentence in enumerate(found.sentence_of):
        tag = () if found.tags is None else (found.tag_set.names[found.tags[i]],)
        result[sentence].append((found.word(i), *tag))
    return result


@pytest.mark.parametrize("separator", ["\t", " ", "   "])
def test_columns_with_any_separator_comments_and_documents(tmp_path, separator):
    rows = ["Go NN O", "to NN O", "\t", "", "#1 NN B-x", "# NN I-x", "-DOCSTART-", "Paris NN B-x"]
    rows = [row if row == "\t" else row.replace(" ", separator) for row in rows]
    path = saved(tmp_path, "\ufeff" + "\r\n".join(["-DOCSTART- -X- O", "", "# a longer text", *rows]))
    found = read_tagged(path, None)
    assert sentences(found) == [[("Go", "O"), ("to", "O")], [("#1", "B-x"), ("#", "I-x")], [("Paris", "B-x")]]
    assert found.tag_set == KNOWN
    assert found.texts == ["Go to", "#1 #", "Paris"]
    documents = read_tagged(path, KNOWN, context="document")
    assert sentences(documents) == sentences(found)
    assert documents.texts == ["Go to #1 #", "Paris"]
    plain = read_tagged(path, None, tag_column=2, names=("NN", "VB"))
    assert plain.tag_set == TagSet(("NN", "VB"), "plain")


def test_words_alone_have_no_tags(tmp_path):
    path = saved(tmp_path, "Go\nto\n\nParis\n")
    found = read_tagged(path, KNOWN, may_lack_tags=True)
    assert sentences(found) == [[("Go",), ("to",)], [("Paris",)]]
    with pytest.raises(InputError, match="has no tags"):
        read_tagged(path, KNOWN)


def test_json_lines_of_words(tmp_path):
    rows = [{"tokens": ["New York", "."], "tags": ["B-x", "O"]}, {"tokens": ["a"], "tags": ["O"]}]
    found = read_tagged(saved(tmp_path, rows, "data.jsonl"), KNOWN)
    assert sentences(found) == [[("New York", "B-x"), (".", "O")], [("a", "O")]]


def test_json_lines_of_texts_with_spans_that_may_touch(tmp_path):
    text = "In Paris, New York."
    places = [(10, 18), (3, 8)]
    spans = [{"begin": b, "end": e, "type": "x"} for b, e in places]
    found = read_tagged(saved(tmp_path, [{"text": text, "spans": spans}], "data.jsonl"), KNOWN)
    words = ["In", "Paris", ",", "New", "York", "."]
    assert sentences(found) == [list(zip(words, ["O", "B-x", "O", "B-x", "I-x", "O"], strict=True))]
    assert found.texts == [text]


def test_spans_inside_words_are_widened_with_a_warning(tmp_path):
    rows = [{"text": "Paris-based firm", "spans": [{"begin": 0, "end": 5, "type": "x"}]}]
    with pytest.warns(InputWarning, match="1 spans begin or end inside a word"):
        found = read_tagged(saved(tmp_path, rows, "data.jsonl"), KNOWN)
    assert sentences(found) == [[("Paris-based", "B-x"), ("firm", "O")]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a O\nb\n", ":2: expected 2 columns, found 1"),
        ("a\tO\n#b\n", ":2: expected 2 columns, found 1"),  # a comment stands before a sentence
        ("a\tO\n\tO\n", ":2: the word is empty"),
        ("a\tO\nb\t \n", ":2: the tag is empty"),
        ("a O\n\nb I-x\n", ":3: I-x cannot be the first tag of a sentence (scheme IOB2)"),
        ("a O\nb B-y\n", ":2: 'B-y' is none of the known tags O, B-x, I-x"),
        ("# nothing\n", " holds no words"),
        (b"a O\n\xff O\n", ":2: not UTF-8 (invalid start byte)"),
    ],
)
def test_a_fault_in_columns_is_named(tmp_path, content, message):
    path = tmp_path / "data.conll"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as caught:
        read_tagged(str(path), KNOWN)
    assert str(caught.value) == f"{path}{message}"


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (1, ":1: --tag_column=1, but the words are in column 1"),
        (4, ":1: --tag_column=4, but there are 2 columns"),
        (-3, ":1: --tag_column=-3, but there are 2 columns"),
    ],
)
def test_a_column_that_cannot_be_is_named(tmp_path, column, message):
    with pytest.raises(InputError, match=message):
        read_tagged(saved(tmp_path, "a O\n"), KNOWN, tag_column=column)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"tokens": []}, "an empty sentence"),
        ({"tokens": ["a", " "]}, "' ' is no word: it is empty, or holds a tab or a line end"),
        ({"tokens": ["a"], "tags": []}, "1 tokens, but 0 tags"),
        ({"tokens": [1]}, "tokens[0]: expected `str`, got `int`"),
        ({"tags": ["O"]}, 'either "tokens" or "text" is needed'),
        ({"text": " "}, "an empty text"),
        ({"text": "a", "spans": [[0, 2]]}, "the span 0 to 2 is not inside the text of 1 characters"),
        ({"text": "a b", "spans": [[1, 2]]}, "the span 1 to 2 holds no word"),
        (
            {"text": "a b c", "spans": [[0, 5], [2, 3]]},
            "the span 2 to 3 overlaps the span 0 to 5; spans may touch, but a word has one tag",
        ),
        (
            {"text": "a-b", "spans": [[0, 1], [2, 3]]},
            "the span 2 to 3 shares a word with the span 0 to 1; spans may touch, but a word has one tag",
        ),
    ],
)
def test_a_fault_in_json_lines_is_named(tmp_path, record, message):
    if "spans" in record:
        record = record | {"spans": [{"begin": b, "end": e, "type": "x"} for b, e in record["spans"]]}
    path = saved(tmp_path, [record], "data.jsonl")
    with pytest.raises(InputError) as caught:
        read_tagged(path, KNOWN, may_lack_tags=True)
    assert str(caught.value) == f"{path}:1: {message}"


def test_a_file_with_some_tags_and_one_without_documents(tmp_path):
    rows = [{"tokens": ["a"], "tags": ["O"]}, {"tokens": ["b"]}]
    with pytest.raises(InputError, match=":2: some sentences have tags and some have none"):
        read_tagged(saved(tmp_path, rows, "data.jsonl"), KNOWN)
    with pytest.raises(InputError, match="no lines -DOCSTART-"):
        read_tagged(saved(tmp_path, "a O\n"), KNOWN, context="document")
