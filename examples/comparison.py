"""Fine-tuning from a checkpoint against the same with fresh weights: several seeds of each, as a table."""

import json
import pathlib
from collections.abc import Mapping, Sequence

from examples.stages import stage

SEEDS = 3

HEAD = "| dev split | metric | pretrained | untrained |\n|---|---|---|---|\n"


def compare(
    name: str, command: Sequence[str], root: pathlib.Path, checkpoint: pathlib.Path, metric: str
) -> str:
    """Trains and evaluates both, unless that was done; returns the row of the table.

    Args:
      name: of the task, and of the folders in `root`.
      command: the script and its flags.
      root: folder for the runs.
      checkpoint: what one of the two starts from.
      metric: the result to show.
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
