"""Shows a small pretrained ALBERT at work, then makes another from raw text; prints each command.

If you run it again, it continues.
"""

import collections
import itertools
import json
import pathlib
import re
import subprocess
import sys
from collections.abc import Sequence

if not __package__:  # run by its path
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from examples.stages import run_recipe, stage

ROOT = pathlib.Path("demo")
CONFIG = "examples/sotu_albert_config.json"
LENGTH, PREDICTIONS = 64, 10
MINUTES = 6  # of pretraining, on whatever machine
MOST_STEPS = 8000

SMALL_MODEL = "albert-small-demo"

COMMON_SENTENCES = """\
He was born in [MASK] York.
They were married and had two [MASK].
She opened the [MASK] and went out.
"""

SENTENCES_OF_A_CENTURY = """\
Our relations with the Indian tribes are peaceful.
We must invest in our schools and our computers.
"""

MASKED_SENTENCES = """\
The state of the [MASK] is strong.
I ask the [MASK] to pass this bill.
Our treaty with Great [MASK] was signed this year.
We must cut taxes and create new [MASK] for our workers.
The Secretary of the [MASK] has sent me his annual report.
"""


def main() -> int:
    """Runs every stage whose output does not exist yet; returns the exit status."""
    if not pathlib.Path(CONFIG).exists():
        print("demo.py: error: run it from the folder of the project", file=sys.stderr)
        return 2
    return run_recipe(_run_stages, "make demo")


def _run_stages() -> None:
    corpus = ROOT / "corpus"
    text, held_out_text = corpus / "train.txt", corpus / "heldout.txt"
    tokenizer = ROOT / "tokenizer.model"
    train, held_out = ROOT / "train.tfrecord", ROOT / "heldout.tfrecord"
    model = ROOT / "model"
    sizes = [f"--max_seq_length={LENGTH}", f"--max_predictions_per_seq={PREDICTIONS}"]

    stage("The small pretrained model of this package fills masks", None, [
        "examples/fill_masks.py", f"--input={SMALL_MODEL}",
    ], text=COMMON_SENTENCES, expected="10 s")  # fmt: skip
    stage("Text: 249 addresses, a sentence a line", text, [
        "examples/sotu_corpus.py", f"--output_dir={corpus}",
    ], expected="5 s")  # fmt: skip
    century = ROOT / "century"
    classify = ["run_classifier.py", "--task_name=custom", f"--output_dir={century}"]
    stage("Fine-tuning: from which century is a sentence?", century / "eval_results.json", [
        *classify, f"--init_checkpoint={SMALL_MODEL}", f"--train_file={corpus / 'century_train.tsv'}",
        f"--dev_file={corpus / 'century_dev.tsv'}", "--text_columns=sentence", "--label_column=century",
        "--max_seq_length=64", "--train_batch_size=32", "--learning_rate=2e-4", "--num_train_epochs=4",
        "--warmup_proportion=0.1", "--do_train", "--do_eval",
    ], expected="40 s")  # fmt: skip
    stage("It answers", None, [*classify, "--interactive"], text=SENTENCES_OF_A_CENTURY, expected="10 s")
    stage("Vocabulary", tokenizer, [
        "-m", "data_prep.train_tokenizer", f"--input_file={text}",
        f"--output_prefix={tokenizer.with_suffix('')}", f"--vocab_size={_config()['vocab_size']}",
    ], expected="15 s")  # fmt: skip
    for source, target, passes in [(text, train, 4), (held_out_text, held_out, 1)]:
        stage(f"Records of {source}", target, [
            "-m", "data_prep.create_pretraining_data", f"--input_file={source}", f"--output_file={target}",
            f"--spm_model_file={tokenizer}", *sizes, f"--dupe_factor={passes}",
        ], expected="10 s")  # fmt: skip
    pretraining = [
        "run_pretraining.py", f"--albert_config_file={CONFIG}", f"--input_file={train}",
        f"--eval_input_file={held_out}", f"--output_dir={model}", *sizes, "--do_eval",
        "--train_batch_size=32", "--optimizer=lamb", "--learning_rate=3e-3",
    ]  # fmt: skip
    steps = _steps(pretraining)
    stage("Pretraining", None, [
        *pretraining, f"--num_train_steps={steps}", f"--num_warmup_steps={steps // 40}",
        f"--save_checkpoints_steps={max(1, steps // 8)}",
    ], expected=f"{MINUTES} min")  # fmt: skip
    baseline = _commonest_piece_accuracy(train, held_out)
    _show_results(json.loads((model / "eval_results.json").read_text()), baseline)
    picture = ROOT / "learning_curves.png"
    stage("Learning curves", None, [
        "examples/learning_curves.py", f"--model_dir={model}", f"--output_file={picture}",
        f"--masked_lm_baseline={baseline:.4f}",
    ], expected="5 s")  # fmt: skip
    export = ROOT / "export"
    stage("Export: text in, answers out", export / "1", [
        "export_saved_model.py", f"--input={model}", f"--spm_model_file={tokenizer}",
        f"--export_dir={export}",
    ], expected="20 s")  # fmt: skip
    stage("A request to it: filled-in masks", None, [
        "examples/fill_masks.py", f"--input={export}",
    ], text=MASKED_SENTENCES, expected="10 s")  # fmt: skip
    print(
        f"\n{ROOT}/ holds everything: the curves {picture}, the table {ROOT / 'results.md'}, the model "
        f"{model} and its export {export}. Next, run the same commands with your own text."
    )


def _steps(pretraining: Sequence[str]) -> int:
    """The number of steps that fit into `MINUTES`, measured once with a dry run, and kept in a file."""
    kept = ROOT / "steps.txt"
    if not kept.exists():
        print("\n== How fast is this machine? (20 s)", flush=True)
        command = [sys.executable, *pretraining, f"--num_train_steps={MOST_STEPS}", "--dry_run"]
        said = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True).stderr
        minutes, seconds = re.search(r"training step +(?:(\d+) min )?([\d.]+) s", said).groups("0")
        step = 60 * int(minutes) + float(seconds)
        steps = round(min(MOST_STEPS, max(100, MINUTES * 60 / step)))
        kept.write_text(f"{steps}\n")
        print(f"a step takes {step:g} s: {steps:,} steps")
    return int(kept.read_text())


def _config() -> dict:
    return json.loads(pathlib.Path(CONFIG).read_text())


def _commonest_piece_accuracy(train: pathlib.Path, held_out: pathlib.Path) -> float:
    """Computes the held-out accuracy of one answer: the piece that is masked most often in training."""
    from albert_tf.cli.script import quiet_start

    quiet_start("error")
    import tensorflow as tf

    from albert_tf.data.records import parse_pretraining_batch

    def answers(path: pathlib.Path, batches: int | None) -> collections.Counter:
        counts = collections.Counter()
        for batch in itertools.islice(tf.data.TFRecordDataset(str(path)).batch(256), batches):
            parsed = parse_pretraining_batch(batch, LENGTH, PREDICTIONS)
            counts.update(parsed["masked_lm_ids"].numpy()[parsed["masked_lm_weights"].numpy() > 0].tolist())
        return counts

    [(commonest, _)] = answers(train, 40).most_common(1)
    counts = answers(held_out, None)
    return counts[commonest] / counts.total()


def _show_results(results: dict[str, float], baseline: float) -> None:
    rows = [
        ("masked-LM accuracy", results["masked_lm_accuracy"], baseline, "always the most frequent piece"),
        ("sentence-order accuracy", results["sentence_order_accuracy"], 0.5, "chance"),
    ]
    table = f"| held out, step {results['global_step']} | model | baseline | |\n|---|---|---|---|\n"
    table += "".join(
        f"| {name} | {ours:.4f} | {theirs:.4f} | {what} |\n" for name, ours, theirs, what in rows
    )
    (ROOT / "results.md").write_text(table)
    print(f"\n== Results\n{table}", end="")


if __name__ == "__main__":
    sys.exit(main())
