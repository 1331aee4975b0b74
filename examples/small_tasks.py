"""Asks GLUE, RACE and SQuAD what a pretrained model has learned. Run again, it continues.

Run, as one line, after examples.small_model:
  python -m examples.small_tasks --weights=small_model/model --glue_dir=glue --race_dir=.
  --squad_train_file=train-v1.1.json --squad_dev_file=dev-v1.1.json
"""

import dataclasses
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence

if not __package__:  # run by its path
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from albert_tf.cli.flags import ScriptOptions, option
from albert_tf.cli.script import script
from examples.baselines import baselines
from examples.small_model import CONFIG, run_in_project
from examples.stages import stage

RATES = ("1e-4", "3e-4", "1e-3")  # tried with one seed; the best one is taken for all
STARTS = ("pretrained", "untrained")


@dataclasses.dataclass(frozen=True)
class Task:
    """A task, its metric, and the flags that it has beyond those of all tasks."""

    name: str
    metric: str = "eval_accuracy"
    seeds: int = 3
    flags: tuple[str, ...] = ()


TASKS = (
    Task("sst-2", flags=("--num_train_epochs=2",)),
    Task("mrpc", seeds=5, flags=("--num_train_epochs=4",)),
    Task("rte", seeds=5, flags=("--num_train_epochs=4",)),
    Task("cola", "matthew_corr", seeds=5, flags=("--num_train_epochs=5",)),
    Task("sts-b", "pearson", flags=("--num_train_epochs=6",)),
    Task("qnli", flags=("--num_train_epochs=3",)),
    Task("mnli", flags=("--num_train_epochs=3",)),
    Task("race", flags=("--middle_only", "--max_qa_length=64", "--train_step=1500", "--max_seq_length=256")),
    Task("squad", "f1", flags=("--num_train_epochs=4", "--max_seq_length=256")),
)


@dataclasses.dataclass(frozen=True)
class TaskOptions(ScriptOptions):
    """Fine-tunes a pretrained model and the same model with fresh weights, and compares them.

    The rate of each is the best of three, tried with one seed. Beside them stand the commonest answer, and
    logistic regression on TF-IDF and on the means of the model's word vectors (examples/baselines.py).
    """

    weights: str = option(help="pretrained weights, with config and vocabulary")
    glue_dir: str | None = option(None, help="folder with GLUE's folders")
    race_dir: str | None = option(None, help="folder that holds RACE/")
    squad_train_file: str | None = option(None, help="SQuAD 1.1 to train on")
    squad_dev_file: str | None = option(None, help="SQuAD 1.1 to evaluate on")
    tasks: tuple[str, ...] = option(tuple(task.name for task in TASKS), help="the tasks to run")
    output_dir: str = option("small_tasks", help="folder for everything")


@script(TaskOptions)
def main(options: TaskOptions) -> None:
    """Runs every stage whose output does not exist yet, and writes results.md."""
    run_in_project(lambda: _run_tasks(options))


def _run_tasks(options: TaskOptions) -> None:
    root = pathlib.Path(options.output_dir)
    folders = {"race": options.race_dir, "squad": options.squad_train_file}
    rows = []
    for task in TASKS:
        if task.name in options.tasks and folders.get(task.name, options.glue_dir):
            results = {start: _fine_tuned(task, start, options, root) for start in STARTS}
            rows.append(_row(task, results, _without_a_model(task, options)))
    seeds = " or ".join(map(str, sorted({task.seeds for task in TASKS})))
    table = (
        "| dev split | metric | pretrained | untrained | commonest answer | TF-IDF | its word vectors |\n"
        "|---|---|---|---|---|---|---|\n" + "".join(rows)
    )
    (root / "results.md").write_text(table, encoding="utf-8")
    print(f"\n== Results: mean and standard deviation of {seeds} seeds\n{table}", end="")


def _fine_tuned(task: Task, start: str, options: TaskOptions, root: pathlib.Path) -> Mapping[str, float]:
    """The results of all seeds with the best rate."""
    weights = [f"--init_checkpoint={options.weights}"]
    if start == "untrained":
        [vocabulary] = pathlib.Path(options.weights).glob("*.model")
        weights = [f"--albert_config_file={CONFIG}", f"--spm_model_file={vocabulary}"]

    def run(rate: str, seeds: int) -> Mapping[str, float]:
        output = root / f"{task.name}_{start}_{rate}_{seeds}"
        stage(f"{task.name}, {start}, rate {rate}, {seeds} seeds", output / "eval_results.json", [
            *_command(task, options), "--do_train", "--do_eval", "--train_batch_size=32",
            f"--learning_rate={rate}", "--warmup_proportion=0.1", f"--output_dir={output}",
            f"--cached_dir={root / 'features'}", f"--num_seeds={seeds}", *weights, *task.flags,
        ])  # fmt: skip
        return json.loads((output / "eval_results.json").read_text(encoding="utf-8"))

    best = max(RATES, key=lambda rate: run(rate, 1)[task.metric])
    return {**run(best, task.seeds), "rate": float(best)}


def _command(task: Task, options: TaskOptions) -> list[str]:
    if task.name == "squad":
        files = options.squad_train_file, options.squad_dev_file
        return ["run_squad.py", f"--train_file={files[0]}", f"--predict_file={files[1]}"]
    if task.name == "race":
        return ["run_race.py", f"--data_dir={options.race_dir}", "--eval_batch_size=64"]
    return [
        "run_classifier.py", f"--task_name={task.name}", f"--data_dir={options.glue_dir}",
        "--max_seq_length=128", "--eval_batch_size=64",
    ]  # fmt: skip


def _without_a_model(task: Task, options: TaskOptions) -> list[str]:
    """The results of the baselines; SQuAD, where no fitted class answers, has none."""
    if task.name == "squad":
        return ["", ""]
    folder = options.race_dir if task.name == "race" else options.glue_dir
    results = baselines(task.name, folder, options.weights, middle_only=True)
    return [f"{result[task.metric]:.3f}" for result in results.values()]


def _row(task: Task, results: Mapping[str, Mapping[str, float]], baseline: Sequence[str]) -> str:
    cells = [
        f"{result[f'{task.metric}_mean']:.3f} ± {result[f'{task.metric}_std']:.3f}"
        for result in results.values()
    ]
    commonest = results["pretrained"].get(f"baseline_{task.metric}_mean")
    cells += ["" if commonest is None else f"{commonest:.3f}", *baseline]
    return f"| {task.name} | {task.metric} | {' | '.join(cells)} |\n"


if __name__ == "__main__":
    main()
