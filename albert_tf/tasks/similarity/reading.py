"""What sentence vectors are trained on and judged by: pairs, triples, single texts, a corpus with queries."""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from albert_tf.data.label_lists import label_lists
from albert_tf.data.tables import Table, digest_of, read_table, text_lines
from albert_tf.errors import InputError
from albert_tf.tasks.classification import glue
from albert_tf.tasks.classification.text_examples import Examples

OBJECTIVES = ("cosine", "contrastive", "unsupervised")
ALIKE = 0.8  # from this share of the range of scores on, texts of a pair mean the same
# The highest score of each task of GLUE with pairs; MNLI has none.
_HIGHEST = {"sts-b": 5.0, "mrpc": 1.0, "qqp": 1.0, "mnli": None}
_CORPUS, _QUERIES = ("id", "text"), ("text", "relevant")


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Retrieval:
    """Queries and the texts that they are to find, by their numbers in `TextGroups.texts`.

    Attributes:
      corpus: int32 [texts to search].
      queries: int32 [queries].
      relevant: places in `corpus` that belong to each query, at least one.
    """

    corpus: np.ndarray
    queries: np.ndarray
    relevant: Sequence[np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TextGroups:
    """The examples of a split: groups of texts.

    Attributes:
      texts: all different texts.
      groups: int32 [examples, texts of an example], numbers of `texts`: pairs, triples of a text, its partner
        and a hard negative, or single texts.
      scores: float32 [examples], from 0 to 1; None if there are none.
      digest: of the files and how they were read.
      names: of the examples; None for running numbers.
      retrieval: what is to be found among the texts, if anything is.
    """

    texts: Sequence[str]
    groups: np.ndarray
    scores: np.ndarray | None
    digest: str
    names: Sequence[str] | None = None
    retrieval: Retrieval | None = None

    def __len__(self) -> int:
        return len(self.groups)

    def column(self, number: int) -> list[str]:
        """A text of each example."""
        return [self.texts[text] for text in self.groups[:, number].tolist()]


def _grouped(
    columns: Sequence[Sequence[str]],
    scores: np.ndarray | None,
    digest: str,
    names: Sequence[str] | None = None,
) -> TextGroups:
    number: dict[str, int] = {}
    groups = [[number.setdefault(text, len(number)) for text in column] for column in columns]
    table = np.array(groups, np.int32).T
    return TextGroups(texts=list(number), groups=table, scores=scores, digest=digest, names=names)


def _for_objective(pairs: TextGroups, objective: str | None, origin: str) -> TextGroups:
    """What of scored pairs an objective trains on; None for an evaluation, which takes all."""
    if objective == "unsupervised":
        every = np.arange(len(pairs.texts), dtype=np.int32)[:, None]
        return dataclasses.replace(pairs, groups=every, scores=None, names=None)
    if objective == "contrastive" and pairs.scores is not None:
        alike = pairs.scores >= ALIKE
        if not alike.any():
            raise InputError(f"{origin} holds no pair whose score is at least {ALIKE:.0%} of the highest")
        return dataclasses.replace(pairs, groups=pairs.groups[alike], scores=None, names=None)
    return pairs


def read_glue(task_name: str, data_dir: str, split: str, objective: str | None = None) -> TextGroups:
    """Reads a split of STS-B, MRPC, QQP or MNLI from GLUE's files.

    Contrastive training takes the pairs that are alike, of MNLI a triple of each premise with an entailment
    and a contradiction; unsupervised training takes each text once.

    Raises:
      InputError: the task has no pairs or no scores, a score is out of range, or see `glue.read_split`.
    """
    name = task_name.lower()
    if name not in _HIGHEST:
        raise InputError(f"{task_name} has no pairs to compare; there are {', '.join(_HIGHEST)}")
    examples = glue.read_split(glue.find_task(name), data_dir, split)
    highest, scores = _HIGHEST[name], None
    if highest is None:
        if objective == "contrastive":
            return _triples(examples)
        if objective != "unsupervised":
            raise InputError(f"{task_name} has classes and no scores: it is for contrastive training")
    elif examples.labels is not None:
        out = (examples.labels < 0) | (examples.labels > highest)
        if out.any():
            number = int(np.argmax(out))
            what = f"example {number + 1} has the score {examples.labels[number]:g}"
            raise InputError(f"{data_dir}: {task_name}, {split} split: {what}, not 0 to {highest:g}")
        scores = (examples.labels / highest).astype(np.float32)
    pairs = _grouped(examples.texts, scores, digest_of(examples.digest, objective), examples.names)
    return _for_objective(pairs, objective, f"{task_name}, {split} split,")


def _triples(examples: Examples) -> TextGroups:
    """Each entailment of MNLI with a contradiction of the same premise."""
    names = glue.find_task("mnli").label_names
    labels = [] if examples.labels is None else examples.labels.tolist()
    premises, hypotheses = examples.texts
    by_class: dict[str, dict[str, list[str]]] = {name: {} for name in names}
    for premise, hypothesis, label in zip(premises, hypotheses, labels, strict=True):
        by_class[names[label]].setdefault(premise, []).append(hypothesis)
    wrong = by_class["contradiction"]
    rows = [
        (premise, hypothesis, wrong[premise][place % len(wrong[premise])])
        for premise, found in by_class["entailment"].items()
        if premise in wrong
        for place, hypothesis in enumerate(found)
    ]
    if not rows:
        raise InputError("mnli has no premise with an entailment and a contradiction")
    return _grouped(list(zip(*rows, strict=True)), None, digest_of(examples.digest, "triples"))


def read_file(
    path: str,
    columns: Sequence[str],
    *,
    objective: str | None = None,
    score_column: str | None = None,
    score_range: tuple[float, float] = (0.0, 5.0),
) -> TextGroups:
    """Reads texts of a table (see `read_table`), or for unsupervised training lines of a `.txt` file.

    Args:
      path: the file.
      columns: the columns of the texts.
      objective: what the texts train; None for an evaluation.
      score_column: the column of the score; None if it is not needed.
      score_range: the lowest and the highest score.

    Raises:
      InputError: the file cannot be read, a text is empty, or a score is no number of the range.
    """
    if os.path.splitext(path)[1].lower() == ".txt":
        if objective != "unsupervised":
            raise InputError(f"{path}: a .txt file has single texts, which train --objective=unsupervised")
        texts = [line for line in text_lines(path) if line.strip()]
        if not texts:
            raise InputError(f"{path} holds no text")
        return _for_objective(_grouped([texts], None, digest_of(texts)), objective, path)
    scalars = [score_column] if score_column else []
    table = read_table(path, (*columns, *scalars), scalars=scalars)
    scores = None
    if score_column:
        low, high = score_range
        found = table.labels(score_column, ())
        out = (found < low) | (found > high)
        if out.any():
            problem = f"is not from {low:g} to {high:g} (--lowest_score, --highest_score)"
            raise table.problem(score_column, int(np.argmax(out)), problem)
        scores = ((found - low) / (high - low)).astype(np.float32)
    digest = digest_of(table.digest, list(columns), score_column, score_range, objective)
    return _for_objective(_grouped([table.texts(c) for c in columns], scores, digest), objective, path)


def with_retrieval(groups: TextGroups | None, corpus_file: str, queries_file: str) -> TextGroups:
    """Adds the texts of a corpus with the columns id and text, and queries with text and relevant.

    `relevant` are ids of the corpus: a JSON list, or ids between commas.

    Raises:
      InputError: a file cannot be read, an id is there twice or missing, or a query has none.
    """
    corpus = read_table(corpus_file, _CORPUS, scalars=["id"])
    queries = read_table(queries_file, _QUERIES, scalars=["relevant"], lists=["relevant"])
    places: dict[str, int] = {}
    for place, name in enumerate(corpus.names("id")):
        if places.setdefault(name, place) != place:
            raise corpus.problem("id", place, "is the id of an earlier text")
    corpus.texts("text")  # none is empty
    relevant = []
    for row, ids in enumerate(label_lists(queries, "relevant", ",")):
        if not ids:
            raise queries.problem("relevant", row, "is empty")
        if unknown := [name for name in ids if name not in places]:
            raise queries.problem("relevant", row, f"holds {unknown[0]!r}, no id of {corpus_file}")
        relevant.append(np.array([places[name] for name in ids]))
    texts = groups or _grouped([[], []], None, "")
    number = {text: place for place, text in enumerate(texts.texts)}

    def numbers(table: Table) -> np.ndarray:
        return np.array([number.setdefault(t, len(number)) for t in table.texts("text")], np.int32)

    retrieval = Retrieval(corpus=numbers(corpus), queries=numbers(queries), relevant=relevant)
    digest = digest_of(texts.digest, corpus.digest, queries.digest)
    return dataclasses.replace(texts, texts=list(number), digest=digest, retrieval=retrieval)
