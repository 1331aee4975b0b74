"""Questions with options: RACE's folders of passages, C3's files, and JSON files of your own."""

import codecs
import dataclasses
import hashlib
import itertools
import json
import math
import os
import re
import string
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NotRequired, TypedDict

import numpy as np

from albert_tf.errors import InputError, InputWarning, escaped
from albert_tf.files import open_file, parse_json

LEVELS = ("middle", "high")
LETTERS = tuple(string.ascii_uppercase)  # the names of options

_READING = b"RACE 1"  # changes when the same files come to mean other questions


class _Passage(TypedDict):
    id: str
    article: str
    questions: list[str]
    options: list[list[str]]
    answers: NotRequired[list[Any]]


class _Question(TypedDict):
    """A question of C3; `choice` are its options, `answer` is the text of one."""

    question: str
    choice: list[str]
    answer: NotRequired[Any]


class _Document(NamedTuple):
    """A document of C3, which is a list in JSON."""

    lines: list[str]
    questions: list[_Question]
    id: str | int


_KEYS: Mapping[str, tuple[str, ...]] = {  # of a question that is a record of its own
    "article": ("article", "context", "passage"),
    "options": ("options", "choices", "choice"),
    "answer": ("answer", "label"),
}


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class RaceQuestions:
    """The questions of one split, column by column, in file order.

    Attributes:
      article_of: int32 `[questions]`. The article that a question is about.
      questions: a "_" in a question stands for the option.
      options: as many columns as a question has options at most, four in RACE; None where a question has no
        more options.
      names: the id of the passage and the number of the question in it, such as "high1234.txt-0".
      labels: int32 `[questions]`, the right options, from 0; None if the split has no answers.
      parts: the questions of each level, "middle" and "high", or of each file if there are several.
      digest: of the files' content and of how they were read.
    """

    articles: Sequence[str]
    article_of: np.ndarray
    questions: Sequence[str]
    options: tuple[Sequence[str | None], ...]
    names: Sequence[str]
    labels: np.ndarray | None
    parts: Mapping[str, slice]
    digest: str

    def __len__(self) -> int:
        return len(self.questions)


def read_race(data_dir: str, split: str, levels: Sequence[str] = LEVELS) -> RaceQuestions:
    """Reads RACE/<split>/<level>/ in `data_dir`, which may itself be the folder RACE, or files of a split.

    The folder of a level contains a JSON file for each passage, `<number>.txt`, as published, or `.txt` and
    `.json` files of any name, which come after those, by name; a warning names files of other kinds. If it
    contains `all.txt` with one JSON object a line, this file is read instead; a warning names the others.

    Without a folder of the split, the files `<split>.json`, `<name>-<split>.json` and `<split><version>.json`
    in `data_dir` are read, or `.jsonl`: a list, or a record on each line. A record is a passage as in RACE; a
    document of C3; or a question with its options.

    A question has 2 to 26 options. Of the splits "train", "dev" and "test" only the last may lack answers.

    Raises:
      InputError: a folder is missing, or a file cannot be used; names file, line or record, and question.
    """
    digest = hashlib.sha256(_READING)
    passages: list[_Passage] = []
    names: list[str] = []
    parts = {}
    for part, where, records in _parts(data_dir, split, levels):
        begin = len(names)
        digest.update(part.encode())
        for place, data in records:
            digest.update(b"%d " % len(data) + data)
            passage, is_single = _passage(data, place, may_lack_answers=split == "test")
            if passages and ("answers" in passage) != ("answers" in passages[0]):
                raise InputError(f"{place}: either all passages of a split have answers, or none has")
            passages.append(passage)
            name = " ".join(passage["id"].split())
            names += [name] if is_single else [f"{name}-{i}" for i in range(len(passage["questions"]))]
        if len(names) == begin:
            raise InputError(f"{where} holds no questions")
        parts[part] = slice(begin, len(names))
    options = [row for passage in passages for row in passage["options"]]
    answers = [answer for passage in passages for answer in passage.get("answers", [])]
    return RaceQuestions(
        articles=[passage["article"] for passage in passages],
        article_of=np.repeat(
            np.arange(len(passages), dtype=np.int32), [len(passage["questions"]) for passage in passages]
        ),
        questions=[question for passage in passages for question in passage["questions"]],
        options=tuple(map(list, itertools.zip_longest(*options))),
        names=names,
        labels=np.array([LETTERS.index(answer) for answer in answers], np.int32) if answers else None,
        parts=parts if list(parts) != [""] else {},
        digest=digest.hexdigest(),
    )


def _parts(
    data_dir: str, split: str, levels: Sequence[str]
) -> Iterator[tuple[str, str, Iterator[tuple[str, bytes]]]]:
    """The name of each level or file, its path, and its records, as JSON, with their places for messages."""
    roots = [os.path.join(data_dir, *inner, split) for inner in (["RACE"], [])]
    files = {} if any(map(os.path.isdir, roots)) else _files(data_dir, split)
    if files and tuple(levels) != LEVELS:
        raise InputError(f"{data_dir} has no levels: --{levels[0]}_only is for RACE's folders")
    for part, path in files.items():
        yield part, path, _records(path)
    for level in () if files else levels:
        folders = [os.path.join(root, level) for root in roots]
        folder = next(filter(os.path.isdir, folders), None)
        if folder is None:
            beside = [os.path.join(root, name) for root in roots for name in LEVELS]
            other = next(map(os.path.basename, filter(os.path.isdir, beside)), None)
            advice = f"; --{other}_only reads the folder {other} alone" if other else ""
            raise InputError(f"{folders[0]}: no such folder; it should hold RACE's passages{advice}")
        yield level, folder, _passage_texts(folder)


def _files(data_dir: str, split: str) -> dict[str, str]:
    """The files of a split, by what tells their names apart."""
    files: dict[str, str] = {}
    for name in sorted(os.listdir(data_dir)) if os.path.isdir(data_dir) else []:
        if found := re.fullmatch(rf"(?:(.+)[-_])?{split}([0-9.]*)\.jsonl?", name):
            part = "-".join(filter(None, found.groups()))
            path = os.path.join(data_dir, name)
            if part in files:
                raise InputError(f"{files[part]} and {path} are both of the {split} split")
            files[part] = path
    return files


def _records(path: str) -> Iterator[tuple[str, bytes]]:
    """The JSON of each record of a file, with its place."""
    with open_file(path) as file:
        data = file.read()
    if data.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[") and not path.endswith(".jsonl"):
        for i, record in enumerate(parse_json(data, path, list[Any]), 1):
            yield f"{path}, record {i}", json.dumps(record).encode()
    else:
        for i, line in enumerate(data.splitlines(), 1):
            if line.strip():
                yield f"{path}, line {i}", line


def _passage_texts(folder: str) -> Iterator[tuple[str, bytes]]:
    """The JSON of each passage, with its place for messages."""
    names = [name for name in sorted(os.listdir(folder)) if not name.startswith(".")]
    together = os.path.join(folder, "all.txt")
    if os.path.exists(together):
        _warn_of_unread(f"{together} is read, and not", [name for name in names if name != "all.txt"])
        with open_file(together) as file:
            lines = file.read().splitlines()
        found = [(f"{together}, line {i}", line) for i, line in enumerate(lines, 1) if line.strip()]
        if not found:
            raise InputError(f"{together} holds no passages")
        yield from found
        return
    passages = [name for name in names if name.lower().endswith((".txt", ".json"))]
    if not passages:
        raise InputError(f"{folder} holds neither all.txt nor passages (1.txt, 2.txt and so on)")
    _warn_of_unread(
        f"{folder}: only .txt and .json files are read, not", [name for name in names if name not in passages]
    )
    for name in sorted(passages, key=_number):
        path = os.path.join(folder, name)
        with open_file(path) as file:
            yield path, file.read()


def _warn_of_unread(what: str, names: Sequence[str]) -> None:
    if names:
        shown = ", ".join(map(ascii, names[:3])) + ", ..." * (len(names) > 3)
        warnings.warn(f"{what} these {len(names)}: {shown}", InputWarning, stacklevel=4)


def _number(name: str) -> float:
    """The number that names a passage; infinite if its name is none."""
    stem = os.path.splitext(name)[0]
    return int(stem) if re.fullmatch("[0-9]{1,18}", stem) else math.inf


def _passage(data: bytes, place: str, may_lack_answers: bool) -> tuple[_Passage, bool]:
    """A passage with questions, and whether the record was a question alone."""
    is_single = False
    record = parse_json(data, place, object) if b'"question"' in data else None
    if data.lstrip().startswith(b"["):
        data = json.dumps(_of_c3(parse_json(data, place, _Document), place)).encode()
    elif isinstance(record, dict) and "question" in record and "questions" not in record:
        data, is_single = json.dumps(_of_question(record, place)).encode(), True
    passage = parse_json(data, place, _Passage)
    try:
        json.dumps(passage, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{place}: {error.object[error.start]!a} alone is no character") from None
    if "answers" not in passage and not may_lack_answers:
        raise InputError(f'{place}: no "answers"')
    if not passage["article"].strip() and not is_single:
        raise InputError(f"{place}: the article is empty")
    counts = {"questions": len(passage["questions"]), "options": len(passage["options"])}
    if "answers" in passage:
        counts["answers"] = len(passage["answers"])
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{count} {key}" for key, count in counts.items())
        raise InputError(f"{place}: {found}; as many of each are needed")
    for i, question in enumerate(passage["questions"], 1):
        if not question.strip():
            raise InputError(f"{place}, question {i}: the question is empty")
    for i, options in enumerate(passage["options"]):
        asked, letters = f"{place}, question {i + 1}", LETTERS[: len(options)]
        if not 2 <= len(options) <= len(LETTERS):
            raise InputError(f"{asked}: 2 to {len(LETTERS)} options are needed, not {len(options)}")
        if "answers" in passage and passage["answers"][i] not in letters:
            needed = f"{', '.join(letters[:-1])} or {letters[-1]} is needed"
            raise InputError(f"{asked}: the answer is {json.dumps(passage['answers'][i])}; {needed}")
    return passage, is_single


def _of_c3(record: _Document, place: str) -> dict[str, Any]:
    """A document of C3 in RACE's form."""
    lines, questions, identity = record
    made: dict[str, Any] = {"id": str(identity), "article": "\n".join(lines)}
    made |= {"questions": [q["question"] for q in questions], "options": [q["choice"] for q in questions]}
    if any("answer" in question for question in questions):
        places = [f"{place}, question {i}" for i in range(1, len(questions) + 1)]
        made["answers"] = [
            _letter(question.get("answer"), question["choice"], asked)
            for question, asked in zip(questions, places, strict=True)
        ]
    return made


def _of_question(record: Mapping[str, Any], place: str) -> dict[str, Any]:
    """A question with options in RACE's form; without a context its article is empty."""
    found = {name: next((k for k in keys if k in record), None) for name, keys in _KEYS.items()}
    if found["options"] is None:
        raise InputError(f"{place}: object missing required field `options`")
    options, article = record[found["options"]], record.get(found["article"] or "", "")
    if isinstance(article, list) and all(isinstance(line, str) for line in article):
        article = "\n".join(article)
    identity = record.get("id", re.sub(r".*, (line|record) ", "", place))
    made = {"id": str(identity), "article": article, "questions": [record["question"]], "options": [options]}
    if found["answer"] is not None:
        made["answers"] = [_letter(record[found["answer"]], options, place)]
    return made


def _letter(answer: Any, options: Any, asked: str) -> Any:
    """The letter of an answer that is the text of an option, a letter, or a number from 0."""
    if not isinstance(options, list) or not 2 <= len(options) <= len(LETTERS):
        return answer  # what is wrong with the options is said later
    letters = LETTERS[: len(options)]
    meant = {letters[options.index(answer)]} if answer in options else set()
    if isinstance(answer, str) and answer in letters:
        meant.add(answer)
    elif type(answer) is int and 0 <= answer < len(options):
        meant.add(letters[answer])
    if len(meant) == 1:
        return meant.pop()
    shown, why = json.dumps(answer, ensure_ascii=False), "names one option and is the letter of another"
    if not meant:
        why = "is neither an option, nor the letter or the number (from 0) of one"
    raise InputError(f"{asked}: the answer {escaped(shown)[:100]} {why}")
