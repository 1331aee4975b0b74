"""JSON files of SQuAD's form and of CMRC 2018's own: every field is checked, and an error names it."""

import dataclasses
import hashlib
import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from albert_tf.data.tables import as_seen
from albert_tf.errors import InputError, InputWarning, escaped
from albert_tf.files import open_file, parse_json
from albert_tf.tasks.squad.segmentation import segmentation_of

_READING = b"SQuAD 1"  # changes when the same file comes to mean other questions
_TYPE_NAMES = {str: "a text", list: "a list", dict: "an object", bool: "true or false", type(None): "null"}
_TYPE_NAMES |= {int: "a whole number", float: "a number"}
_SHAPE = (
    'SQuAD is {"data": [{"paragraphs": [{"context": "...", "qas": [{"id": "...", "question": "..."}]}]}]}'
)
_MISSING = object()


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class SquadQuestions:
    """The questions of one file, column by column, in file order.

    Attributes:
      titles: of each article; "" if it has none.
      contexts: each paragraph once.
      article_of: int32 `[contexts]`. The article that a context is from.
      context_of: int32 `[questions]`. The context that a question is about.
      ids: how predictions name each question. Of questions to train on some may have the same.
      answers: the texts of each question's answers; none if it is impossible or without `has_answers`.
      answer_starts: the first character of each answer in its context; -1 if the file does not say.
      is_impossible: bool `[questions]`. Whether the context lacks an answer; false without `has_answers`.
      has_answers: whether the file says what the answers are.
      version: "1.1" or "2.0".
      digest: of the file's content and of how it was read.
      segmentation: "space" or "character": the words by which answers are compared.
    """

    titles: Sequence[str]
    contexts: Sequence[str]
    article_of: np.ndarray
    context_of: np.ndarray
    questions: Sequence[str]
    ids: Sequence[str]
    answers: Sequence[tuple[str, ...]]
    answer_starts: Sequence[tuple[int, ...]]
    is_impossible: np.ndarray
    has_answers: bool
    version: str
    digest: str
    segmentation: str = "space"

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, which: np.ndarray | Sequence[int]) -> "SquadQuestions":
        """The questions of a mask, bool [questions], or of indices, with their contexts and articles."""
        rows = np.arange(len(self))[which]
        contexts, context_of = np.unique(self.context_of[rows], return_inverse=True)
        articles, article_of = np.unique(self.article_of[contexts], return_inverse=True)
        names = ("questions", "ids", "answers", "answer_starts")
        columns: dict[str, Any] = {name: [getattr(self, name)[i] for i in rows] for name in names}
        return dataclasses.replace(
            self,
            titles=[self.titles[i] for i in articles],
            contexts=[self.contexts[i] for i in contexts],
            article_of=article_of.astype(np.int32),
            context_of=context_of.astype(np.int32),
            **columns,
            is_impossible=self.is_impossible[rows],
            digest=hashlib.sha256(self.digest.encode() + rows.astype("<i8").tobytes()).hexdigest(),
        )


def read_squad(
    path: str,
    version: str | None = None,
    *,
    training: bool = False,
    skip_misplaced_answers: bool = False,
    segmentation: str = "auto",
) -> SquadQuestions:
    """Reads a JSON file in the form of SQuAD (DRCD has it, too), or in CMRC 2018's own form.

    CMRC's own form does not say where an answer stands: its first place in the context counts.

    Args:
      path: the file.
      version: "1.1", in which every question has an answer, or "2.0"; None to take what the file says.
      training: whether the first answer of each question must stand in the context where `answer_start`
        says. (The original demanded exactly one answer; here the others are for scoring.)
      skip_misplaced_answers: leaves out, with a warning, questions whose answer is not at that place.
      segmentation: how answers are cut into words: "space", "character", or "auto" to look at the contexts.

    Raises:
      InputError: the file cannot be read or used; names the file and the field or the question.
    """
    data, document = _read_document(path)
    titles: list[str] = []
    contexts: list[str] = []
    article_of: list[int] = []
    found: list[_Question] = []
    for article, in_article in _objects(document, "data", f"{path}: "):
        titles.append("" if article.get("title") is None else _text(article, "title", in_article))
        is_own = "context_text" in article  # an article of CMRC's own form is one paragraph
        for paragraph, in_paragraph in (
            [(article, in_article)] if is_own else _objects(article, "paragraphs", in_article)
        ):
            questions = list(_objects(paragraph, "qas", in_paragraph))
            if not questions:  # tools also write empty contexts
                continue
            article_of.append(len(titles) - 1)
            key = "context_text" if is_own else "context"
            contexts.append(_text(paragraph, key, in_paragraph, may_be_blank=False))
            for qa, in_qa in questions:
                found.append(_question(qa, in_qa, contexts, training))
    if not found:
        raise InputError(f"{path} holds no questions")
    _check_repeated_ids(path, found, training)
    if blank := sum(not question.text.strip() for question in found):  # CMRC 2018's trial file has two
        text = f"{path}: {blank} of {len(found)} questions are blank and are read as they are"
        warnings.warn(text, InputWarning, stacklevel=2)
    if version is None:
        says_2 = re.fullmatch(r"v?2(\.0)?", str(document.get("version"))) is not None
        version = "2.0" if says_2 or any(q.is_impossible is not None for q in found) else "1.1"
    has_answers, is_impossible = _which_are_impossible(path, found, version)
    if training and not has_answers:
        raise InputError(f"{path} has no answers; training needs them")
    read = SquadQuestions(
        titles=titles,
        contexts=contexts,
        article_of=np.array(article_of, np.int32),
        context_of=np.array([question.context for question in found], np.int32),
        questions=[question.text for question in found],
        ids=[question.id for question in found],
        answers=[question.answers or () for question in found],
        answer_starts=[question.answer_starts for question in found],
        is_impossible=is_impossible,
        has_answers=has_answers,
        version=version,
        digest=hashlib.sha256(_READING + version.encode() + data).hexdigest(),
        segmentation=segmentation_of(contexts) if segmentation == "auto" else segmentation,
    )
    return _without_misplaced(path, read, skip_misplaced_answers) if training else read


class _Question(NamedTuple):
    """A question of a file; None stands for a key that is not there, or is null."""

    where: str
    context: int
    id: str
    text: str
    answers: tuple[str, ...] | None
    answer_starts: tuple[int, ...]
    is_impossible: bool | None


def _question(qa: Mapping[str, Any], where: str, contexts: Sequence[str], training: bool) -> _Question:
    """A question about the last of the contexts."""
    context = len(contexts) - 1
    keys = ("query_id", "query_text") if "query_id" in qa else ("id", "question")  # CMRC's own, or SQuAD's
    if type(qa.get(keys[0])) is int:
        qa = {**qa, keys[0]: str(qa[keys[0]])}
    identity, text = _text(qa, keys[0], where, may_be_blank=False), _text(qa, keys[1], where)
    is_impossible = qa.get("is_impossible")
    if is_impossible in (0, 1):
        is_impossible = bool(is_impossible)
    elif is_impossible is not None:
        _field(qa, "is_impossible", bool, where)
    if is_impossible:  # what SQuAD has beside this are plausible answers
        return _Question(where, context, identity, text, (), (), True)
    if qa.get("answers") is None:
        return _Question(where, context, identity, text, None, (), is_impossible)
    answers: list[str] = []
    starts: list[int] = []
    if keys[0] == "query_id":
        qa = _with_places(qa, contexts[context], where)
    for answer, place in _objects(qa, "answers", where):
        answers.append(_text(answer, "text", place))
        start = answer.get("answer_start")
        if type(start) is not int and re.fullmatch(r"[0-9]{1,9}(\.0)?", str(start)):
            start = int(float(str(start)))  # tools also write "22" and 22.0
        elif training and not starts:
            start = _field(answer, "answer_start", int, place)
        starts.append(start if type(start) is int else -1)
    return _Question(where, context, identity, text, tuple(answers), tuple(starts), is_impossible)


def _with_places(qa: Mapping[str, Any], context: str, where: str) -> Mapping[str, Any]:
    """A question of CMRC's own form, whose answers are mere texts, in SQuAD's form."""
    answers = dict(enumerate(_field(qa, "answers", list, where)))
    texts = [_text(answers, i, f"{where}answers ") for i in answers]
    return {**qa, "answers": [{"text": text, "answer_start": context.find(text)} for text in texts]}


def _check_repeated_ids(path: str, found: Sequence[_Question], training: bool) -> None:
    """Refuses ids that come twice, because predictions are found by them; warns of them in training."""
    places: dict[str, str] = {}
    repeated = [
        question for question in found if places.setdefault(question.id, question.where) is not question.where
    ]
    if repeated:
        where, shown = repeated[0].where, _shown(repeated[0].id)
        first = places[repeated[0].id].removeprefix(f"{path}: ")[:-1]
        text = f"{where}id: {shown} is the id of {first} too"
        if not training:
            raise InputError(text)
        count = f"{len(repeated)} of {len(found)} questions have the id of another question"
        warnings.warn(f"{text}; {count}, and are trained on", InputWarning, stacklevel=3)


def _which_are_impossible(path: str, found: Sequence[_Question], version: str) -> tuple[bool, np.ndarray]:
    """Whether the file has answers at all, and which questions have none, bool [questions].

    A file for prediction may leave the answers out, or give every question an empty list of them.
    """
    unknown = [question for question in found if question.answers is None]
    if unknown and len(unknown) < len(found):
        raise InputError(f"{unknown[0].where}answers: is missing, but other questions have it")
    if not any(question.answers or question.is_impossible for question in found):
        return False, np.zeros(len(found), bool)
    impossible = [question for question in found if not question.answers]
    if impossible and version == "1.1":
        raise InputError(
            f"{path}: questions without an answer: {len(impossible)}, first {_shown(impossible[0].id)}; "
            "version 1.1 has an answer to every question (for this file: --version=2.0)"
        )
    for question in impossible:
        if question.is_impossible is False:
            raise InputError(f"{question.where}answers: is empty, but is_impossible is false")
    return True, np.array([not question.answers for question in found])


def _without_misplaced(path: str, questions: SquadQuestions, skip: bool) -> SquadQuestions:
    """The questions whose first answer is not blank and is at its `answer_start`."""
    contexts = [questions.contexts[context] for context in questions.context_of]
    misplaced = [
        bool(answers)
        and not (answers[0].strip() and starts[0] >= 0 and context.startswith(answers[0], starts[0]))
        for context, answers, starts in zip(contexts, questions.answers, questions.answer_starts, strict=True)
    ]
    if not any(misplaced):
        return questions
    count = f"{sum(misplaced)} of {len(questions)} questions"
    if not skip or all(misplaced):
        row = misplaced.index(True)
        answer, start = questions.answers[row][0], questions.answer_starts[row][0]
        instead = contexts[row][start : start + len(answer)] if start >= 0 else ""
        stands = contexts[row][max(0, start) :][: 9 + 9 * len(answer)]
        alike = as_seen(stands, "NFKC").startswith(as_seen(answer, "NFKC"))
        pairs = enumerate(zip(answer, instead, strict=False))
        differ = next((i for i, (one, other) in pairs if one != other), len(instead))
        begin = max(0, differ - 20)
        shown, found = (_shown(text, begin, in_ascii=alike) for text in (answer, instead))
        advice = "" if skip else "; --skip_misplaced_answers leaves such questions out"
        raise InputError(
            f"{path}: the answers of {count} do not stand where answer_start says; the first is "
            f"{_shown(questions.ids[row])} with the answer {shown}, but at character {start} stands "
            f"{found if instead else 'nothing'}{advice}"
        )
    text = f"{path}: {count} are left out, since their answers do not stand where answer_start says"
    warnings.warn(text, InputWarning, stacklevel=3)
    return questions.select(~np.array(misplaced))


def _read_document(path: str) -> tuple[bytes, Mapping[str, Any]]:
    """A file's bytes and the object that they mean."""
    try:
        with open_file(path) as file:
            data = file.read()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    document: Any = parse_json(data, path, object)
    if type(document) is list and any("context_text" in some for some in document if type(some) is dict):
        document = {"data": document}  # a file of CMRC 2018
    if type(document) is not dict:
        raise InputError(f"{path} is {_TYPE_NAMES[type(document)]}; {_SHAPE}")
    if "data" not in document:
        raise InputError(f'{path} has no "data"; {_SHAPE}')
    return data, document


def _objects(holder: Mapping[str, Any], key: str, where: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """The objects of a list, each with the beginning of the path to its fields."""
    for i, value in enumerate(_field(holder, key, list, where)):
        if type(value) is not dict:
            raise InputError(f"{where}{key}[{i}]: an object is needed, not {_TYPE_NAMES[type(value)]}")
        yield value, f"{where}{key}[{i}]."


def _text(holder: Mapping[Any, Any], key: Any, where: str, may_be_blank: bool = True) -> str:
    text = _field(holder, key, str, where)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{where}{key}: {text[error.start]!a} alone is no character") from None
    if not may_be_blank and not text.strip():
        raise InputError(f"{where}{key}: is empty")
    return text


def _field(holder: Mapping[Any, Any], key: Any, kind: type, where: str) -> Any:
    value = holder.get(key, _MISSING)
    if value is _MISSING:
        raise InputError(f"{where}{key}: is missing")
    if type(value) is not kind:
        raise InputError(f"{where}{key}: {_TYPE_NAMES[kind]} is needed, not {_TYPE_NAMES[type(value)]}")
    return value


def _shown(text: str, begin: int = 0, in_ascii: bool = False) -> str:
    """A text in quotes, on one line and not too long; characters that cannot be seen are escaped."""
    if len(text) > 40:
        text = "…" * (begin > 0) + text[begin : begin + 39] + "…" * (begin + 39 < len(text))
    return json.dumps(text) if in_ascii else f'"{escaped(text)}"'
