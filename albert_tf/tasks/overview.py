"""What a run trains on and what comes of it, as plain text of at most 80 columns."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from albert_tf.data.features import Features
from albert_tf.html_report.tables import number

_COLUMNS = 80
_NAME_WIDTH = 22
_BAR_WIDTH = 30
_MOST_CLASSES = 12  # with more, the largest ten are shown
_LARGEST_CLASSES = 10
_HISTOGRAM_ROWS = 10


def overview(splits: Mapping[str, Features], label_names: Sequence[str] | None, max_seq_length: int) -> str:
    """How many examples each split has, how their labels are spread and how long they are.

    Args:
      splits: by name, in the order to show.
      label_names: of the classes or choices; None where labels are scores.
      max_seq_length: what sequences were cut to.
    """
    return "\n\n".join(
        "\n".join(_split_lines(name, features, label_names, max_seq_length))
        for name, features in splits.items()
    )


def results_table(results: Mapping[str, Mapping[str, float]]) -> str:
    """Results aligned: a row for each name, a column for each metric; if too wide, the other way round.

    Of a single name, a line a metric.

    Args:
      results: name -> metric -> value; a name is that of a split, a part or a seed.
    """
    if len(results) == 1:
        [metrics] = results.values()
        return _aligned([[name, number(value)] for name, value in metrics.items()])
    metrics = dict.fromkeys(metric for row in results.values() for metric in row)
    cells = [["", *metrics]]
    cells += [[name, *(number(row.get(metric)) for metric in metrics)] for name, row in results.items()]
    table = _aligned(cells)
    if max(map(_width, table.splitlines()), default=0) > _COLUMNS and len(results) < len(metrics):
        table = _aligned(list(zip(*cells, strict=True)))
    return table


def with_mean_and_deviation(results: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Results of several runs, name -> metric -> value, with "mean" and sample "std" as further rows."""
    metrics = dict.fromkeys(metric for row in results.values() for metric in row)
    values = {metric: [row[metric] for row in results.values() if metric in row] for metric in metrics}
    deviations = {metric: float(np.std(runs, ddof=1)) for metric, runs in values.items() if len(runs) > 1}
    return {name: dict(row) for name, row in results.items()} | {
        "mean": {metric: float(np.mean(runs)) for metric, runs in values.items()},
        "std": deviations,
    }


def _aligned(cells: Sequence[Sequence[str]]) -> str:
    """Rows of cells as text, the first column to the left and the others to the right."""
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join([_left(first, widths[0]), *map(str.rjust, others, widths[1:])]).rstrip()
        for first, *others in cells
    )


def _split_lines(
    name: str, features: Features, label_names: Sequence[str] | None, max_seq_length: int
) -> list[str]:
    several = features.num_choices > 1
    title = f"{name}: {len(features):,} example{'s' * (len(features) != 1)}"
    title += f" of {features.num_choices} choices" * several + ", unlabelled" * (features.labels is None)
    lines = [title]
    if not len(features):
        return lines
    if features.labels is not None:
        if label_names is None:
            lines += _score_lines(features.labels)
        else:
            lines += _class_lines("choice" if several else "class", features.labels, label_names)
        lines.append("")
    return lines + length_lines("sequences" if several else "examples", features.full_lengths, max_seq_length)


def _class_lines(title: str, labels: np.ndarray, label_names: Sequence[str]) -> list[str]:
    counts = np.bincount(labels, minlength=len(label_names))
    if len(label_names) <= _MOST_CLASSES:
        return bar_lines(title, "examples", label_names, counts)
    largest = np.argsort(-counts, kind="stable")[:_LARGEST_CLASSES]
    names = [label_names[i] for i in largest]
    shown = counts[largest]
    others = f"{len(label_names) - len(largest):,} others"
    return bar_lines(title, "examples", [*names, others], np.append(shown, counts.sum() - shown.sum()))


def _score_lines(scores: np.ndarray) -> list[str]:
    low, high = float(scores.min()), float(scores.max())
    edges = _round_edges(low, high, _HISTOGRAM_ROWS) if low < high else np.array([low, high])
    counts, _ = np.histogram(scores.clip(edges[0], edges[-1]), edges)
    names = _ranges(edges[:-1], edges[1:], ".4g")
    spread = f"lowest {low:.4g}, mean {scores.mean(dtype=np.float64):.4g}, highest {high:.4g}"
    return [*bar_lines("score", "examples", names, counts), f"  {spread}"]


def length_lines(counted: str, lengths: np.ndarray, max_seq_length: int, fate: str = "cut") -> list[str]:
    """How sequences are spread over lengths, and the share that is too long, with its `fate`."""
    longest = int(lengths.max())
    # The longest hundredth shares a row: a few long texts leave the other rows as fine as without them.
    usual = int(np.percentile(lengths, 99, method="higher"))
    edges = _round_edges(int(lengths.min()), usual + 1, _HISTOGRAM_ROWS - 1, integer=True).astype(int)
    if longest >= edges[-1]:
        edges = np.append(edges, longest + 1)
    counts, _ = np.histogram(lengths, edges)
    names = _ranges(edges[:-1], np.minimum(edges[1:] - 1, longest), ",d")
    cut = np.count_nonzero(lengths > max_seq_length)
    limit = f"--max_seq_length={max_seq_length}"
    share = f"{_percent(cut, len(lengths))} longer than {limit} and {fate}"
    return [
        *bar_lines("tokens", counted, names, counts),
        f"  median {np.median(lengths):,.0f}, longest {longest:,}",
        f"  {share}" if cut else f"  none longer than {limit}",
    ]


def _round_edges(low: float, high: float, rows: int, integer: bool = False) -> np.ndarray:
    """Edges a round number apart, of `rows` rows at most, that hold low and high."""
    from matplotlib.ticker import MaxNLocator  # not at import: it takes a while

    steps = [1, 1.5, 2, 3, 4, 5, 10]
    # A locator may add an interval to those it was asked for.
    locators = (MaxNLocator(bins, steps=steps, integer=integer) for bins in (rows, rows - 1))
    edges = (locator.tick_values(low, high) for locator in locators)
    return next(found for found in edges if len(found) <= rows + 1)


def _ranges(begins: np.ndarray, ends: np.ndarray, form: str) -> list[str]:
    pairs = zip(begins, ends, strict=True)
    return [f"{a:{form}}" if a == b else f"{a:{form}} to {b:{form}}" for a, b in pairs]


def bar_lines(title: str, counted: str, names: Iterable[str], counts: np.ndarray) -> list[str]:
    """A line for each name with its count, share and a bar."""
    total, largest = int(counts.sum()), int(counts.max())
    lines = [f"  {title:{_NAME_WIDTH}}  {counted:>11}  {'share':>7}"]
    for name, count in zip(names, counts.tolist(), strict=True):
        shown = _left(_shortened(name), _NAME_WIDTH)
        lines.append(f"  {shown}  {count:>11,}  {_percent(count, total):>7}  {_bar(count, largest)}".rstrip())
    return lines


def _bar(count: int, largest: int) -> str:
    """Blocks in proportion, to an eighth of a column; what is there is seen."""
    eighths = max(round(8 * _BAR_WIDTH * count / largest), int(count > 0)) if largest else 0
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def _percent(count: int, total: int) -> str:
    percent = 100 * count / total if total else 0.0
    return "< 0.1 %" if 0 < percent < 0.05 else f"{percent:.1f} %"


def _shortened(name: str) -> str:
    name = "".join(character if character.isprintable() else "?" for character in name)
    if _width(name) <= _NAME_WIDTH:
        return name
    while _width(name) >= _NAME_WIDTH:
        name = name[:-1]
    return name + "…"


def _left(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _width(text: str) -> int:
    """Columns of a terminal: Chinese characters take two, combining marks none."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(map(bool, map(unicodedata.combining, text)))
