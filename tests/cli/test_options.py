"""What the flags of fine-tuning mean together."""

import pytest

from albert_tf.cli.flags import UsageError, parse
from albert_tf.errors import InputWarning
from run_race import RaceOptions


def options(**changes) -> RaceOptions:
    return RaceOptions(data_dir="race", output_dir="run", **changes)


def test_hyperparameters_are_flags_then_the_papers_then_the_originals():
    chosen = options().hyperparameters("race", 1000)
    assert (chosen.learning_rate, chosen.train_batch_size) == (1e-5, 32)
    assert (chosen.train_step, chosen.warmup_step) == (12000, 1000)
    assert (chosen.dropout_prob, chosen.encoder_dropout_prob, chosen.max_seq_length) == (0.1, None, 512)
    chosen = options(hparams="paper", train_batch_size=8).hyperparameters("race", 1000)
    assert (chosen.learning_rate, chosen.encoder_dropout_prob, chosen.train_batch_size) == (2e-5, 0.1, 8)


@pytest.mark.parametrize(("changes", "steps", "warmup"), [
    ({"num_train_epochs": 2}, 62, 5),
    ({"num_train_epochs": 0.001}, 1, 0),
    ({"num_train_epochs": 2, "train_batch_size": 10}, 200, 16),
    ({"train_step": 1200}, 1200, 100),
    ({"train_step": 600}, 600, 50),
    ({"train_step": 600, "warmup_step": 500}, 600, 500),
    ({"train_step": 600, "warmup_proportion": 0.1}, 600, 60),
])  # fmt: skip
def test_epochs_and_shares_become_steps_and_a_short_run_warms_up_shortly(changes, steps, warmup):
    chosen = options(**changes).hyperparameters("race", 1000)
    assert (chosen.train_step, chosen.warmup_step) == (steps, warmup)


def test_a_default_warmup_shrinks_with_a_line_and_a_given_one_stays_with_a_warning(capsys):
    options(train_step=600).hyperparameters("race", 1)
    assert capsys.readouterr().err == (
        "--warmup_step is 50 in a run of 600 steps: the default, 1,000, is for 12,000 steps\n"
    )
    with pytest.warns(InputWarning, match="--warmup_step=700: the run has only 600 steps"):
        assert options(train_step=600, warmup_step=700).hyperparameters("race", 1).warmup_step == 700


def test_what_cannot_be_is_refused():
    with pytest.raises(UsageError, match="--hparams=paper has no row for the task custom"):
        options(hparams="paper").hyperparameters("custom", 1)
    with pytest.raises(UsageError, match="--num_train_epochs=1e\\+12 makes"):
        options(num_train_epochs=1e12).hyperparameters("race", 1000)


def test_seeds_have_folders_of_their_own():
    chosen = options().hyperparameters("race", 1)
    assert options(seed=7).training_options(chosen).output_dir == "run"
    second = options(seed=7, num_seeds=2).training_options(chosen, 1)
    assert (second.output_dir, second.seed) == ("run/seed-8", 8)


def test_a_tpu_has_two_names_and_wants_static_shapes():
    flags = ["--data_dir=race", "--output_dir=run", "--do_train", "--tpu=mine", "--tpu_zone=here"]
    on_tpu = parse(RaceOptions, ["run_race.py", *flags, "--distribution_strategy=tpu"])
    assert (on_tpu.tpu_name, on_tpu.tpu_zone, on_tpu.gcp_project) == ("mine", "here", None)
    assert on_tpu.lengths_of_batches(128) == (128,)


@pytest.mark.parametrize(("given", "lengths"), [
    ({}, ()),
    ({"pad_to_max_length": True}, (128,)),
    ({"length_buckets": (64, 32)}, (32, 64, 128)),
    ({"length_buckets": (64, 128, 256)}, (64, 128)),
])  # fmt: skip
def test_batches_may_have_all_lengths_or_some_or_one(given, lengths):
    assert options(do_train=True, **given).lengths_of_batches(128) == lengths
