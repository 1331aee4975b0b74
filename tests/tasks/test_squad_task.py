"""SquadTask: the original's losses, its files, the threshold, and the same answers whatever the padding."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from albert_tf import testing
from albert_tf.cli.settings import SquadSettings
from albert_tf.errors import InputError, InputWarning
from albert_tf.tasks.squad.decoding import Answers
from albert_tf.tasks.squad.span_measures import p_mask
from albert_tf.tasks.squad.squad_task import SquadTask
from albert_tf.tasks.squad.windows import window_features
from albert_tf.testing import tiny_config
from albert_tf.tokenization import load_tokenizer
from albert_tf.training.evaluation import Predictor
from tests.support.goldens import inputs
from tests.support.squad_files import make_questions

CONTEXT = "The boats carry wool, timber and salt to the town at the mouth of the river. " * 2
ROWS = [
    (CONTEXT, "What do they carry?", (16, "wool")),
    (CONTEXT, "Who counts the boats every morning?", None),
    ("Nobody bakes bread like the baker's wife.", "Who bakes?", (0, "Nobody")),
]


def mean(measured):
    return float(measured.total / (measured.weight + measured.epsilon))


def make_task(version, *, pad_to=(), rows=ROWS, splits=("train", "dev", "test"), settings=None, **kwargs):
    tokenizer = load_tokenizer(spm_model_file=testing.SPM_MODEL_FILE)
    questions = make_questions(rows, version)
    lengths = {"max_seq_length": 48, "doc_stride": 16, "max_query_length": 20}
    features = {split: window_features(tokenizer, questions, **lengths, training=False) for split in splits}
    if "train" in splits:
        features["train"] = window_features(tokenizer, questions, **lengths, training=True)
    return SquadTask(
        version,
        dict.fromkeys(splits, questions),
        features,
        config=tiny_config(initializer_range=0.5, num_hidden_layers=1),
        max_seq_length=48,
        pad_to=pad_to,
        settings=SquadSettings(**settings or {}),
        **kwargs,
    )


def test_p_mask_is_the_originals():
    np.testing.assert_array_equal(p_mask(inputs()), [[0, 1, 1, 0, 1, 1], [0, 1, 1, 1, 1, 1]])
    np.testing.assert_array_equal(p_mask(inputs(), with_cls=False)[:, 0], [1, 1])


@pytest.mark.parametrize("version", ["1.1", "2.0"])
def test_padding_changes_neither_losses_nor_answers(version):
    task = make_task(version)
    model = task.build_model()
    context = tf.distribute.InputContext()
    [batch] = task.train_dataset(4, 0, 0, context).take(1)
    wider = {
        name: values if name in ("label_ids", "example_index") else tf.pad(values, [[0, 0], [0, 13]])
        for name, values in batch.items()
    }
    one, other = (task.measure(model, some, training=False) for some in (batch, wider))
    assert one.keys() == other.keys() == set(task.metrics)
    for name in one:
        np.testing.assert_allclose(mean(one[name]), mean(other[name]), rtol=1e-5, atol=1e-6)
    spans, wide_spans = (task.outputs(model, some) for some in (batch, wider))
    for name, values in spans.items():
        kept = values > -1e29 if name.endswith("score") else True
        np.testing.assert_allclose(
            np.where(kept, values, 0), np.where(kept, wide_spans[name], 0), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("version", ["1.1", "2.0"])
def test_a_beam_longer_than_the_text_works(version):
    beam = {"start_n_top": 90, "end_n_top": 80, "n_best_size": 99}
    task = make_task(version, rows=[("The cat", "Who?", (4, "cat"))], settings=beam)
    predictor = Predictor(task, task.build_model(), tf.distribute.get_strategy())
    outputs = predictor.predict("dev", 2, "predicting")
    texts = {candidate.text for candidate in task.answers("dev", outputs).candidates[0]}
    assert texts <= {"The cat"[begin:end] for begin in range(7) for end in range(8)}
    assert {"The cat", "cat"} <= texts


@pytest.mark.parametrize("version", ["1.1", "2.0"])
def test_the_search_for_spans_compiles_with_xla(version):
    task = make_task(version, pad_to=(48,))
    model = task.build_model()
    [batch] = task.eval_dataset(8, tf.distribute.InputContext()).take(1)
    expected = task.outputs(model, batch)
    compiled = tf.function(lambda batch: task.outputs(model, batch), jit_compile=True)(batch)
    for name, values in expected.items():
        np.testing.assert_allclose(values, compiled[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("version", ["1.1", "2.0"])
def test_two_devices_find_the_answers_of_one(version, two_devices):
    task, answers = make_task(version), []
    for strategy in (tf.distribute.get_strategy(), two_devices):
        with strategy.scope():
            tf_keras.utils.set_random_seed(1)
            model = task.build_model()
        outputs = Predictor(task, model, strategy).predict("dev", 4, "predicting")
        answers.append(task.answers("dev", outputs))
    assert answers[0].texts == answers[1].texts


def predictions(task, folder, null_scores=(0.5, -1.5, 2.0)):
    """The files for outputs under which every question's best span is its context's first piece."""
    features = task.features["test"]
    outputs = {
        "start_index": features.first_lengths[:, None],
        "start_score": np.zeros((len(features), 1), np.float32),
        "end_index": features.first_lengths[:, None, None],
        "end_score": np.zeros((len(features), 1, 1), np.float32),
    }
    if task.version == "2.0":
        outputs["null_score"] = np.array(null_scores, np.float32)[features.question_of]
    paths = task.write_predictions(str(folder), outputs)
    assert sorted(paths) == sorted(str(path) for path in folder.iterdir() if path.name != "eval_results.json")
    texts = {path.name: path.read_text() for path in folder.iterdir()}
    return {name: json.loads(text) if name.endswith(".json") else text for name, text in texts.items()}


def test_files_of_1_1_are_the_originals(tmp_path):
    files = predictions(make_task("1.1", rows=[row for row in ROWS if row[2]]), tmp_path)
    assert set(files) == {"predictions.json", "nbest_predictions.json", "predictions.tsv"}
    assert list(files["predictions.json"]) == ["q0", "q1"]
    assert files["predictions.json"]["q1"] in "Nobody"
    [*_, best] = reversed(files["nbest_predictions.json"]["q0"])
    assert best["text"] == files["predictions.json"]["q0"]
    assert set(best) == {"text", "probability", "start_log_prob", "end_log_prob"}


def test_files_of_2_0_have_the_null_scores_and_a_tuned_threshold(tmp_path):
    files = predictions(make_task("2.0"), tmp_path)
    assert files["null_odds.json"] == {"q0": 0.5, "q1": -1.5, "q2": 2.0}
    assert set(files) == {"predictions.json", "nbest_predictions.json", "null_odds.json", "predictions.tsv"}
    assert len(files["nbest_predictions.json"]) == 3


def test_the_table_has_answers_scores_and_null_scores(tmp_path):
    files = predictions(make_task("2.0", null_score_diff_threshold=0.5), tmp_path)
    header, *rows = [line.split("\t") for line in files["predictions.tsv"].splitlines()]
    assert header == ["id", "answer", "score", "probability", "null_score"]
    answers = files["predictions.json"]
    assert [row[:2] for row in rows] == [["q0", answers["q0"]], ["q1", answers["q1"]], ["q2", ""]]
    assert [row[2:] for row in rows] == [["0.0", "1.0", null] for null in ("0.5", "-1.5", "2.0")]


@pytest.mark.parametrize(("threshold", "answered"), [(0.5, {"q0", "q1"}), (0.25, {"q1"}), (-2.0, set())])
def test_a_given_threshold_decides(tmp_path, threshold, answered):
    files = predictions(make_task("2.0", null_score_diff_threshold=threshold), tmp_path)
    assert {name for name, text in files["predictions.json"].items() if text} == answered


def without_answers(task):
    questions = dataclasses.replace(task.questions["test"], has_answers=False)
    task.questions = {"test": questions}
    return task


def test_without_answers_the_threshold_is_that_of_the_last_evaluation(tmp_path):
    task = without_answers(make_task("2.0", splits=("test",)))
    with pytest.warns(InputWarning, match="no threshold was found in .*: 0 is taken"):
        files = predictions(task, tmp_path)
    assert {name for name, text in files["predictions.json"].items() if text} == {"q1"}
    for folder, threshold, answered in [("before", 0.75, {"q0", "q1"}), ("run", 0.25, {"q1"})]:
        (tmp_path / folder).mkdir(exist_ok=True)
        results = json.dumps({"null_score_diff_threshold": threshold})
        (tmp_path / folder / "eval_results.json").write_text(results)
        task = without_answers(make_task("2.0", splits=("test",), weights_folder=str(tmp_path / "before")))
        (tmp_path / "run").mkdir(exist_ok=True)
        files = predictions(task, tmp_path / "run")
        assert {name for name, text in files["predictions.json"].items() if text} == answered


def test_several_models_need_a_threshold_of_their_own(tmp_path):
    (tmp_path / "before").mkdir()
    results = json.dumps({"null_score_diff_threshold": 99.0})
    (tmp_path / "before" / "eval_results.json").write_text(results)
    task = without_answers(make_task("2.0", splits=("test",), weights_folder=str(tmp_path / "before")))
    votes = [Answers([[]] * 3, np.array([1.0, 2.0, 3.0])) for _ in range(2)]
    with pytest.warns(InputWarning, match=r"no threshold was found in \S+: 0 is taken"):
        task.write_predictions(str(tmp_path), task.averaged("test", votes))
    null_odds = json.loads((tmp_path / "null_odds.json").read_text())
    assert list(null_odds.values()) == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"null_score_diff_threshold": null}', "\ud800"])
def test_a_damaged_evaluation_is_named(tmp_path, content):
    (tmp_path / "eval_results.json").write_bytes(content.encode(errors="surrogatepass"))
    with pytest.raises(InputError, match=r"eval_results\.json"):
        make_task("2.0").known_threshold(str(tmp_path))


def test_evaluations_in_other_windows_or_beams_are_not_compared():
    task = make_task("2.0")
    tokenizer = load_tokenizer(spm_model_file=testing.SPM_MODEL_FILE)
    lengths = {"max_seq_length": 48, "doc_stride": 15, "max_query_length": 20}
    shifted = window_features(tokenizer, task.questions["dev"], **lengths, training=False)
    others = [
        make_task("2.0", settings={"end_n_top": 3}),
        make_task("2.0", null_score_diff_threshold=0.0),
        make_task("2.0"),
    ]
    others[-1].features = {"dev": shifted}
    assert make_task("2.0").eval_data() == task.eval_data()
    assert len({task.eval_data(), *(other.eval_data() for other in others)}) == 4
