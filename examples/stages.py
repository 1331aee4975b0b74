"""Commands of a recipe, one after another; a stage whose output is there already is left out."""

import pathlib
import shlex
import subprocess
import sys
import time
from collections.abc import Callable


def run_recipe(run: Callable[[], None], again: str) -> int:
    """Runs the stages of a recipe; returns the exit status, and says how to continue when it stopped."""
    try:
        run()
    except subprocess.CalledProcessError as error:
        print(f"status {error.returncode} ended the stage; {again} continues from here", file=sys.stderr)
        return error.returncode if error.returncode > 0 else 1
    except KeyboardInterrupt:
        print(f"interrupted; {again} continues from here", file=sys.stderr)
        return 130
    return 0


def stage(title: str, output: pathlib.Path | None, command: list[str], text: str | None = None) -> None:
    """Prints a command and runs it, unless its output is there already."""
    print(f"\n== {title}\n$ python {shlex.join(command)}", flush=True)
    if output is not None and output.exists():
        print(f"{output} is there already")
        return
    start = time.monotonic()
    if text is not None:
        print(text)
    process = subprocess.Popen([sys.executable, *command], stdin=subprocess.PIPE if text else None, text=True)
    try:
        process.communicate(text)
    except KeyboardInterrupt:
        process.wait()  # it got the same signal, and saves
        raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    print(f"({time.monotonic() - start:.0f} s)", flush=True)
