"""Exported models answer as the Keras model does, whatever is asked, and say what is wrong with a request."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

import albert_tf
from albert_tf import testing
from albert_tf.asking.open_model import OpenModel, open_model
from albert_tf.cli.flags import UsageError
from albert_tf.errors import InputError, InputWarning
from albert_tf.export.device.token_model import TokenModel
from albert_tf.export.serving.saved_model import describe, serve, write_saved_model
from albert_tf.export.trained_model import TrainedModel
from albert_tf.models.early_exit import layers_used, rule_of_budget
from tests.support.checkpoint_files import assert_same_weights, weights_of
from tests.support.serving_exports import warmup_requests
from tests.support.trained_models import LENGTH, TASKS, trained_model

IDS = {
    "input_ids": np.array([[2, 14, 46, 3, 0], [2, 4, 15, 16, 3]], np.int32),
    "input_mask": np.array([[1, 1, 1, 1, 0], [1] * 5], np.int32),
    "segment_ids": np.array([[0, 0, 0, 0, 0], [0, 0, 1, 1, 1]], np.int32),
}
HEADS = {
    "classification": {"serving_default", "tokens", "serialized_examples"},
    "pretraining": {
        *("serving_default", "tokens", "serialized_examples"),
        *("sentence_order", "sentence_order_tokens", "sentence_order_serialized_examples"),
    },
    "similarity": {"serving_default", "tokens", "serialized_examples", "similarity"},
}
ASKED = {
    "text": ["The [MASK] carry wool.", "[MASK] 河水 " * 30],
    "text_pair": ["Rain fell. " * 20, ""],
    "passage": ["The river rises. " * 30, "boats"],
    "question": ["What _ ?", "Who is it?"],
    "options": [["boats", "river"], ["a", "the mill", ""]],
    "context": ["The river rises. " * 30, "boats"],
}
EMBEDDINGS = {"embeddings", "embeddings_tokens", "embeddings_serialized_examples"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Of each kind: the model, and its export loaded again."""
    made = {}

    def export(kind: str):
        if kind not in made:
            trained = trained_model(kind)
            folder = write_saved_model(serve(trained, {}), trained, str(tmp_path_factory.mktemp(kind)))
            made[kind] = trained, tf.saved_model.load(folder), pathlib.Path(folder)
        return made[kind]

    return export


def ask(loaded, signature: str, **inputs) -> dict[str, np.ndarray]:
    outputs = loaded.signatures[signature](**{name: tf.constant(value) for name, value in inputs.items()})
    return {name: values.numpy() for name, values in outputs.items()}


def examples(inputs: dict[str, np.ndarray]) -> list[bytes]:
    return [
        tf.train.Example(
            features=tf.train.Features(
                feature={
                    name: tf.train.Feature(int64_list=tf.train.Int64List(value=values[row].ravel()))
                    for name, values in inputs.items()
                }
            )
        ).SerializeToString()
        for row in range(len(inputs["input_ids"]))
    ]


@pytest.mark.parametrize("kind", TASKS)
def test_every_model_has_its_signatures_and_those_of_embeddings(exported, kind):
    _, loaded, _ = exported(kind)
    assert set(loaded.signatures) == HEADS.get(kind, HEADS["classification"]) | EMBEDDINGS


def test_classes_are_those_of_the_keras_model(exported):
    trained, loaded, _ = exported("classification")
    logits = trained.model(IDS)["logits"].numpy()
    outputs = ask(loaded, "tokens", **IDS)
    assert outputs["label"].tolist() == [[b"no", b"yes"][i] for i in logits.argmax(axis=1)]
    np.testing.assert_allclose(outputs["probabilities"], tf.nn.softmax(logits), atol=1e-6)


@pytest.fixture(scope="module")
def several():
    """A model of a custom task that gives a text several labels; "b" is hardly ever refused."""
    names = ["a", "b", "c"]
    task = {"task_name": "custom", "num_texts": 1, "problem_type": "multi_label_classification"}
    trained = trained_model("classification", label_names=names, **task)
    return dataclasses.replace(trained, metrics={"a_threshold": 0.9, "b_threshold": 0.01, "c_threshold": 1.0})


def test_several_labels_come_with_probabilities_and_obey_their_thresholds(several, tmp_path):
    trained, loaded = (
        several,
        tf.saved_model.load(write_saved_model(serve(several, {}), several, str(tmp_path))),
    )
    chances = tf.sigmoid(trained.model(IDS)["logits"]).numpy()
    decided = chances >= [0.9, 0.01, 1.0]
    assert decided[:, 1].all()
    assert not decided[:, 2].any()
    outputs = ask(loaded, "tokens", **IDS)
    np.testing.assert_allclose(outputs["probabilities"], chances, atol=1e-6)
    for row in range(len(chances)):
        ranked = [n for n in np.argsort(-chances[row]) if decided[row, n]]
        expected = [b"abc"[n : n + 1] for n in ranked]
        assert outputs["labels"][row].tolist() == expected + [b""] * (3 - len(expected))
    served = ask(loaded, "serialized_examples", input=examples(IDS))
    assert served["predictions"].tolist() == decided.astype(int).tolist()
    [answer] = open_model(tmp_path).predict("boats")
    assert "b" in answer["labels"]
    assert "c" not in answer["labels"]
    assert list(answer["probabilities"]) == ["a", "b", "c"]
    on_device = TokenModel(trained)(**{name: tf.constant(ids) for name, ids in IDS.items()})
    np.testing.assert_allclose(on_device["probabilities"], chances, atol=1e-6)


def test_without_an_evaluation_the_thresholds_are_a_half_and_a_warning_says_so(several):
    with pytest.warns(InputWarning, match="no thresholds of an evaluation: 0.5 is taken for every label"):
        serve(dataclasses.replace(several, metrics=None), {})


def test_a_score_is_that_of_the_keras_model(exported):
    trained, loaded, _ = exported("regression")
    logits = trained.model(IDS)["logits"].numpy()
    np.testing.assert_allclose(ask(loaded, "tokens", **IDS)["score"], logits[:, 0], atol=1e-6)
    served = ask(loaded, "serialized_examples", input=examples(IDS))
    np.testing.assert_allclose(served["predictions"], logits[:, 0], atol=1e-6)
    np.testing.assert_allclose(served["probabilities"], logits, atol=1e-6)


def test_choices_are_those_of_the_keras_model(exported):
    trained, loaded, _ = exported("multiple_choice")
    inputs = {name: np.stack([ids, ids[::-1], ids]) for name, ids in IDS.items()}
    logits = trained.model(inputs)["logits"].numpy()
    outputs = ask(loaded, "tokens", **inputs)
    assert outputs["choice"].tolist() == logits.argmax(axis=1).tolist()
    np.testing.assert_allclose(outputs["probabilities"], tf.nn.softmax(logits), atol=1e-6)


def test_passages_have_any_number_of_options(exported):
    _, loaded, _ = exported("multiple_choice")
    asked = {"passage": ["The boats.", "The hills."], "question": ["What?", "A _ ?"]}
    for count in (2, 5):
        outputs = ask(
            loaded, "serving_default", **asked, options=[["boats", "river", "a", "b", "c"][:count]] * 2
        )
        assert outputs["probabilities"].shape == (2, count)


def test_examples_of_multiple_choice_hold_the_choices_end_to_end(exported):
    _, loaded, _ = exported("multiple_choice")
    inputs = {name: np.stack([ids, ids[::-1]]).reshape(1, 4, 5) for name, ids in IDS.items()}
    shorter = {name: ids[:, :, :4] for name, ids in inputs.items()}
    outputs = ask(loaded, "serialized_examples", input=examples(inputs) + examples(shorter))
    for row, asked in enumerate((inputs, shorter)):
        expected = ask(loaded, "tokens", **asked)
        assert outputs["predictions"][row] == expected["choice"][0]
        np.testing.assert_allclose(outputs["probabilities"][row], expected["probabilities"][0], atol=1e-6)


def test_masks_are_filled_as_by_the_keras_model(exported):
    trained, loaded, _ = exported("pretraining")
    mask = trained.tokenizer.mask_id
    logits = trained.model({**IDS, "masked_lm_positions": np.array([[0], [1]])})["mlm_logits"].numpy()
    outputs = ask(loaded, "tokens", **IDS)
    assert IDS["input_ids"][1, 1] == mask
    assert outputs["positions"].tolist() == [[-1], [1]]
    assert outputs["piece_ids"][1, 0].tolist() == np.argsort(-logits[1, 0])[:5].tolist()
    np.testing.assert_allclose(
        outputs["probabilities"][1, 0], np.sort(tf.nn.softmax(logits[1, 0]))[::-1][:5], atol=1e-6
    )
    assert outputs["piece_ids"][0, 0].tolist() == [-1] * 5
    named = ask(loaded, "serving_default", text=["The [MASK] boats", "boats"])
    assert [piece.decode() for piece in named["pieces"][0, 0]] == trained.tokenizer.ids_to_pieces(
        named["piece_ids"][0, 0].tolist()
    )
    assert named["pieces"][1, 0].tolist() == [b""] * 5


def test_the_order_is_that_of_the_keras_model(exported):
    trained, loaded, _ = exported("pretraining")
    logits = trained.model({**IDS, "masked_lm_positions": np.zeros([2, 1], np.int32)})["sop_logits"]
    outputs = ask(loaded, "sentence_order_tokens", **IDS)
    np.testing.assert_allclose(outputs["probabilities"], tf.nn.softmax(logits), atol=1e-6)
    assert outputs["label"].tolist() == [[b"in order", b"swapped"][i] for i in np.argmax(logits, axis=1)]


@pytest.mark.parametrize("kind", TASKS)
def test_embeddings_are_those_of_the_encoder(exported, kind):
    trained, loaded, _ = exported(kind)
    encoded = (trained.model if kind == "encoder" else trained.model.encoder)(IDS)
    outputs = ask(loaded, "embeddings_tokens", **IDS)
    np.testing.assert_allclose(outputs["sequence"], encoded["sequence_output"], atol=1e-6)
    np.testing.assert_allclose(outputs["pooled"], encoded["pooled_output"], atol=1e-6)
    sequence = encoded["sequence_output"].numpy()
    np.testing.assert_allclose(outputs["mean"][0], sequence[0, :4].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(outputs["mean"][1], sequence[1].mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("kind", [kind for kind in TASKS if not kind.startswith(("question", "token"))])
def test_texts_ids_and_examples_get_the_same_answer(exported, kind):
    _, loaded, folder = exported(kind)
    requests = warmup_requests(str(folder))
    for name in [name for name in requests if f"{name}_tokens" in requests or name == "serving_default"]:
        before = "" if name == "serving_default" else f"{name}_"
        by_text, by_ids, by_example = (
            ask(loaded, way, **requests[way])
            for way in (name, f"{before}tokens", f"{before}serialized_examples")
        )
        for outputs in (by_ids, by_example):
            if "score" in by_text:  # the original's name for it
                outputs.setdefault("score", outputs.get("predictions"))
            shared = outputs.keys() & by_text.keys()
            assert shared
            for output in shared:
                np.testing.assert_array_equal(outputs[output], by_text[output])


@pytest.mark.parametrize(
    "kind", ["classification", "multiple_choice", "pretraining", "question_answering_v2"]
)
def test_an_opened_model_answers_as_the_export_to_the_bit(exported, kind):
    trained, loaded, folder = exported(kind)
    signatures = {name: signature.traced for name, signature in serve(trained, {}).signatures().items()}
    before = OpenModel(trained.path, trained.assets, trained.tokenizer, signatures)
    after = open_model(folder.parent)
    assert (before.task_name, before.inputs, before.labels) == (after.task_name, after.inputs, after.labels)
    columns = {name: ASKED[name] for name in before.inputs}
    answers = before.predict(**columns, batch_size=1)
    again = after.predict(*columns.values(), batch_size=1)
    for row, answer in enumerate(answers):
        asked = {name: [column[row]] for name, column in columns.items()}
        expected = ask(loaded, "serving_default", **asked)
        assert answer.keys() == again[row].keys() <= expected.keys()
        for name, value in answer.items():
            wanted = expected[name][0]
            for found in (value, again[row][name]):
                found = np.array(list(found.values()) if isinstance(found, dict) else found)
                found = np.char.encode(found, "utf-8") if found.dtype.kind == "U" else found
                np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("kind", TASKS)
def test_warm_up_asks_every_signature_something_that_it_answers(exported, kind):
    _, loaded, folder = exported(kind)
    requests = warmup_requests(str(folder))
    assert set(requests) == set(loaded.signatures)
    for name, request in requests.items():
        ask(loaded, name, **request)


def test_a_threshold_travels_with_the_examples(tmp_path):
    trained = trained_model("classification")
    folder = write_saved_model(serve(trained, {"threshold_to_export": 0.25}), trained, str(tmp_path))
    outputs = ask(tf.saved_model.load(folder), "serialized_examples", input=examples(IDS))
    assert outputs["threshold"] == np.float32(0.25)
    assert outputs["predictions"].tolist() == outputs["probabilities"].argmax(axis=1).tolist()


def early_exit_model(kind: str) -> TrainedModel:
    return trained_model(kind, config={"num_hidden_layers": 4}, early_exit=True)


def test_sure_answers_leave_early_and_tell_their_layer(tmp_path):
    trained = early_exit_model("classification")
    ids = np.random.default_rng(0).integers(5, 100, [9, 8], np.int32)
    inputs = {"input_ids": ids, "input_mask": np.ones_like(ids), "segment_ids": np.zeros_like(ids)}
    logits = trained.model(inputs)["layer_logits"].numpy()
    rule = rule_of_budget(0.6, logits)
    used = layers_used(rule, logits)
    assert len(np.unique(used)) > 1
    trained = dataclasses.replace(trained, metrics={"exit_budget": 0.6, "exit_threshold": rule.value})
    folder = write_saved_model(serve(trained, {"exit": "budget:0.6"}), trained, str(tmp_path))
    loaded = tf.saved_model.load(folder)
    outputs = ask(loaded, "tokens", **inputs)
    np.testing.assert_array_equal(outputs["layers_used"], used)
    left = tf.nn.softmax(logits[np.arange(len(used)), used - 1])
    np.testing.assert_allclose(outputs["probabilities"], left, atol=1e-6)
    by_examples = ask(loaded, "serialized_examples", input=examples(inputs))
    np.testing.assert_array_equal(by_examples["layers_used"], used)
    [answer] = open_model(str(tmp_path)).predict("boats", "hills")
    assert answer["layers_used"] in (1, 2, 3, 4)


def test_a_score_can_leave_early_and_a_model_without_a_rule_uses_all_layers():
    trained = early_exit_model("regression")
    logits = trained.model(IDS)["layer_logits"].numpy()
    answer = serve(trained, {"exit": "patience:1:100"}).signatures()["tokens"].function(**IDS)
    np.testing.assert_array_equal(answer["layers_used"], [2, 2])
    np.testing.assert_allclose(answer["score"], logits[:, 1, 0], atol=1e-6)
    answer = serve(trained, {}).signatures()["tokens"].function(**IDS)
    np.testing.assert_allclose(answer["score"], logits[:, -1, 0], atol=1e-6)
    assert set(answer) == {"score"}


@pytest.mark.parametrize(
    ("trained", "rule", "message"),
    [
        (
            lambda: trained_model("classification"),
            "patience:3",
            "needs a model that was trained with --early",
        ),
        (
            lambda: early_exit_model("classification"),
            "budget:0.5",
            "was not evaluated with --exit=budget:0.5",
        ),
        (lambda: early_exit_model("regression"), "entropy:0.5", "for scores must be patience:N:TOLERANCE"),
    ],
)
def test_a_rule_that_does_not_fit_the_model_is_one_line(trained, rule, message):
    with pytest.raises((InputError, UsageError), match=message):
        serve(trained(), {"exit": rule})


@pytest.mark.parametrize("kind", TASKS)
def test_an_empty_batch_gets_an_empty_answer(exported, kind):
    _, loaded, _ = exported(kind)
    for name, function in loaded.signatures.items():
        _, inputs = function.structured_input_signature
        empty = {
            key: tf.zeros([0] + [d or 4 for d in spec.shape[1:]], spec.dtype) for key, spec in inputs.items()
        }
        for output in function(**empty).values():
            assert output.shape[0] == 0, name


@pytest.mark.parametrize("text", [b"", b"   \t", b"\xff\xfe boats \xc3", b"\x00", "boats " * 5000])
def test_every_text_gets_an_answer(exported, text):
    _, loaded, _ = exported("classification")
    outputs = ask(loaded, "serving_default", text=[text, "boats"], text_pair=["boats", text])
    np.testing.assert_allclose(outputs["probabilities"].sum(axis=1), 1, atol=1e-6)
    assert ask(loaded, "embeddings", text=[text])["input_mask"].sum() <= LENGTH


@pytest.mark.parametrize(
    ("signature", "inputs", "message"),
    [
        ("serving_default", {"text": ["a", "b"], "text_pair": ["c"]}, "differ in their number of rows"),
        ("tokens", dict.fromkeys(IDS, np.zeros([2, 0], np.int32)), "sequences of no pieces"),
        (
            "tokens",
            IDS | {"input_mask": np.ones([2, 4], np.int32)},
            "input_mask has not the shape of input_ids",
        ),
        ("tokens", IDS | {"input_ids": IDS["input_ids"] + 1000}, "input_ids must be from 0 to 159"),
        ("tokens", IDS | {"input_mask": IDS["input_mask"] + 1}, "input_mask must be from 0 to 1"),
        ("tokens", IDS | {"input_mask": -IDS["input_mask"]}, "input_mask must be from 0 to 1"),
        ("tokens", IDS | {"segment_ids": IDS["segment_ids"] + 1}, "segment_ids must be from 0 to 1"),
        ("embeddings_tokens", IDS | {"input_mask": -IDS["input_mask"]}, "input_mask must be from 0 to 1"),
        *(
            (
                "serialized_examples",
                {"input": examples(IDS | {name: IDS[name].astype(np.int64) + wrapped})},
                f"{name} must be from 0 to {largest}",
            )
            for name, largest in (("input_ids", 159), ("input_mask", 1), ("segment_ids", 1))
            for wrapped in (1 << 32, -(1 << 32))
        ),
        (
            "tokens",
            dict.fromkeys(IDS, np.zeros([1, LENGTH + 1], np.int32)),
            f"the {LENGTH} positions of the model",
        ),
        ("serialized_examples", {"input": [b"no example"]}, ""),
    ],
)
def test_a_bad_request_gets_a_reason_and_the_next_an_answer(exported, signature, inputs, message):
    _, loaded, _ = exported("classification")
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        ask(loaded, signature, **inputs)
    assert message in str(raised.value)
    assert ask(loaded, "tokens", **IDS)["label"].shape == (2,)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"question": ["a", "b"], "options": [["a", "b"]]}, "differ in their number of rows"),
        ({"question": ["a"], "options": np.zeros([1, 0], bytes)}, "there are no options"),
    ],
)
def test_choices_that_cannot_be_made_are_refused(exported, inputs, message):
    _, loaded, _ = exported("multiple_choice")
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        ask(loaded, "serving_default", passage=["a"], **inputs)
    assert message in str(raised.value)


def test_labels_config_and_vocabulary_travel_along(exported):
    trained, _, folder = exported("classification")
    assets = {path.name for path in (folder / "assets").iterdir()}
    vocabulary = {"tiny_sentencepiece.model", "tiny_sentencepiece.vocab"}
    assert assets >= {"albert_config.json", "task.json"} | vocabulary
    assert json.loads((folder / "assets" / "task.json").read_text())["label_names"] == ["no", "yes"]
    loaded_back = trained_model("classification", task_name="other").model
    for variable in loaded_back.variables:
        variable.assign(tf.zeros_like(variable))
    albert_tf.load_weights(loaded_back, str(folder))
    assert_same_weights(loaded_back, weights_of(trained.model))


def test_weights_are_stored_once_whatever_the_depth(tmp_path):
    sizes = {}
    for layers in (1, 3):
        trained = trained_model("classification", config={"num_hidden_layers": layers})
        folder = pathlib.Path(write_saved_model(serve(trained, {}), trained, str(tmp_path / str(layers))))
        [data] = (folder / "variables").glob("*.data-*")
        weights = sum(value.nbytes for value in weights_of(trained.model).values())
        sizes[layers] = data.stat().st_size
        assert weights <= sizes[layers] < weights + 10_000  # what else it holds is the object graph
        graph = tf.saved_model.load(str(folder)).signatures["tokens"].graph.as_graph_def()
        constants = [
            node.attr["value"].tensor.ByteSize()
            for part in [graph, *graph.library.function]
            for node in (part.node if part is graph else part.node_def)
            if node.op == "Const"
        ]
        assert max(constants) < 2_000
    assert sizes[1] == sizes[3]


def test_the_chinese_vocabulary_is_served_too(tmp_path):
    trained = trained_model("classification", vocab_file=testing.VOCAB_FILE)
    folder = write_saved_model(serve(trained, {}), trained, str(tmp_path))
    outputs = ask(tf.saved_model.load(folder), "serving_default", text=["中文"], text_pair=["船"])
    assert outputs["label"][0] in (b"no", b"yes")
    assert (pathlib.Path(folder) / "assets" / "tiny_wordpiece.txt").exists()


def test_versions_are_counted_and_none_is_replaced(tmp_path):
    trained = trained_model("encoder")
    served = serve(trained, {})
    assert write_saved_model(served, trained, str(tmp_path), 7) == str(tmp_path / "7")
    assert write_saved_model(served, trained, str(tmp_path)) == str(tmp_path / "8")
    with pytest.raises(InputError, match="/7 exists"):
        write_saved_model(served, trained, str(tmp_path), 7)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["7", "8"]


@pytest.mark.parametrize("version", [None, 1])
def test_two_exports_at_once_get_a_version_each(version, tmp_path):
    trained = trained_model("encoder")

    class Served(tf.Module):
        def signatures(self):  # another export begins and ends while this one is at work
            (tmp_path / "1").mkdir()
            (tmp_path / "1" / "saved_model.pb").write_text("of the other export")
            return {}

    if version:
        with pytest.raises(InputError, match="/1 exists: give another --version"):
            write_saved_model(Served(), trained, str(tmp_path), version)
    else:
        assert write_saved_model(Served(), trained, str(tmp_path)) == str(tmp_path / "2")
    assert sorted(path.name for path in tmp_path.iterdir()) == (["1"] if version else ["1", "2"])
    assert (tmp_path / "1" / "saved_model.pb").read_text() == "of the other export"


def test_a_failed_export_leaves_nothing(tmp_path):
    trained = trained_model("encoder")
    served = serve(trained, {})
    assets = dataclasses.replace(trained.assets, spm_model_file=str(tmp_path / "removed.model"))
    without_vocabulary = dataclasses.replace(trained, assets=assets)
    with pytest.raises((OSError, InputError), match=r"removed\.model"):
        write_saved_model(served, without_vocabulary, str(tmp_path / "export"))
    assert not list(tmp_path.glob("export/*"))


def test_the_signatures_are_shown_with_types_and_shapes(exported):
    _, _, folder = exported("classification")
    lines = describe(str(folder)).splitlines()
    assert lines[:5] == [
        "serving_default",
        "  takes  text: string [?]",
        "  takes  text_pair: string [?]",
        "  gives  label: string [?]",
        "  gives  probabilities: float32 [?, 2]",
    ]


def test_rows_that_are_no_pieces_are_never_guessed():
    trained = trained_model("pretraining", config={"vocab_size": 168})
    bias = trained.model.masked_lm.output_bias
    bias.assign(tf.where(tf.range(168) < 160, bias, 1e4))
    signature = serve(trained, {"top_k": 1000}).signatures()["serving_default"]
    filled = signature.function(text=tf.constant(["[MASK] a"]))
    assert filled["pieces"].shape == (1, 1, 160)
    assert set(filled["pieces"][0, 0].numpy()) == {piece.encode() for piece in trained.tokenizer.pieces}
    np.testing.assert_allclose(tf.reduce_sum(filled["probabilities"]), 1, rtol=1e-4)
    model = TokenModel(trained)
    inputs = {spec.name: tf.zeros([1, 4], tf.int32) for spec in model.specs(1, 4)}
    assert model(**inputs)["mlm_logits"].shape[-1] == 160
