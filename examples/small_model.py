"""Makes a small ALBERT from text: vocabulary, records, pretraining in five parts. Run again, it continues.

Run: python -m examples.small_model --text='corpus/*.txt'

`examples/small_tasks.py` asks the model what it has learned.
"""

import dataclasses
import json
import pathlib
import sys
from collections.abc import Callable
from typing import Any

if not __package__:  # run by its path
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from albert_tf.cli.flags import ScriptOptions, option
from albert_tf.cli.script import script
from albert_tf.errors import InputError
from albert_tf.files import appear_when_complete, matching_files, write_json
from examples.stages import run_recipe, stage

CONFIG = "examples/small_albert_config.json"
HELD_OUT = 50  # one of this many documents is kept for evaluation


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of the pretraining.

    Attributes:
      layers: how often the shared layer is applied.
      positions: of a sequence.
      examples: in a step.
      steps: for one pass of the recipe.
      masked: share of the pieces to predict.
      rate: the peak learning rate of LAMB. At 1e-2, as with AdamW at 1e-3, a fresh model learns only which
        pieces are the commonest.
      falls: whether the rate falls to 0; else it stays.
    """

    layers: int
    positions: int
    examples: int
    steps: int
    masked: float
    rate: float = 3e-3
    falls: bool = False


# Few layers, short sequences and small steps come first: they cost least, and teach most of what the model
# learns. All layers share their weights, so that the weights of a shallow model begin a deeper one. A quarter
# of the pieces teaches more in a step than the usual 15 %.
PARTS = (
    Part(layers=2, positions=64, examples=32, steps=1200, masked=0.15),
    Part(layers=2, positions=64, examples=32, steps=1200, masked=0.15, falls=True),
    Part(layers=2, positions=64, examples=64, steps=6000, masked=0.25),
    Part(layers=4, positions=64, examples=64, steps=500, masked=0.25),
    Part(layers=4, positions=128, examples=64, steps=1600, masked=0.15, rate=2e-3, falls=True),
)


@dataclasses.dataclass(frozen=True)
class RecipeOptions(ScriptOptions):
    """Pretrains the model of examples/small_albert_config.json.

    The masks are drawn anew each time the text is read. Products are in bfloat16, which is fast on processors
    that have it (AVX512-BF16, AMX) and slow on others: there, give --mixed_precision=float32.
    """

    text: tuple[str, ...] = option(help="text: a sentence a line, a blank line between documents")
    output_dir: str = option("small_model", help="folder for everything")
    mixed_precision: str = option("bfloat16", help="as in run_pretraining.py")
    share: float = option(1.0, at_least=1e-5, help="share of the steps of the whole recipe")


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


def _run_stages(options: RecipeOptions) -> None:
    root = pathlib.Path(options.output_dir)
    root.mkdir(parents=True, exist_ok=True)
    texts = _divide(matching_files(options.text), root)
    vocabulary = root / "vocabulary.model"
    stage("Vocabulary", vocabulary, [
        "-m", "data_prep.train_tokenizer", f"--input_file={texts['train']}",
        f"--output_prefix={vocabulary.with_suffix('')}",
        f"--vocab_size={_config()['vocab_size']}",
    ])  # fmt: skip
    weights: list[str] = []
    for number, part in enumerate(PARTS, start=1):
        records = {name: root / f"{name}_{part.positions}.tfrecord" for name in texts}
        for name, file in records.items():
            stage(f"Records of {part.positions} positions, {name}", file, [
                "-m", "data_prep.create_pretraining_data", f"--input_file={texts[name]}",
                f"--output_file={file}", f"--spm_model_file={vocabulary}", "--masking=dynamic",
                f"--max_seq_length={part.positions}", f"--dupe_factor={4 if name == 'train' else 1}",
            ])  # fmt: skip
        output, config = root / f"pretrained_{number}", root / f"config_{part.layers}.json"
        write_json(str(config), _config() | {"num_hidden_layers": part.layers})
        steps = max(1, round(part.steps * options.share))
        title = f"part {number} of {len(PARTS)}, {part.layers} layers, {part.positions} positions"
        stage(f"Pretraining, {title}", None, [
            "run_pretraining.py", f"--albert_config_file={config}", f"--input_file={records['train']}",
            f"--eval_input_file={records['held_out']}", f"--output_dir={output}", "--do_eval",
            f"--train_batch_size={part.examples}", f"--masked_lm_prob={part.masked}",
            "--max_predictions_per_seq=auto", f"--learning_rate={part.rate}",
            f"--poly_power={int(part.falls)}", f"--num_train_steps={steps}",
            f"--num_warmup_steps={min(300, steps // 20)}",
            f"--save_checkpoints_steps={max(1, min(1000, steps // 4))}",
            f"--mixed_precision={options.mixed_precision}", *weights,
        ])  # fmt: skip
        weights = [f"--init_checkpoint={output}"]
    stage("Weights in 16 bits, with config and vocabulary", root / "model", [
        "convert_checkpoint.py", f"--input={output}", f"--output={root / 'model'}",
        "--output_format=huggingface", "--dtype=float16",
    ])  # fmt: skip


def _config() -> dict[str, Any]:
    return json.loads(pathlib.Path(CONFIG).read_text(encoding="utf-8"))


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
            for name, path in zip(parts, temporary, strict=True):
                pathlib.Path(path).write_text("\n\n".join(parts[name]) + "\n", encoding="utf-8")
    return paths


if __name__ == "__main__":
    main()
