"""Pretrains a small ALBERT on your text and asks GLUE and RACE what it learned. Run again, it continues.

Run, as one line:
  python -m examples.small_model --text='corpus/*.txt' --spm_model_file=30k-clean.model
  --glue_dir=glue --race_dir=.

It skips the tasks whose folders exist; if you change the flags below, remove those folders first.
"""

import dataclasses
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence

if not __package__:  # run by its path
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from albert_tf.cli.flags import ScriptOptions, option
from albert_tf.cli.script import script
from albert_tf.errors import InputError
from albert_tf.files import appear_when_complete, matching_files
from examples.stages import compare, run_recipe, stage, write_table

CONFIG = "examples/small_albert_config.json"
HELD_OUT = 50  # one of this many documents is kept for evaluation

# Task -> its own flags; they follow the flags of all tasks.
TASKS = {
    "sst-2": ["--num_train_epochs=1", "--save_checkpoints_steps=500"],
    "mrpc": ["--num_train_epochs=3", "--save_checkpoints_steps=100"],
    "rte": ["--num_train_epochs=3", "--save_checkpoints_steps=50"],
    "cola": ["--num_train_epochs=5", "--save_checkpoints_steps=200"],
    "sts-b": ["--num_train_epochs=5", "--save_checkpoints_steps=200"],
    "race": [
        "--middle_only",
        "--max_qa_length=64",
        "--train_batch_size=8",
        "--train_step=500",
        "--save_checkpoints_steps=250",
    ],
}
METRICS = {"cola": "matthew_corr", "sts-b": "pearson"}


@dataclasses.dataclass(frozen=True)
class RecipeOptions(ScriptOptions):
    """Pretrains a small ALBERT, fine-tunes it, and compares it with the same model without pretraining.

    Measured on two CPU cores beside other work, with 40 MB of Wikipedia and books: pretraining took 91
    minutes; the held-out accuracy was 0.273 for masked LM and 0.648 for sentence order. The 36 fine-tuning
    runs took 55 minutes. The README has their results.
    """

    text: tuple[str, ...] = option(help="text: a sentence a line, a blank line between documents")
    spm_model_file: str = option(help="SentencePiece model of 30000 pieces")
    glue_dir: str | None = option(None, help="folder with GLUE's SST-2, MRPC, RTE, CoLA and STS-B")
    race_dir: str | None = option(None, help="folder that holds RACE/")
    output_dir: str = option("small_model", help="folder for everything")
    num_train_steps: int = option(9000, at_least=1, help="steps of pretraining")


@script(RecipeOptions)
def main(options: RecipeOptions) -> None:
    """Runs every stage whose output does not exist yet."""
    run_in_project(lambda: _run_stages(options))


def run_in_project(run_stages: Callable[[], None]) -> None:
    """Runs the stages of a recipe that needs `CONFIG`; exits with the status of a stage that fails."""
    if not pathlib.Path(CONFIG).exists():
        raise InputError(f"{CONFIG} does not exist here: run the recipe from the folder of the project")
    status = run_recipe(run_stages, "the same command")
    if status:
        sys.exit(status)


def pretrain(
    root: pathlib.Path,
    texts: Mapping[str, pathlib.Path],
    spm_model_file: str,
    *,
    length: int,
    predictions: int,
    passes: int,
    flags: Sequence[str],
) -> pathlib.Path:
    """Makes records of the texts "train" and "held_out", and pretrains on them.

    Args:
      root: folder for records and model.
      texts: "train" and "held_out" -> text file.
      spm_model_file: the SentencePiece model.
      length: pieces of a sequence.
      predictions: most predictions of a sequence.
      passes: passes over the training text, each with other masks.
      flags: more flags of run_pretraining.py.

    Returns:
      The best checkpoint.
    """
    sizes = [f"--max_seq_length={length}", f"--max_predictions_per_seq={predictions}"]
    for name, times in [("train", passes), ("held_out", 1)]:
        stage(f"Records, {name}", root / f"{name}.tfrecord", [
            "-m", "data_prep.create_pretraining_data", f"--input_file={texts[name]}",
            f"--output_file={root / name}.tfrecord", f"--spm_model_file={spm_model_file}", *sizes,
            f"--dupe_factor={times}",
        ])  # fmt: skip
    output = root / "pretrained"
    stage("Pretraining", None, [
        "run_pretraining.py", f"--albert_config_file={CONFIG}", f"--input_file={root / 'train.tfrecord'}",
        f"--eval_input_file={root / 'held_out.tfrecord'}", f"--output_dir={output}", *sizes, "--do_eval",
        "--num_warmup_steps=300", "--save_checkpoints_steps=500", *flags,
    ])  # fmt: skip
    return output / "model.ckpt-best"


def _run_stages(options: RecipeOptions) -> None:
    root = pathlib.Path(options.output_dir)
    root.mkdir(parents=True, exist_ok=True)
    texts = _divide(matching_files(options.text), root)
    own = ["--train_batch_size=64", "--learning_rate=3e-3", f"--num_train_steps={options.num_train_steps}"]
    checkpoint = pretrain(
        root, texts, options.spm_model_file, length=128, predictions=20, passes=6, flags=own
    )
    rows = []
    for task, own in TASKS.items():
        folder = options.race_dir if task == "race" else options.glue_dir
        if folder is None:
            continue
        command = ["run_race.py"] if task == "race" else ["run_classifier.py", f"--task_name={task}"]
        command += [
            f"--data_dir={folder}", f"--albert_config_file={CONFIG}", "--do_train", "--do_eval",
            f"--spm_model_file={options.spm_model_file}", "--max_seq_length=128", "--learning_rate=1e-4",
            "--warmup_proportion=0.1", "--eval_batch_size=64", *own,
        ]  # fmt: skip
        rows.append(compare(task, command, root, checkpoint, METRICS.get(task, "eval_accuracy")))
    write_table(root / "results.md", rows)


def _divide(files: list[str], root: pathlib.Path) -> dict[str, pathlib.Path]:
    """Writes every 50th document of each file to `held_out.txt`, the others to `train.txt`."""
    paths = {name: root / f"{name}.txt" for name in ("train", "held_out")}
    if not all(path.exists() for path in paths.values()):
        parts = {"train": [], "held_out": []}
        for file in files:
            text = pathlib.Path(file).read_text(encoding="utf-8")
            documents = [document.strip() for document in text.split("\n\n") if document.strip()]
            parts["held_out"] += documents[::HELD_OUT]
            parts["train"] += [document for i, document in enumerate(documents) if i % HELD_OUT]
        names = [str(path) for path in paths.values()]
        with appear_when_complete(names) as temporary:
            for name, part in zip(temporary, parts.values(), strict=True):
                pathlib.Path(name).write_text("\n\n".join(part) + "\n", encoding="utf-8")
    return paths


if __name__ == "__main__":
    sys.exit(main())
