"""The data and the results of a run, as plain text of at most 80 columns."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from albert_tf.cli.text import bar_lines, percent
from albert_tf.data.features import Features

_MOST_CLASSES = 12  # with more, the largest ten are shown
_LARGEST_CLASSES = 10
_HISTOGRAM_ROWS = 10


def overview(splits: Mapping[str, Features], label_names: Sequence[str] | None, max_seq_length: int) -> str:
    """How many examples each split has, how their labels are spread and how long they are.

    The names of the classes or choices are None if labels are scores.
    """
    paragraphs = []
    for name, features in splits.items():
        several = features.num_choices > 1
        title = f"{name}: {len(features):,} example{'s' * (len(features) != 1)}"
        most = "up to " * (several and not features.lengths.all())
        title += f" of {most}{features.num_choices} choices" * several + ", unlabelled" * (
            features.labels is None
        )
        lines = [title]
        if len(features) and features.labels is not None:
            if label_names is None:
                lines += _score_lines(features.labels)
            else:
                lines += _class_lines("choice" if several else "class", features.labels, label_names)
            lines.append("")
        if len(features):
            counted = "sequences" if several else "examples"
            there = features.lengths > 0  # a question may have fewer options than others
            lines += length_lines(counted, features.full_lengths[there], max_seq_length)
        paragraphs.append("\n".join(lines))
    return "\n\n".join(paragraphs)


def with_mean_and_deviation(results: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Results of several runs, name -> metric -> value, with "mean" and sample "std" as further rows."""
    metrics = dict.fromkeys(metric for row in results.values() for metric in row)
    values = {metric: [row[metric] for row in results.values() if metric in row] for metric in metrics}
    means = {metric: float(np.mean(runs)) for metric, runs in values.items()}
    deviations = {metric: float(np.std(runs, ddof=1)) for metric, runs in values.items() if len(runs) > 1}
    return {name: dict(row) for name, row in results.items()} | {"mean": means, "std": deviations}


def _class_lines(title: str, labels: np.ndarray, label_names: Sequence[str]) -> list[str]:
    if labels.ndim == 2:  # any number of labels for an example
        title, labels = "label", np.nonzero(labels)[1]
    counts = np.bincount(labels, minlength=len(label_names))
    if len(label_names) <= _MOST_CLASSES:
        return bar_lines(title, "examples", zip(label_names, counts.tolist(), strict=True))
    largest = np.argsort(-counts, kind="stable")[:_LARGEST_CLASSES]
    shown = [(label_names[i], int(counts[i])) for i in largest]
    others = (f"{len(label_names) - len(largest):,} others", int(counts.sum() - counts[largest].sum()))
    return bar_lines(title, "examples", [*shown, others])


def _score_lines(scores: np.ndarray) -> list[str]:
    low, high = float(scores.min()), float(scores.max())
    edges = _round_edges(low, high, _HISTOGRAM_ROWS) if low < high else np.array([low, high])
    counts, _ = np.histogram(scores.clip(edges[0], edges[-1]), edges)
    names = _ranges(edges[:-1], edges[1:], ".4g")
    spread = f"  lowest {low:.4g}, mean {scores.mean(dtype=np.float64):.4g}, highest {high:.4g}"
    return [*bar_lines("score", "examples", zip(names, counts.tolist(), strict=True)), spread]


def length_lines(counted: str, lengths: np.ndarray, max_seq_length: int, fate: str = "cut") -> list[str]:
    """How sequences are spread over lengths, and the share that is too long, with its `fate`."""
    longest = int(lengths.max())
    # The longest hundredth shares a row, so that a few long texts do not make the other rows coarse.
    usual = int(np.percentile(lengths, 99, method="higher"))
    edges = _round_edges(int(lengths.min()), usual + 1, _HISTOGRAM_ROWS - 1, integer=True).astype(int)
    if longest >= edges[-1]:
        edges = np.append(edges, longest + 1)
    counts, _ = np.histogram(lengths, edges)
    names = _ranges(edges[:-1], np.minimum(edges[1:] - 1, longest), ",d")
    cut = int(np.count_nonzero(lengths > max_seq_length))
    limit = f"longer than --max_seq_length={max_seq_length}"
    return [
        *bar_lines("tokens", counted, zip(names, counts.tolist(), strict=True)),
        f"  median {np.median(lengths):,.0f}, longest {longest:,}",
        f"  {percent(cut, len(lengths))} {limit} and {fate}" if cut else f"  none {limit}",
    ]


def _round_edges(low: float, high: float, rows: int, integer: bool = False) -> np.ndarray:
    """Edges a round number apart, of `rows` rows at most, that hold low and high."""
    from matplotlib.ticker import MaxNLocator  # not at import: it takes a while

    steps = [1, 1.5, 2, 3, 4, 5, 10]
    # A locator may return one interval more than it was asked for.
    locators = (MaxNLocator(bins, steps=steps, integer=integer) for bins in (rows, rows - 1))
    edges = (np.asarray(locator.tick_values(low, high)) for locator in locators)
    return next(found for found in edges if len(found) <= rows + 1)


def _ranges(begins: Iterable[float], ends: Iterable[float], form: str) -> list[str]:
    pairs = zip(begins, ends, strict=True)
    return [f"{a:{form}}" if a == b else f"{a:{form}} to {b:{form}}" for a, b in pairs]
