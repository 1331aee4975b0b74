"""What is possible without a model: counts of words, and the means of a model's word vectors.

Run, as one line, for a task of GLUE or for RACE:
  python -m examples.baselines --task_name=sst-2 --data_dir=glue --weights=model
"""

import dataclasses
import pathlib
import sys
from collections.abc import Callable, Sequence

import numpy as np
from scipy import sparse

if not __package__:  # run by its path
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from albert_tf.cli.flags import ScriptOptions, option
from albert_tf.cli.script import script

Vectors = Callable[[Sequence[str]], sparse.csr_matrix]


@dataclasses.dataclass(frozen=True)
class BaselineOptions(ScriptOptions):
    """Fits logistic regression (ridge regression for scores) to the train split, and scores the dev split.

    The features of a text are its words and pairs of words by TF-IDF, or the mean of the vectors that a
    model has for the text's pieces. Of a pair of texts they are the product, the distance and the cosine of
    both; for a score the cosine alone. RACE is not fitted: the option is chosen that, with the question, is
    most like the passage.
    """

    task_name: str = option(help="a task of GLUE, or race")
    data_dir: str = option(help="folder with GLUE's folders, or with RACE/")
    weights: str | None = option(None, help="weights whose word vectors are averaged (default: none)")
    middle_only: bool = option(False, help="use only the middle school level of RACE")


@script(BaselineOptions)
def main(options: BaselineOptions) -> None:
    """Prints the results of the baselines."""
    for name, results in baselines(
        options.task_name, options.data_dir, options.weights, options.middle_only
    ).items():
        print(f"{name}: {', '.join(f'{metric} {value:.4f}' for metric, value in results.items())}")


def baselines(
    task_name: str, data_dir: str, weights: str | None = None, middle_only: bool = False
) -> dict[str, dict[str, float]]:
    """Results on the dev split: "TF-IDF", and with weights "word vectors", -> metric -> value."""
    score = _race(data_dir, middle_only) if task_name == "race" else _glue(task_name, data_dir)
    results = {"TF-IDF": score(None)}
    if weights is not None:
        results["word vectors"] = score(_mean_vectors(weights))
    return results


def _glue(task_name: str, data_dir: str) -> Callable[[Vectors | None], dict[str, float]]:
    from albert_tf.tasks.classification.classification_task import compute_metrics
    from albert_tf.tasks.classification.glue import find_task, read_split

    task = find_task(task_name)
    train, dev = (read_split(task, data_dir, split) for split in ("train", "dev"))

    def score(vectors: Vectors | None) -> dict[str, float]:
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.preprocessing import MaxAbsScaler

        vectors = vectors or _tf_idf([text for column in train.texts for text in column])
        scaler = MaxAbsScaler()
        features = _likeness if task.is_score else _features
        known = scaler.fit_transform(features([vectors(column) for column in train.texts]))
        asked = scaler.transform(features([vectors(column) for column in dev.texts]))
        model = Ridge() if task.is_score else LogisticRegression(max_iter=1000)
        predicted = model.fit(known, train.labels).predict(asked)
        return compute_metrics(task.metrics, dev.labels, predicted)

    return score


def _race(data_dir: str, middle_only: bool) -> Callable[[Vectors | None], dict[str, float]]:
    from albert_tf.tasks.race import LEVELS, read_race

    questions = read_race(data_dir, "dev", LEVELS[:1] if middle_only else LEVELS)
    answers = [
        [f"{question} {option}" for question, option in zip(questions.questions, column, strict=True)]
        for column in questions.options
    ]

    def score(vectors: Vectors | None) -> dict[str, float]:
        vectors = vectors or _tf_idf(questions.articles)
        passages = vectors(questions.articles)[questions.article_of]
        likeness = sparse.hstack([_likeness([vectors(column), passages]) for column in answers]).toarray()
        return {"eval_accuracy": float(np.mean(likeness.argmax(axis=1) == questions.labels))}

    return score


def _tf_idf(texts: Sequence[str]) -> Vectors:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2).fit(texts)
    return vectorizer.transform


def _mean_vectors(weights: str) -> Vectors:
    """The mean word vector of each text `[texts, embedding_size]`."""
    from albert_tf.checkpoints.sources import open_source

    source = open_source(weights)
    table = source.weight("bert/embeddings/word_embeddings").astype(np.float64)
    tokenizer = source.assets.tokenizer()

    def vectors(texts: Sequence[str]) -> np.ndarray:
        ids, lengths = tokenizer.encode_batch(texts)
        begins = np.concatenate([[0], np.cumsum(lengths)])
        counts = sparse.csr_matrix((np.ones(len(ids)), ids, begins), shape=(len(texts), len(table)))
        return sparse.csr_matrix(counts @ table / np.maximum(lengths, 1)[:, None])

    return vectors


def _features(columns: Sequence[sparse.csr_matrix]) -> sparse.csr_matrix:
    if len(columns) == 1:
        return columns[0]
    first, second = columns
    return sparse.hstack([first.multiply(second), abs(first - second), _likeness(columns)]).tocsr()


def _likeness(columns: Sequence[sparse.csr_matrix]) -> sparse.csr_matrix:
    """The cosine of the vectors in each row of both columns `[texts, 1]`."""
    from sklearn.preprocessing import normalize

    first, second = map(normalize, columns)
    return sparse.csr_matrix(first.multiply(second).sum(axis=1))


if __name__ == "__main__":
    main()
