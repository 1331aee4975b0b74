"""Sections of charts: curves and points, which Matplotlib draws as SVG in the colours of the page."""

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from albert_tf.cli.text import number
from albert_tf.html_report.page import Section, escaped
from albert_tf.html_report.tables import table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_POINTS = 300  # a curve with more points shows means of neighbours
_NOISE = 1e-6  # values that differ less, in proportion, are the same but for rounding
_LEAST_RANGE = 0.001  # of an axis, in proportion to its values
_FEW_POINTS = 40  # a curve with no more points has a mark at each
_CURVE_INCHES = (3.4, 2.3)
_SCATTER_INCHES = (4.6, 4.4)

# Colours of the drawing; each then becomes a colour of the page, which has a light and a dark form.
_INK, _LINE, _BLUE, _ORANGE = "#5c6670", "#dbe0e4", "#0b65a8", "#b84e00"
_PAGE_COLORS = {_INK: "var(--soft)", _LINE: "var(--line)", _BLUE: "var(--blue)", _ORANGE: "var(--orange)"}
_PICTURE_BLUE = "#3793d8"  # for points in an embedded picture: visible on a light and on a dark page
_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 10,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": _LINE,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


def curves(
    history: Sequence[Mapping[str, float]], metrics: Sequence[str], best_step: int | None = None
) -> Section:
    """Draws a chart of each metric by step; a metric that stays the same becomes a row of a table.

    Every evaluation in `history` has its "step" and its metrics, in the order of steps. The charts mark
    `best_step`, the step of the best checkpoint.
    """
    charts, rows = [], []
    for metric in metrics:
        points = [(entry["step"], entry[metric]) for entry in history if metric in entry]
        values = np.array([value for _, value in points if math.isfinite(value)])
        if values.size and np.ptp(values) > _NOISE * np.abs(values).max():
            charts.append(_curve(metric, "step", points, best_step))
        elif points:
            steps = " to ".join(f"{step:,}" for step in dict.fromkeys((points[0][0], points[-1][0])))
            rows.append([escaped(metric), steps, number(points[-1][1])])
    html = ""
    if charts and best_step is not None:
        html += f"<p>Dashed line: the best checkpoint, step {best_step:,}; "
        html += "beside each name, its value there.</p>\n"
    if charts:
        html += _side_by_side(charts)
    if rows:
        html += table(["", "step", "value"], rows)
    return Section("Learning curves" if charts else "Evaluation", html)


def threshold_curve(thresholds: np.ndarray, values: Mapping[str, np.ndarray], chosen: float) -> Section:
    """Draws a chart of each metric by the threshold of the null score.

    Args:
      thresholds: float [thresholds], ascending; infinite thresholds are not drawn.
      values: metric -> float [thresholds].
      chosen: the threshold to mark, with the values there if it is one of `thresholds`.
    """
    html = "<p>A question gets an answer if its null score is not above the threshold. "
    if np.isfinite(chosen):
        values_there = "; beside each name, its value there" if chosen in thresholds else ""
        html += f"Dashed line: the chosen threshold, {number(chosen)}{values_there}.</p>\n"
    else:
        answered = "every" if chosen > 0 else "no"
        html += f"The chosen threshold is infinite: {answered} question gets an answer.</p>\n"
    finite = np.isfinite(thresholds)
    if np.count_nonzero(finite) > 1:
        marked = chosen if np.isfinite(chosen) else None
        charts = []
        for metric, points in values.items():
            drawn = zip(thresholds[finite].tolist(), points[finite].tolist(), strict=True)
            charts.append(_curve(metric, "threshold", list(drawn), marked))
        html += _side_by_side(charts)
    return Section("No-answer threshold", html)


def tradeoff(
    heading: str, cost: str, gain: str, points: Mapping[str, Sequence[tuple[float, float]]]
) -> Section:
    """Draws a line for each way to choose, whose points are pairs of what it costs and what it gains."""

    def draw(axes: "Axes") -> None:
        for (name, pairs), color in zip(points.items(), (_INK, _BLUE, _ORANGE), strict=False):
            costs, gains = zip(*sorted(pairs), strict=True)
            axes.plot(costs, gains, color=color, marker="o", ms=3.5, label=name)
        axes.set(xlabel=cost, ylabel=gain)
        axes.legend(frameon=False, labelcolor=_INK)

    alt = f"Line chart of {gain} by {cost} for {', '.join(points)}"
    return Section(
        heading, _chart(f"<b>{escaped(gain)}</b> by the mean of {escaped(cost)}", alt, _SCATTER_INCHES, draw)
    )


def scatter(labels: np.ndarray, scores: np.ndarray) -> Section:
    """Draws the predicted score of each example over its true score; both are float [examples]."""

    def draw(axes: "Axes") -> None:
        # All points are one picture: as single elements the points of a large split would make a huge page.
        axes.plot(labels, scores, "o", color=_PICTURE_BLUE, alpha=0.45, ms=4.5, mew=0, rasterized=True)
        axes.axline((0, 0), slope=1, color=_ORANGE, linewidth=1.2, dashes=(5, 4))
        axes.set(xlabel="true score", ylabel="predicted score")

    alt = f"Scatter plot of predicted over true scores of {len(labels):,} examples"
    caption = f"{len(labels):,} examples. On the dashed line the predicted and the true score are equal."
    return Section("Scores", _chart(caption, alt, _SCATTER_INCHES, draw))


def _curve(metric: str, axis: str, points: Sequence[tuple[float, float]], marked: float | None) -> str:
    at_mark = None if marked is None else dict(points).get(marked)
    together = -(-len(points) // _MOST_POINTS)
    positions, values = _means(np.array(points, np.float64), together).T

    def draw(axes: "Axes") -> None:
        from matplotlib.ticker import EngFormatter, MaxNLocator

        marker = "o" if len(points) <= _FEW_POINTS else ""
        axes.plot(positions, values, color=_BLUE, marker=marker, ms=3.5)
        if marked is not None:
            axes.axvline(marked, color=_ORANGE, linewidth=1.2, dashes=(5, 4))
            if at_mark is not None:
                axes.plot(marked, at_mark, "o", color=_ORANGE, ms=7)
        axes.set_xlabel(axis)
        axes.set_ylim(*_at_least(_LEAST_RANGE, *axes.get_ylim()))
        is_step = axis == "step"
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=is_step))
        if is_step:
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))

    notes = [] if at_mark is None else [number(at_mark)]
    notes += [f"smoothed over {together}"] * (together > 1)
    caption = f"<b>{escaped(metric)}</b> {', '.join(notes)}"
    first, last = number(points[0][0]), number(points[-1][0])
    alt = f"Line chart of {metric} from {axis} {first} to {axis} {last}"
    return _chart(caption, alt, _CURVE_INCHES, draw)


def _at_least(share: float, low: float, high: float) -> tuple[float, float]:
    """Limits of an axis, which span at least a share of their size: less would magnify rounding errors."""
    middle, half = (low + high) / 2, max(high - low, share * max(abs(low), abs(high))) / 2
    return middle - half, middle + half


def _side_by_side(charts: Sequence[str]) -> str:
    return f'<div class="charts">\n{"".join(charts)}</div>\n'


def _means(points: np.ndarray, together: int) -> np.ndarray:
    """Means of `together` neighbours: [points, 2] -> [fewer points, 2]."""
    begins = np.arange(0, len(points), together)
    counts = np.diff(begins, append=len(points))
    return np.add.reduceat(points, begins) / counts[:, None]


def _chart(caption: str, alt: str, inches: tuple[float, float], draw: Callable[["Axes"], None]) -> str:
    """Makes a figure of the page; a drawing gives the same bytes under any matplotlibrc."""
    from matplotlib import style
    from matplotlib.figure import Figure

    drawing = io.StringIO()
    with style.context(["default", {**_STYLE, "svg.hashsalt": alt}]):
        figure = Figure(inches, layout="constrained")
        draw(figure.subplots())
        no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(drawing, format="svg", dpi=150, transparent=True, metadata=no_metadata)
    svg = _for_page(drawing.getvalue(), alt)
    return f'<figure class="chart">\n<figcaption>{caption}</figcaption>\n{svg}</figure>\n'


def _for_page(svg: str, alt: str) -> str:
    """Gives an SVG file the colours, font and width of the page."""
    box = re.findall(r'viewBox="[^"]*"', svg)[0]
    svg = svg[svg.index("</defs>") + len("</defs>") :]  # drops the file's own head and style
    # All charts have the same ids of groups; their ids of clips and marks differ.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r" font-family: [^;]*;", "", svg)
    for color, variable in _PAGE_COLORS.items():
        svg = svg.replace(color, variable)
    return f'<svg {box} role="img" aria-label="{escaped(alt)}">{svg}'
