"""RACE: multiple-choice reading comprehension, from the files of its authors, or your own, to results."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from albert_tf import html_report
from albert_tf.checkpoints.run_folder import PREDICTIONS_FILE
from albert_tf.cli.settings import RaceSettings
from albert_tf.data.features import Features, encode_column, join, required
from albert_tf.errors import InputError
from albert_tf.html_report import Section
from albert_tf.models.classification import AlbertForMultipleChoice
from albert_tf.tasks import benchmark
from albert_tf.tasks.benchmark import Benchmark, BenchmarkTask, Outputs, Parts
from albert_tf.tasks.race_reading import LETTERS, LEVELS, RaceQuestions, read_race
from albert_tf.tasks.task import Model
from albert_tf.tokenization import Tokenizer

ANSWERS = LETTERS[:4]  # of the questions of RACE; others have as many as options
BLANKS = "[_\ufe33\ufe34\ufe4d\ufe4e\ufe4f\uff3f]"  # "_", and what NFKD makes a "_"


def race_features(
    tokenizer: Tokenizer,
    questions: RaceQuestions,
    max_seq_length: int,
    max_qa_length: int = RaceSettings.max_qa_length,
) -> Features:
    """[CLS] article [SEP] question and option [SEP], a sequence for each option of a question.

    If other questions have more options, the sequences of the options that it lacks are empty.

    The option replaces every "_" of the question; it follows a question without "_". The last `max_qa_length`
    pieces of question and option together stay, and as much of the article's beginning as then fits into
    `max_seq_length`, which must be more than `max_qa_length` + 3.
    """
    articles = encode_column(tokenizer, questions.articles, "tokenizing articles")
    num_options = len(questions.options)
    rows = list(zip(*questions.options, strict=True))
    is_there = np.array([option is not None for row in rows for option in row], bool)
    articles = articles.take(np.repeat(questions.article_of, num_options)[is_there])
    asked = [
        (text, [x for x in row if x is not None]) for text, row in zip(questions.questions, rows, strict=True)
    ]
    texts = [text for question, options in asked for text in _with_options(question, options)]
    qa = encode_column(tokenizer, texts, "tokenizing questions")
    kept = qa.last(np.minimum(qa.lengths, max_qa_length))
    beginnings = articles.first(np.minimum(articles.lengths, max_seq_length - 3 - kept.lengths))
    made = join(tokenizer, [beginnings, kept], full_lengths=articles.lengths + qa.lengths + 3, labels=None)
    columns = {}
    for name in Features.SEQUENCE_COLUMNS:
        columns[name] = np.zeros(len(is_there), np.int32)
        columns[name][is_there] = getattr(made, name)
    return dataclasses.replace(made, **columns, labels=questions.labels, num_choices=num_options)


def _with_options(question: str, options: Sequence[str]) -> list[str]:
    """The question with each of its options; the tokenizer's preprocessing may follow."""
    question = re.sub(BLANKS, "_", question)
    if "_" in question:
        return [question.replace("_", option.strip()) for option in options]
    return [f"{question} {option}" for option in options]


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
        if questions:
            self.label_names = LETTERS[: max(len(some.options) for some in questions.values())]
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
        columns |= benchmark.by_class(self.label_names[: chances.shape[1]], chances)
        return benchmark.write_files(folder, {PREDICTIONS_FILE: benchmark.predictions_table(columns)})

    def report_sections(self, outputs: Outputs) -> list[Section]:
        """Accuracy by school level, and the worst questions."""
        questions, chances = self.questions["dev"], benchmark.probabilities(outputs["logits"])
        labels, predicted = required(questions.labels), chances.argmax(axis=1)

        def shown(choices: np.ndarray) -> list[str]:
            return [f"{LETTERS[choice]}: {questions.options[choice][i]}" for i, choice in enumerate(choices)]

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
        """See `read_race`."""
        return {split: read_race(self.data_dir, split, self.levels) for split in splits}

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
