"""RACE: multiple-choice reading comprehension, from the files of its authors, or your own, to results."""

import dataclasses
import hashlib
import json
import math
import os
import re
import string
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import numpy as np

from albert_tf import html_report
from albert_tf.checkpoints.run_folder import PREDICTIONS_FILE
from albert_tf.cli.settings import RaceSettings
from albert_tf.data.features import Features, encode_column, join, required
from albert_tf.errors import InputError, InputWarning
from albert_tf.files import open_file, parse_json
from albert_tf.html_report import Section
from albert_tf.models.classification import AlbertForMultipleChoice
from albert_tf.tasks import benchmark
from albert_tf.tasks.benchmark import Benchmark, BenchmarkTask, Outputs, Parts
from albert_tf.tasks.task import Model
from albert_tf.tokenization import Tokenizer

LEVELS = ("middle", "high")

_READING = b"RACE 1"  # changes when the same files come to mean other questions
_LETTERS = tuple(string.ascii_uppercase)
ANSWERS = _LETTERS[:4]  # of the questions of RACE; others have as many as options
BLANKS = "[_\ufe33\ufe34\ufe4d\ufe4e\ufe4f\uff3f]"  # "_", and what NFKD makes a "_"


class _Passage(TypedDict):
    id: str
    article: str
    questions: list[str]
    options: list[list[str]]
    answers: NotRequired[list[Any]]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class RaceQuestions:
    """The questions of one split, column by column, in file order.

    Attributes:
      article_of: int32 `[questions]`. The article that a question is about.
      questions: a "_" in a question stands for the option.
      options: as many columns as a question has options; four in RACE.
      names: the id of the passage and the number of the question in it, such as "high1234.txt-0".
      labels: int32 `[questions]`, the right options, from 0; None if the split has no answers.
      parts: the questions of each level, "middle" and "high".
      digest: of the files' content and of how they were read.
    """

    articles: Sequence[str]
    article_of: np.ndarray
    questions: Sequence[str]
    options: tuple[Sequence[str], ...]
    names: Sequence[str]
    labels: np.ndarray | None
    parts: Mapping[str, slice]
    digest: str

    def __len__(self) -> int:
        return len(self.questions)


def read_race(data_dir: str, split: str, levels: Sequence[str] = LEVELS) -> RaceQuestions:
    """Reads RACE/<split>/<level>/ in `data_dir`, which may itself be the folder RACE.

    The folder of a level contains a JSON file for each passage, `<number>.txt`, as published, or `.txt` and
    `.json` files of any name, which come after those, by name; a warning names files of other kinds. If it
    contains `all.txt` with one JSON object a line, this file is read instead; a warning names the others.

    All questions have the same number of options, 2 to 26. Of the splits "train", "dev" and "test" only the
    last may lack answers.

    Raises:
      InputError: a folder is missing, or a file cannot be used; names file, line and question.
    """
    digest = hashlib.sha256(_READING)
    passages: list[_Passage] = []
    parts = {}
    count = 0
    expected: tuple[int, str] | None = None  # the number of options, and the first passage that has it
    for level in levels:
        begin = count
        folders = [os.path.join(data_dir, *inner, split, level) for inner in (["RACE"], [])]
        folder = next(filter(os.path.isdir, folders), None)
        if folder is None:
            beside = [os.path.join(os.path.dirname(path), name) for path in folders for name in LEVELS]
            other = next(map(os.path.basename, filter(os.path.isdir, beside)), None)
            advice = f"; --{other}_only reads the folder {other} alone" if other else ""
            raise InputError(f"{folders[0]}: no such folder; it should hold RACE's passages{advice}")
        digest.update(level.encode())
        for place, data in _passage_texts(folder):
            digest.update(b"%d " % len(data) + data)
            passage = _passage(data, place, may_lack_answers=split == "test")
            if passages and ("answers" in passage) != ("answers" in passages[0]):
                raise InputError(f"{place}: either all passages of a split have answers, or none has")
            for i, offered in enumerate(passage["options"], 1):
                expected = expected or (len(offered), place)
                if len(offered) != expected[0]:
                    text = f"{len(offered)} options, but {expected[1]} has questions with {expected[0]}"
                    raise InputError(f"{place}, question {i}: {text}; a data set has one number of options")
            passages.append(passage)
            count += len(passage["questions"])
        if count == begin:
            raise InputError(f"{folder} holds no questions")
        parts[level] = slice(begin, count)
    names = [" ".join(passage["id"].split()) for passage in passages]
    sizes = [len(passage["questions"]) for passage in passages]
    options = [row for passage in passages for row in passage["options"]]
    answers = [answer for passage in passages for answer in passage.get("answers", [])]
    return RaceQuestions(
        articles=[passage["article"] for passage in passages],
        article_of=np.repeat(np.arange(len(passages), dtype=np.int32), sizes),
        questions=[question for passage in passages for question in passage["questions"]],
        options=tuple(list(column) for column in zip(*options, strict=True)),
        names=[f"{name}-{i}" for name, size in zip(names, sizes, strict=True) for i in range(size)],
        labels=np.array([_LETTERS.index(answer) for answer in answers], np.int32) if answers else None,
        parts=parts,
        digest=digest.hexdigest(),
    )


def race_features(
    tokenizer: Tokenizer,
    questions: RaceQuestions,
    max_seq_length: int,
    max_qa_length: int = RaceSettings.max_qa_length,
) -> Features:
    """[CLS] article [SEP] question and option [SEP], a sequence for each option of a question.

    The option replaces every "_" of the question; it follows a question without "_". The last `max_qa_length`
    pieces of question and option together stay, and as much of the article's beginning as then fits into
    `max_seq_length`, which must be more than `max_qa_length` + 3.
    """
    articles = encode_column(tokenizer, questions.articles, "tokenizing articles")
    num_options = len(questions.options)
    articles = articles.take(np.repeat(questions.article_of, num_options))
    rows = zip(questions.questions, *questions.options, strict=True)
    texts = [text for question, *options in rows for text in _with_options(question, options)]
    qa = encode_column(tokenizer, texts, "tokenizing questions")
    kept = qa.last(np.minimum(qa.lengths, max_qa_length))
    beginnings = articles.first(np.minimum(articles.lengths, max_seq_length - 3 - kept.lengths))
    labels, lengths = questions.labels, articles.lengths + qa.lengths + 3
    return join(tokenizer, [beginnings, kept], full_lengths=lengths, labels=labels, num_choices=num_options)


def _with_options(question: str, options: Sequence[str]) -> list[str]:
    """The question with each of its options; the tokenizer's preprocessing may follow."""
    question = re.sub(BLANKS, "_", question)
    if "_" in question:
        return [question.replace("_", option.strip()) for option in options]
    return [f"{question} {option}" for option in options]


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


def _passage(data: bytes, place: str, may_lack_answers: bool) -> _Passage:
    passage = parse_json(data, place, _Passage)
    try:
        json.dumps(passage, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{place}: {error.object[error.start]!a} alone is no character") from None
    if "answers" not in passage and not may_lack_answers:
        raise InputError(f'{place}: no "answers"')
    if not passage["article"].strip():
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
        asked, letters = f"{place}, question {i + 1}", _LETTERS[: len(options)]
        if not 2 <= len(options) <= len(_LETTERS):
            raise InputError(f"{asked}: 2 to {len(_LETTERS)} options are needed, not {len(options)}")
        if "answers" in passage and passage["answers"][i] not in letters:
            needed = f"{', '.join(letters[:-1])} or {letters[-1]} is needed"
            raise InputError(f"{asked}: the answer is {json.dumps(passage['answers'][i])}; {needed}")
    return passage


class RaceTask(BenchmarkTask):
    """RACE: cross-entropy over the scores of the options.

    `max_qa_length` and the letters of the options are kept with the weights.
    """

    name = head_name = eval_name = "race"
    label_names = ANSWERS
    best_metric = "eval_accuracy"

    def __init__(
        self,
        questions: Mapping[str, RaceQuestions],
        features: Mapping[str, Features],
        max_qa_length: int = RaceSettings.max_qa_length,
        **kwargs,
    ):
        super().__init__(features, **kwargs)
        self.questions = questions
        for some in questions.values():
            self.label_names = _LETTERS[: len(some.options)]
        self.max_qa_length = max_qa_length

    def describe(self) -> dict[str, Any]:
        """See `BenchmarkTask`; and how much of question and option is kept."""
        return super().describe() | {"max_qa_length": self.max_qa_length}

    def build_model(self, dtype: str = "float32") -> Model:
        """A fresh `AlbertForMultipleChoice`."""
        return AlbertForMultipleChoice(self.config, self.dropout_prob, dtype=dtype)

    def results_by_part(self, split: str, outputs: Outputs) -> Parts:
        """Accuracy and loss over all questions, and over the questions of each school level."""
        questions, all_logits = self.questions[split], outputs["logits"]
        rows = {}
        for part, where in {"all": slice(None), **questions.parts}.items():
            labels, logits = required(questions.labels)[where], all_logits[where]
            accuracy = float(np.mean(logits.argmax(axis=1) == labels))
            rows[part] = {"eval_accuracy": accuracy, "eval_loss": benchmark.cross_entropy(labels, logits)}
        return rows

    def write_predictions(self, folder: str, outputs: Outputs) -> list[str]:
        """Writes `predictions.tsv`: the name of each question, the answer, and a probability an option."""
        chances = benchmark.probabilities(outputs["logits"])
        labels = [self.label_names[number] for number in chances.argmax(axis=1)]
        columns: dict[str, Any] = {"id": self.questions["test"].names, "label": labels}
        columns |= benchmark.by_class(self.label_names, chances)
        return benchmark.write_files(folder, {PREDICTIONS_FILE: benchmark.predictions_table(columns)})

    def report_sections(self, outputs: Outputs) -> list[Section]:
        """Accuracy by school level, and the worst questions."""
        questions, chances = self.questions["dev"], benchmark.probabilities(outputs["logits"])
        labels, predicted = required(questions.labels), chances.argmax(axis=1)

        def shown(choices: np.ndarray) -> list[str]:
            return [f"{_LETTERS[choice]}: {questions.options[choice][i]}" for i, choice in enumerate(choices)]

        passages = [questions.articles[article] for article in questions.article_of]
        texts = {"question": questions.questions, "passage": passages}
        return [
            html_report.accuracy_by_part(predicted == labels, questions.parts),
            html_report.precision_and_recall(labels, predicted, self.label_names),
            html_report.confusion_matrix(labels, predicted, self.label_names),
            html_report.wrong_examples(shown(labels), shown(predicted), chances.max(axis=1), texts),
        ]


@dataclasses.dataclass(frozen=True)
class RaceBenchmark(Benchmark[RaceQuestions]):
    """RACE in a folder: see `read_race` for `data_dir` and `levels`."""

    data_dir: str
    levels: tuple[str, ...] = LEVELS
    lengths: RaceSettings = dataclasses.field(default_factory=RaceSettings)
    feature_files: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    features = staticmethod(race_features)

    def read(self, splits: Sequence[str]) -> dict[str, RaceQuestions]:
        """See `read_race`; InputError if splits differ in the number of options."""
        questions = {split: read_race(self.data_dir, split, self.levels) for split in splits}
        numbers = {split: len(some.options) for split, some in questions.items()}
        if len(set(numbers.values())) > 1:
            found = ", ".join(f"{number} in the {split} split" for split, number in numbers.items())
            raise InputError(f"{self.data_dir}: questions have different numbers of options: {found}")
        return questions

    def task_name(self, examples: Mapping[str, RaceQuestions]) -> str:
        """Always "race"."""
        return RaceTask.name

    def settings(self, split: str, max_seq_length: int) -> dict[str, Any]:
        """The lengths, which must leave room for the passage."""
        if self.lengths.max_qa_length + 4 > max_seq_length:
            flag = f"--max_qa_length {self.lengths.max_qa_length}"
            raise InputError(f"{flag} leaves no room for the passage in --max_seq_length {max_seq_length}")
        return {"max_seq_length": max_seq_length, **dataclasses.asdict(self.lengths)}

    def task(
        self, examples: Mapping[str, RaceQuestions], features: Mapping[str, Features], **arguments: Any
    ) -> RaceTask:
        """See `RaceTask`."""
        return RaceTask(examples, features, **dataclasses.asdict(self.lengths), **arguments)
