"""How commands print progress, lines, results, facts, tables, bars, numbers, times, rates and sizes."""

import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any

from tabulate import tabulate
from tqdm import tqdm

from albert_tf.errors import escaped

LOG_INTERVAL = 10.0  # seconds between lines if the output is not a terminal


class _Lines:
    """A stream that makes lines of tqdm's carriage returns, and writes no line twice in a row."""

    def __init__(self, stream):
        self._stream = stream
        self._last = ""

    def write(self, text: str) -> None:
        line = escaped(text.replace("\x1b[A", "").strip())
        if line and line != self._last:
            self._last = line
            self._stream.write(line + "\n")

    def flush(self) -> None:
        self._stream.flush()


def progress_bar(**arguments: Any) -> tqdm:
    """A `tqdm` bar on standard error; takes tqdm's own arguments."""
    if sys.stderr.isatty():
        return tqdm(**arguments)
    log = {"file": _Lines(sys.stderr), "mininterval": LOG_INTERVAL, "maxinterval": LOG_INTERVAL}
    return tqdm(**({"delay": 1e-6} | log | arguments))


_COLUMNS = 80
_NAME_WIDTH = 22
_BAR_WIDTH = 30


def say(text: str) -> None:
    """Prints a line, or several, on standard error, above a progress line if there is one."""
    tqdm.write(escaped(without_secrets(text), keep="\n"), file=sys.stderr)


_SECRETS = re.compile(r"([a-z][a-z0-9+.-]*://)[^/\s?#]*@|(https?://[^\s?#]*)[?#]\S*", re.IGNORECASE)


def without_secrets(content: Any) -> Any:
    """Text, or the content of a JSON file, whose addresses lose user names, passwords and queries."""
    if isinstance(content, str):
        kept = _SECRETS.sub(lambda found: found[1] or found[2], content)
        return kept if kept == content else without_secrets(kept)
    if isinstance(content, Mapping):
        return {key: without_secrets(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [without_secrets(value) for value in content]
    return content


def format_results(results: Mapping[str, float]) -> str:
    """Results as the original writes them: sorted lines `key = value`."""
    return "".join(f"{name} = {results[name]}\n" for name in sorted(results))


def aligned(facts: Mapping[str, str]) -> str:
    """Facts by name: a line for each fact, with the names in one column."""
    return _plain(list(facts.items()), "left")


def results_table(results: Mapping[str, Mapping[str, float]]) -> str:
    """A table of name -> metric -> value with a row for each name and a column for each metric.

    If it is too wide, names and metrics change places. A single name gets a line for each metric.
    """
    if len(results) == 1:
        [only] = results.values()
        return _plain([[name, number(value)] for name, value in only.items()])
    metrics = list(dict.fromkeys(metric for row in results.values() for metric in row))
    cells = [["", *metrics]]
    cells += [[name, *(number(row.get(metric)) for metric in metrics)] for name, row in results.items()]
    table = _plain(cells)
    if max(map(width, table.splitlines()), default=0) > _COLUMNS and len(results) < len(metrics):
        table = _plain(list(zip(*cells, strict=True)))
    return table


Rows = Mapping[str, Mapping[str, float]]  # name of a part, split or seed -> metric -> value


def of_whole_and_parts(rows: Rows) -> list[Rows]:
    """The rows in two groups, if the row without a name shares no metric with the others; else in one."""
    whole, parts = rows.get("", {}), {name: row for name, row in rows.items() if name}
    if not whole or not parts or any(whole.keys() & row.keys() for row in parts.values()):
        return [rows]
    return [{"": whole}, parts]


def results_tables(rows: Rows, baseline: tuple[str, Rows]) -> str:
    """The table of results and of a baseline, and a table of parts that are judged by other metrics."""
    first, *others = of_whole_and_parts(rows)
    return "\n\n".join(map(results_table, [with_baseline(first, baseline), *others]))


def with_baseline(rows: Rows, baseline: tuple[str, Rows]) -> dict[str, Mapping[str, float]]:
    """Results with rows of a baseline below: its name, and its rows by the same names."""
    name, parts = baseline
    first = dict(rows) if len(rows) > 1 or not parts else {"the model": next(iter(rows.values()))}
    return first | {f"{part}: {name}" if len(parts) > 1 else name: row for part, row in parts.items()}


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; the first column is aligned to the left, the others to the right."""
    alignment = ("left", *["right"] * (len(heads) - 1))
    cells = [[escaped(cell) for cell in row] for row in (heads, *rows)]
    return tabulate(cells[1:], cells[0], tablefmt="github", colalign=alignment, disable_numparse=True)


def _plain(cells: Sequence[Sequence[str]], others: str = "right") -> str:
    """Rows of cells without lines; the first column is aligned to the left."""
    alignment = ("left", *[others] * (len(cells[0]) - 1)) if cells else ()
    # tabulate counts characters: a NUL beside a wide one makes two of it.
    cells = [["".join(c + "\0" * (width(c) - 1) for c in escaped(cell)) for cell in row] for row in cells]
    made = tabulate(cells, tablefmt="plain", colalign=alignment, disable_numparse=True)
    return made.replace("\0", "")


def bar_lines(title: str, counted: str, counts: Iterable[tuple[str, int]]) -> list[str]:
    """A line for each name with its count, its share and a bar.

    `title` says what the names are, `counted` what is counted.
    """
    counts = list(counts)
    total, largest = sum(count for _, count in counts), max(count for _, count in counts)
    lines = [f"  {title:{_NAME_WIDTH}}  {counted:>11}  {'share':>7}"]
    for name, count in counts:
        shown, share = _in_name_column(name), percent(count, total)
        lines.append(f"  {shown}  {count:>11,}  {share:>7}  {_bar(count, largest)}".rstrip())
    return lines


def _bar(count: int, largest: int) -> str:
    """A bar of blocks, exact to an eighth of a column; every count above 0 is visible."""
    eighths = max(round(8 * _BAR_WIDTH * count / largest), int(count > 0)) if largest else 0
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def _in_name_column(name: str) -> str:
    """The name, cut or filled with spaces to the width of its column."""
    name = escaped(name)
    if width(name) > _NAME_WIDTH:
        while width(name) >= _NAME_WIDTH:
            name = name[:-1]
        name += "…"
    return name + " " * (_NAME_WIDTH - width(name))


def width(text: str) -> int:
    """The width in a terminal: a Chinese character takes two columns, a combining mark none."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(map(bool, map(unicodedata.combining, text)))


def number(value: float | None) -> str:
    """A count with commas between thousands; other values with four decimals or, if small, as 1.2e-05."""
    if value is None:
        return "–"
    if isinstance(value, Integral):
        return f"{value:,}"
    return f"{value:.1e}" if 0 < abs(value) < 0.001 else f"{value:.4f}"


def percent(count: float, total: float) -> str:
    """A share as "12.5 %"; 0 if the total is 0."""
    share = 100 * count / total if total else 0.0
    return "< 0.1 %" if 0 < share < 0.05 else f"{share:.1f} %"


def megabytes(size: float) -> str:
    """A number of bytes as "1,234.5 MB"."""
    return f"{size / 1e6:,.1f} MB"


def per_second(rate: float) -> str:
    """A rate of steps: "3.2 steps/s", "12.5 s/step"."""
    return f"{rate:.3g} steps/s" if rate >= 1 else f"{1 / rate:.3g} s/step"


def duration(seconds: float) -> str:
    """A time in its two largest units: "0.25 s", "41 s", "12 min 5 s", "3 d 4 h"."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    left = round(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {unit}")
    return " ".join(part for part in parts[:2] if not part.startswith("0 "))
