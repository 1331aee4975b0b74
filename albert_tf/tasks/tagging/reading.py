"""Files of tagged words: columns as in CoNLL's tasks, or JSON lines of words or of texts with spans."""

import array
import dataclasses
import hashlib
import itertools
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypedDict

import numpy as np

from albert_tf.data.tables import digest_of, problem_of_characters, text_lines
from albert_tf.errors import InputError, InputWarning
from albert_tf.files import parse_json
from albert_tf.tasks.tagging.tags import OUTSIDE, TagSet, recognise
from albert_tf.tokenization.words import Words, find_words

_DOCUMENT = "-DOCSTART-"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TaggedWords:
    """The words of a split.

    Attributes:
      texts: what the model reads at once: sentences, or whole documents.
      words: of all texts, in order.
      sentence_of: int32 [words].
      tags: int32 [words], numbers of `tag_set`; None if the file has none.
      digest: of the file's content and of how it was read.
    """

    texts: Sequence[str]
    words: Words
    sentence_of: np.ndarray
    tags: np.ndarray | None
    tag_set: TagSet
    digest: str

    def __len__(self) -> int:
        """The number of sentences."""
        return int(self.sentence_of[-1]) + 1

    @property
    def is_first(self) -> np.ndarray:
        """bool [words]: whether a word begins a sentence."""
        return np.append(True, self.sentence_of[1:] != self.sentence_of[:-1])

    def word(self, number: int) -> str:
        """The word with that number."""
        begin, end = self.words.begins[number], self.words.ends[number]
        return self.texts[self.words.text_of[number]][begin:end]


class _Sentence(NamedTuple):
    """A sentence or a raw text: its words as ranges of its characters, their tags, their lines."""

    text: str
    begins: np.ndarray
    ends: np.ndarray
    tags: Sequence[str] | None
    lines: np.ndarray
    document: int


class _Span(TypedDict):
    begin: int
    end: int
    type: str


class _Record(TypedDict, total=False):
    tokens: list[str]
    tags: list[str]
    text: str
    spans: list[_Span]


def read_tagged(
    path: str,
    tag_set: TagSet | None,
    *,
    tag_column: int | None = None,
    context: str = "sentence",
    may_lack_tags: bool = False,
    names: Sequence[str] = (),
) -> TaggedWords:
    """Reads a `.jsonl` or `.json` file of JSON lines, or else columns of words and tags.

    A file of columns has a word on a line. Tabs separate the columns, or else white space. Blank lines end
    sentences, "-DOCSTART-" begins a document. A line before a sentence that begins with "#" and has another
    number of columns is a comment. A JSON line has "tokens" and "tags", or "text" and "spans" with "begin"
    and "end", counted in characters, and "type".

    Args:
      path: the file.
      tag_set: the known tags; None to learn them from the file.
      tag_column: of columns, from 1, or from -1 backwards; by default the last one.
      context: "document" joins the sentences of a document to one text.
      may_lack_tags: whether a file without tags is fine: words alone.
      names: the tags in the user's order, if they are learned.

    Raises:
      InputError: names the file and the line of the first fault.
    """
    digest = hashlib.sha256()
    numbered = enumerate(text_lines(path, digest), 1)
    is_json = os.path.splitext(path)[1].lower() in (".jsonl", ".json")
    read: Iterable[_Sentence] = (
        _json_lines(path, numbered) if is_json else _columns(path, numbered, tag_column)
    )
    joined = _Joined(path, read, context == "document")
    if not joined.sizes:
        raise InputError(f"{path} holds no words")
    tags, has_tags = joined.tags, bool(joined.tags)
    if not has_tags and not may_lack_tags:
        raise InputError(f"{path} has no tags")
    lines = np.frombuffer(joined.lines, np.int32)
    sentence_of = np.repeat(np.arange(len(joined.sizes), dtype=np.int32), joined.sizes)
    is_first = np.append(True, sentence_of[1:] != sentence_of[:-1])
    numbers = None
    if has_tags:
        tag_set = tag_set or recognise(tags, is_first, path, lines, names)
        numbers = tag_set.numbers(tags, path, lines)
        tag_set.check(numbers, is_first, path, lines)
    assert tag_set
    if context == "document" and (is_json or joined.document == 0):
        raise InputError(f"{path} has no lines {_DOCUMENT}, at which --context=document begins documents")
    return TaggedWords(
        texts=joined.texts(),
        words=Words(*(np.frombuffer(column, np.int32) for column in joined.words)),
        sentence_of=sentence_of,
        tags=numbers,
        tag_set=tag_set,
        digest=digest_of(digest.hexdigest(), tag_column, context, tag_set.names if has_tags else None),
    )


class _Joined:
    """Sentences, or documents with a space between sentences, as columns of all their words.

    A million words take some 30 MB: no object of a sentence but its text is kept.
    """

    def __init__(self, path: str, sentences: Iterable[_Sentence], by_document: bool):
        self.words = tuple(array.array("i") for _ in Words._fields)
        self.lines, self.sizes = array.array("i"), array.array("i")  # sizes: the words of each sentence
        self.tags: list[str] = []
        self.document = 0
        self._texts: list[str] = []
        self._parts: list[str] = []  # of the current text
        size = 0
        for sentence in sentences:
            if self.sizes and (sentence.tags is None) == bool(self.tags):
                raise InputError(f"{path}:{sentence.lines[0]}: some sentences have tags and some have none")
            if self._parts and not (by_document and sentence.document == self.document):
                self._end_text()
                size = 0
            columns = (
                np.full(len(sentence.begins), len(self._texts)),
                sentence.begins + size,
                sentence.ends + size,
            )
            for column, values in zip((*self.words, self.lines), (*columns, sentence.lines), strict=True):
                column.frombytes(values.astype(np.int32).tobytes())
            self.tags += sentence.tags or ()
            self.sizes.append(len(sentence.begins))
            self._parts.append(sentence.text)
            self.document = sentence.document
            size += len(sentence.text) + 1

    def _end_text(self) -> None:
        self._texts.append(" ".join(self._parts))
        self._parts = []

    def texts(self) -> list[str]:
        """All texts; to be called once."""
        self._end_text()
        return self._texts


def _columns(path: str, lines: Iterable[tuple[int, str]], tag_column: int | None) -> Iterator[_Sentence]:
    """The sentences of a file of columns."""
    rows = enumerate(text_lines(path), 1)
    first = next((row for row in rows if row[1].strip() and not row[1].startswith(("#", _DOCUMENT))), None)
    if first is None:
        return
    separator = "\t" if "\t" in first[1] else None
    width = len(first[1].split(separator))
    index = _tag_index(path, first[0], width, tag_column)
    words: list[str] = []
    tags: list[str] = []
    numbers: list[int] = []
    document = 0
    for number, line in itertools.chain(lines, [(0, "")]):
        is_border = line.startswith(_DOCUMENT)
        if not line.strip() or is_border:
            if words:
                yield _of_words(words, tags if width > 1 else None, numbers, document)
            words, tags, numbers, document = [], [], [], document + is_border
            continue
        row = [cell.strip() for cell in line.split(separator)]
        if len(row) != width:
            if line.startswith("#") and not words:
                continue  # a comment
            raise InputError(f"{path}:{number}: expected {width} columns, found {len(row)}")
        if not row[0] or not row[index]:
            raise InputError(f"{path}:{number}: the {'tag' if row[0] else 'word'} is empty")
        words.append(row[0])
        tags.append(sys.intern(row[index]))
        numbers.append(number)


def _tag_index(path: str, line: int, width: int, tag_column: int | None) -> int:
    column = -1 if tag_column is None else tag_column
    index = column - 1 if column > 0 else width + column
    if width > 1 and not 0 < index < width:
        wanted = "the words are in column 1" if index == 0 else f"there are {width} columns"
        raise InputError(f"{path}:{line}: --tag_column={column}, but {wanted}")
    return index if width > 1 else 0


def _of_words(
    words: Sequence[str], tags: Sequence[str] | None, lines: Sequence[int], document: int = 0
) -> _Sentence:
    """A sentence of words, with a space between them."""
    sizes = np.fromiter(map(len, words), np.int32, len(words))
    ends = np.cumsum(sizes + 1, dtype=np.int32) - 1
    return _Sentence(" ".join(words), ends - sizes, ends, tags, np.array(lines, np.int32), document)


def _json_lines(path: str, lines: Iterable[tuple[int, str]]) -> Iterator[_Sentence]:
    """The sentences or raw texts of a file of JSON lines."""
    widened = 0
    for number, line in lines:
        if not line.strip():
            continue
        place = f"{path}:{number}"
        record = parse_json(line.encode(), place, _Record)
        if ("tokens" in record) == ("text" in record):
            raise InputError(f'{place}: either "tokens" or "text" is needed')
        for text in (*record.get("tokens", ()), record.get("text", "")):
            if problem := problem_of_characters(text):
                raise InputError(f"{place}: a text {problem}")
        if "tokens" in record:
            yield _of_tokens(record, place, number)
            continue
        sentence, wider = _of_text(record, place, number)
        widened += wider
        yield sentence
    if widened:
        text = f"{path}: {widened:,} spans begin or end inside a word; they are widened to whole words"
        warnings.warn(text, InputWarning, stacklevel=2)


def _of_tokens(record: _Record, place: str, line: int) -> _Sentence:
    words, tags = record["tokens"], record.get("tags")
    if not words:
        raise InputError(f"{place}: an empty sentence")
    for word in words:
        if not word.strip() or "\t" in word or "\n" in word or "\r" in word:
            raise InputError(f"{place}: {word!a} is no word: it is empty, or holds a tab or a line end")
    if tags is not None and len(tags) != len(words):
        raise InputError(f"{place}: {len(words)} tokens, but {len(tags)} tags")
    return _of_words(words, tags, [line] * len(words))


def _of_text(record: _Record, place: str, line: int) -> tuple[_Sentence, int]:
    """The words of a raw text, and how many of its spans begin or end inside a word."""
    text = record["text"]
    words = find_words([text])
    if not len(words.begins):
        raise InputError(f"{place}: an empty text")
    tags, widened, before = None, 0, None
    if "spans" in record:
        tags = [OUTSIDE] * len(words.begins)
        for span in sorted(record["spans"], key=lambda span: span["begin"]):
            begin, end, kind = span["begin"], span["end"], span["type"].strip()
            shown = f"the span {begin} to {end}"
            if not 0 <= begin < end <= len(text):
                raise InputError(f"{place}: {shown} is not inside the text of {len(text)} characters")
            if not kind or not kind.isprintable():
                raise InputError(f"{place}: {shown} has the type {kind!a}, which is no name")
            first = int(np.searchsorted(words.ends, begin, side="right"))
            last = int(np.searchsorted(words.begins, end, side="left"))
            if before and (begin < before[1] or first < before[2]):
                what = "overlaps" if begin < before[1] else "shares a word with"
                other = f"the span {before[0]} to {before[1]}"
                raise InputError(f"{place}: {shown} {what} {other}; spans may touch, but a word has one tag")
            if first >= last:
                raise InputError(f"{place}: {shown} holds no word")
            tags[first:last] = [f"B-{kind}", *[f"I-{kind}"] * (last - first - 1)]
            widened += words.begins[first] != begin or words.ends[last - 1] != end
            before = begin, end, last
    lines = np.full(len(words.begins), line, np.int32)
    sentence = _Sentence(text, words.begins, words.ends, tags, lines, 0)
    return sentence, widened
