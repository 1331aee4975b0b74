"""How good vectors of texts are: by scored pairs, by what queries find, and by how they spread."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn import metrics
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from albert_tf.tasks.classification.classification_task import compute_metrics
from albert_tf.tasks.similarity.reading import ALIKE, Retrieval, TextGroups

_FOUND = 10  # how many texts a query may name
_QUERIES_AT_ONCE = 256
_MOST_TEXTS = 2000  # whose pairs tell the uniformity
_COLLAPSED = 0.999  # anisotropy; that of fresh weights is at most 0.99


def judge(groups: TextGroups, vectors: Any) -> dict[str, float]:
    """Results of the vectors of all texts, [texts, H], an array or a sparse matrix of SciPy.

    Pairs with scores give `spearman` and `pearson` of the cosine; if the scores are 0 and 1, also
    `average_precision`, and accuracy and F1 at the threshold of the best accuracy. A corpus gives what
    `retrieval_results` gives.
    """
    units = normalize(vectors)
    results = {}
    if groups.scores is not None and len(groups):
        found = pair_cosines(groups, units)
        results = compute_metrics(("spearman", "pearson"), groups.scores, found)
        if set(np.unique(groups.scores)) == {0.0, 1.0}:
            results |= _by_threshold(groups.scores > 0, found)
    if groups.retrieval is not None:
        results |= retrieval_results(groups.retrieval, units)
    return results


def pair_cosines(groups: TextGroups, units: Any) -> np.ndarray:
    """float32 [pairs]: the cosine of each pair, from vectors of length 1."""
    one, other = (units[groups.groups[:, side]] for side in (0, 1))
    if isinstance(units, np.ndarray):
        return np.einsum("ij,ij->i", one, other)
    return np.asarray(one.multiply(other).sum(axis=1), np.float32).ravel()


def _by_threshold(is_alike: np.ndarray, found: np.ndarray) -> dict[str, float]:
    order = np.argsort(-found, kind="stable")
    hits, counts = np.cumsum(is_alike[order]), np.arange(1, len(found) + 1)
    ends = np.append(np.diff(found[order]) != 0, True)  # equal cosines are on one side
    right = np.where(ends, hits + (~is_alike).sum() - (counts - hits), -1)
    best = int(right.argmax())
    return {
        "average_precision": float(metrics.average_precision_score(is_alike, found)),
        "eval_accuracy": float(max(right[best], (~is_alike).sum()) / len(found)),
        "eval_f1": float(np.where(ends, 2 * hits / (counts + is_alike.sum()), 0).max()),
    }


def retrieval_results(retrieval: Retrieval, units: Any) -> dict[str, float]:
    """What an exact search by cosines finds: recall at 1 and 10, MRR at 10 and nDCG at 10.

    Recall is the share of the relevant texts among the first, of at most as many as there are places.
    """
    corpus, asked = units[retrieval.corpus], units[retrieval.queries]
    gains = 1 / np.log2(np.arange(2, _FOUND + 2))
    rows = []
    for begin in range(0, len(retrieval.queries), _QUERIES_AT_ONCE):
        scores = asked[begin : begin + _QUERIES_AT_ONCE] @ corpus.T
        scores = scores if isinstance(scores, np.ndarray) else scores.toarray()
        for row, relevant in zip(scores, retrieval.relevant[begin:], strict=False):
            order = best_first(row, _FOUND)
            hits = np.isin(order, relevant)
            most = min(len(relevant), _FOUND)
            first = hits.argmax() + 1 if hits.any() else np.inf
            dcg = hits @ gains[: len(order)] / gains[:most].sum()
            rows.append((float(hits[0]), hits.sum() / most, 1 / first, dcg))
    names = ("recall_at_1", "recall_at_10", "mrr", "ndcg")
    return dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True))


def best_first(scores: np.ndarray, count: int) -> np.ndarray:
    """The places of the largest scores [texts], the largest first, of equal ones the first."""
    count = min(count, len(scores))
    least = np.partition(scores, -count)[-count]
    places = np.flatnonzero(scores >= least)
    return places[np.argsort(-scores[places], kind="stable")[:count]]


def spread(groups: TextGroups, vectors: np.ndarray) -> dict[str, float]:
    """How vectors [texts, H] lie on the sphere.

    `anisotropy` is the mean cosine of two different texts; `uniformity` the logarithm of the mean of
    exp(-2 d^2) over their distances d; `alignment` the mean of d^2 over pairs that are alike, if there are
    any (Wang and Isola, 2020). Lower is better.
    """
    units = normalize(vectors.astype(np.float64))
    count, total = len(units), units.sum(axis=0)
    if count < 2:
        return {}
    results = {"anisotropy": float((total @ total - count) / (count * (count - 1)))}
    some = units[np.random.default_rng(0).permutation(count)[:_MOST_TEXTS]]
    distances = 2 - 2 * (some @ some.T)[np.triu_indices(len(some), 1)]
    results["uniformity"] = float(np.log(np.exp(-2 * distances).mean()))
    alike = groups.scores is not None and groups.scores >= ALIKE
    if np.any(alike):
        results["alignment"] = float(2 - 2 * pair_cosines(groups, units)[alike].mean())
    return results


def tf_idf(texts: Sequence[str]) -> Any:
    """A sparse matrix [texts, words]: the words of the texts, weighted by how rare they are."""
    return TfidfVectorizer(token_pattern=r"\w+|[^\w\s]+").fit_transform(texts)


def collapse(anisotropy: float) -> str:
    """Says that vectors tell nothing apart; empty if they do."""
    if anisotropy < _COLLAPSED:
        return ""
    return f"the vectors have collapsed: two different texts have the mean cosine {anisotropy:.6f}"


def main_result(results: Mapping[str, float]) -> str:
    """The name of the result that chooses the best checkpoint."""
    return next(name for name in ("spearman", "mrr") if name in results)
