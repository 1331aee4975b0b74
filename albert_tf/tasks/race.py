"""RACE: reading comprehension with four options, from the files of its authors to results."""

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tf_keras

from albert_tf import html_report
from albert_tf.cli.settings import RaceSettings
from albert_tf.data.features import Features, encode_column, join, required
from albert_tf.errors import InputError
from albert_tf.files import appear_when_complete, parse_json
from albert_tf.html_report import Section
from albert_tf.models.classification import AlbertForMultipleChoice
from albert_tf.tasks import benchmark
from albert_tf.tasks.benchmark import Benchmark, BenchmarkTask
from albert_tf.tokenization import Tokenizer

LEVELS = ("middle", "high")
NUM_OPTIONS = 4

_READING = b"RACE 1"  # changes when the same files come to mean other questions
_KINDS = {"id": str, "article": str, "questions": list, "options": list, "answers": list}
ANSWERS = ("A", "B", "C", "D")
BLANKS = "[_\ufe33\ufe34\ufe4d\ufe4e\ufe4f\uff3f]"  # "_", and what NFKD makes a "_"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class RaceQuestions:
    """The questions of one split, column by column, in file order.

    Attributes:
      articles: each once.
      article_of: int32 [questions]. The article that a question is about.
      questions: raw text; a "_" in it stands for the option.
      options: four columns of raw text, each [questions].
      names: the id of the passage and the number of the question in it, such as "high1234.txt-0".
      labels: int32 [questions], 0 to 3; None if the split has no answers.
      parts: the questions of each level, "middle" and "high".
      digest: of the files' content and of how they were read; equal digests mean equal questions.
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

    The folder of a level contains a JSON file for each passage, `<number>.txt`, as published. If it contains
    `all.txt` with one JSON object a line, this file is read instead.

    Args:
      data_dir: the folder.
      split: "train", "dev" or "test"; only the last may lack answers.
      levels: which to read, in this order.

    Raises:
      InputError: a folder is missing, or a file cannot be used; names file, line and question.
    """
    digest = hashlib.sha256(_READING)
    passages: list[Mapping[str, Any]] = []
    parts = {}
    count = 0
    for level in levels:
        begin = count
        digest.update(level.encode())
        for place, data in _passage_texts(_folder(data_dir, split, level)):
            digest.update(b"%d " % len(data) + data)
            passage = _passage(data, place, may_lack_answers=split == "test")
            if passages and ("answers" in passage) != ("answers" in passages[0]):
                raise InputError(f"{place}: either all passages of a split have answers, or none has")
            passages.append(passage)
            count += len(passage["questions"])
        if count == begin:
            raise InputError(f"{_folder(data_dir, split, level)} holds no questions")
        parts[level] = slice(begin, count)
    names = [" ".join(passage["id"].split()) for passage in passages]
    sizes = [len(passage["questions"]) for passage in passages]
    options = [four for passage in passages for four in passage["options"]]
    answers = [answer for passage in passages for answer in passage.get("answers", [])]
    return RaceQuestions(
        articles=[passage["article"] for passage in passages],
        article_of=np.repeat(np.arange(len(passages), dtype=np.int32), sizes),
        questions=[question for passage in passages for question in passage["questions"]],
        options=tuple([four[i] for four in options] for i in range(NUM_OPTIONS)),
        names=[f"{name}-{i}" for name, size in zip(names, sizes, strict=True) for i in range(size)],
        labels=np.array([ANSWERS.index(answer) for answer in answers], np.int32) if answers else None,
        parts=parts,
        digest=digest.hexdigest(),
    )


def race_features(
    tokenizer: Tokenizer,
    questions: RaceQuestions,
    max_seq_length: int,
    max_qa_length: int = RaceSettings.max_qa_length,
) -> Features:
    """[CLS] article [SEP] question and option [SEP], four sequences a question.

    The option replaces every "_" of the question; it follows a question without "_". The last `max_qa_length`
    pieces of question and option together stay, and as much of the article's beginning as then fits into
    `max_seq_length`, which must be more than `max_qa_length` + 3.
    """
    articles = encode_column(tokenizer, questions.articles, "tokenizing articles")
    articles = articles.take(np.repeat(questions.article_of, NUM_OPTIONS))
    texts = [
        text
        for question, *options in zip(questions.questions, *questions.options, strict=True)
        for text in _with_options(question, options)
    ]
    qa = encode_column(tokenizer, texts, "tokenizing questions")
    kept = qa.last(np.minimum(qa.lengths, max_qa_length))
    return join(
        tokenizer,
        [articles.first(np.minimum(articles.lengths, max_seq_length - 3 - kept.lengths)), kept],
        full_lengths=articles.lengths + qa.lengths + 3,
        labels=questions.labels,
        num_choices=NUM_OPTIONS,
    )


def _with_options(question: str, options: Sequence[str]) -> list[str]:
    """The question with each of its options; the tokenizer's preprocessing may follow."""
    question = re.sub(BLANKS, "_", question)
    if "_" in question:
        return [question.replace("_", option.strip()) for option in options]
    return [f"{question} {option}" for option in options]


def _folder(data_dir: str, split: str, level: str) -> str:
    candidates = [os.path.join(data_dir, "RACE", split, level), os.path.join(data_dir, split, level)]
    found = next(filter(os.path.isdir, candidates), None)
    if found is None:
        raise InputError(f"{candidates[0]}: no such folder; it should hold RACE's passages")
    return found


def _passage_texts(folder: str) -> Iterator[tuple[str, bytes]]:
    """The JSON of each passage, with its place for messages."""
    together = os.path.join(folder, "all.txt")
    if os.path.exists(together):
        with open(together, "rb") as file:
            lines = file.read().splitlines()
        found = [(f"{together}, line {i}", line) for i, line in enumerate(lines, 1) if line.strip()]
        if not found:
            raise InputError(f"{together} holds no passages")
        yield from found
        return
    numbers = sorted(int(name[:-4]) for name in os.listdir(folder) if re.fullmatch(r"[0-9]+\.txt", name))
    if not numbers:
        raise InputError(f"{folder} holds neither all.txt nor passages (1.txt, 2.txt and so on)")
    for number in numbers:
        path = os.path.join(folder, f"{number}.txt")
        with open(path, "rb") as file:
            yield path, file.read()


def _passage(data: bytes, place: str, may_lack_answers: bool) -> Mapping[str, Any]:
    """A passage, after all checks."""
    passage = _json_object(data, place)
    kinds = dict(_KINDS)
    if may_lack_answers and "answers" not in passage:
        del kinds["answers"]
    for key, kind in kinds.items():
        if key not in passage:
            raise InputError(f'{place}: no "{key}"')
        if not isinstance(passage[key], kind):
            raise InputError(f'{place}: "{key}" is no {"text" if kind is str else "list"}')
    if not passage["article"].strip():
        raise InputError(f"{place}: the article is empty")
    counts = {key: len(passage[key]) for key, kind in kinds.items() if kind is list}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{count} {key}" for key, count in counts.items())
        raise InputError(f"{place}: {found}; as many of each are needed")
    for i, (question, options) in enumerate(zip(passage["questions"], passage["options"], strict=True)):
        where = f"{place}, question {i + 1}"
        if not isinstance(question, str) or not question.strip():
            raise InputError(f"{where}: the question is empty or no text")
        if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
            raise InputError(f"{where}: the options should be a list of texts")
        if len(options) != NUM_OPTIONS:
            raise InputError(f"{where}: {len(options)} options; {NUM_OPTIONS} are needed")
        if "answers" in kinds and passage["answers"][i] not in ANSWERS:
            found = json.dumps(passage["answers"][i])
            raise InputError(f"{where}: the answer is {found}; A, B, C or D is needed")
    return passage


def _json_object(data: bytes, place: str) -> Mapping[str, Any]:
    found = parse_json(data, place, dict[str, Any])
    try:
        if b"\\u" in data:
            json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{place}: {error.object[error.start]!a} alone is no character") from None
    return found


class RaceTask(BenchmarkTask):
    """RACE: cross-entropy over the scores of the four options.

    Args:
      questions: the questions of each split.
      features: the features of each split.
      max_qa_length: pieces of question and option in the features; kept with the weights.
      **kwargs: see `BenchmarkTask`.
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
        self.max_qa_length = max_qa_length

    def describe(self) -> dict[str, Any]:
        """See `BenchmarkTask`; and how much of question and option is kept."""
        return super().describe() | {"max_qa_length": self.max_qa_length}

    def build_model(self, dtype: str = "float32") -> tf_keras.Model:
        """A fresh `AlbertForMultipleChoice`."""
        return AlbertForMultipleChoice(self.config, self.dropout_prob, dtype=dtype)

    def results_by_part(self, split: str, outputs: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
        """Accuracy and loss over all questions, and over the questions of each school level."""
        questions, logits = self.questions[split], outputs["logits"]
        all_labels = required(questions.labels)
        rows = {}
        for part, where in {"all": slice(None), **questions.parts}.items():
            labels = all_labels[where]
            rows[part] = {
                "eval_accuracy": float(np.mean(logits[where].argmax(axis=1) == labels)),
                "eval_loss": benchmark.cross_entropy(labels, logits[where]),
            }
        return rows

    def write_predictions(self, folder: str, outputs: Mapping[str, np.ndarray]) -> list[str]:
        """Writes `predictions.tsv`: a line a question with its name, the answer and four probabilities."""
        questions = self.questions["test"]
        chances = benchmark.probabilities(outputs["logits"])
        paths = [os.path.join(folder, "predictions.tsv")]
        with appear_when_complete(paths) as [path], open(path, "w", encoding="utf-8") as file:
            file.write("\t".join(["question", "answer", *ANSWERS]) + "\n")
            for name, row in zip(questions.names, chances, strict=True):
                shown = "\t".join(f"{chance:.6f}" for chance in row)
                file.write(f"{name}\t{ANSWERS[row.argmax()]}\t{shown}\n")
        return paths

    def report_sections(self, outputs: Mapping[str, np.ndarray]) -> list[Section]:
        """Accuracy by school level, and the worst questions."""
        questions, chances = self.questions["dev"], benchmark.probabilities(outputs["logits"])
        labels, predicted = required(questions.labels), chances.argmax(axis=1)

        def shown(choices: np.ndarray) -> list[str]:
            return [f"{ANSWERS[choice]}: {questions.options[choice][i]}" for i, choice in enumerate(choices)]

        texts = {
            "question": questions.questions,
            "passage": [questions.articles[article] for article in questions.article_of],
        }
        return [
            html_report.accuracy_by_part(predicted == labels, questions.parts),
            html_report.confusion_matrix(labels, predicted, ANSWERS),
            html_report.wrong_examples(shown(labels), shown(predicted), chances.max(axis=1), texts),
        ]


@dataclasses.dataclass(frozen=True)
class RaceBenchmark(Benchmark[RaceQuestions]):
    """RACE in a folder.

    Attributes:
      data_dir: the folder that contains RACE/, or RACE/ itself.
      levels: the levels of school to read.
      lengths: how many pieces of question and option are kept.
      feature_files: see `Benchmark`.
    """

    data_dir: str
    levels: tuple[str, ...] = LEVELS
    lengths: RaceSettings = dataclasses.field(default_factory=RaceSettings)
    feature_files: Mapping[str, str | None] = dataclasses.field(default_factory=dict)

    def read_split(self, split: str) -> RaceQuestions:
        """See `read_race`."""
        return read_race(self.data_dir, split, self.levels)

    def task_name(self, examples: Mapping[str, RaceQuestions]) -> str:
        """Always "race"."""
        return RaceTask.name

    def settings(self, split: str, max_seq_length: int) -> dict[str, Any]:
        """The lengths, which must leave room for the passage."""
        if self.lengths.max_qa_length + 4 > max_seq_length:
            raise InputError(
                f"--max_qa_length {self.lengths.max_qa_length} leaves no room for the passage in "
                f"--max_seq_length {max_seq_length}"
            )
        return {"max_seq_length": max_seq_length, **dataclasses.asdict(self.lengths)}

    def features(self, tokenizer: Tokenizer, examples: RaceQuestions, **settings: Any) -> Features:
        """See `race_features`."""
        return race_features(tokenizer, examples, **settings)

    def task(
        self, examples: Mapping[str, RaceQuestions], features: Mapping[str, Features], **arguments: Any
    ) -> RaceTask:
        """See `RaceTask`."""
        return RaceTask(examples, features, **dataclasses.asdict(self.lengths), **arguments)
