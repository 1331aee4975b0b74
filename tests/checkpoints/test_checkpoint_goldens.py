"""The original's numbers, from weights that come out of files."""

import numpy as np
import pytest

from albert_tf.checkpoints import huggingface
from albert_tf.checkpoints.assets import Assets
from albert_tf.checkpoints.loading import load_weights
from albert_tf.checkpoints.tensorflow import write_native
from albert_tf.models import heads
from tests.support.checkpoint_files import write_checkpoint
from tests.support.goldens import GOLDENS, TOLERANCE, config_of, fill_variables, inputs, tensors

BLOCKS = {
    "encoder_shared": "encoder",
    "encoder_4layers_2groups_inner2": "encoder",
    "encoder_E_equals_H": "encoder",
    "encoder_relu": "encoder",
    "pretraining": "pretraining",
    "classifier_3way": "classification",
    "sts_b": "classification",
    "squad_v1": "question_answering",
    "squad_v2_infer": "question_answering_v2",
}


def write(kind: str, folder, block, head: str) -> str:
    config, weights = config_of(block), tensors(block)
    if kind == "original":
        return write_checkpoint(folder / "model.ckpt", weights)
    if kind == "native":
        model = heads.build_model(head, config, {n: v.shape for n, v in weights.items()})
        fill_variables(block, model.variables)
        write_native(str(folder / "model.ckpt"), model)
        return str(folder / "model.ckpt")
    huggingface.write_folder(str(folder), Assets(config=config), weights, head)
    return str(folder)


@pytest.mark.parametrize("kind", ["original", "native", "huggingface"])
@pytest.mark.parametrize("name", BLOCKS)
def test_weights_from_a_file_give_the_originals_numbers(name, kind, tmp_path):
    block, head = GOLDENS[name], BLOCKS[name]
    model = heads.build_model(head, config_of(block), {n: tuple(shape) for n, shape in block["variables"]})
    if head == "question_answering_v2":
        model.start_n_top = model.end_n_top = 2
    report = load_weights(model, write(kind, tmp_path, block, head))
    assert len(report.loaded) == len(block["variables"])
    assert report.missing == report.unexpected == report.notes == ()
    extra = {}
    if head == "question_answering_v2":
        extra["p_mask"] = np.array(block["labels"]["p_mask"])
    if head == "pretraining":
        extra["masked_lm_positions"] = np.array(block["labels"]["masked_lm_positions"])
    outputs = {key: value.numpy() for key, value in model(inputs() | extra).items()}
    if head == "pretraining":
        outputs = {
            "masked_lm_log_probs": log_softmax(outputs["mlm_logits"]),
            "sentence_order_log_probs": log_softmax(outputs["sop_logits"]),
        }
    compared = [key for key in block["outputs"] if key in outputs]
    assert compared
    for key in compared:
        golden = np.array(block["outputs"][key])
        np.testing.assert_allclose(outputs[key].reshape(golden.shape), golden, atol=TOLERANCE, err_msg=key)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def test_multiple_choice_from_a_file_gives_the_originals_numbers(tmp_path):
    block = GOLDENS["race"]
    model = heads.build_model("multiple_choice", config_of(block), {"output_weights": (1, 6)})
    load_weights(model, write_checkpoint(tmp_path / "model.ckpt", tensors(block)))
    choices = {name: np.array(value)[[[0, 1, 1, 0]]] for name, value in inputs().items()}
    np.testing.assert_allclose(model(choices)["logits"], block["outputs"]["logits"], atol=TOLERANCE)
