"""What a command prints: lines, results, facts in columns, times and rates."""

import sys
from collections.abc import Mapping

from tqdm import tqdm


def say(text: str) -> None:
    """Prints a line on standard error, above a progress line if there is one."""
    tqdm.write(text, file=sys.stderr)


def format_results(results: Mapping[str, float]) -> str:
    """Results as the original writes them: lines `key = value`, sorted."""
    return "".join(f"{name} = {results[name]}\n" for name in sorted(results))


def aligned(facts: Mapping[str, str]) -> str:
    """Facts by name, a line each, one column for the names."""
    width = max(map(len, facts)) + 2
    return "\n".join(f"{name:{width}}{fact}" for name, fact in facts.items())


def per_second(rate: float) -> str:
    """A rate of steps: "3.2 steps/s", "12.5 s/step"."""
    return f"{rate:.3g} steps/s" if rate >= 1 else f"{1 / rate:.3g} s/step"


def duration(seconds: float) -> str:
    """A time in the two largest units that it has: "0.25 s", "41 s", "12 min 5 s", "3 d 4 h"."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    left, parts = round(seconds), []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {unit}")
    return " ".join(part for part in parts[:2] if not part.startswith("0 "))
