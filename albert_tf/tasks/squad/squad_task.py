"""`SquadTask`: questions answered by a span of a text, or, in SQuAD 2.0, by none."""

import dataclasses
import hashlib
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
import tensorflow as tf

from albert_tf.checkpoints.run_folder import PREDICTIONS_FILE, RESULTS_FILE
from albert_tf.cli.settings import SquadSettings
from albert_tf.cli.text import bar_lines
from albert_tf.data.features import required
from albert_tf.errors import InputError, InputWarning
from albert_tf.files import read_json
from albert_tf.html_report import Section
from albert_tf.models.question_answering import AlbertForQuestionAnswering, AlbertForQuestionAnsweringV2
from albert_tf.tasks.benchmark import (
    Benchmark,
    BenchmarkTask,
    Outputs,
    Parts,
    predictions_table,
    write_files,
)
from albert_tf.tasks.overview import length_lines
from albert_tf.tasks.squad import answer_report
from albert_tf.tasks.squad.decoding import Answers, combined, find_answers
from albert_tf.tasks.squad.reading import SquadQuestions, read_squad
from albert_tf.tasks.squad.results import Results, results_v1, results_v2
from albert_tf.tasks.squad.scoring import apply_threshold, question_scores, totals_v2
from albert_tf.tasks.squad.span_measures import beam, best_spans_v1, best_spans_v2, measure_v1, measure_v2
from albert_tf.tasks.squad.windows import WindowFeatures, check_lengths, window_features
from albert_tf.tasks.task import Batch, Measures, Model, Seed, outputs_of

NAMES = {"1.1": "squad_v1", "2.0": "squad_v2"}
VERSIONS = {name: version for version, name in NAMES.items()}

_NO_CANDIDATE = {"text": "", "probability": 1.0, "start_log_prob": 0.0, "end_log_prob": 0.0}
_WINDOWS = ("with the answer", "answer in another one", "no answer in any")


def _judged_by(questions: SquadQuestions) -> str:
    return ", judged by Chinese characters" if questions.segmentation == "character" else ""


class _Evaluated(TypedDict):
    null_score_diff_threshold: float


class SquadTask(BenchmarkTask):
    """SQuAD 1.1 or 2.0. Its examples are windows of contexts; it is judged by answers to questions.

    Args:
      version: "1.1", whose questions all have an answer, or "2.0".
      questions, features: of each split.
      settings: kept with the weights.
      null_score_diff_threshold: 2.0: questions with a higher null score get no answer; None to find the best
        threshold on the split itself.
      threshold_sweep: 2.0: how it is found: "scores", or "original" for comparison.
      weights_folder: 2.0: the folder of the weights, if it is not the folder of the run.
      **kwargs: see `BenchmarkTask`.
    """

    best_metric = "f1"
    label_names = ()
    examples_name = "windows"
    features: Mapping[str, WindowFeatures]

    def __init__(
        self,
        version: str,
        questions: Mapping[str, SquadQuestions],
        features: Mapping[str, WindowFeatures],
        *,
        settings: SquadSettings | None = None,
        null_score_diff_threshold: float | None = None,
        threshold_sweep: str = "scores",
        weights_folder: str | None = None,
        **kwargs,
    ):
        super().__init__(features, **kwargs)
        self.version = version
        self.name = self.head_name = self.eval_name = NAMES[version]
        self.questions = questions
        self.settings = settings or SquadSettings()
        self._threshold = null_score_diff_threshold
        self._threshold_sweep = threshold_sweep
        self._weights_folder = weights_folder
        self._answered: tuple[Outputs, Answers] | None = None
        self._scored: tuple[Answers, Results] | None = None
        self.losses, self.metrics = ("span_loss",), ("span_loss", "span_accuracy")
        self.progress_metrics = {"span_accuracy": "span"}
        if version == "2.0":
            self.losses += ("answerability_loss",)
            self.metrics += ("answerability_loss", "answerability_accuracy")
            self.progress_metrics |= {"answerability_accuracy": "answerability"}
            self.headline = ("exact", "f1", "HasAns_f1", "NoAns_f1", "null_score_diff_threshold")

    @property
    def _beam(self) -> tuple[int, int]:
        return self.settings.start_n_top, self.settings.end_n_top

    def build_model(self, dtype: str = "float32") -> Model:
        """A fresh model of the version."""
        if self.version == "1.1":
            return AlbertForQuestionAnswering(self.config, dtype=dtype)
        return AlbertForQuestionAnsweringV2(
            self.config, *self._beam, dropout_prob=self.dropout_prob, dtype=dtype
        )

    def measure(self, model: Model, batch: Batch, training: bool, dropout_seed: Seed = None) -> Measures:
        """Losses and accuracies over the windows of a batch.

        The softmax of version 1.1 leaves padding out, so that the amount of padding does not matter. If all
        batches are padded to one length, it includes padding, as in the original.
        """
        if self.version == "1.1":
            return measure_v1(model, batch, training, dropout_seed, with_padding=self._pads_all)
        return measure_v2(model, batch, training, dropout_seed)

    def outputs(self, model: Model, batch: Batch) -> dict[str, tf.Tensor]:
        """The best spans of each window, as `find_answers` takes them, and `example_index`."""
        if self.version == "1.1":
            spans = best_spans_v1(outputs_of(model, batch, training=False), batch, self.settings.n_best_size)
        else:
            spans = best_spans_v2(beam(model, batch), *self._beam)
        return spans | {"example_index": batch["example_index"]}

    def answers(self, split: str, outputs: Outputs) -> Answers:
        """The candidates for every question of a split; kept until other outputs come."""
        if self._answered is None or self._answered[0] is not outputs:
            names = ("n_best_size", "max_answer_length")
            sizes = {name: getattr(self.settings, name) for name in names}
            found = find_answers(self.questions[split], self.features[split], outputs, **sizes)
            self._answered = outputs, found
        return self._answered[1]

    def votes(self, split: str, outputs: Outputs) -> Answers:
        """See `BenchmarkTask`; the windows of a question depend on the vocabulary, its answers do not."""
        return self.answers(split, outputs)

    def averaged(self, split: str, votes: Sequence[Answers]) -> Outputs:
        """See `combined`; the threshold of one model is not that of all."""
        self._weights_folder = None
        outputs: Outputs = {}
        self._answered = outputs, combined(votes, self.settings.n_best_size)
        return outputs

    def results(self, split: str, outputs: Outputs) -> Results:
        """The scores of the answers to the questions of a split; kept until other outputs come."""
        questions, answers = self.questions[split], self.answers(split, outputs)
        if self._scored is None or self._scored[0] is not answers:
            if self.version == "1.1":
                results = results_v1(questions, answers)
            else:
                results = results_v2(questions, answers, self._threshold, self._threshold_sweep)
            self._scored = answers, results
        return self._scored[1]

    def results_by_part(self, split: str, outputs: Outputs) -> Parts:
        """The official metrics; for version 2.0 at the threshold, at threshold 0 and without one."""
        return self.results(split, outputs).by_part

    def baseline(self, split: str) -> tuple[str, Parts]:
        """Version 2.0: the metrics if no question gets an answer; in version 1.1 no answer suits many."""
        if self.version == "1.1":
            return "", {}
        questions = self.questions[split]
        scores = question_scores(self.version, [""] * len(questions), questions)
        return "always no answer", {"": totals_v2(*scores, questions)}

    def reported_metrics(self) -> tuple[str, ...]:
        """See `BenchmarkTask`."""
        return ()

    def only_answer(self, split: str, outputs: Outputs) -> str:
        """Says that no question got an answer; without known answers, empty."""
        texts = self.results(split, outputs).texts if self.has_labels(split) else [""]
        return f"all {len(texts):,} questions get no answer" if len(texts) > 1 and not any(texts) else ""

    def eval_described(self) -> str:
        """The questions of the dev split, and their windows."""
        questions = self.questions["dev"]
        return f"{len(questions):,} questions in {super().eval_described()}{_judged_by(questions)}"

    def breakdowns(self, split: str, outputs: Outputs) -> Mapping[str, Parts]:
        """Results by answer length and by question word."""
        return answer_report.breakdowns(self.questions[split], self.results(split, outputs))

    def report_sections(self, outputs: Outputs) -> list[Section]:
        """The breakdowns, for version 2.0 the effect of the threshold, and the worst answers."""
        answers, results = self.answers("dev", outputs), self.results("dev", outputs)
        return answer_report.sections(self.questions["dev"], answers, results)

    def write_predictions(self, folder: str, outputs: Outputs) -> list[str]:
        """Writes `predictions.tsv` and the files of the original, which are JSON.

        `predictions.tsv` has the answer to each question ("" for none), its null score in version 2.0, and
        what `nbest_predictions.json` says of the best span, even if this is not given as the answer: its
        probability, and its score, the sum of those of start and end. Without answers, on which a threshold
        could be found, `known_threshold` counts.
        """
        questions, answers = self.questions["test"], self.answers("test", outputs)
        if questions.has_answers:
            texts = self.results("test", outputs).texts
        elif self.version == "1.1":
            texts = answers.texts
        else:
            null_scores = required(answers.null_scores)
            texts = apply_threshold(answers.texts, null_scores, self.known_threshold(folder))
        best = [
            [{key: getattr(candidate, key) for key in _NO_CANDIDATE} for candidate in candidates]
            for candidates in answers.candidates
        ]
        shown = [candidates or [_NO_CANDIDATE] for candidates in best]
        columns: dict[str, Sequence[Any]] = {"predictions.json": texts, "nbest_predictions.json": shown}
        if answers.null_scores is not None:
            columns["null_odds.json"] = answers.null_scores.tolist()
        contents = {
            name: json.dumps(dict(zip(questions.ids, column, strict=True)), indent=4) + "\n"
            for name, column in columns.items()
        }
        firsts = [of_question[0] for of_question in shown]
        table: dict[str, Any] = {
            "id": questions.ids,
            "answer": texts,
            "score": np.array([first["start_log_prob"] + first["end_log_prob"] for first in firsts]),
            "probability": np.array([first["probability"] for first in firsts]),
        }
        if answers.null_scores is not None:
            table["null_score"] = answers.null_scores
        contents[PREDICTIONS_FILE] = predictions_table(table)
        return write_files(folder, contents)

    def known_threshold(self, folder: str) -> float:
        """The threshold for questions without known answers.

        It is the given threshold, else the threshold of the last evaluation in `folder` or beside the weights
        that the run started from, else 0. InputError if an `eval_results.json` is not of an evaluation.
        """
        if self._threshold is not None:
            return self._threshold
        folders = [folder, self._weights_folder] if self._weights_folder else [folder]
        paths = [os.path.join(folder, RESULTS_FILE) for folder in folders]
        path = next(filter(os.path.exists, paths), None)
        if path is None:
            text = f"no threshold was found in {' or '.join(folders)}: 0 is taken"
            advice = "--do_eval on a file with answers finds one"
            warnings.warn(f"{text}; {advice}", InputWarning, stacklevel=2)
            return 0.0
        return read_json(path, _Evaluated)["null_score_diff_threshold"]

    def describe(self) -> dict[str, Any]:
        """See `BenchmarkTask`; and how contexts are cut and answers chosen."""
        return super().describe() | dataclasses.asdict(self.settings)

    def has_labels(self, split: str) -> bool:
        """Whether the questions come with answers."""
        return self.questions[split].has_answers

    def eval_data(self) -> str:
        """A digest of the questions that are evaluated and of their windows, and how answers are chosen."""
        if "dev" not in self.questions:
            return ""
        windows = self.features["dev"]
        digest = hashlib.sha256(self.questions["dev"].digest.encode())
        for values in (windows.lengths, windows.first_lengths, windows.window_starts):
            digest.update(values.tobytes())
        chosen_by = (self.settings.n_best_size, self.settings.max_answer_length, *self._beam)
        sweep = self._threshold, self._threshold_sweep
        words = [] if (by := self.questions["dev"].segmentation) == "space" else [by]
        return " ".join(map(str, (digest.hexdigest()[:16], *chosen_by, *sweep, *words)))

    def overview(self) -> str:
        """How many questions and windows each split has, what the windows to train on hold, and lengths."""
        lines = []
        for split, questions in self.questions.items():
            features = self.features[split]
            if split == "test" and features is self.features.get("dev"):
                continue
            asked = f"{len(questions):,} questions about {len(questions.contexts):,} passages"
            judged = "" if split == "train" else _judged_by(questions)
            lines.append(f"{split}: {asked} in {len(features):,} windows{judged}")
            if split == "train":
                without = required(features.labels)[:, 2] + questions.is_impossible[features.question_of]
                counts = np.bincount(without, minlength=3).tolist()
                lines += bar_lines("window", "windows", zip(_WINDOWS, counts, strict=True))
                whole = features.full_lengths[features.window_starts == 0]
                lines += ["", *length_lines("questions", whole, self.max_seq_length, "seen in parts"), ""]
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SquadBenchmark(Benchmark[SquadQuestions]):
    """SQuAD in two files: one to train on, and one to evaluate on and to predict.

    `read_squad` and `SquadTask` say more of the attributes; files that are not needed may be None.
    """

    version: str | None
    train_file: str | None
    predict_file: str | None
    squad_settings: SquadSettings
    skip_misplaced_answers: bool = False
    null_score_diff_threshold: float | None = None
    threshold_sweep: str = "scores"
    answer_segmentation: str = "auto"
    weights_folder: str | None = None
    feature_files: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    features_class = WindowFeatures
    features = staticmethod(window_features)

    @property
    def eval_file(self) -> str | None:
        """The file to predict; it is also evaluated if it has answers."""
        return self.predict_file

    def read(self, splits: Sequence[str]) -> dict[str, SquadQuestions]:
        """The questions of each split; "dev" and "test" are the same object.

        After training, "test" adds "dev" if its file has answers. InputError if "dev" has no answers.
        """
        questions = {}
        version = self.version
        if "train" in splits:
            skip = self.skip_misplaced_answers
            to_train = read_squad(self.train_file or "", version, training=True, skip_misplaced_answers=skip)
            questions["train"], version = to_train, to_train.version
        if "dev" in splits or "test" in splits:
            to_answer = read_squad(self.predict_file or "", version, segmentation=self.answer_segmentation)
            if "dev" in splits and not to_answer.has_answers:
                raise InputError(f"{self.predict_file} has no answers, which --do_eval needs")
            if "dev" in splits or ("train" in splits and to_answer.has_answers):
                questions["dev"] = to_answer
            if "test" in splits:
                questions["test"] = to_answer
        return questions

    def task_name(self, examples: Mapping[str, SquadQuestions]) -> str:
        """The name for the version."""
        return NAMES[self._version(examples)]

    def _version(self, examples: Mapping[str, SquadQuestions]) -> str:
        version = next((questions.version for questions in examples.values()), self.version)
        if version is None:
            raise InputError("--version is needed: no weights say which version they belong to")
        return version

    def settings(self, split: str, max_seq_length: int) -> dict[str, Any]:
        """The lengths, and whether the answers are needed as labels."""
        chosen = self.squad_settings
        cuts = {"doc_stride": chosen.doc_stride, "max_query_length": chosen.max_query_length}
        return {"max_seq_length": max_seq_length, **cuts, "training": split == "train"}

    def task(
        self, examples: Mapping[str, SquadQuestions], features: Mapping[str, WindowFeatures], **arguments: Any
    ) -> SquadTask:
        """See `SquadTask`."""
        version = self._version(examples)
        check_lengths(arguments["max_seq_length"], self.squad_settings.max_query_length)
        if version == "1.1" and self.null_score_diff_threshold is not None:
            text = "--null_score_diff_threshold has no effect in version 1.1: every question is answered"
            warnings.warn(text, InputWarning, stacklevel=2)
        return SquadTask(
            version,
            examples,
            features,
            settings=self.squad_settings,
            null_score_diff_threshold=self.null_score_diff_threshold,
            threshold_sweep=self.threshold_sweep,
            weights_folder=self.weights_folder,
            **arguments,
        )
