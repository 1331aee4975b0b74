"""Measures what early exit saves and costs: accuracy, layers and time of a trained model under several rules.

Run: python -m benchmarks.early_exit --input=sst-2 --data_dir=glue

The folder is that of a run of a GLUE task with classes, and with --early_exit. Every rule is a graph of its
own, as it is exported: texts in, labels out. They answer the dev split in turn, so that other work on the
machine slows all of them equally. The table has the processor time as a share of that of all layers.
"""

import dataclasses
import pathlib
import sys
import time

if not __package__:  # run by its path
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

import numpy as np

from albert_tf.cli.flags import ScriptOptions, option
from albert_tf.cli.script import script
from albert_tf.cli.text import markdown_table

_NEVER = "patience:1000"  # the worst case: no row leaves


@dataclasses.dataclass(frozen=True)
class EarlyExitOptions(ScriptOptions):
    """Asks a trained model for the labels of texts, under each rule and batch size."""

    input: str = option(help="folder of a run with --early_exit")
    data_dir: str = option(help="folder of GLUE")
    rules: tuple[str, ...] = option(
        ("patience:1", "patience:2", "patience:3", "entropy:0.3"), help="values of --exit"
    )
    batch_sizes: tuple[int, ...] = option((1, 32), at_least=1, help="texts in a batch")
    max_examples: int = option(256, at_least=1, help="how many examples of the dev split are asked")
    rounds: int = option(3, at_least=1, help="passes over the texts of every rule; the fastest counts")


@script(EarlyExitOptions)
def main(options: EarlyExitOptions) -> None:
    """Asks, measures and prints a table for every batch size."""
    import tensorflow as tf

    from albert_tf.export.serving.saved_model import serve
    from albert_tf.export.trained_model import open_trained_model
    from albert_tf.tasks.classification.glue import find_task, read_split

    with open_trained_model(options.input) as trained:
        task = find_task(trained.task["task_name"])
        examples = read_split(task, options.data_dir, "dev")
        names = np.array(task.label_names, object).astype(bytes)
        rules = {"all layers": {}, "never": {"exit": _NEVER}} | {
            rule: {"exit": rule} for rule in options.rules
        }
        functions = {
            name: serve(trained, given).signatures()["serving_default"].traced()
            for name, given in rules.items()
        }
        layers = trained.config.num_hidden_layers
    count = min(options.max_examples, len(examples))
    order = sorted(range(count), key=lambda row: sum(len(texts[row]) for texts in examples.texts))
    for size in options.batch_sizes:
        batches = [order[begin : begin + size] for begin in range(0, count, size)]
        columns = dict(zip(("text", "text_pair"), examples.texts, strict=False))
        seconds: dict[str, list[float]] = {name: [] for name in functions}
        used, right = dict.fromkeys(functions, 0.0), dict.fromkeys(functions, 0)
        for _ in range(options.rounds + 1):  # the first round warms up
            for name, function in functions.items():
                begin, right[name], used[name] = time.process_time(), 0, 0.0
                for rows in batches:
                    texts = {
                        key: tf.constant([column[row] for row in rows]) for key, column in columns.items()
                    }
                    answer = function(**texts)
                    right[name] += np.count_nonzero(answer["label"].numpy() == names[examples.labels[rows]])
                    used[name] += (
                        answer["layers_used"].numpy().sum() if "layers_used" in answer else layers * len(rows)
                    )
                seconds[name].append(time.process_time() - begin)
        whole = min(seconds["all layers"][1:])
        heads = [f"batches of {size}", "layers", "accuracy", "time"]
        print(
            markdown_table(
                heads,
                [
                    [
                        name,
                        f"{used[name] / count:.2f}",
                        f"{right[name] / count:.4f}",
                        f"{min(seconds[name][1:]) / whole:.2f}",
                    ]
                    for name in functions
                ],
            )
        )
        print()


if __name__ == "__main__":
    sys.exit(main())
