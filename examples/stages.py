"""Runs the stages of a recipe, one after another, and skips a stage whose output exists already."""

import pathlib
import shlex
import subprocess
import sys
import time
from collections.abc import Callable


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
