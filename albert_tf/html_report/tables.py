"""Sections of numbers: facts, results, results of parts and groups, the confusion matrix."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from albert_tf.cli.text import Rows, number, of_whole_and_parts, with_baseline
from albert_tf.html_report.page import Section, escaped

_MOST_CLASSES = 30  # a confusion matrix of more classes is not shown whole
_ROOMY_CLASSES = 8  # the cells of a matrix of no more classes show shares too
_MOST_CONFUSIONS = 20


def facts(values: Mapping[str, object], heading: str = "The run") -> Section:
    """Shows facts by name, such as the task, the step and the command of a run."""
    lines = "".join(f"<dt>{escaped(name)}</dt><dd>{_command(value)}</dd>\n" for name, value in values.items())
    return Section(heading, f'<dl class="facts">\n{lines}</dl>')


def results(rows: Rows, baseline: tuple[str, Rows] = ("", {}), notes: Sequence[str] = ()) -> Section:
    """Shows the results of a run.

    A single row becomes large figures; several rows, also of baselines, become a table. `baseline`
    has a name and rows of the same form: what an answer that is always the same would reach. `notes` say what
    the reader must not miss.
    """
    html = "".join(f'<p class="note">{escaped(note[:1].upper() + note[1:])}.</p>\n' for note in notes)
    rows, *others = of_whole_and_parts(rows)
    html_of_others = "\n".join(map(_results_table, others))
    if len(rows) == 1 and len(baseline[1]) < 2:
        name, beside = baseline[0], next(iter(baseline[1].values()), {})
        [metrics] = rows.values()
        figures = "".join(
            _figure(metric, value, name, beside.get(metric)) for metric, value in metrics.items()
        )
        return Section("Results", f'{html}<dl class="figures">\n{figures}</dl>\n{html_of_others}')
    return Section("Results", f"{html}{_results_table(with_baseline(rows, baseline))}{html_of_others}")


def _results_table(rows: Rows) -> str:
    columns = dict.fromkeys(metric for row in rows.values() for metric in row)
    cells = [[escaped(name), *(number(row.get(c)) for c in columns)] for name, row in rows.items()]
    return table(["", *columns], cells)


def precision_and_recall(labels: np.ndarray, predicted: np.ndarray, label_names: Sequence[str]) -> Section:
    """Shows precision, recall and F1 of each class; labels and predicted are int [examples].

    Of more than 30 classes it shows the 30 commonest.
    """
    from sklearn.metrics import precision_recall_fscore_support  # not at import: it takes a while

    numbers = np.arange(len(label_names))
    columns = precision_recall_fscore_support(labels, predicted, labels=numbers, zero_division=0.0)
    guesses = np.bincount(predicted, minlength=len(label_names))
    heads = ["class", "examples", "predicted", "precision", "recall", "F1"]
    rows = [
        [
            escaped(label_names[i]),
            f"{columns[3][i]:,}",
            f"{guesses[i]:,}",
            *(number(c[i]) for c in columns[:3]),
        ]
        for i in np.argsort(-columns[3], kind="stable")[:_MOST_CLASSES]
    ]
    return Section("Classes", table(heads, rows))


def accuracy_by_part(correct: np.ndarray, parts: Mapping[str, slice]) -> Section:
    """Shows the accuracy of each part of a split, and of all; `correct` is bool [examples]."""
    cells = []
    for name, part in {**parts, "all": slice(None)}.items():
        right, total = int(np.sum(correct[part])), len(correct[part])
        accuracy = _share(right, total)
        cells.append([escaped(name), f"{total:,}", f"{right:,}", number(accuracy), _bar(100 * accuracy)])
    return Section("Accuracy by part", table(["", "examples", "right", "accuracy", ""], cells))


def breakdown(heading: str, rows: Mapping[str, Mapping[str, float]], bar: str) -> Section:
    """Shows the results of groups of examples, such as the questions that begin with "why".

    `rows` holds group -> metric -> value, with the same metrics for all groups. A bar shows the metric that
    `bar` names, which is from 0 to 100.
    """
    metrics = next(iter(rows.values()), {})
    cells = [
        [escaped(group), *(number(row[m]) for m in metrics), _bar(row[bar])] for group, row in rows.items()
    ]
    return Section(heading, table(["", *metrics, ""], cells))


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, label_names: Sequence[str]) -> Section:
    """Shows how often the model took each class for each other; labels and predicted are int [examples].

    Of more than 30 classes it shows only the 20 most confused pairs.
    """
    classes = len(label_names)
    pairs = np.asarray(labels, np.int64) * classes + predicted
    counts = np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    names = [escaped(name) for name in label_names]
    if classes > _MOST_CLASSES:
        return Section("Most confused classes", _most_confused(counts, names))
    heads = "".join(f'<th scope="col"><span>{name}</span></th>' for name in names)
    body = "".join(
        f'<tr><th scope="row">{name}</th>{_matrix_cells(row, i)}</tr>\n'
        for i, (name, row) in enumerate(zip(names, counts.tolist(), strict=True))
    )
    kind = "matrix" if classes <= _ROOMY_CLASSES else "matrix dense"
    return Section(
        "Confusion matrix",
        "<p>A row for each true class, a column for each predicted class. The deeper the colour, the larger "
        "the share of the row: blue is right, orange is wrong.</p>\n"
        f'<div class="wide" tabindex="0"><table class="{kind}">\n'
        f'<thead><tr><th scope="col">true \\ predicted</th>{heads}</tr></thead>\n'
        f"<tbody>\n{body}</tbody></table></div>",
    )


def _figure(metric: str, value: float, name: str, baseline: float | None) -> str:
    """Makes a large figure, with that of the baseline below it."""
    beside = "" if baseline is None else f" <small>{escaped(name)}: {number(baseline)}</small>"
    return f"<div><dt>{escaped(metric)}</dt><dd>{number(value)}{beside}</dd></div>\n"


def _bar(percentage: float) -> str:
    return f'<div class="bar"><i style="width:{percentage:.1f}%"></i></div>'


def _command(value: object) -> str:
    """Makes HTML of a value; no line breaks inside a flag of a command."""
    return re.sub(r"(?<!\S)-\S+", r"<span>\g<0></span>", escaped(value))


def _matrix_cells(row: Sequence[int], right: int) -> str:
    cells = []
    for i, count in enumerate(row):
        part = _share(count, sum(row))
        roomy = f"{count:,}<small>{percent(part)}</small>"
        shown = roomy if len(row) <= _ROOMY_CLASSES else f"{count or ''}"
        kind = "right" if i == right else "wrong"
        # The square root makes rare mistakes visible.
        style = f"--depth:{part**0.5:.2f}"
        cells.append(f'<td class="{kind}" style="{style}" title="{percent(part)}">{shown}</td>')
    return "".join(cells)


def _most_confused(counts: np.ndarray, names: Sequence[str]) -> str:
    wrong = counts - np.diag(np.diag(counts))
    largest = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_CONFUSIONS]
    cells = [
        [names[i], names[j], f"{wrong[i, j]:,}", percent(_share(wrong[i, j], counts[i].sum()))]
        for i, j in zip(*np.unravel_index(largest, wrong.shape), strict=True)
        if wrong[i, j]
    ]
    if not cells:
        return "<p>No example is wrong.</p>"
    return table(["true", "predicted", "examples", "share of the true class"], cells, kind="pairs")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    """Makes the HTML of a table from headings in plain text, cells in HTML and a CSS class.

    The first cell of a row is its name.
    """
    head = "".join(f'<th scope="col">{escaped(text)}</th>' for text in heads)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in others)}</tr>\n'
        for first, *others in rows
    )
    return (
        f'<div class="wide" tabindex="0"><table class="{kind}">\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}</tbody></table></div>"
    )


def percent(share: float) -> str:
    """Formats a share from 0 to 1 in percent; no line breaks before the percent sign."""
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def _share(count: int, total: int) -> float:
    return count / total if total else 0.0
