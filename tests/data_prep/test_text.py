"""Reading text into documents: lines, JSON, compression, long lines, lines that cannot be used, ranges."""

import bz2
import gzip
import itertools
import json
import lzma
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_tf import testing
from albert_tf.cli.flags import UsageError
from albert_tf.errors import InputError
from albert_tf.tokenization import load_tokenizer
from data_prep.corpus import tokenize
from data_prep.options import GROUP_BYTES
from data_prep.text_files import TextOptions, TextRange, read_lines
from data_prep.text_groups import TextGroup, divide_into_groups


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(vocab_file=testing.VOCAB_FILE)


def write(folder, *texts, suffix=".txt"):
    files = [folder / f"{i}{suffix}" for i in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return [str(file) for file in files]


SMALL_GROUPS = (10, 10)


def groups_of(paths, group_bytes=GROUP_BYTES, **settings):
    options = TextOptions(**settings)
    return [TextGroup(ranges, options) for ranges in divide_into_groups(paths, group_bytes)]


def documents(tokenizer, located):
    segments = [
        tokenizer.ids_to_pieces(located.corpus.ids[begin:end])
        for begin, end in itertools.pairwise(located.corpus.segment_starts)
    ]
    return [segments[begin:end] for begin, end in itertools.pairwise(located.corpus.document_starts)]


def read(tokenizer, folder, *texts, suffix=".txt", group_bytes=GROUP_BYTES, **settings):
    paths = write(folder, *texts, suffix=suffix)
    return [
        document
        for group in groups_of(paths, group_bytes, **settings)
        for located in tokenize(group.read(), tokenizer)
        for document in documents(tokenizer, located)
    ]


def in_blocks(block, folder, *texts, bad=None):
    """The lines of each text, of which `block` bytes are read together; `bad` takes the others."""
    ranges = [TextRange(path, 0, os.path.getsize(path)) for path in write(folder, *texts)]
    return [read_lines(each, TextOptions(), lambda *line: bad.append(line), block) for each in ranges]


def read_in_blocks(tokenizer, block, folder, *texts, bad=None):
    corpora = tokenize(in_blocks(block, folder, *texts, bad=bad), tokenizer)
    return [document for located in corpora for document in documents(tokenizer, located)]


# --------------------------------------------------------------------------------------------- lines


@pytest.mark.parametrize("block", [8, 11, 1 << 20])
def test_blank_lines_and_ends_of_files_separate_documents(tokenizer, tmp_path, block):
    texts = [
        "\n\nthe sea\nwater\n  \t\nriver\r\n\r\n\n",
        "rain\nsea",
        "\n\u3000\n",
        "fish\n\nmill",
    ]
    assert read_in_blocks(tokenizer, block, tmp_path, *texts) == [
        [["the", "sea"], ["water"]],
        [["river"]],
        [["rain"], ["sea"]],
        [["fish"]],
        [["mill"]],
    ]


def test_a_line_without_pieces_is_dropped_and_separates_nothing(tokenizer, tmp_path):
    assert read(tokenizer, tmp_path, "sea\n\u200b\nfish\n") == [[["sea"], ["fish"]]]


@pytest.mark.parametrize("suffix", [".txt", ".jsonl"])
def test_a_byte_order_mark_is_no_text(tokenizer, tmp_path, suffix):
    text = "sea\n" if suffix == ".txt" else '{"text": "sea"}\n'
    assert read(tokenizer, tmp_path, "\ufeff" + text, suffix=suffix) == [[["sea"]]]


def test_nothing_comes_of_no_text(tokenizer, tmp_path):
    assert read(tokenizer, tmp_path, "", "\n \n\t\n", "\u200b\n") == []


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    st.lists(st.sampled_from(["sea ", "the\t", "rivers ", "\n", "\n\n", "  "]), max_size=30),
    st.integers(8, 14),
)
def test_a_line_read_in_parts_is_the_line(tokenizer, tmp_path_factory, words, block):
    text = "".join(words)
    folder = tmp_path_factory.mktemp("text")
    assert read_in_blocks(tokenizer, block, folder, text) == read(tokenizer, folder, text)


def test_a_line_without_white_space_is_divided_between_characters(tmp_path):
    bad = []
    [blocks] = in_blocks(4, tmp_path, "\u20ac" * 20, bad=bad)
    parts = [block.lines for block in blocks]
    assert "".join(itertools.chain(*parts)) == "\u20ac" * 20
    assert len(parts) > 10
    assert not bad


def test_a_document_that_is_too_long_goes_on_as_another(tokenizer, tmp_path):
    sources = in_blocks(8, tmp_path, "sea\nsea\n\n" + "fish\n" * 25)
    parts = list(tokenize(sources, tokenizer, longest=10))
    assert sum(part.corpus.ids.size for part in parts) == 27
    assert max(part.corpus.ids.size for part in parts) < 10 + 4
    assert documents(tokenizer, parts[0])[0] == [["sea"], ["sea"]]
    assert len(parts) > 2


def test_documents_know_where_they_begin(tokenizer, tmp_path):
    paths = write(tmp_path, "\nsea\n\n\nfish\nfish\n", "\n\nmill")
    [group] = groups_of(paths)
    [located] = tokenize(group.read(), tokenizer)
    assert located.places.tolist() == [[0, 1], [0, 4], [1, 2]]
    assert group.lines == [6, 2]


# ---------------------------------------------------------------------------------------------- JSON


def test_a_line_of_json_is_a_document_of_sentences(tokenizer, tmp_path):
    lines = [
        json.dumps({"text": "The sea. The river is here.\nRain", "id": 3}),
        "",
        json.dumps({"text": ""}),
        json.dumps({"text": "Fish."}),
    ]
    found = read(tokenizer, tmp_path, "\n".join(lines), suffix=".jsonl")
    assert [[segment[:2] for segment in document] for document in found] == [
        [["the", "sea"], ["the", "river"], ["rain"]],
        [["fish", "."]],
    ]


def test_another_field_may_hold_the_text(tokenizer, tmp_path):
    text = json.dumps({"content": "sea", "text": "fish"})
    assert read(tokenizer, tmp_path, text, suffix=".jsonl", text_field="content") == [[["sea"]]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('"sea"', 'no JSON object with a text in its field "text"'),
        ('{"content": "sea"}', 'no JSON object with a text in its field "text"'),
        ('{"text": 3}', 'no JSON object with a text in its field "text"'),
        ('{"text": "s\\u0000"}', "a NUL byte"),
        (b'{"text": "\xff"}', "not UTF-8"),
        ('{"text": "\\ud83d"}', 'field "text" holds half of a surrogate pair, which is no character'),
        ('{"text": null}', "null, which is no text"),
    ],
)
def test_a_document_that_is_none_is_named_with_its_line(tokenizer, tmp_path, line, message):
    line = line if isinstance(line, bytes) else line.encode()
    text = b'{"text": "sea"}\n' + line + b'\n{"text": "fish"}\n'
    with pytest.raises(InputError, match=rf"0\.jsonl, line 2: {message}"):
        read(tokenizer, tmp_path, text, suffix=".jsonl")
    assert read(tokenizer, tmp_path, text, suffix=".jsonl", on_error="skip") == [[["sea"]], [["fish"]]]


@pytest.mark.parametrize("suffix", [".JSONL", ".json", ".ndjson", ".Jsonl.GZ"])
def test_the_end_of_the_name_says_what_a_file_is_in_any_case(tokenizer, tmp_path, suffix):
    text = b'{"text": "sea"}\n{"text": "fish"}\n'
    text = gzip.compress(text) if suffix.endswith("GZ") else text
    assert read(tokenizer, tmp_path, text, suffix=suffix) == [[["sea"]], [["fish"]]]


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ('[{"text": "sea"}]', "jq -c .[]"),
        ('[\n  {"text": "sea"}\n]', "jq -c .[]"),
        ('{\n  "text": "sea"\n}', "jq -c ."),
        ('{"text": "sea",\n"id": 3}', "jq -c ."),
        ("the sea", "jq -c ."),
    ],
)
def test_json_that_is_not_of_lines_is_refused(tmp_path, text, command):
    paths = write(tmp_path, text, suffix=".json")
    with pytest.raises(InputError) as error:
        divide_into_groups(paths)
    assert str(error.value) == f"{paths[0]} is not JSON with a document in each line, as `{command}` makes it"


# --------------------------------------------------------------------------------------- compression


def compress(suffix, data):
    if suffix == ".zst":
        return pytest.importorskip("backports.zstd").compress(data)
    return {".gz": gzip, ".bz2": bz2, ".xz": lzma}[suffix].compress(data)


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_compressed_text_is_read_and_damage_is_named(tokenizer, tmp_path, suffix):
    data = compress(suffix, b"the sea\n\nfish\n\n" * 2000)
    assert read(tokenizer, tmp_path, data, suffix=f".txt{suffix}") == [[["the", "sea"]], [["fish"]]] * 2000
    with pytest.raises(InputError, match=rf"0\.txt\{suffix} cannot be decompressed"):
        read(tokenizer, tmp_path, data[:-9], suffix=f".txt{suffix}")
    with pytest.raises(InputError, match=rf"0\.txt\{suffix} cannot be decompressed"):
        read(tokenizer, tmp_path, b"no such format", suffix=f".txt{suffix}")


def test_compressed_json_is_read(tokenizer, tmp_path):
    data = gzip.compress(b'{"text": "sea"}\n' * 3)
    assert read(tokenizer, tmp_path, data, suffix=".jsonl.gz") == [[["sea"]]] * 3


# ---------------------------------------------------------------------------------- lines left out


@pytest.mark.parametrize(
    ("line", "message"), [(b"ri\xffver", "not UTF-8 .invalid start byte"), (b"ri\0ver", "a NUL byte")]
)
def test_a_line_that_is_no_text_is_named_or_left_out(tokenizer, tmp_path, line, message):
    texts = ["sea\n", b"the\n\n" + line + b"\nsea\n" + line]
    with pytest.raises(InputError, match=rf"1\.txt, line 3: {message}.*--on_error=skip"):
        read(tokenizer, tmp_path, *texts)
    [group] = groups_of([str(tmp_path / f"{i}.txt") for i in range(2)], on_error="skip")
    [located] = tokenize(group.read(), tokenizer)
    assert documents(tokenizer, located) == [[["sea"]], [["the"]], [["sea"]]]
    assert group.skipped_lines == 2
    assert [place[:2] for place in group.skipped] == [(1, 2), (1, 4)]
    bad = []
    assert read_in_blocks(tokenizer, 8, tmp_path, *texts, bad=bad) == [[["sea"]], [["the"]], [["sea"]]]
    assert [number for number, _ in bad] == [2, 4]


def test_a_part_of_a_line_that_is_left_out_does_not_join_other_lines(tokenizer, tmp_path):
    text = b"sea\n" + b"fi\0sh sea sea " + b"mill mill mill\nriver\n"
    bad = []
    found = read_in_blocks(tokenizer, 8, tmp_path, text, bad=bad)
    assert bad
    assert found[0][0] == ["sea"]
    assert found[0][-1] == ["river"]
    assert "fish" not in found[0]


# -------------------------------------------------------------------------------------------- ranges


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    st.lists(st.text("a b\n", max_size=40).map(lambda text: text.encode()), min_size=1, max_size=5),
    st.integers(1, 20),
    st.integers(1, 9),
)
def test_ranges_together_are_the_files_and_no_document_is_divided(tmp_path_factory, texts, wanted, searched):
    paths = write(tmp_path_factory.mktemp("text"), *texts)
    groups = divide_into_groups(paths, (wanted, wanted), searched)
    ranges = [text_range for group in groups for text_range in group]
    for path, text in zip(paths, texts, strict=True):
        own = [text_range for text_range in ranges if text_range.path == path]
        assert b"".join(text[r.begin : r.end] for r in own) == text
        for text_range in own[1:]:
            assert text[: text_range.begin].endswith(b"\n")
            assert not text[: text_range.begin].splitlines()[-1].strip()


def test_json_is_divided_behind_any_line_and_compressed_files_are_not(tmp_path):
    lines = b'{"text": ""}\n' * 9
    [json_path] = write(tmp_path, lines, suffix=".jsonl")
    [compressed] = write(tmp_path, gzip.compress(lines), suffix=".jsonl.gz")
    assert all(r.begin % 13 == 0 for group in divide_into_groups([json_path], SMALL_GROUPS) for r in group)
    assert len(divide_into_groups([json_path], SMALL_GROUPS)) > 3
    assert len(divide_into_groups([compressed], SMALL_GROUPS)) == 1


def test_a_line_is_named_by_its_number_in_the_file(tokenizer, tmp_path):
    with pytest.raises(InputError, match=r"0\.txt, line 41: a NUL byte"):
        read(tokenizer, tmp_path, b"sea\n\n" * 20 + b"\0\n", group_bytes=SMALL_GROUPS)


def test_a_path_with_a_scheme_is_read_through_tensorflow(tokenizer, tmp_path):
    [path] = write(tmp_path, "sea\n\nfish\n\n" * 9)
    located = [
        c for group in groups_of([f"file://{path}"], SMALL_GROUPS) for c in tokenize(group.read(), tokenizer)
    ]
    assert len(located) > 3
    found = [document for c in located for document in documents(tokenizer, c)]
    assert found == [[["sea"]], [["fish"]]] * 9


def test_text_is_required():
    with pytest.raises(UsageError, match="missing required flag --input_file"):
        TextOptions().require_input()
