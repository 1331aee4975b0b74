"""`RaceTask`: which of four options answers a question about a passage."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import tf_keras

from albert_tf import html_report
from albert_tf.files import appear_when_complete
from albert_tf.html_report import Section
from albert_tf.models.multiple_choice import AlbertForMultipleChoice
from albert_tf.tasks import benchmark
from albert_tf.tasks.benchmark import BenchmarkTask
from albert_tf.tasks.features import Features
from albert_tf.tasks.race import ANSWERS, RaceQuestions


class RaceTask(BenchmarkTask):
    """RACE: cross-entropy over the scores of the four options.

    Args:
      questions: of each split.
      features: of those questions.
      max_qa_length: pieces of question and option in the features; kept with the weights.
      **kwargs: see `BenchmarkTask`.
    """

    name = head_name = "race"
    label_names = ANSWERS
    best_metric = "eval_accuracy"

    def __init__(
        self,
        questions: Mapping[str, RaceQuestions],
        features: Mapping[str, Features],
        max_qa_length: int = 128,
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
        """Accuracy and loss over all questions, and over those of each school level."""
        questions, logits = self.questions[split], outputs["logits"]
        rows = {}
        for part, where in {"all": slice(None), **questions.parts}.items():
            labels = questions.labels[where]
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
        predicted = chances.argmax(axis=1)
        answers = [
            [f"{ANSWERS[choice]}: {questions.options[choice][i]}" for i, choice in enumerate(choices)]
            for choices in (questions.labels, predicted)
        ]
        texts = {
            "question": questions.questions,
            "passage": [questions.articles[article] for article in questions.article_of],
        }
        return [
            html_report.accuracy_by_part(predicted == questions.labels, questions.parts),
            html_report.confusion_matrix(questions.labels, predicted, ANSWERS),
            html_report.wrong_examples(*answers, chances.max(axis=1), texts),
        ]
