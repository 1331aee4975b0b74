"""Pretrains the model of `examples.small_model` further, on longer texts, and fine-tunes it on SQuAD.

Run, as one line, after examples.small_model:
  python -m examples.small_squad --spm_model_file=30k-clean.model --train_file=train-v1.1.json
  --dev_file=dev-v1.1.json --v2_file=dev-v2.0.json

If you run it again, it continues, and skips the tasks whose folders exist.
"""

import dataclasses
import json
import pathlib
import sys

if not __package__:  # run by its path
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from albert_tf.cli.flags import ScriptOptions, option
from albert_tf.cli.script import script
from albert_tf.files import appear_when_complete
from examples.small_model import CONFIG, pretrain, run_in_project
from examples.stages import compare, write_table

HELD_OUT_ARTICLES = 8

TASKS = {
    "squad_v1": ["--num_train_epochs=4"],
    "squad_v2": ["--num_train_epochs=2"],
}


@dataclasses.dataclass(frozen=True)
class RecipeOptions(ScriptOptions):
    """Compares a small pretrained ALBERT on SQuAD with the same model without pretraining.

    Measured on two CPU cores beside other work, with the first 12 articles of SQuAD 1.1's training set: 5000
    steps of pretraining took 60 minutes, the twelve runs of fine-tuning 70 minutes. The README has the
    results.
    """

    spm_model_file: str = option(help="SentencePiece model of 30000 pieces")
    train_file: str = option(help="SQuAD 1.1 to train on")
    dev_file: str = option(help="SQuAD 1.1 to evaluate on")
    v2_file: str = option(help=f"SQuAD 2.0; its last {HELD_OUT_ARTICLES} articles are for evaluation")
    small_model_dir: str = option("small_model", help="--output_dir of examples.small_model")
    output_dir: str = option("small_squad", help="folder for everything")
    num_train_steps: int = option(5000, at_least=1, help="steps of pretraining with 256 positions")


@script(RecipeOptions)
def main(options: RecipeOptions) -> None:
    """Runs every stage whose output does not exist yet."""
    run_in_project(lambda: _run_stages(options))


def _run_stages(options: RecipeOptions) -> None:
    root, before = pathlib.Path(options.output_dir), pathlib.Path(options.small_model_dir)
    root.mkdir(parents=True, exist_ok=True)
    texts = {name: before / f"{name}.txt" for name in ("train", "held_out")}
    own = [
        f"--init_checkpoint={before / 'pretrained' / 'model.ckpt-best'}", "--train_batch_size=32",
        "--learning_rate=2.5e-3", f"--num_train_steps={options.num_train_steps}",
    ]  # fmt: skip
    checkpoint = pretrain(
        root, texts, options.spm_model_file, length=256, predictions=40, passes=3, flags=own
    )
    v2_train, v2_dev = _hold_out(options.v2_file, root)
    files = {"squad_v1": (options.train_file, options.dev_file), "squad_v2": (v2_train, v2_dev)}
    rows = []
    for task, own in TASKS.items():
        train, dev = files[task]
        command = [
            "run_squad.py", f"--train_file={train}", f"--predict_file={dev}", "--do_train", "--do_predict",
            f"--albert_config_file={CONFIG}", f"--spm_model_file={options.spm_model_file}",
            "--max_seq_length=256", "--learning_rate=3e-4", "--train_batch_size=16",
            "--predict_batch_size=64", "--save_checkpoints_steps=10000", *own,
        ]  # fmt: skip
        rows.append(compare(task, command, root, checkpoint, "f1"))
    write_table(root / "results.md", rows)


def _hold_out(file: str, root: pathlib.Path) -> list[str]:
    """Writes the last articles of the file to one file, all others to another; returns both paths."""
    paths = [str(root / name) for name in ("v2_train.json", "v2_dev.json")]
    content = json.loads(pathlib.Path(file).read_text(encoding="utf-8"))
    articles = content["data"]
    parts = articles[:-HELD_OUT_ARTICLES], articles[-HELD_OUT_ARTICLES:]
    with appear_when_complete(paths) as temporary:
        for path, part in zip(temporary, parts, strict=True):
            pathlib.Path(path).write_text(json.dumps(content | {"data": part}), encoding="utf-8")
    return paths


if __name__ == "__main__":
    sys.exit(main())
