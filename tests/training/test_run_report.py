"""What a run says of itself: scalars of TensorBoard, whether the loss fell, the page of the report."""

import pytest
import tensorflow as tf

from albert_tf.training.run_report import what_did_not_fall
from albert_tf.training.scalars import EvaluationScalars, training_losses


def scalars(folder):
    """(tag, step) of all that event files hold, in the order of writing; a text by its tag."""
    found = []
    for path in sorted(folder.glob("events*")):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            found += [(value.tag, event.step) for value in event.summary.value]
    return found


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ([2.0, 1.0], ""),
        ([0.70, 0.69, 0.70, 0.69, 0.70], "did not fall: 0.7000 at the beginning, 0.7000 at the end. Try"),
        ([0.70, 0.69, 0.70, 0.69, 0.68], "hardly fell: 0.7000 at the beginning, 0.6800 at the end. Try"),
        (
            [1.0, 0.9, 0.8, 0.9, 0.9, 0.8, 0.8, 0.9, 0.9, 1.0, 1.1],
            "did not fall: 0.9000 at the beginning, 1.0000 at",
        ),
        ([1.0, 9.0, 9.0, 9.0, 0.94], ""),  # the first fifth against the last
        ([1.0], ""),
        ([], ""),
    ],
)
def test_a_loss_that_did_not_fall_is_named(losses, said):
    note = what_did_not_fall(dict(enumerate(losses)))
    assert said in note
    assert bool(note) == bool(said)


def test_losses_are_those_of_the_last_run_that_came_to_a_step(tmp_path):
    for values in ({2: 5.0, 4: 4.0, 6: 3.0}, {4: 3.5}):
        writer = tf.summary.create_file_writer(str(tmp_path / "train"))
        with writer.as_default():
            for step, value in values.items():
                tf.summary.scalar("loss", value, step)
                tf.summary.scalar("accuracy", 0.0, step)
        writer.close()
    first = min((tmp_path / "train").iterdir())
    first.write_bytes(first.read_bytes()[:-40])  # as a killed run leaves it
    assert training_losses(str(tmp_path)) == {2: 5.0, 4: 3.5, 6: 3.0}
    assert training_losses(str(tmp_path / "none")) == {}


def test_evaluations_have_the_names_of_training_and_do_not_go_back(tmp_path):
    step = tf.Variable(5, dtype=tf.int64)
    seen = []
    writer = EvaluationScalars(str(tmp_path), step, lambda: int(step) > max(seen, default=0))
    for number in (5, 10, 5):
        step.assign(number)
        writer.write_summaries({"eval_accuracy": 0.5, "mismatched_eval_loss": 1.0, "f1": 1.0})
        seen.append(number)
    writer.flush()
    names = ("accuracy", "mismatched_loss", "f1")
    assert scalars(tmp_path) == [(name, number) for number in (5, 10) for name in names]
