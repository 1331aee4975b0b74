"""Answers questions about a paragraph; the user types both."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from albert_tf.asking.prompt import paragraph, typed_lines
from albert_tf.cli.options import FineTuningOptions
from albert_tf.cli.text import say
from albert_tf.errors import escaped
from albert_tf.fine_tuning.starting_point import StartingPoint, open_starting_point
from albert_tf.tasks.squad.decoding import Answers
from albert_tf.tasks.squad.reading import SquadQuestions
from albert_tf.tasks.squad.squad_task import SquadBenchmark, SquadTask
from albert_tf.training.distribution import make_strategy
from albert_tf.training.evaluation import Predictor
from albert_tf.training.loop import open_session
from albert_tf.training.workers import workers_of

_SHOWN = 5  # answers to a question
_BATCH_SIZE = 8


def answer_questions(
    options: FineTuningOptions, make_benchmark: Callable[[StartingPoint], SquadBenchmark]
) -> None:
    """Reads paragraphs and questions from standard input until it ends, and prints the answers.

    `make_benchmark` makes the benchmark from what the weights say.
    """
    strategy = make_strategy(options)
    with open_starting_point(options) as start:
        benchmark = make_benchmark(start)
        task, chosen = start.prepare(benchmark)
        assert isinstance(task, SquadTask)
        lines = typed_lines()
        task.check_inputs()
        training = start.options.training_options(chosen)
        settings = benchmark.settings("test", chosen.max_seq_length)
        with open_session(task, training, strategy, workers_of(strategy)) as session:
            session.find_weights()
            threshold = task.known_threshold(session.folder) if task.version == "2.0" else None
            predictor = Predictor(task, session.model, strategy)
            for paragraph, question in _typed(lines):
                asked = _one_question(paragraph, question, task.version)
                features = benchmark.features(start.tokenizer, asked, **settings)
                task.questions, task.features = {"test": asked}, {"test": features}
                outputs = predictor.predict("test", _BATCH_SIZE, "answering")
                answers = task.answers("test", outputs)
                print("\n".join(_answer_lines(answers, threshold)), end="\n\n", flush=True)


def _typed(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    """Pairs of a paragraph and a question about it; skips blank ones."""
    while True:
        say("\nParagraph, ended by an empty line (Ctrl-D to stop):")
        if not (context := "\n".join(paragraph(lines))):
            return
        say("Questions, one a line; an empty line for another paragraph:")
        for line in lines:
            if not line.strip():
                break
            yield context, line.strip()
        else:
            return


def _one_question(paragraph: str, question: str, version: str) -> SquadQuestions:
    return SquadQuestions(
        titles=[""],
        contexts=[paragraph],
        article_of=np.zeros(1, np.int32),
        context_of=np.zeros(1, np.int32),
        questions=[question],
        ids=["0"],
        answers=[()],
        answer_starts=[()],
        is_impossible=np.zeros(1, bool),
        has_answers=False,
        version=version,
        digest="",
    )


def _answer_lines(answers: Answers, threshold: float | None) -> Sequence[str]:
    [candidates] = answers.candidates
    lines = [
        f"{i}. {candidate.probability:6.1%}  {candidate.start_log_prob + candidate.end_log_prob:9.3f}  "
        f"{escaped(' '.join(candidate.text.split()))}"
        for i, candidate in enumerate(candidates[:_SHOWN], 1)
    ]
    if answers.null_scores is not None:
        [null] = answers.null_scores
        verdict = "answered" if null <= threshold else "no answer"
        lines.append(f"{verdict}: null score {null:.3f}, threshold {threshold:.3f}")
    return lines or ["nothing in the paragraph can be an answer"]
