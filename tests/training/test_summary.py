"""What a run says at its start and its end."""

import re

from albert_tf.cli.options import TrainingOptions
from albert_tf.tasks.pretraining import PretrainingTask
from albert_tf.training import loop
from tests.support import classifier_runs
from tests.support.classifier_runs import mrpc_flags
from tests.support.glue_files import write_glue
from tests.support.pretraining_records import (
    CONFIG,
    MASKING,
    SEQ_LENGTH,
    make_unmasked_features,
    write_records,
)
from tests.support.script_runs import facts_in
from tests.training.test_run_report import scalars


def test_fine_tuning_says_what_it_does_and_where_all_lies(tmp_path, capsys):
    flags = mrpc_flags(write_glue(tmp_path / "glue"), tmp_path) | {"warmup_step": 1}
    assert classifier_runs.run(flags, "--do_train", "--do_eval", "--do_predict") == 0
    printed = capsys.readouterr()
    start, _, end = printed.err.partition("evaluation at step 2")
    assert re.search(r"the training loss (hardly fell|did not fall): 0\.\d+ at the beginning, ", end)
    assert re.search(r"always [01] +0\.\d{4}", printed.out)
    assert "all 13 examples are predicted " in end
    facts, folder = facts_in(start), tmp_path / "run"
    assert facts["strategy"] == "off"
    assert facts["precision"] == "float32"
    assert facts["model"].endswith(" parameters, 1 layers of width 16")
    assert facts["optimizer"] == "adamw, learning rate 5e-05, warm-up until step 1"
    assert facts["data"] == "24 examples"
    assert facts["dropout"] == "0 in the encoder, 0.1 before the head"
    assert facts["length"] == "at most 16 tokens"
    assert facts["starts from"] == "fresh weights"
    assert facts["folder"] == str(folder)

    # The best checkpoint was evaluated again: its scalars are not written again, which would lead back.
    steps = [step for tag, step in scalars(folder / "eval") if tag == "accuracy"]
    assert steps == [2, 4]
    assert ("accuracy", 4) in scalars(folder / "train")

    facts = facts_in(end)
    assert facts["best checkpoint"].startswith("model.ckpt-best (step ")
    assert "eval_accuracy 0." in facts["best checkpoint"]
    assert facts["newest checkpoint"] == "model.ckpt-4"
    assert facts["TensorBoard"] == f"tensorboard --logdir={folder}"
    results = facts["results"].split(", ")
    assert {"eval_results.txt", "eval_results.json", "history.json", "report.html", "MRPC.tsv"} <= set(
        results
    )
    assert all((folder / name).exists() for name in results)

    assert classifier_runs.run(flags, "--do_eval") == 0
    facts = facts_in(capsys.readouterr().err)
    assert facts["weights"].endswith(", step 4")
    assert "training" not in facts


def test_tokens_and_passes_are_those_of_all_devices(tmp_path, two_devices, capsys):
    files = [write_records(str(tmp_path / f"{i}.tfrecord"), 20, i, make_unmasked_features) for i in range(2)]
    options = TrainingOptions(
        output_dir=str(tmp_path / "model"), train_batch_size=8, num_train_steps=10, dry_run=True
    )
    loop.run(PretrainingTask(CONFIG, files, files, SEQ_LENGTH, MASKING), options, two_devices)
    printed = capsys.readouterr().err
    facts = facts_in(printed)
    assert facts["devices"].startswith("2 CPUs (")
    assert facts["batch"] == "8 (4 on each device), 96 tokens a step"
    assert facts["data"] == "40 records in 2 files"
    assert facts["masks"] == "drawn anew each time round: 0.15 of the pieces, at most 3, by up to 3 words"
    assert facts["seed"] == "12345"
    said = [line for line in printed.splitlines() if line.startswith("training  ")]
    assert said[0] == "training     10 steps, 960 tokens, the data 2 times"
