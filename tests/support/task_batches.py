"""Every task with a batch of eight examples of different lengths, and a trainer for its steps."""

import numpy as np
import tensorflow as tf
import tf_keras

from albert_tf.data.packing import Room, packed
from albert_tf.tasks.classification.classification_task import ClassificationTask
from albert_tf.tasks.classification.glue import TASKS
from albert_tf.tasks.pretraining import PretrainingTask
from albert_tf.tasks.race import RaceTask
from albert_tf.tasks.squad.squad_task import SquadTask
from albert_tf.tasks.tagging.tagging_task import TaggingTask
from albert_tf.tasks.tagging.tags import TagSet
from albert_tf.tasks.task import Task
from albert_tf.testing import tiny_config
from albert_tf.training.gradients import LossScale
from albert_tf.training.optimization import AdamW
from albert_tf.training.train_step import Trainer
from tests.support.pretraining_records import SEQ_LENGTH, make_features

NAMES = ("pretraining", "mnli", "sts-b", "race", "squad_v1", "squad_v2", "tagging")
EXAMPLES = 8


def task_and_batch(name: str, dropout: float = 0.0) -> tuple[Task, dict[str, tf.Tensor]]:
    config = tiny_config(
        vocab_size=20,
        max_position_embeddings=SEQ_LENGTH,
        initializer_range=0.25,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    if name == "pretraining":
        features = make_features(EXAMPLES)
        weights = features.pop("masked_lm_weights")
        batch = {key: tf.constant(values, tf.int32) for key, values in features.items()}
        batch["next_sentence_labels"] = batch["next_sentence_labels"][:, 0]
        return PretrainingTask(config, [], [], SEQ_LENGTH), batch | {
            "masked_lm_weights": tf.constant(weights)
        }
    rng = np.random.default_rng(0)
    shape = (EXAMPLES, 4) if name == "race" else (EXAMPLES,)
    lengths = rng.integers(6, SEQ_LENGTH, [*shape, 1])
    positions = np.arange(SEQ_LENGTH)
    batch = {
        "input_ids": np.where(positions < lengths, rng.integers(2, 20, [*shape, SEQ_LENGTH]), 0),
        "input_mask": positions < lengths,
        "segment_ids": (positions >= 3) & (positions < lengths),
    }
    settings = {"config": config, "max_seq_length": SEQ_LENGTH, "dropout_prob": dropout}
    if name == "race":
        task, labels = RaceTask({}, {}, **settings), rng.integers(0, 4, EXAMPLES)
    elif name.startswith("squad"):
        task = SquadTask({"squad_v1": "1.1", "squad_v2": "2.0"}[name], {}, {}, **settings)
        labels = np.stack([rng.integers(3, 4, EXAMPLES), rng.integers(4, 5, EXAMPLES), np.arange(8) % 2], 1)
    elif name == "tagging":
        tag_set = TagSet(("O", "B-x", "I-x"), "IOB2")
        task = TaggingTask(tag_set, {}, {}, crf=True, casing_feature=True, **settings)
        is_word = batch["input_mask"] & (rng.random([EXAMPLES, SEQ_LENGTH]) < 0.6)  # uneven numbers of words
        batch |= {"words": is_word * np.arange(1, is_word.size + 1).reshape(is_word.shape)}
        batch |= {"tags": is_word * (positions % 3), "word_shapes": is_word * (1 + positions % 5)}
        labels = np.zeros(EXAMPLES)  # none
    else:
        task = ClassificationTask(TASKS[name], {}, {}, **settings)
        labels = rng.integers(0, 3, EXAMPLES)
    kind = tf.float32 if name == "sts-b" else tf.int32
    return task, {key: tf.constant(value, tf.int32) for key, value in batch.items()} | {
        "label_ids": tf.constant(labels, kind)
    }


def make_trainer(
    task: Task,
    batch: dict[str, tf.Tensor],
    *,
    strategy: tf.distribute.Strategy | None = None,
    precision: str = "float32",
    recompute: bool = False,
    learning_rate: float = 0.01,
    room: Room | None = None,
    **settings,
) -> Trainer:
    """A trainer whose every step sees the batch; epsilon is 1, so that gradients near 0 stay small.

    `room` is that of the rows, if the batch is to be packed.

    Its `replica_step(batch)` runs a step of one device and needs no time to build a graph.
    """
    strategy = strategy or tf.distribute.get_strategy()
    tf_keras.utils.set_random_seed(1)
    with strategy.scope():
        model = task.build_model(precision)
        model.encoder.recompute = recompute
        optimizer = AdamW(learning_rate, epsilon=1.0)
        optimizer.build(model.trainable_variables)
        loss_scale = LossScale() if precision == "mixed_float16" else None

    def batches(context):
        examples = tf.data.Dataset.from_tensor_slices(batch)
        batches = examples.batch(context.get_per_replica_batch_size(len(batch["input_ids"])))
        return (packed(batches, room, settings.get("micro_batches", 1)) if room else batches).repeat()

    return Trainer(
        task=task,
        model=model,
        optimizer=optimizer,
        strategy=strategy,
        make_batches=lambda: strategy.distribute_datasets_from_function(batches),
        seed=1,
        after_step=lambda steps: None,
        loss_scale=loss_scale,
        **settings,
    )


def moments_of(trainer: Trainer) -> dict[str, np.ndarray]:
    """First moments by variable name: after one step, a tenth of the clipped gradients."""
    return {v.name: v.numpy() for v in trainer.optimizer.variables if "adam_m" in v.name}
