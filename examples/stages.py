"""Runs the stages of a recipe, one after another, and skips a stage whose output exists already."""

import json
import pathlib
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

SEEDS = 3

HEAD = "| dev split | metric | pretrained | untrained |\n|---|---|---|---|\n"


def run_recipe(run: Callable[[], None], again: str) -> int:
    """Runs the stages of a recipe; if one fails, prints how to continue.

    Args:
      run: runs all stages.
      again: the command that continues the recipe.

    Returns:
      The exit status.
    """
    try:
        run()
    except subprocess.CalledProcessError as error:
        print(f"status {error.returncode} ended the stage; {again} continues from here", file=sys.stderr)
        return error.returncode if error.returncode > 0 else 1
    except KeyboardInterrupt:
        print(f"interrupted; {again} continues from here", file=sys.stderr)
        return 130
    return 0


def stage(
    title: str,
    output: pathlib.Path | None,
    command: list[str],
    text: str | None = None,
    expected: str | None = None,
) -> None:
    """Prints a command of Python and runs it, unless its output exists already.

    Args:
      title: heading to print.
      output: the file or folder that the command makes; None for a command that runs every time.
      command: arguments of Python.
      text: standard input of the command.
      expected: the time that it takes on two cores, to print.

    Raises:
      CalledProcessError: the command failed.
    """
    time_needed = f" (about {expected})" if expected else ""
    print(f"\n== {title}{time_needed}\n$ python {shlex.join(command)}", flush=True)
    if output is not None and output.exists():
        print(f"{output} exists already")
        return
    start = time.monotonic()
    if text is not None:
        print(text)
    process = subprocess.Popen([sys.executable, *command], stdin=subprocess.PIPE if text else None, text=True)
    try:
        process.communicate(text)
    except KeyboardInterrupt:
        process.wait()  # It got the same signal, and saves its work.
        raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    print(f"({time.monotonic() - start:.0f} s)", flush=True)


def compare(
    name: str, command: Sequence[str], root: pathlib.Path, checkpoint: pathlib.Path, metric: str
) -> str:
    """Fine-tunes from a checkpoint and from new weights, with several seeds each, and evaluates.

    Args:
      name: name of the task; the folders in `root` begin with it.
      command: the script and its flags.
      root: folder for the runs.
      checkpoint: checkpoint of the pretrained model.
      metric: the result to show.

    Returns:
      A row for `write_table`.
    """
    results = {}
    for start in ("pretrained", "untrained"):
        output = root / f"{name}_{start}"
        weights = [f"--init_checkpoint={checkpoint}"] if start == "pretrained" else []
        stage(f"{name}, {start}", output / "seeds.json", [
            *command, f"--output_dir={output}", f"--cached_dir={root / 'features'}", f"--num_seeds={SEEDS}",
            *weights,
        ])  # fmt: skip
        results[start] = json.loads((output / "eval_results.json").read_text())
    return _row(name, metric, results)


def write_table(path: pathlib.Path, rows: Sequence[str]) -> None:
    """Writes the rows as a table, and prints it."""
    path.write_text(HEAD + "".join(rows), encoding="utf-8")
    print(f"\n== Results: mean and standard deviation of {SEEDS} seeds\n{path.read_text()}", end="")


def _row(name: str, metric: str, results: Mapping[str, Mapping[str, float]]) -> str:
    cells = [f"{row[f'{metric}_mean']:.3f} ± {row[f'{metric}_std']:.3f}" for row in results.values()]
    return f"| {name} | {metric} | {' | '.join(cells)} |\n"
