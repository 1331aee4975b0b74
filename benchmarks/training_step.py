"""Training steps to measure: a trainer of a released size, its random batch, and the work of its step."""

import dataclasses
from typing import Any

import numpy as np

from albert_tf.cli import flags
from albert_tf.cli.flags import option
from albert_tf.config import AlbertConfig

_SEED = 1


@dataclasses.dataclass(frozen=True)
class StepOptions(flags.ScriptOptions):
    """The step of a task on random examples."""

    task: str = option(
        "pretraining", choices=("pretraining", "classification"), help="pretraining by LAMB, or MNLI by AdamW"
    )
    preset: str = option("base_v2", help='name of a released size, or "tiny"')
    batch_size: int = option(8, at_least=1, help="examples in a step")
    max_seq_length: int = option(128, at_least=8, help="length of the examples")
    max_predictions_per_seq: int = option(20, at_least=1, help="predictions of a record of pretraining")
    mixed_precision: str = option(
        "float32", choices=("float32", "bfloat16", "float16"), help="precision of the layers"
    )
    gradient_accumulation_steps: int = option(1, at_least=1, help="number of parts of the batch")
    recompute: bool = option(False, help="compute each layer again in the backward pass")

    @property
    def config(self) -> AlbertConfig:
        """The shape of the model."""
        from albert_tf import testing

        return testing.tiny_config() if self.preset == "tiny" else AlbertConfig.from_preset(self.preset)


def make_trainer(options: StepOptions, jit_compile: bool = False) -> tuple[Any, dict[str, Any]]:
    """A trainer with fresh weights, and its batch by name, whose last example is half padding."""
    import tensorflow as tf

    from albert_tf.tasks.classification.classification_task import ClassificationTask
    from albert_tf.tasks.classification.glue import TASKS
    from albert_tf.tasks.pretraining import PretrainingTask
    from albert_tf.training.gradients import LossScale
    from albert_tf.training.optimization import LAMB, AdamW

    config, length = options.config, options.max_seq_length
    if options.task == "pretraining":
        task, optimizer = PretrainingTask(config, [], [], length), LAMB(1e-3)
    else:
        settings = {"config": config, "max_seq_length": length, "dropout_prob": config.hidden_dropout_prob}
        task, optimizer = ClassificationTask(TASKS["mnli"], {}, {}, **settings), AdamW(1e-4)
    batch = {name: tf.constant(values) for name, values in _random_batch(options).items()}
    trainer = build_trainer(
        task,
        optimizer,
        options.mixed_precision,
        make_batches=lambda: tf.data.Dataset.from_tensors(batch).repeat(),
        micro_batches=options.gradient_accumulation_steps,
        loss_scale=LossScale() if options.mixed_precision == "float16" else None,
        jit_compile=jit_compile,
    )
    trainer.model.encoder.recompute = options.recompute
    return trainer, batch


def build_trainer(task: Any, optimizer: Any, precision: str, **settings: Any) -> Any:
    """A `Trainer` of one device with fresh weights; without `make_batches` it only has single steps."""
    import tensorflow as tf
    import tf_keras

    from albert_tf.training.train_step import Trainer

    tf_keras.utils.set_random_seed(_SEED)
    model = task.build_model(precision if precision == "float32" else f"mixed_{precision}")
    optimizer.build(model.trainable_variables)
    return Trainer(
        task=task,
        model=model,
        optimizer=optimizer,
        strategy=tf.distribute.get_strategy(),
        seed=_SEED,
        after_step=lambda steps: None,
        **{"make_batches": tuple} | settings,
    )


def _random_batch(options: StepOptions) -> dict[str, np.ndarray]:
    examples, length = options.batch_size, options.max_seq_length
    rng = np.random.default_rng(_SEED)
    mask = np.ones([examples, length], np.int32)
    mask[-1, length // 2 :] = 0
    ids = rng.integers(2, options.config.vocab_size, mask.shape, np.int32) * mask
    second = np.arange(length) >= length // 4
    batch = {"input_ids": ids, "input_mask": mask, "segment_ids": (mask * second).astype(np.int32)}
    if options.task == "classification":
        return batch | {"label_ids": rng.integers(0, 3, [examples], np.int32)}
    positions = rng.integers(1, length // 2, [examples, options.max_predictions_per_seq], np.int32)
    return batch | {
        "masked_lm_positions": positions,
        "masked_lm_ids": np.take_along_axis(ids, positions, 1),
        "masked_lm_weights": np.ones(positions.shape, np.float32),
        "next_sentence_labels": rng.integers(0, 2, [examples], np.int32),
    }


def step_flops(options: StepOptions) -> float:
    """Counts the operations of the matmuls; a multiply-add counts as two, a backward pass as two forward.

    The last layer is computed only at the positions that are read; what `recompute` repeats does not count.
    """
    config = options.config
    h, f, t = config.hidden_size, config.intermediate_size, options.max_seq_length
    e, v = config.embedding_size, config.vocab_size
    predictions = options.max_predictions_per_seq if options.task == "pretraining" else 0
    per_token = e * h + config.num_hidden_layers * (4 * h * h + 2 * h * f + 2 * t * h)
    read = predictions + 1
    saved = (t - read) / t * (2 * h * h + 2 * h * f + 2 * t * h)
    head = predictions * (h * e + e * v)
    return 3 * 2 * options.batch_size * (t * (per_token - saved) + head)
