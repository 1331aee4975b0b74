"""The TF-Hub module of a model: a SavedModel that users call and train, with the original's signatures."""

import dataclasses
import os
import tempfile
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from albert_tf.checkpoints.assets import Assets, vocabularies_in
from albert_tf.models.pretraining import AlbertForPreTraining

_Outputs = dict[str, Any]  # of tensors, and a list of them
_Function = Any  # a tf.function that returns `_Outputs`

_POSITIONS = "masked_lm_positions"


def save_hub_module(
    path: str,
    model: AlbertForPreTraining,
    belongings: Assets,
    *,
    with_mlm: bool,
    with_sop: bool,
) -> None:
    """Writes a model as a module with the interface of the published modules.

    The module holds the model's computation and not its classes, so it needs nothing but TensorFlow.

    Args:
      path: the folder of the SavedModel.
      model: the encoder with its heads.
      belongings: config, vocabulary and casing; if they do not say the casing, text is lower-cased.
      with_mlm: whether the module has `.mlm` and the signature "mlm".
      with_sop: whether the module has the signature "sop".
    """
    encode, lower = _encoder(model), belongings.do_lower_case is not False
    module = _reusable(encode, model.encoder.variables)
    module.do_lower_case = tf.Variable(lower, trainable=False)
    with tempfile.TemporaryDirectory() as folder:
        # The casing is told by the module itself.
        dataclasses.replace(belongings, do_lower_case=None).write(folder)
        assets = {
            name: tf.saved_model.Asset(os.path.join(folder, name)) for name in sorted(os.listdir(folder))
        }
        module.all_assets = assets
        vocabulary = assets[os.path.basename(vocabularies_in(folder)[0])]
        setattr(module, "sp_model_file" if belongings.spm_model_file else "vocab_file", vocabulary)
        signatures = {"tokens": _tokens(encode), "tokenization_info": _tokenization_info(vocabulary, lower)}
        if with_mlm:
            predict = _predictor(model, encode)
            variables = [*model.encoder.variables, *model.masked_lm.variables]
            module.mlm = _reusable(predict, variables, _POSITIONS)
            signatures["mlm"] = _mlm(predict)
        if with_sop:
            module.sop_variables = model.sentence_order.variables
            signatures["sop"] = _sop(model, encode)
        tf.saved_model.save(module, path, signatures)


def _encoder(model: AlbertForPreTraining) -> _Function:
    """Makes the function of the module. All others call it, so the file holds the layers once a mode."""

    @tf.function(autograph=False)
    def encode(inputs, training=False):
        encoded = model.encoder(
            {
                "input_ids": inputs["input_word_ids"],
                "input_mask": inputs["input_mask"],
                "segment_ids": inputs["input_type_ids"],
            },
            training=training,
            return_all_layers=True,
        )
        blocks = model.config.inner_group_num
        return {
            "default": encoded["pooled_output"],
            "pooled_output": encoded["pooled_output"],
            "sequence_output": encoded["sequence_output"],
            "encoder_outputs": encoded["all_layer_outputs"][blocks - 1 :: blocks],
        }

    return encode


def _predictor(model: AlbertForPreTraining, encode: _Function) -> _Function:
    """Makes the function of `.mlm`: it adds the logits of the pieces at some positions."""

    @tf.function(autograph=False)
    def predict(inputs, training=False):
        encoder_inputs = {name: inputs[name] for name in inputs if name != _POSITIONS}
        outputs = encode(encoder_inputs, training=training)
        masked = tf.gather(outputs["sequence_output"], inputs[_POSITIONS], batch_dims=1)
        return outputs | {"mlm_logits": model.masked_lm(masked, model.encoder.embeddings.word_embeddings)}

    return predict


def _reusable(
    function: _Function, variables: Iterable[tf.Variable], *more_inputs: str
) -> tf.train.Checkpoint:
    """Makes a callable for both modes, with the attributes that `hub.KerasLayer` looks for."""
    names = ("input_word_ids", "input_mask", "input_type_ids", *more_inputs)
    for training in (False, True):
        function.get_concrete_function({name: _ids(name) for name in names}, training=training)
    reusable = tf.train.Checkpoint()
    reusable.variables = list(variables)
    reusable.trainable_variables = list(variables)
    reusable.__call__ = function
    return reusable


def _ids(name: str) -> tf.TensorSpec:
    return tf.TensorSpec([None, None], tf.int32, name=name)


_TOKENS = [_ids("input_ids"), _ids("input_mask"), _ids("segment_ids")]


def _named(input_ids: tf.Tensor, input_mask: tf.Tensor, segment_ids: tf.Tensor) -> dict[str, tf.Tensor]:
    return {"input_word_ids": input_ids, "input_mask": input_mask, "input_type_ids": segment_ids}


def _both(outputs: _Outputs) -> _Outputs:
    return {name: outputs[name] for name in ("sequence_output", "pooled_output")}


def _tokens(encode: _Function) -> _Function:
    @tf.function(input_signature=_TOKENS, autograph=False)
    def tokens(input_ids, input_mask, segment_ids):
        return _both(encode(_named(input_ids, input_mask, segment_ids)))

    return tokens


def _mlm(predict: _Function) -> _Function:
    @tf.function(input_signature=[*_TOKENS, _ids("mlm_positions")], autograph=False)
    def mlm(input_ids, input_mask, segment_ids, mlm_positions):
        inputs = _named(input_ids, input_mask, segment_ids) | {_POSITIONS: mlm_positions}
        outputs = predict(inputs)
        logits = outputs["mlm_logits"]
        return _both(outputs) | {"mlm_logits": tf.reshape(logits, [-1, logits.shape[-1]])}

    return mlm


def _sop(model: AlbertForPreTraining, encode: _Function) -> _Function:
    @tf.function(input_signature=_TOKENS, autograph=False)
    def sop(input_ids, input_mask, segment_ids):
        outputs = encode(_named(input_ids, input_mask, segment_ids))
        logits = model.sentence_order(outputs["pooled_output"])
        return _both(outputs) | {"sop_log_probs": tf.nn.log_softmax(logits)}

    return sop


def _tokenization_info(vocabulary: tf.saved_model.Asset, do_lower_case: bool) -> _Function:
    @tf.function(input_signature=[], autograph=False)
    def tokenization_info():
        return {"vocab_file": vocabulary.asset_path, "do_lower_case": tf.constant(do_lower_case)}

    return tokenization_info
