"""One training step: clipping, normalization, compilation."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from albert_tf.layers.variables import variable_name
from albert_tf.tasks.pretraining import PretrainingTask
from albert_tf.tasks.task import Task, WeightedSum
from albert_tf.training.divergence import Diverged
from albert_tf.training.evaluation import Evaluator
from albert_tf.training.optimization import LAMB, AdamW, WarmupPolynomialDecay
from albert_tf.training.train_step import Trainer
from tests.support.pretraining_records import CONFIG, SEQ_LENGTH, make_features
from tests.support.task_batches import task_and_batch


class SlopeTask(Task):
    """A loss with a known gradient: the weighted mean over examples of 3 w0 + 4 w1, or with another slope."""

    metrics = losses = ("loss_of_slopes",)
    best_metric = "loss_of_slopes"
    progress_metrics = {}  # noqa: RUF012
    tokens_per_example = 1
    slope = (3.0, 4.0)

    def training_data(self): ...
    def check_inputs(self): ...
    def explain_bad_record(self): ...
    def train_dataset(self, batch_size, seed, context): ...
    def eval_dataset(self, batch_size, context): ...

    def loss_weights(self, batch):
        return {"loss_of_slopes": tf.reduce_sum(batch["weights"])}

    def build_model(self, dtype):
        model = tf_keras.Sequential([tf_keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")])
        model.build([None, 2])
        return model

    def measure(self, model, batch, training, dropout_seed=None):
        weights = batch["weights"]
        values = model(tf.ones_like(weights)[:, None] * tf.constant([self.slope]))[:, 0]
        return {"loss_of_slopes": WeightedSum(tf.reduce_sum(values * weights), tf.reduce_sum(weights))}


class LookUpTask(SlopeTask):
    """A loss that looks one row of a table up twice, each time with slope (3, 4)."""

    def build_model(self, dtype):
        model = tf_keras.Sequential([tf_keras.layers.Embedding(2, 2, embeddings_initializer="zeros")])
        model.build([None, 2])
        return model

    def measure(self, model, batch, training, dropout_seed=None):
        rows = model(tf.zeros([1, 2], tf.int32))
        return {"loss_of_slopes": WeightedSum(tf.reduce_sum(rows * self.slope), tf.constant(1.0))}

    def loss_weights(self, batch):
        return {"loss_of_slopes": tf.constant(1.0)}


def training_batch() -> dict[str, tf.Tensor]:
    features = make_features(8)
    batch = {
        name: tf.constant(values, tf.float32 if name.endswith("weights") else tf.int32)
        for name, values in features.items()
    }
    batch["next_sentence_labels"] = batch["next_sentence_labels"][:, 0]
    return batch


def trainer(task, optimizer, strategy=None, make_batches=None, micro_batches=1, jit_compile=False) -> Trainer:
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        model = task.build_model("float32")
        optimizer = optimizer()
        optimizer.build(model.trainable_variables)
    return Trainer(
        task=task,
        model=model,
        optimizer=optimizer,
        strategy=strategy,
        make_batches=lambda: strategy.distribute_datasets_from_function(make_batches or weights_batches),
        seed=1,
        after_step=lambda steps: None,
        micro_batches=micro_batches,
        jit_compile=jit_compile,
    )


def weights_batches(context):
    per_device = context.get_per_replica_batch_size(4)
    weights = tf.data.Dataset.from_tensor_slices({"weights": [1.0, 1.0, 1.0, 5.0]})
    return weights.batch(per_device).repeat()


@pytest.mark.parametrize("devices", [1, 2])
def test_gradients_are_summed_then_clipped_once_to_norm_1(devices, two_devices):
    steps = trainer(SlopeTask(), lambda: AdamW(learning_rate=0.0), two_devices if devices == 2 else None)
    results = steps.train(tf.constant(1))
    # The examples weigh 1, 1, 1 and 5, so the second device has three quarters of the weight.
    np.testing.assert_allclose(results["gradient_norm"], 5.0, rtol=1e-6)
    np.testing.assert_allclose(results["loss"], 7.0, rtol=1e-6)
    moment = next(v for v in steps.optimizer.variables if "adam_m" in v.name)
    np.testing.assert_allclose(np.ravel(moment.numpy()), [0.06, 0.08], rtol=1e-5)


def test_gradients_of_norm_below_1_are_left_alone():
    task = SlopeTask()
    task.slope = (0.3, 0.4)
    steps = trainer(task, lambda: AdamW(learning_rate=0.0))
    steps.train(tf.constant(1))
    moment = next(v for v in steps.optimizer.variables if "adam_m" in v.name)
    np.testing.assert_allclose(np.ravel(moment.numpy()), [0.03, 0.04], rtol=1e-5)


def test_a_row_that_is_looked_up_twice_counts_in_the_norm_with_the_sum_of_its_gradients():
    task = LookUpTask()
    training = trainer(task, lambda: AdamW(learning_rate=0.0))
    with tf.GradientTape() as tape:
        loss = task.measure(training.model, {}, training=True)["loss_of_slopes"].total
    # The norm of the original off TPUs: |(3, 4, 3, 4)|, each look-up by itself.
    sparse_norm = tf.linalg.global_norm(tape.gradient(loss, training.model.trainable_variables))
    np.testing.assert_allclose(sparse_norm, 50**0.5, rtol=1e-6)

    results = training.train(tf.constant(1))
    np.testing.assert_allclose(results["gradient_norm"], 10, rtol=1e-6)  # |(6, 8)|
    moment = next(v for v in training.optimizer.variables if "adam_m" in v.name)
    np.testing.assert_allclose(moment.numpy(), [[0.06, 0.08], [0, 0]], rtol=1e-5)


@pytest.mark.parametrize(("name", "sparse"), [
    ("pretraining", {"token_type_embeddings"}),  # the word table is an output layer, too
    ("mnli", {"token_type_embeddings", "word_embeddings"}),
])  # fmt: skip
def test_only_tables_of_look_ups_could_be_measured_row_by_row(name, sparse):
    task, batch = task_and_batch(name)
    model = task.build_model("float32")
    variables = model.trainable_variables
    with tf.GradientTape() as tape:
        measured = task.measure(model, batch, training=True, dropout_seed=tf.constant([1, 2]))
        loss = tf.add_n([measured[name].total for name in task.losses])
    gradients = zip(variables, tape.gradient(loss, variables), strict=True)
    names = [variable_name(variable) for variable, g in gradients if isinstance(g, tf.IndexedSlices)]
    assert {name.rpartition("/")[2] for name in names} == sparse


def test_learning_rate_of_a_step_is_that_of_the_updates_before_it():
    schedule = WarmupPolynomialDecay(1.0, num_train_steps=10, num_warmup_steps=4, start_warmup_step=1)
    steps = trainer(SlopeTask(), lambda: AdamW(schedule))
    rates = [float(steps.train(tf.constant(1))["learning_rate"]) for _ in range(6)]
    np.testing.assert_allclose(rates, [0, 0, 0.25, 0.5, 0.75, 0.5], atol=1e-6)


def test_first_step_that_is_not_finite_is_told():
    task = SlopeTask()
    steps = trainer(task, lambda: AdamW(learning_rate=1.0))
    steps.train(tf.constant(2))
    steps.model.trainable_variables[0].assign([[np.nan], [1.0]])
    message = r"^the loss is not finite at step 2 \(nan\); .* before was that of dense.*kernel, of norm 5$"
    with pytest.raises(Diverged, match=message) as raised:
        steps.train(tf.constant(3))
    assert raised.value.step == 2


def test_variable_whose_gradient_is_not_finite_is_named():
    task = SlopeTask()
    task.slope = (3e38, 3e38)  # the sum of the two is finite only for weights of opposite sign
    steps = trainer(task, lambda: AdamW(learning_rate=1.0))
    steps.model.trainable_variables[0].assign([[1.0], [-1.0]])
    with pytest.raises(Diverged, match=r"^the gradient of dense.*kernel is not finite at step 0$"):
        steps.train(tf.constant(1))


def test_weights_that_the_last_update_ruined_are_named():
    steps = trainer(SlopeTask(), lambda: AdamW(learning_rate=1e38))
    with pytest.raises(Diverged, match=r"^the norm of dense.*kernel is not finite at step 1$") as raised:
        steps.train(tf.constant(1))
    assert raised.value.step == 0


@pytest.mark.parametrize("optimizer", [AdamW, LAMB])
def test_sizes_of_the_last_step_are_told_for_each_group(optimizer):
    task = PretrainingTask(CONFIG, [], [], SEQ_LENGTH)
    batch = tf.data.Dataset.from_tensors(training_batch()).repeat()
    steps = trainer(task, lambda: optimizer(0.01), make_batches=lambda context: batch)
    steps.train(tf.constant(1))
    before = {variable_name(v): v.numpy() for v in steps.model.variables}
    results = steps.train(tf.constant(1))
    after = {variable_name(v): v.numpy() for v in steps.model.variables}

    def norm(values, group):
        return np.sqrt(sum(np.square(v).sum() for name, v in values.items() if name.startswith(group)))

    groups = {name.split("/", 1)[1] for name in results if name.startswith("update_ratio/")}
    assert {"bert/embeddings", "bert/encoder/embedding_hidden_mapping_in", "cls/predictions"} < groups
    assert {"attention_1", "ffn_1", "LayerNorm", "LayerNorm_1"} <= {g.split("/")[-1] for g in groups}
    for group in groups:
        inside = f"{group}/"
        np.testing.assert_allclose(results[f"weight_norm/{group}"], norm(after, inside), rtol=1e-5)
        moved = norm({name: after[name] - before[name] for name in after}, inside)
        np.testing.assert_allclose(results[f"update_ratio/{group}"], moved / norm(after, inside), rtol=1e-3)
    gradients = [results[f"gradient_norm/{group}"] for group in groups]
    np.testing.assert_allclose(np.linalg.norm(gradients), results["gradient_norm"], rtol=1e-5)


def test_whole_step_compiles_with_xla_and_does_the_same():
    batch = training_batch()
    task = PretrainingTask(CONFIG, [], [], SEQ_LENGTH)
    weights = []
    for compiled in (False, True):
        tf_keras.utils.set_random_seed(1)
        steps = trainer(task, lambda: LAMB(0.01))
        step = tf.function(steps.replica_step, jit_compile=compiled)
        for _ in range(2):
            step(batch)
        weights.append(steps.model.get_weights())
    for plain, compiled in zip(*weights, strict=True):
        np.testing.assert_allclose(compiled, plain, atol=1e-5)


def test_whole_evaluation_step_compiles_with_xla_and_gives_the_same():
    batch = training_batch()
    task = PretrainingTask(CONFIG, [], [], SEQ_LENGTH)
    model, strategy = task.build_model(), tf.distribute.get_strategy()
    results = []
    for compiled in (False, True):
        evaluator = Evaluator(
            task=task, model=model, strategy=strategy, batches=[batch], jit_compile=compiled
        )
        measured = evaluator.evaluate(tf.constant(1))
        results.append({name: float(value) for name, value in measured.items()})
    assert results[1] == pytest.approx(results[0], rel=1e-5)


def test_two_devices_whose_passes_xla_compiles_train_what_one_trains(two_devices):
    task = PretrainingTask(CONFIG, [], [], SEQ_LENGTH)
    batch = tf.data.Dataset.from_tensor_slices(training_batch())

    def batches(context):
        return batch.batch(context.get_per_replica_batch_size(8), drop_remainder=True).repeat()

    weights, results = [], []
    for strategy in (None, two_devices):
        tf_keras.utils.set_random_seed(1)
        steps = trainer(
            task, lambda: LAMB(0.01), strategy, batches, micro_batches=2, jit_compile=bool(strategy)
        )
        results.append({name: float(value) for name, value in steps.train(tf.constant(2)).items()})
        weights.append(steps.model.get_weights())
    assert results[1] == pytest.approx(results[0], rel=1e-4)
    for one, two in zip(*weights, strict=True):
        np.testing.assert_allclose(two, one, atol=1e-6)


@pytest.mark.parametrize("devices", [1, 2])
def test_an_operation_of_the_host_in_a_compiled_step_is_an_error(devices, two_devices):
    class HostTask(SlopeTask):
        def measure(self, *args, **kwargs):
            text = tf.strings.as_string(args[0].trainable_variables[0])
            with tf.control_dependencies([tf.strings.length(text)]):
                return super().measure(*args, **kwargs)

    strategy = two_devices if devices == 2 else None
    steps = trainer(HostTask(), lambda: AdamW(0.0), strategy, jit_compile=True)
    with pytest.raises(tf.errors.InvalidArgumentError, match="AsString"):
        steps.train(tf.constant(1))


def test_the_loop_of_a_tpu_trains_what_single_steps_train():
    """Here it runs on the host: only a TPU runs it on the device."""
    weights = []
    for loops_on_device in (False, True):
        tf_keras.utils.set_random_seed(1)
        task = PretrainingTask(CONFIG, [], [], SEQ_LENGTH)
        batch = tf.data.Dataset.from_tensors(training_batch()).repeat()
        steps = trainer(task, lambda: AdamW(0.01), make_batches=lambda context, batch=batch: batch)
        steps.loops_on_device = loops_on_device
        told = []
        steps.after_step = told.append
        steps.train(tf.constant(3))
        assert told == ([3] if loops_on_device else [1, 1, 1])
        assert steps.optimizer.iterations.numpy() == 3
        weights.append(steps.model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-6)
